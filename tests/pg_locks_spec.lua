--- Imports on PostgreSQL while the shops go on: nothing is lost, nothing counts twice. What a round
--- must end in doesn't depend on who came first; TALLYMAN_LOCKS_SEED repeats a run's choices.
local databases = require "tests.support.databases"
local db = require "tallyman.db"
local night = require "tests.support.night"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local shops = require "tests.support.shop"

local ROUNDS, WORKERS = 20, 2
local FACILITIES, PRODUCTS = { "LA", "NY" }, { "A", "B", "C" }
local SEED = tonumber(os.getenv "TALLYMAN_LOCKS_SEED") or os.time()

--- What a shop does from each day's file go until its file stop, one transaction after the other.
--- Status and acknowledgement of a shipment touch no item. Prints what left, and from which pair.
local WORKER = [[
  package.path = %q .. "/?.lua;" .. package.path
  local shop = require "tests.support.shop".new { oms = oms }
  local prefix, folder, rounds, at = %q, %q, %d, nil
  math.randomseed(%d)
  function shop:next_id(kind)
    self.count = self.count + 1
    return prefix .. kind .. self.count
  end
  local function apart(work, ...)
    local given = table.pack(...)
    return oms:transaction(function() return work(table.unpack(given)) end, { retries = 20 })
  end
  local function move(item, ...)
    local lock = "UPDATE inventory_item SET product_id = product_id WHERE inventory_item_id = :item"
    oms:run(lock, { item = item }) -- first, so that two shops don't number a row alike
    shop:move(item, ...)
  end
  local function sell(item, quantity)
    apart(move, item, at, -quantity, -quantity, { reason_enum_id = "POS_SALE" })
  end
  local function ship(item, quantity)
    local sale = apart(shop.issue, shop, item, at, quantity)
    apart(move, item, at, -quantity, -quantity, { order_id = sale.order_id,
      order_item_seq_id = "00001", shipment_id = sale.shipment_id, shipment_item_seq_id = "00001" })
    oms:run("UPDATE shipment SET status_id = 'SHIPMENT_SHIPPED' WHERE shipment_id = :id",
      { id = sale.shipment_id })
    if math.random(3) == 1 then shop:acknowledge(sale, at) end
  end
  local done = 0
  local function is_there(name, day)
    local file <close> = io.open(("%%s/%%s%%d"):format(folder, name, day))
    return file ~= nil
  end
  local function trade()
    local item = ("%%s-%%s"):format(({ "A", "B", "C" })[math.random(3)],
      ({ "LA", "NY" })[math.random(2)])
    local quantity, act = math.random(3), math.random(2) == 1 and sell or ship
    act(item, quantity)
    print(at:sub(1, 10), item, quantity)
  end
  for day = 2, rounds + 1 do
    at = ("2026-12-%%02d 01:00:00"):format(day)
    while not is_there("go", day) do require "native.clock".sleep(0.005) end
    repeat trade() until is_there("stop", day)
    print(at:sub(1, 10), "end")
    io.stdout:flush()
  end
]]

local HEADER = "facilityId,idType,idValue,availableQty\n"

