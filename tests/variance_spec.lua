--- The variance file: what it says, whose it is, what is booked of it, where it goes.
local night = require "tests.support.night"

local HEADER =
  "facilityId,locationSeqId,idType,idValue,availableDelta,varianceReasonId,comments\n"

local n
before_each(function() n = night.new() end)
after_each(function() n:close() end)

--- The text of the only file in the variance folder.
local function exported() return n.world:read("variance/" .. n.world:names "variance" [1]) end

--- Puts other rows into it.
local function rewrite(rows)
  local name = n.world:names "variance" [1]
  n.world.exchange:remove("variance/" .. name)
  n.world.exchange:put("variance/" .. name, HEADER .. rows)
end

local function ship(at, quantity, item)
  n:on(at, function() n.shop:ship(item or "I1", n:text(at), quantity) end)
end

describe("the export", function()
  it("is written even when it is empty", function()
    n:run("export_variance", "01:30")
    assert.equal(HEADER, exported())
    assert.same({ "InventoryVariance_20261124T013000Z.csv" }, n.world:names "variance")
  end)

  it("sums up by product and facility, over all items, less what is acknowledged", function()
    n.shop:item("I2", "A", "NY", 5, 5)
    ship("20:00", 2)
    ship("21:00", 1, "I2")
    n:on("20:00", function()
      n.shop:acknowledge(n.shop:ship("I1", n:text "20:00", 4), n:text "23:30")
    end)
    n:run("export_variance", "01:30")
    assert.equal(HEADER .. 'NY,,SKU,A1,-3,UNACK_SHIPMENT,"shipped, not acknowledged"\n', exported())
  end)

  it("names products by the first identifier type that names them alone", function()
    n.world.settings.id_types = { "UPCA", "SKU" }
    n.shop:product("B", "B1")
    n.shop:identifier("B", "UPCA", "777")
    n.shop:identifier("A", "UPCA", "777") -- two products: neither is named by it
    n.shop:identifier("A", "UPCA", "999", "2020-01-01 00:00:00", "2026-01-01 00:00:00") -- expired
    ship("20:00", 2)
    n:run("export_variance", "01:30")
    assert.match("\nNY,,SKU,A1,%-2,", exported())
  end)

  it("falls back to PRODUCT_ID, which the import understands", function()
    n.shop:product("B", "A1") -- now A1 names two products
    n.shop:identifier("A", "UPCA", "1")
    n.world.settings.id_types = { "SKU" }
    ship("20:00", 2)
    n:upload_text("22:00", "facilityId,idType,idValue,availableQty\nNY,UPCA,1,10\n")
    n:reset()
    assert.match("\nNY,,PRODUCT_ID,A,%-2,", exported())
    assert.equal(0, n:variance().code)
    assert.equal("8/8", n:totals())
    assert.equal("file 2, late 0", n.world.oms:value
      "SELECT comments FROM inventory_item_variance WHERE variance_reason_id = 'UNACK_SHIPMENT'")
  end)
end)

