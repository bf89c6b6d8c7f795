--- Undo: the counts are what they would be, had the cycle not been applied; what else moved stays.
local night = require "tests.support.night"
local proof = require "tallyman.proof"
local cycles = require "tallyman.cycle"
local oms = require "tallyman.oms"
local stores = require "tests.support.stores"
local variance = require "tallyman.variance"

local n
after_each(function()
  if n then n:close() end
  n = nil
end)

--- Case 1 with this quantity in the file: 2 shipped and unacknowledged; reset and variance.
local function case_one(quantity, options)
  n = night.new(options)
  n:on("20:00", function() n.shop:ship("I1", n:text "20:00", 2) end)
  n:upload("22:00", { { quantity } })
  assert.equal(0, n:reset().code)
  local after_reset = n:totals()
  assert.equal(0, n:variance().code)
  return after_reset
end

local function sell(clock, quantity)
  n:on(clock, function()
    n.shop:move("I1", n:text(clock), -quantity, -quantity, { reason_enum_id = "POS_SALE" })
  end)
  n:at(clock)
end

--- All ledger rows there are, as one text for each.
local function ledger()
  local rows = {}
  for row in n.world.oms:rows [[SELECT inventory_item_id || ' ' || inventory_item_detail_seq_id
    || ' ' || quantity_on_hand_diff || ' ' || available_to_promise_diff || ' '
    || COALESCE(reason_enum_id, '') AS text FROM inventory_item_detail ORDER BY 1]] do
    rows[#rows + 1] = row.text
  end
  return rows
end

--- What the proofs of an undone cycle, and of the ledger against the totals, find.
local function failures(number)
  local orders <close> = oms.open(n.world.settings)
  local undone = cycles.by_number(orders.db, number)
  return proof.of_undone(orders, undone).failures
end

it("case 39: undo after a sale keeps the sale", function()
  assert.equal("10/10", case_one(10))
  assert.equal("8/8", n:totals())
  sell("04:00", 1)
  assert.equal("7/7", n:totals())
  local outcome = n:undo("05:00", 1)
  assert.equal(0, outcome.code, outcome.message)
  assert.equal("7/7", n:totals())
  assert.same({}, failures(1))
end)

it("case 40: undo of a file that said 6 by mistake", function()
  assert.equal("6/6", case_one(6))
  assert.equal("4/4", n:totals())
  sell("04:00", 1)
  assert.equal("3/3", n:totals())
  local outcome = n:undo("05:00", 1)
  assert.equal(0, outcome.code, outcome.message)
  assert.equal("7/7", n:totals())
  assert.same({}, failures(1))
end)

it("writes a row for each item under a physical inventory of its own, deletes none", function()
  case_one(6)
  local before = ledger()
  n:undo("05:00", 1, "counted the wrong store")
  local after = ledger()
  assert.equal(#before + 1, #after)
  assert.same(before, table.move(after, 1, #before, 1, {}))
  local cycle = n.world.oms:one "SELECT * FROM tallyman_cycle"
  assert.equal("2026-11-24 05:00:00", cycle.undone_at)
  local row = n.world.oms:one(
    "SELECT * FROM inventory_item_detail WHERE physical_inventory_id = :id", { id = cycle.undo_id })
  assert.same({ 4, 4, "VAR_EXT_UNDO", "counted the wrong store" }, { row.quantity_on_hand_diff,
    row.available_to_promise_diff, row.reason_enum_id, row.description })
  assert.equal("Undo of cycle 1: counted the wrong store", n.world.oms:value(
    "SELECT general_comments FROM physical_inventory WHERE physical_inventory_id = :id",
    { id = cycle.undo_id }))
  assert.equal(1, n.world.oms:value
    "SELECT COUNT(*) FROM variance_reason WHERE variance_reason_id = 'VAR_EXT_UNDO'")
  assert.equal(1, n.world.oms:value(
    "SELECT COUNT(*) FROM inventory_item_variance WHERE physical_inventory_id = :id",
    { id = cycle.undo_id }))
end)

it("takes each item of a pair back by itself, whichever took the variance", function()
  n = night.new { start = { 4, 4 } }
  n.shop:item("I2", "A", "NY", 6, 6)
  n:on("20:00", function() n.shop:ship("I2", n:text "20:00", 2) end)
  n:upload("22:00", { { 7 } })
  n:reset()
  assert.equal("3/3", n:totals "inventory_item_id = 'I1'")
  n:on("02:30", function() n.shop:item("I0", "A", "NY", 1, 1) end)
  n:variance()
  assert.equal("-1/-1", n:totals "inventory_item_id = 'I0'")
  n:undo("05:00", 1)
  assert.equal("1/1", n:totals "inventory_item_id = 'I0'")
  assert.equal("4/4", n:totals "inventory_item_id = 'I1'")
  assert.equal("4/4", n:totals "inventory_item_id = 'I2'")
end)

it("takes exact_atp's reset back in both quantities", function()
  n = night.new { start = { 10, 8 }, settings = { reset = { method = "exact_atp" } } }
  n:upload("22:00", { { 3 } })
  n:reset()
  assert.equal("5/3", n:totals())
  n:on("04:00", function() n.shop:move("I1", n:text "04:00", 0, -1) end)
  n:at "04:00"
  assert.equal(0, n:undo("05:00", 1).code)
  assert.equal("10/7", n:totals())
end)

it("leaves an item that the reset made, at what moved on it since", function()
  n = night.new { start = false }
  n:upload("22:00", { { 7 } })
  n:reset()
  n:undo("05:00", 1)
  assert.equal("0/0", n:totals())
  assert.equal(1, n.world.oms:value "SELECT COUNT(*) FROM inventory_item")
end)

it("leaves hand-added variance rows: they are movements", function()
  n = night.new()
  n.shop:insert("variance_reason", { variance_reason_id = "VAR_FOUND" })
  n:upload("22:00", { { 6 } })
  n:reset()
  local name = "variance/" .. n.world:names "variance" [1]
  local text = n.world:read(name)
  n.world.exchange:remove(name)
  n.world.exchange:put(name, text .. "NY,,SKU,A1,1,VAR_FOUND,behind the shelf\n")
  n:variance()
  assert.equal("7/7", n:totals())
  n:undo("05:00", 1)
  assert.equal("11/11", n:totals())
end)

it("says what it can't take back, of an item that is gone", function()
  case_one(6)
  n.world.oms:run "DELETE FROM inventory_item"
  local outcome = n:undo("05:00", 1)
  assert.equal(0, outcome.code, outcome.message)
  assert.match("item I1 is gone", outcome.figures.alerts[1])
end)

--- A night of four pairs with up to two items each, moved at random before and after a cycle,
--- which is applied and undone, or never was. Gives each item's totals that aren't 0.
local function random_night(seed, method, applied)
  math.randomseed(seed)
  n = night.new { start = false, settings = { reset = { method = method } } }
  local text = "facilityId,idType,idValue,availableQty\n"
  local items = {}
  for i = 1, 4 do
    n.shop:product("P" .. i, "S" .. i)
    for k = 1, i == 4 and 0 or math.random(2) do
      items[#items + 1] = i .. "-" .. k
      n.shop:item(items[#items], "P" .. i, "NY", math.random(0, 90) / 8, math.random(0, 90) / 8)
    end
    text = text .. ("NY,SKU,S%d,%s\n"):format(i, math.random(-8, 90) / 8)
  end
  for _, clock in ipairs { "20:00", "23:00", "01:45", "02:30", "04:00" } do
    for _ = 1, 2 do
      local item, quantity, how = items[math.random(#items)], math.random(1, 9) / 8, math.random(3)
      n:on(clock, function()
        if how == 1 then return n.shop:ship(item, n:text(clock), quantity) end
        n.shop:move(item, n:text(clock), how == 2 and -quantity or 0, -quantity)
      end)
    end
  end
  local settled = math.random(3) > 1
  if applied then
    n:upload_text("22:00", text)
    assert.equal(0, n:reset().code)
    if settled then assert.equal(0, n:variance().code) end
    n:at "05:00"
    assert.equal(0, n:undo("05:00", 1).code)
  end
  n:at "05:00"
  local totals = {}
  for row in n.world.oms:rows [[SELECT inventory_item_id AS id,
      {decimal {units quantity_on_hand_total}} AS qoh,
      {decimal {units available_to_promise_total}} AS atp FROM inventory_item ORDER BY 1]] do
    if row.qoh ~= "0" or row.atp ~= "0" then
      totals[#totals + 1] = ("%s %s/%s"):format(row.id, row.qoh, row.atp)
    end
  end
  n:close()
  n = nil
  return table.concat(totals, ", ")
end

it("leaves every item as it would be, had the cycle not been, whatever moved", function()
  for seed = 1, tonumber(os.getenv "TALLYMAN_UNDO_SEEDS") or 12 do
    for _, method in ipairs { "exact_qoh", "exact_atp" } do
      assert.equal(random_night(seed, method, false), random_night(seed, method, true),
        method .. ", seed " .. seed)
    end
  end
end)

describe("an undone cycle", function()
  it("isn't undone again: exit 0, and it says so", function()
    case_one(6)
    n:undo("05:00", 1)
    local before = stores.state(n)
    local outcome = n:undo("05:10", 1)
    assert.equal(0, outcome.code, outcome.message)
    assert.match("cycle 1 was undone already", outcome.figures.already)
    assert.equal(before, stores.state(n))
  end)

  it("that was open is never settled: by no variance, no deadline, no next reset", function()
    n = night.new()
    n:on("20:00", function() n.shop:ship("I1", n:text "20:00", 2) end)
    n:upload("22:00", { { 6 } })
    n:reset()
    assert.equal(0, n:undo("02:30", 1).code)
    assert.equal("8/8", n:totals())
    assert.equal(75, n:variance().code)
    assert.equal(75, n:variance("06:00").code)
    n:next_day()
    n:upload("22:00", { { 10 } })
    local outcome = n:reset()
    assert.equal(0, outcome.code, outcome.message)
    assert.same({}, outcome.figures.warnings)
    assert.is_nil(n.world.oms:value "SELECT settled_at FROM tallyman_cycle WHERE cycle_id = 1")
    assert.equal(0, n:variance().code)
    assert.equal("8/8", n:totals())
  end)

  it("is held where it was undone while its variance was about to be booked", function()
    n = night.new()
    n:upload("22:00", { { 6 } })
    n:reset()
    local orders <close> = oms.open(n.world.settings)
    local seen = orders:newest_cycle()
    n:undo("02:30", 1)
    local ok, wrong = pcall(variance.settle, { warnings = {}, alerts = {} }, orders,
      n.world.exchange, seen)
    assert.is_false(ok)
    assert.equal(75, wrong.code)
  end)

  it("lets the same file be applied again, as a new cycle", function()
    case_one(10)
    n:undo("05:00", 1)
    n:upload("22:00", { { 10 } })
    local outcome = n:reset "05:10"
    assert.equal(0, outcome.code, outcome.message)
    assert.equal(2, outcome.figures.cycle)
    assert.equal("10/10", n:totals())
    n.exported = false
    n:run("export_variance", "05:20")
    assert.equal(0, n:variance("05:30").code)
    assert.equal("8/8", n:totals())
  end)

  it("is no movement for the next reset, and hides no older snapshot", function()
    case_one(6)
    n:undo("05:00", 1)
    n:upload("21:00", { { 10 } })
    assert.equal(0, n:reset("05:10").code)
    assert.equal(2, n.world.oms:value [[SELECT CAST(deduction AS integer) FROM tallyman_coverage
      WHERE cycle_id = 2]])
  end)

  it("stands in the report with its reason and its proof", function()
    case_one(6)
    n:undo("05:00", 1, "counted the wrong store")
    local report = stores.report(n, "2026-11-24")
    assert.match("cycle 1: .*undone at 2026%-11%-24 05:00:00 UTC: .*counted the wrong", report)
    assert.match("taken back, 0 fail", report, 1, true)
    assert.match("cycle: none tonight", report, 1, true)
    n.world.oms:run "DELETE FROM inventory_item_detail WHERE reason_enum_id = 'VAR_EXT_UNDO'"
    assert.match("FAILS: item I1 keeps %-4/%-4 of cycle 1", stores.report(n, "2026-11-24"))
  end)
end)

describe("undo refuses", function()
  it("while a newer cycle is applied; once that is undone, it does what it is told", function()
    case_one(6)
    n:upload("23:00", { { 5 } })
    assert.equal(0, n:reset("04:00").code)
    local before = stores.state(n)
    local outcome = n:undo("05:00", 1)
    assert.equal(3, outcome.code)
    assert.match("cycle 2 was applied after it", outcome.message)
    assert.equal(before, stores.state(n))
    assert.equal(0, n:undo("05:10", 2).code)
    assert.equal("4/4", n:totals())
    assert.equal(0, n:undo("05:20", 1).code)
    assert.equal("8/8", n:totals())
  end)

  it("a cycle that doesn't exist (66), a word that is no number and no reason (64)", function()
    case_one(6)
    assert.equal(66, n:undo("05:00", 2).code)
    assert.equal(66, n:undo("05:00", "99999999999").code)
    for _, word in ipairs { "one", "0x1", "1e0", " 1 ", "-1", "1.0" } do
      assert.equal(64, n:undo("05:00", word).code, word)
    end
    assert.equal(64, n:run("undo", "05:00", { CYCLE = "1" }).code)
    assert.equal("4/4", n:totals())
  end)
end)