describe("imports on PostgreSQL", function()
  if postgres.lacks() then return pending(postgres.lacks()) end
  local server, made, site, oms

  local function fill()
    local shop = shops.new { oms = oms }
    for _, facility in ipairs(FACILITIES) do shop:facility(facility) end
    for _, product in ipairs(PRODUCTS) do
      shop:product(product, product .. "1")
      for _, facility in ipairs(FACILITIES) do
        shop:item(product .. "-" .. facility, product, facility, 1000, 1000)
      end
    end
  end

  setup(function()
    server = postgres.start()
    made = databases.of_oms(server)
    process.keep()
  end)
  before_each(function()
    site = process.site()
    site.env.TALLYMAN_OMS = made.fresh()
    oms = db.open(site.env.TALLYMAN_OMS)
    fill()
  end)
  after_each(function()
    oms:close()
    made.drop(site.env.TALLYMAN_OMS)
    process.clean()
  end)
  teardown(function()
    made.connect:close()
    postgres.clean()
  end)

  --- Totals by item, and what of them shipped without the POS knowing.
  local function stock()
    local totals, unknown = {}, {}
    for row in oms:rows [[SELECT inventory_item_id AS id, quantity_on_hand_total AS q
      FROM inventory_item]] do
      totals[row.id], unknown[row.id] = math.tointeger(row.q), 0
    end
    for row in oms:rows [[SELECT s.inventory_item_id AS id, s.quantity AS q FROM item_issuance s
      WHERE NOT EXISTS (SELECT 1 FROM order_fulfillment_history a
        WHERE a.shipment_id = s.shipment_id)]] do
      unknown[row.id] = unknown[row.id] + row.q
    end
    return totals, unknown
  end

  --- The filtered file of a night: what the POS counts is some more or less than what is there.
  local function place_file(day, totals, unknown)
    local lines, expected = { HEADER }, {}
    for id, total in pairs(totals) do
      expected[id] = total + math.random(-5, 5)
      local product, facility = id:match "(.)-(..)"
      lines[#lines + 1] = ("%s,SKU,%s1,%d\n"):format(facility, product, expected[id] + unknown[id])
    end
    local name = ("%s/filtered/ResetInventoryActive_202612%02dT220000Z.csv"):format(site.exchange,
      day - 1)
    process.write(name, table.concat(lines))
    return expected
  end

  local function start_workers()
    local workers = {}
    for i = 1, WORKERS do
      workers[i] = server:script(WORKER:format(process.root, "W" .. i .. ".", site.folder, ROUNDS,
        SEED + i), site.env.TALLYMAN_OMS)
    end
    return workers
  end

  --- Waits until the day's workers have ended it, and takes what they sold or shipped from what is
  --- expected.
  local function take(workers, day, expected)
    local date = ("2026%%-12%%-%02d\t"):format(day)
    for _, worker in ipairs(workers) do
      process.eventually(function()
        return worker:out():find(date .. "end\n") or worker:poll()
      end)
      assert.is_truthy(worker:out():find(date .. "end\n"), worker:err())
      for id, quantity in worker:out():gmatch(date .. "(%S+)\t(%d+)") do
        expected[id] = expected[id] - quantity
      end
    end
  end

  local function run(job, day, clock)
    site.env.TALLYMAN_NOW = ("2026-12-%02dT%s:00Z"):format(day, clock)
    local result = site:run(job)
    assert.equal(0, result.status, result.err)
  end

  it(("neither lose nor double what moves meanwhile (seed %d)"):format(SEED), function()
    math.randomseed(SEED)
    print(("locks: seed %d"):format(SEED))
    local workers = start_workers()
    for day = 2, ROUNDS + 1 do
      local expected = place_file(day, stock())
      process.write(("%s/go%d"):format(site.folder, day), "")
      run("import_reset", day, "02:00")
      process.write(("%s/stop%d"):format(site.folder, day), "")
      take(workers, day, expected)
      run("import_variance", day, "06:00")
      assert.same(expected, (stock()), ("round %d, seed %d"):format(day - 1, SEED))
      assert.equal(0, oms:value [[SELECT COUNT(*) FROM inventory_item i
        WHERE i.quantity_on_hand_total <> (SELECT SUM(d.quantity_on_hand_diff)
          FROM inventory_item_detail d WHERE d.inventory_item_id = i.inventory_item_id)]])
    end
    assert.equal(ROUNDS, oms:value "SELECT COUNT(*) FROM tallyman_cycle")
  end)

  --- A night in which a shipment turns SHIPPED, its ledger row being there, right after the reset
  --- has run for the nth time a statement that computes; QOH/ATP in the end, and whether there were
  --- so many such statements.
  local function with_status_after(nth, class, real)
    local n <close> = night.new()
    local sale = n.shop:issue("I1", n:text "23:00", 2)
    n.shop:move("I1", n:text "23:00", -2, -2, { order_id = sale.order_id,
      order_item_seq_id = "00001", shipment_id = sale.shipment_id, shipment_item_seq_id = "00001" })
    n:upload("22:00", { { 10 } })
    local count = 0
    function class.run(self, sql, params)
      local changed = real(self, sql, params)
      if self ~= n.world.oms and sql:find "^UPDATE tallyman_pair" then
        count = count + 1
        if count == nth then
          real(n.world.oms, "UPDATE shipment SET status_id = 'SHIPMENT_SHIPPED'")
        end
      end
      return changed
    end
    assert.equal(0, n:reset().code)
    class.run = real
    assert.equal(0, n:variance().code)
    return n:totals(), count >= nth
  end

  it("count a shipment once, between whichever two statements its status changes", function()
    local class = getmetatable(oms)
    local real = class.run
    finally(function()
      class.run = real
      night.use(nil)
    end)
    night.use(made)
    local nth = 0
    repeat
      nth = nth + 1
      local totals, there = with_status_after(nth, class, real)
      assert.equal("8/8", totals, ("after statement %d"):format(nth))
    until not there
    assert.is_true(nth > 4)
  end)

  it("of one file by twenty processes at once are one cycle, and nineteen times nothing to do",
    function()
      place_file(2, stock())
      site.env.TALLYMAN_NOW = "2026-12-02T02:00:00Z"
      local children, applied = {}, 0
      for i = 1, 20 do children[i] = process.start(site:command("import_reset")) end
      for _, child in ipairs(children) do
        local result = child:wait()
        assert.equal(0, result.status, result.err)
        if not result.err:find("nothing to do", 1, true) then applied = applied + 1 end
      end
      assert.equal(1, applied)
      assert.equal(1, oms:value "SELECT COUNT(*) FROM tallyman_cycle")
      assert.equal(1, oms:value "SELECT COUNT(*) FROM physical_inventory")
    end)
end)
