--- Races on PostgreSQL: many processes of two hosts start the same import at once, one of them
--- stands still past its lease, and the shops go on selling and shipping all the while. One cycle a
--- night comes of it, no deadlock, and no unit is lost or counts twice: what a night must end in
--- doesn't depend on who came first. TALLYMAN_RACES_SEED repeats a run's choices, TALLYMAN_RACES
--- says how many series of twenty nights there are.
local databases = require "tests.support.databases"
local db = require "tallyman.db"
local posix_time = require "posix.time"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local shops = require "tests.support.shop"
local signal = require "posix.signal"

local SERIES, NIGHTS = tonumber(os.getenv "TALLYMAN_RACES") or 1, 20
local WORKERS, MOST = 2, 20 -- shops; processes of one import
local LEASE = 0.4 -- seconds
local FACILITIES, PRODUCTS = { "LA", "NY" }, { "A", "B", "C" }
local SEED = tonumber(os.getenv "TALLYMAN_RACES_SEED") or os.time()
local START = 1796083200 -- 2026-12-01, UTC

--- What a shop does from each day's file go until its file stop, one transaction after the other.
--- Status and acknowledgement of a shipment touch no item. Prints what left, and from which pair.
local WORKER = [[
  package.path = %q .. "/?.lua;" .. package.path
  local shop = require "tests.support.shop".new { oms = oms }
  local prefix, folder, rounds, at, day_now = %q, %q, %d, nil, nil
  math.randomseed(%d)
  function shop:next_id(kind)
    self.count = self.count + 1
    return prefix .. kind .. self.count
  end
  local function apart(work, ...)
    local given = table.pack(...)
    return oms:transaction(function() return work(table.unpack(given)) end)
  end
  local function move(item, ...)
    oms:value("SELECT 1 FROM inventory_item WHERE inventory_item_id = :item FOR UPDATE",
      { item = item }) -- so that two shops don't number a row alike
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
    print(day_now, item, quantity)
  end
  for day = 1, rounds do
    at = os.date("!%%Y-%%m-%%d 01:00:00", %d + day * 86400)
    day_now = day
    while not is_there("go", day) do require "native.clock".sleep(0.005) end
    repeat trade() until is_there("stop", day)
    print(day, "end")
    io.stdout:flush()
  end
]]

local HEADER = "facilityId,idType,idValue,availableQty\n"

local SETTINGS = [[return require "tallyman.settings" { oms = { lease = %s } }]]

