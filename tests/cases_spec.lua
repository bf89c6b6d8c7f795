--- The numeric cases that every release must reproduce, each by its number. (39 and 40 need undo.)
local night = require "tests.support.night"

--- A case of one night: events(night, shop), the file's rows, and QOH/ATP after each import.
local function case(number, why, options, events, rows, after_reset, after_variance)
  it(("case %d: %s"):format(number, why), function()
    local n <close> = night.new(options)
    if events then events(n, n.shop) end
    n:upload(options.snapshot or "22:00", rows)
    local outcome = n:reset(options.reset_at)
    assert.equal(0, outcome.code, outcome.message)
    assert.equal(after_reset, n:totals())
    outcome = n:variance()
    assert.equal(0, outcome.code, outcome.message)
    assert.equal(after_variance, n:totals())
  end)
end

--- Events that ship from item I1 and may be acknowledged.
local function shipped(at, quantity, options, acknowledgements)
  return function(n, shop)
    local sale
    n:on(at, function() sale = shop:ship("I1", n:text(at), quantity, options) end)
    for _, ack in ipairs(acknowledgements or {}) do
      n:on(ack, function() shop:acknowledge(sale, n:text(ack)) end)
    end
  end
end

--- A movement of I1 with a reason.
local function moved(at, quantity, reason)
  return function(n, shop)
    n:on(at, function()
      shop:move("I1", n:text(at), quantity, quantity, { reason_enum_id = reason or "POS_SALE" })
    end)
  end
end

--- A reservation (negative) or release of I1: ATP only.
local function reserved(at, quantity)
  return function(n, shop) n:on(at, function() shop:move("I1", n:text(at), 0, quantity) end) end
end

local function both(first, second)
  return function(n, shop)
    first(n, shop)
    second(n, shop)
  end
end

local TEN, ATP = {}, { settings = { reset = { method = "exact_atp" } } }

describe("one night, exact_qoh,", function()
  case(1, "the seed's case", TEN, shipped("20:00", 2), { { 10 } }, "10/10", "8/8")
  case(2, "the POS knows", TEN, shipped("20:00", 2, nil, { "21:00" }), { { 8 } }, "8/8", "8/8")
  case(3, "acknowledged after the count", TEN, shipped("20:00", 2, nil, { "22:30" }), { { 10 } },
    "10/10", "8/8")
  case(4, "shipped after the query", TEN, shipped("01:45", 2), { { 10 } }, "10/10", "8/8")
  case(5, "the file came after the query", { snapshot = "01:50" },
    shipped("20:00", 2, nil, { "01:40" }), { { 8 } }, "8/8", "8/8")
  case(6, "shipped after the reset", TEN, shipped("02:30", 2), { { 10 } }, "10/10", "8/8")
  case(7, "sold since the count", TEN, moved("23:00", -1), { { 10 } }, "10/10", "9/9")
  case(8, "sold before the count", TEN, moved("21:00", -1), { { 9 } }, "9/9", "9/9")
  case(9, "sold at the snapshot: counted", TEN, moved("22:00", -1), { { 9 } }, "9/9", "9/9")
  case(10, "sold after the reset", TEN, moved("02:30", -1), { { 10 } }, "10/10", "9/9")
  case(11, "returned since the count", TEN, moved("23:00", 1, "RETURN"), { { 10 } }, "10/10",
    "11/11")
  case(12, "damaged and shipped since", TEN,
    both(moved("23:00", -1, "VAR_DAMAGED"), shipped("23:30", 2)), { { 10 } }, "10/10", "7/7")
  case(13, "reservations survive", TEN, reserved("20:00", -2), { { 10 } }, "10/8", "10/8")
  case(14, "a reserved shipment", { start = { 10, 8 } }, shipped("20:00", 2, { reserved = true }),
    { { 10 } }, "10/10", "8/8")
  case(15, "packed is not shipped", TEN, function(n, shop)
    n:on("20:00", function() shop:issue("I1", n:text "20:00", 2) end)
  end, { { 10 } }, "10/10", "10/10")
  case(16, "status, not stamp, decides", TEN, function(n, shop)
    local sale
    n:on("01:20", function() sale = shop:issue("I1", n:text "01:20", 2) end)
    n:on("01:45", function() shop:leave(sale, n:text "01:20", 2) end)
  end, { { 10 } }, "10/10", "8/8")
  case(17, "quantity less cancelled", TEN, shipped("20:00", 3, { cancelled = 1 }), { { 10 } },
    "10/10", "8/8")
  case(18, "the earliest acknowledgement counts", TEN,
    shipped("20:00", 2, nil, { "21:00", "23:00" }), { { 8 } }, "8/8", "8/8")
  case(21, "an item is made at 0", { start = false }, nil, { { 0 } }, "0/0", "0/0")
  case(22, "an item is made at 7", { start = false }, nil, { { 7 } }, "7/7", "7/7")
  case(23, "the same row twice", TEN, nil, { { 5, "LOC1" }, { 5, "LOC1" } }, "5/5", "5/5")
  case(24, "contradictory rows", TEN, nil, { { 5, "LOC1" }, { 6, "LOC1" } }, "10/10", "10/10")
  case(25, "two locations add up", TEN, nil, { { 5, "LOC1" }, { 5, "LOC2" } }, "10/10", "10/10")
  case(27, "a POS oversells", TEN, nil, { { -3 } }, "-3/-3", "-3/-3")
  case(28, "exact decimals", { start = { 1.1, 1.1 } }, moved("23:00", -0.2), { { 0.3 } }, "0.3/0.3",
    "0.1/0.1")
  case(41, "acknowledged at the snapshot", TEN, shipped("20:00", 2, nil, { "22:00" }), { { 8 } },
    "8/8", "8/8")
  case(42, "delta 0 is covered", TEN, shipped("20:00", 2), { { 8 } }, "8/8", "6/6")
end)

