--- What the deduction counts beyond the numeric cases: delays, nulls, transfers, old shipments.
local night = require "tests.support.night"

--- After a night whose file says 10: QOH/ATP in the end, and the reset's outcome.
local function after(n, quantity)
  n:upload("22:00", { { quantity or 10 } })
  local outcome = n:reset()
  assert.equal(0, outcome.code, outcome.message)
  assert.equal(0, n:variance().code)
  return n:totals(), outcome
end

local function with(settings, run)
  return function()
    local n <close> = night.new { settings = settings }
    run(n, n.shop)
  end
end

describe("delays", function()
  it("shift sales, and those within are listed as uncertain",
    with({ pos = { sale_delay = "10m" } }, function(n, shop)
      shop:move("I1", n:text "22:10", -1, -1) -- 22:00 on the POS's clock: counted
      shop:move("I1", n:text "22:10:01", -2, -2)
      local totals, outcome = after(n)
      assert.equal("8/8", totals)
      assert.equal(1, #outcome.figures.uncertain)
      assert.match("I1/00002", outcome.figures.uncertain[1])
    end))

  it("shift acknowledgements", with({ pos = { ack_delay = "10m" } }, function(n, shop)
    shop:acknowledge(shop:ship("I1", n:text "20:00", 1), n:text "22:10")
    shop:acknowledge(shop:ship("I1", n:text "20:00", 2), n:text "22:10:01")
    local totals, outcome = after(n)
    assert.equal("8/8", totals)
    assert.match("acknowledgement of order O", outcome.figures.uncertain[1])
  end))
end)

describe("nulls", function()
  it("in times are long ago, and reported", with(nil, function(n, shop)
    shop:move("I1", n.world.oms.null, -1, -1)
    shop:acknowledge(shop:ship("I1", n:text "20:00", 2), nil)
    local totals, outcome = after(n)
    assert.equal("10/10", totals)
    assert.equal(2, #outcome.figures.timeless)
  end))

  it("in quantities are 0, in reasons a movement", with(nil, function(n, shop)
    local null = n.world.oms.null
    n.world.oms:run "UPDATE inventory_item SET available_to_promise_total = NULL"
    shop:insert("inventory_item_detail", { inventory_item_id = "I1",
      inventory_item_detail_seq_id = "00009", effective_date = n:text "23:00",
      quantity_on_hand_diff = null, available_to_promise_diff = null, reason_enum_id = null })
    n:upload("22:00", { { 12 } })
    n:reset()
    assert.equal("12/2", n:totals())
    assert.equal("00010", n.world.oms:value
      "SELECT MAX(inventory_item_detail_seq_id) FROM inventory_item_detail")
  end))

  it("in an issuance's time make it stale, and it is deducted all the same", with(nil,
    function(n, shop)
      shop:leave(shop:issue("I1", nil, 2), n:text "20:00", 2)
      local totals, outcome = after(n)
      assert.equal("8/8", totals)
      assert.equal(1, #outcome.figures.stale)
    end))
end)

describe("shipments", function()
  it("older than stale_days are deducted and reported", with(nil, function(n, shop)
    shop:ship("I1", "2026-10-09 00:00:00", 2)
    local totals, outcome = after(n)
    assert.equal("8/8", totals)
    assert.equal(1, #outcome.figures.stale)
    assert.match("order O%d+, shipment S%d+, product A at NY", outcome.figures.stale[1])
  end))

  it("that are stale are counted, not only those that are shown", with(nil, function(n, shop)
    for _ = 1, 25 do shop:ship("I1", "2026-10-01 00:00:00", 1) end
    local _, outcome = after(n)
    assert.equal(25, outcome.figures.stale_rows)
    assert.equal("and 5 more", outcome.figures.stale[21])
    assert.match("^25 ", outcome.figures.warnings[1])
  end))

  it("aren't called stale where nothing is deducted for them",
    with({ reset = { method = "exact_atp" } }, function(n, shop)
      shop:ship("I1", "2026-10-01 00:00:00", 1)
      assert.equal(0, select(2, after(n)).figures.stale_rows)
    end))

  it("before shipments_since don't count", with({ oms = { shipments_since = "2026-11-20 00:00" } },
    function(n, shop)
      shop:ship("I1", "2026-11-19 23:59:59", 2)
      shop:ship("I1", "2026-11-20 00:00:00", 1)
      assert.equal("9/9", (after(n)))
    end))

  it("count by the statuses that the settings name", with({ oms = { shipped = { "GONE" } } },
    function(n, shop)
      shop:ship("I1", n:text "20:00", 2) -- SHIPMENT_SHIPPED: now a movement before the snapshot
      shop:issue("I1", n:text "20:00", 3, { status = "GONE" })
      assert.equal("7/7", (after(n)))
    end))

  it("of transfers are movements, by their stamps", with(nil, function(n, shop)
    shop:ship("I1", n:text "20:00", 2, { order_type = "TRANSFER_ORDER" })
    shop:ship("I1", n:text "23:00", 1, { order_type = "TRANSFER_ORDER" })
    assert.equal("9/9", (after(n)))
  end))

  it("received or returned, with a shipment but no issuance, are movements", with(nil,
    function(n, shop)
      shop:move("I1", n:text "23:00", 3, 3, { shipment_id = "RECEIPT" })
      assert.equal("13/13", (after(n)))
    end))

  it("acknowledged for another item of the order are unacknowledged", with(nil, function(n, shop)
    local sale = shop:ship("I1", n:text "20:00", 2)
    sale.order_item_seq_id = "00002"
    shop:acknowledge(sale, n:text "21:00")
    assert.equal("8/8", (after(n)))
  end))
end)

it("movements count by a rule on their reason", function()
  local asked = {}
  local n <close> = night.new { settings = { reset = { movement = function(reason)
    asked[reason] = true
    return reason ~= "VAR_FOUND"
  end } } }
  n.shop:move("I1", n:text "23:00", 5, 5, { reason_enum_id = "VAR_FOUND" })
  n.shop:move("I1", n:text "23:00", -1, -1, { reason_enum_id = "POS_SALE" })
  assert.equal("9/9", (after(n)))
  assert.same({ VAR_FOUND = true, POS_SALE = true }, asked)
end)

it("a VAR_EXT_RESET row of another program is a movement", with(nil, function(n, shop)
  shop:move("I1", n:text "23:00", -4, -4,
    { reason_enum_id = "VAR_EXT_RESET", physical_inventory_id = "9" })
  assert.equal("6/6", (after(n)))
end))

it("hand-added rows of the night before are movements of the next", with(nil, function(n, shop)
  shop:insert("variance_reason", { variance_reason_id = "VAR_FOUND" })
  n:upload("22:00", { { 10 } })
  n:reset()
  local name = n.world:names "variance" [1]
  n.world.exchange:remove("variance/" .. name)
  n.world.exchange:put("variance/" .. name, "facilityId,idType,idValue,availableDelta,"
    .. "varianceReasonId\nNY,SKU,A1,2,VAR_FOUND\n")
  n:variance()
  assert.equal("12/12", n:totals())
  n:upload("02:30", { { 10 } }) -- counted before the row was booked at 03:00
  n:run("filter_inventory", "03:30")
  assert.equal(0, n:run("import_reset", "03:40").code)
  n:run("export_variance", "03:45")
  n:variance "03:50"
  assert.equal("12/12", n:totals())
end))

it("times of the OMS in a zone of its own are compared in it",
  with({ oms = { timezone = "Asia/Tokyo" } }, function(n, shop)
    shop:move("I1", "2026-11-24 07:00:00", -1, -1) -- 22:00 UTC: counted
    shop:move("I1", "2026-11-24 07:00:01", -2, -2)
    assert.equal("8/8", (after(n)))
    assert.equal("2026-11-24 11:00:00.000", n.world.oms:value [[SELECT {stamp MIN(effective_date)}
      FROM inventory_item_detail WHERE reason_enum_id = 'VAR_EXT_RESET']])
  end))