describe("races on PostgreSQL", function()
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
    site:own_scripts(SETTINGS:format(LEASE))
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

  local function date_of(night) return os.date("!%Y-%m-%d", START + night * 86400) end

  --- The filtered file of a night: what the POS counts is some more or less than what is there.
  local function place_file(night, totals, unknown)
    local lines, expected = { HEADER }, {}
    for id, total in pairs(totals) do
      expected[id] = total + math.random(-5, 5)
      local product, facility = id:match "(.)-(..)"
      lines[#lines + 1] = ("%s,SKU,%s1,%d\n"):format(facility, product, expected[id] + unknown[id])
    end
    local name = ("%s/filtered/ResetInventoryActive_%sT220000Z.csv"):format(site.exchange,
      date_of(night - 1):gsub("-", ""))
    process.write(name, table.concat(lines))
    return expected
  end

  local function start_workers(seed)
    local workers = {}
    for i = 1, WORKERS do
      workers[i] = server:script(WORKER:format(process.root, "W" .. i .. ".", site.folder, NIGHTS,
        seed + i, START), site.env.TALLYMAN_OMS)
    end
    return workers
  end

  --- Waits until the shops have ended a night, and takes what they sold or shipped from what is
  --- expected.
  local function take(workers, night, expected)
    local ended = ("\n%d\tend\n"):format(night)
    for _, worker in ipairs(workers) do
      local function has_ended() return ("\n" .. worker:out()):find(ended, 1, true) end
      process.eventually(function() return has_ended() or worker:poll() end)
      assert.is_truthy(has_ended(), worker:err())
      for line in worker:out():gmatch "[^\n]+" do
        local at, id, quantity = line:match "^(%d+)\t(%S+)\t(%d+)$"
        if at == tostring(night) then expected[id] = expected[id] - quantity end
      end
    end
  end

  --- The job as one of two hosts starts it.
  local function start(job, host)
    local command = site:command(job)
    command.env = { TALLYMAN_STATE = ("%s/state%d"):format(site.folder, host) }
    for name, value in pairs(site.env) do command.env[name] = command.env[name] or value end
    return process.start(command)
  end

  local function sleep(seconds)
    local whole = math.floor(seconds)
    posix_time.nanosleep { tv_sec = whole, tv_nsec = math.floor((seconds - whole) * 1e9) }
  end

  --- Stops one process for longer than the lease, at a moment that chance has chosen.
  local function stop_one(child)
    sleep(math.random() * 0.3)
    if child:poll() then return 0 end
    child:kill(signal.SIGSTOP)
    sleep(LEASE * (1 + math.random()))
    child:kill(signal.SIGCONT)
    return 1
  end

  local figures

  --- Starts an import so many times at once. It must have been done, and each says so, or that it
  --- was to be tried again.
  local function race(job, night, clock, count)
    site.env.TALLYMAN_NOW = ("%sT%s:00Z"):format(date_of(night), clock)
    local children, done = {}, 0
    for i = 1, count do children[i] = start(job, i % 2) end
    figures.processes = figures.processes + count
    if math.random(3) == 1 then
      figures.stopped = figures.stopped + stop_one(children[math.random(count)])
    end
    for _, child in ipairs(children) do
      local result = child:wait()
      assert.is_true(result.status == 0 or result.status == 75, result.err)
      if result.status == 0 then done = done + 1 end
      if result.status == 75 then figures.again = figures.again + 1 end
    end
    assert.is_true(done > 0, "every one of them is to be tried again")
  end

  --- The ledger explains every item's total.
  local function assert_conserved()
    assert.equal(0, oms:value [[SELECT COUNT(*) FROM inventory_item i
      WHERE i.quantity_on_hand_total <> (SELECT SUM(d.quantity_on_hand_diff)
          FROM inventory_item_detail d WHERE d.inventory_item_id = i.inventory_item_id)
        OR i.available_to_promise_total <> (SELECT SUM(d.available_to_promise_diff)
          FROM inventory_item_detail d WHERE d.inventory_item_id = i.inventory_item_id)]])
  end

  local function one_night(workers, night, name)
    local expected = place_file(night, stock())
    process.write(("%s/go%d"):format(site.folder, night), "")
    race("import_reset", night, "02:00", night == 1 and MOST or math.random(2, 4))
    process.write(("%s/stop%d"):format(site.folder, night), "")
    take(workers, night, expected)
    race("import_variance", night, "06:00", night == 2 and MOST or math.random(2, 4))
    assert.same(expected, (stock()), name)
    assert_conserved()
    assert.equal(night, oms:value
      "SELECT COUNT(*) FROM tallyman_cycle WHERE settled_at IS NOT NULL", name)
  end

  for series = 1, SERIES do
    local seed = SEED + 100 * (series - 1)
    it(("end in one cycle a night, nothing lost or doubled (seed %d)"):format(seed), function()
      math.randomseed(seed)
      figures = { processes = 0, stopped = 0, again = 0 }
      local workers = start_workers(seed)
      for night = 1, NIGHTS do
        one_night(workers, night, ("night %d, seed %d"):format(night, seed))
      end
      local moved = oms:value "SELECT COUNT(*) FROM inventory_item_detail"
      print(("races: seed %d: %d nights, %d processes, %d stopped past the lease, %d to be tried "
        .. "again, %d ledger rows"):format(seed, NIGHTS, figures.processes, figures.stopped,
        figures.again, moved))
    end)
  end
end)