describe("one night, exact_atp,", function()
  case(36, "the sender took reservations off", ATP,
    both(reserved("20:00", -2), shipped("20:30", 2, { reserved = true })), { { 8 } }, "8/8", "8/8")
  case(37, "reserved since the count", ATP, reserved("23:00", -2), { { 10 } }, "12/10", "10/8")
  case(38, "released since the count", { start = { 10, 8 }, settings = ATP.settings },
    reserved("23:00", 2), { { 8 } }, "8/8", "10/10")
end)

describe("rows that aren't covered", function()
  it("case 19: no row, no variance", function()
    local n <close> = night.new()
    shipped("20:00", 2)(n, n.shop)
    n.shop:product("B", "B1")
    n:upload("22:00", {})
    assert.equal(0, n:reset().code)
    assert.equal("8/8", n:totals())
    local outcome = n:variance()
    assert.equal(0, outcome.code, outcome.message)
    assert.equal(1, outcome.figures.skipped)
    assert.equal("8/8", n:totals())
  end)

  it("case 20: a rejected row is not covered", function()
    local n <close> = night.new()
    shipped("20:00", 2)(n, n.shop)
    n:upload("22:00", { { "n/a" } })
    local outcome = n:reset()
    assert.equal(0, outcome.code, outcome.message)
    assert.equal(1, outcome.figures.rejected)
    assert.equal("8/8", n:totals())
    assert.equal(0, n:variance().code)
    assert.equal("8/8", n:totals())
  end)

  it("case 23 warns, case 24 writes both rows to the rejects", function()
    local n <close> = night.new()
    n:upload("22:00", { { 5, "LOC1" }, { 5, "LOC1" } })
    local outcome = n:reset()
    assert.equal(1, outcome.figures.duplicates)
    assert.equal(1, #outcome.figures.warnings)
    n:next_day()
    n:upload("22:00", { { 5, "LOC1" }, { 6, "LOC1" } })
    outcome = n:reset()
    assert.equal(2, outcome.figures.rejected)
    local rejects = n.world:read "archive/2026-11-25/Rejects_20261124T220000Z_import.csv"
    assert.match('\n2,16,"contradictory', rejects)
    assert.match('\n3,16,"contradictory', rejects)
  end)
end)

it("case 21 writes no ledger row, case 22 one of 7", function()
  local rows = "SELECT COUNT(*) FROM inventory_item_detail WHERE reason_enum_id = 'VAR_EXT_RESET'"
  for quantity, count in pairs { [0] = 0, [7] = 1 } do
    local n <close> = night.new { start = false }
    n:upload("22:00", { { quantity } })
    n:reset()
    assert.equal(count, n.world.oms:value(rows))
    assert.equal(1, n.world.oms:value "SELECT COUNT(*) FROM inventory_item")
  end
end)

it("case 26: the smallest id takes the delta", function()
  local n <close> = night.new { start = { 4, 4 } }
  n.shop:item("I2", "A", "NY", 6, 6)
  n:upload("22:00", { { 7 } })
  assert.equal(0, n:reset().code)
  assert.equal("1/1", n:totals "inventory_item_id = 'I1'")
  assert.equal("6/6", n:totals "inventory_item_id = 'I2'")
  assert.equal(0, n:variance().code)
  assert.equal("1/1", n:totals "inventory_item_id = 'I1'")
end)

describe("several files or nights", function()
  it("case 29: the first cycle is settled before the second resets", function()
    local n <close> = night.new()
    shipped("20:00", 2)(n, n.shop)
    n:upload("22:00", { { 10 } })
    n:reset()
    assert.equal("10/10", n:totals())
    n:upload("23:00", { { 10 } })
    assert.equal(0, n:reset("02:20").code)
    assert.equal("10/10", n:totals())
    assert.equal("next reset", n.world.oms:value
      "SELECT settled_by FROM tallyman_cycle WHERE cycle_id = 1")
    assert.equal(0, n:variance().code)
    assert.equal("8/8", n:totals())
    local diffs = {}
    for row in n.world.oms:rows [[SELECT quantity_on_hand_diff AS diff FROM inventory_item_detail
      WHERE physical_inventory_id IS NOT NULL ORDER BY inventory_item_detail_seq_id]] do
      diffs[#diffs + 1] = row.diff
    end
    assert.same({ 2, -2, 2, -2 }, diffs)
  end)

  it("case 30: nothing twice", function()
    local n <close> = night.new()
    shipped("20:00", 2)(n, n.shop)
    n:upload("22:00", { { 10 } })
    n:reset()
    n:upload("22:00", { { 10 } })
    local outcome = n:reset "02:30"
    assert.equal(0, outcome.code, outcome.message)
    assert.match("applied as cycle 1", outcome.figures.already)
    assert.equal("10/10", n:totals())
    assert.equal(0, n:variance().code)
    outcome = n:variance "03:10"
    assert.equal(0, outcome.code)
    assert.match("settled", outcome.figures.already)
    assert.equal("8/8", n:totals())
  end)

  it("case 31: not deducted twice", function()
    local n <close> = night.new()
    shipped("20:00", 2)(n, n.shop)
    n:upload("22:00", { { 10 } })
    n:reset()
    n:variance()
    assert.equal("8/8", n:totals())
    n:next_day()
    n:upload("22:00", {})
    assert.equal(0, n:reset().code)
    assert.equal("8/8", n:totals())
    assert.equal(0, n:variance().code)
    assert.equal("8/8", n:totals())
  end)

  it("case 32: settled from D at the deadline, with an alert", function()
    local n <close> = night.new()
    shipped("20:00", 2)(n, n.shop)
    n.exported = true
    n:upload("22:00", { { 10 } })
    n:reset()
    assert.equal(75, n:variance().code)
    assert.equal(75, n:variance("04:59:59").code)
    assert.equal("10/10", n:totals())
    local outcome = n:variance "05:00"
    assert.equal(0, outcome.code, outcome.message)
    assert.equal(1, #outcome.figures.alerts)
    assert.equal("8/8", n:totals())
  end)

  it("case 33: held without a reset", function()
    local n <close> = night.new()
    shipped("20:00", 2)(n, n.shop)
    assert.equal(75, n:reset().code)
    local outcome = n:variance()
    assert.equal(75, outcome.code)
    assert.equal("held", outcome.state)
    assert.equal("8/8", n:totals())
  end)

  it("case 34: hand-added rows are booked besides D", function()
    local n <close> = night.new()
    n.shop:insert("variance_reason", { variance_reason_id = "VAR_FOUND" })
    shipped("20:00", 2)(n, n.shop)
    n:upload("22:00", { { 10 } })
    n:reset()
    local name = n.world:names "variance" [1]
    local text = n.world:read("variance/" .. name)
    n.world.exchange:remove("variance/" .. name)
    n.world.exchange:put("variance/" .. name, text .. "NY,,SKU,A1,1,VAR_FOUND,behind the shelf\n")
    local outcome = n:variance()
    assert.equal(0, outcome.code, outcome.message)
    assert.equal(1, outcome.figures.hand_added)
    assert.equal("9/9", n:totals())
    assert.equal(0, n:variance("03:30").code)
    assert.equal("9/9", n:totals())
  end)

  it("case 35: an older snapshot is refused", function()
    local n <close> = night.new()
    n:upload("22:00", { { 10 } })
    n:reset()
    n:upload("21:00", { { 4 } })
    assert.equal(3, n:reset("02:30").code)
    assert.equal("10/10", n:totals())
    n:variance()
    assert.equal("10/10", n:totals())
  end)

  it("case 43: our own first reset is no movement", function()
    local n <close> = night.new()
    n:upload("22:00", { { 4 } })
    n:reset()
    assert.equal("4/4", n:totals())
    n:upload("23:00", { { 10 } })
    assert.equal(0, n:reset("02:20").code)
    assert.equal("10/10", n:totals())
    assert.equal(0, n:variance().code)
    assert.equal("10/10", n:totals())
  end)

  it("case 44: identity is snapshot and bytes, not name", function()
    local n <close> = night.new()
    shipped("20:00", 2)(n, n.shop)
    n:upload("22:00", { { 10 } })
    n:reset()
    n:upload("22:00", { { 10 } }, "inbound/ResetInventory_again_20261123_220000.csv")
    local outcome = n:reset "02:10"
    assert.equal(0, outcome.code, outcome.message)
    assert.match("cycle 1", outcome.figures.already)
    n:upload("22:00", { { 9 } })
    outcome = n:reset "02:20"
    assert.equal(3, outcome.code)
    assert.equal("refused", outcome.state)
    assert.equal("10/10", n:totals())
    n:variance()
    assert.equal("8/8", n:totals())
  end)
end)