describe("the import", function()
  it("says what the file deducts and what came on top", function()
    ship("20:00", 2)
    ship("01:45", 3)
    n:upload("22:00", { { 10 } })
    n:reset()
    n:variance()
    local row = n.world.oms:one
      "SELECT * FROM inventory_item_variance WHERE variance_reason_id = 'UNACK_SHIPMENT'"
    assert.same({ "file 2, late 3", -5, -5 },
      { row.comments, row.quantity_on_hand_var, row.available_to_promise_var })
  end)

  it("rejects rows that can't be resolved, and books the deduction all the same", function()
    ship("20:00", 2)
    n:upload("22:00", { { 10 } })
    n:reset()
    rewrite "LA,,SKU,A1,-2,UNACK_SHIPMENT,\nNY,,SKU,A1,x,VAR_LOST,\nNY,,SKU,A1,-1,NO_SUCH,\n"
    local outcome = n:variance()
    assert.equal(0, outcome.code, outcome.message)
    assert.equal(3, #outcome.figures.warnings)
    assert.match(":4: rejected: varianceReasonId is unknown", outcome.figures.warnings[3])
    assert.equal("8/8", n:totals())
  end)

  it("books hand-added rows of uncovered pairs, too, making an item where there is none", function()
    n.shop:insert("variance_reason", { variance_reason_id = "VAR_LOST" })
    n.shop:facility("LA", "202")
    n.shop:product("B", "B1")
    n:upload("22:00", { { 10 } })
    n:reset()
    rewrite "NY,,SKU,A1,-1,VAR_LOST,\nNY,,SKU,A1,-2,VAR_LOST,\nLA,L1,SKU,B1,4,VAR_LOST,\n"
    assert.equal(3, n:variance().figures.hand_added)
    assert.equal("7/7", n:totals "product_id = 'A'")
    assert.equal("4/4", n:totals "product_id = 'B' AND location_seq_id = 'L1'")
    assert.equal(3, n.world.oms:value [[SELECT COUNT(DISTINCT physical_inventory_id)
      FROM inventory_item_detail WHERE reason_enum_id = 'VAR_LOST']])
  end)

  it("takes the newest file of the night, and archives older ones with a warning", function()
    ship("20:00", 2)
    n:upload("22:00", { { 10 } })
    n.world.exchange:put("variance/InventoryVariance_20261122T013000Z.csv",
      HEADER .. "NY,,SKU,A1,-1,VAR_LOST,\n")
    n:reset()
    local outcome = n:variance()
    assert.equal("8/8", n:totals())
    assert.match("hand%-added and not booked: VAR_LOST SKU A1 at NY: %-1",
      table.concat(outcome.figures.warnings, "\n"))
    assert.same({}, n.world:names "variance")
    assert.equal(4, #n.world:names "archive/2026-11-24")
  end)

  it("never takes a file of another night", function()
    n.exported = true
    n:upload("22:00", { { 10 } })
    n.world.exchange:put("variance/InventoryVariance_20261123T013000Z.csv", HEADER)
    n:reset()
    local outcome = n:variance()
    assert.equal(75, outcome.code)
    assert.match("variance file of cycle 1 isn't there", outcome.message)
  end)

  it("archives a file that turns up after the deadline, and warns of its rows", function()
    n.exported = true
    ship("20:00", 2)
    n:upload("22:00", { { 10 } })
    n:reset()
    n:variance "05:00"
    n.world.exchange:put("variance/InventoryVariance_20261124T013000Z.csv",
      HEADER .. "NY,,SKU,A1,1,VAR_FOUND,\n")
    local outcome = n:variance "05:30"
    assert.equal(0, outcome.code)
    assert.match("VAR_FOUND", table.concat(outcome.figures.warnings, "\n"))
    assert.equal("8/8", n:totals())
    assert.same({}, n.world:names "variance")
  end)

  it("settles an earlier night's cycle past its deadline, whichever night it runs in", function()
    n.exported = true
    ship("20:00", 2)
    n:upload("22:00", { { 10 } })
    n:reset()
    n:next_day()
    local outcome = n:variance "03:00"
    assert.equal(0, outcome.code, outcome.message)
    assert.equal("8/8", n:totals())
    outcome = n:variance "03:30"
    assert.equal(75, outcome.code)
    assert.match("no reset was applied tonight", outcome.message)
  end)

  it("holds an earlier night's cycle whose deadline isn't past", function()
    n.exported = true
    n:upload("22:00", { { 10 } })
    n:run("active_products", "01:00")
    n:run("filter_inventory", "01:30")
    n:run("import_reset", "11:30")
    n.day = 25
    assert.equal(75, n:variance("12:30").code) -- the next night has begun
    assert.equal(0, n:variance("14:30").code)
  end)

  it("of a file that can't be trusted fails, and changes nothing", function()
    ship("20:00", 2)
    n:upload("22:00", { { 10 } })
    n:reset()
    rewrite 'NY,,SKU,A1,-2,UNACK_SHIPMENT,"cut'
    assert.equal(65, n:variance().code)
    assert.equal("10/10", n:totals())
  end)
end)

describe("trouble", function()
  it("with other column names in the POS's file leaves our own file's names alone", function()
    for ours, theirs in pairs { facilityId = "STORE", idType = "TYPE", idValue = "CODE" } do
      n.world.settings.columns[ours] = theirs
    end
    ship("20:00", 2)
    n:upload_text("22:00", "STORE,TYPE,CODE,availableQty\nNY,SKU,A1,10\n")
    n:reset()
    assert.equal(0, n:variance().code)
    assert.equal("8/8", n:totals())
  end)

  it("with the file is over at the deadline: settled without it, with an alert", function()
    ship("20:00", 2)
    n:upload("22:00", { { 10 } })
    n:reset()
    local name = n.world:names "variance" [1]
    n.world.exchange:remove("variance/" .. name)
    n.world.exchange:put("variance/" .. name, "foo,bar\n")
    assert.equal(65, n:variance().code)
    local outcome = n:variance "05:00"
    assert.equal(0, outcome.code, outcome.message)
    assert.match("can't be used: .*no column 'availableDelta'", outcome.figures.alerts[1])
    assert.equal("8/8", n:totals())
    assert.same({}, n.world:names "variance")
  end)

  it("with one broken row leaves the product's other rows alone", function()
    n.shop:insert("variance_reason", { variance_reason_id = "VAR_FOUND" })
    n:upload("22:00", { { 10 } })
    n:reset()
    rewrite "NY,,SKU,A1,5,VAR_FOUND\nNY,,SKU,A1,3,VAR_FOUND,\n"
    local outcome = n:variance()
    assert.equal(1, outcome.figures.rejected)
    assert.equal("13/13", n:totals())
  end)

  it("with a pair whose item is gone is an alert, and the others are booked", function()
    n.shop:product("B", "B1")
    n.shop:item("I2", "B", "NY", 5, 5)
    ship("20:00", 2)
    ship("20:00", 1, "I2")
    n:upload_text("22:00", "facilityId,idType,idValue,availableQty\nNY,SKU,A1,10\nNY,SKU,B1,5\n")
    n:reset()
    n.world.oms:run "UPDATE inventory_item SET facility_id = 'LA' WHERE inventory_item_id = 'I1'"
    local outcome = n:variance()
    assert.equal(0, outcome.code, outcome.message)
    assert.match("product A at NY has no inventory item", outcome.figures.alerts[1])
    assert.equal("4/4", n:totals "inventory_item_id = 'I2'")
  end)

  it("with items that belong nowhere is a warning of the export", function()
    n.shop:item("I2", "A", "NY", 5, 5)
    ship("20:00", 2)
    ship("20:00", 1, "I2")
    n:at "23:00"
    n.world.oms:run "UPDATE inventory_item SET facility_id = NULL WHERE inventory_item_id = 'I2'"
    local outcome = n:run("export_variance", "01:30")
    assert.match("1 shipments", outcome.figures.warnings[1])
    assert.match("\nNY,,SKU,A1,%-2,", exported())
  end)
end)
