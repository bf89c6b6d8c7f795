--- The reset: which rows resolve, which are rejected and where, what is deducted, what is stored.
local night = require "tests.support.night"

local HEADER = "facilityId,locationSeqId,idType,idValue,availableQty,externalFacilityId,"
  .. "productId,comments\n"

--- Applies a file; gives the outcome.
local function apply(n, text)
  n:upload_text("22:00", text)
  return n:reset()
end

--- The import's rejects as { { line, column, reason } }.
local function rejects(n, step)
  local text = n.world:read(("archive/2026-11-%02d/Rejects_202611%02dT220000Z_%s.csv")
    :format(n.day, n.day - 1, step or "import"))
  local list = {}
  for line, column, reason in (text or ""):gmatch '\n(%d+),(%d+),"([^"]*)",' do
    list[#list + 1] = { tonumber(line), tonumber(column), reason }
  end
  return list
end

local function coverage(n)
  return n.world.oms:one "SELECT * FROM tallyman_coverage"
end

local n
before_each(function() n = night.new() end)
after_each(function() n:close() end)

describe("a row is rejected by itself, with line, column and reason, when", function()
  --- A row among good ones; the good ones are applied.
  local function rejected(title, row, column, reason, prepare)
    it(title, function()
      n.shop:product("B", "B1")
      n.shop:item("I9", "B", "NY", 1, 1)
      if prepare then prepare(n.shop) end
      local outcome = apply(n, HEADER .. "NY,,SKU,B1,4,,,\n" .. row .. "\n")
      assert.equal(0, outcome.code, outcome.message)
      assert.equal("4/4", n:totals "inventory_item_id = 'I9'")
      local found = rejects(n)
      assert.equal(1, #found)
      assert.equal(3, found[1][1])
      assert.equal(column, found[1][2])
      assert.match(reason, found[1][3], 1, true)
      assert.equal(1, outcome.figures.rejected)
      assert.equal(1, #outcome.figures.warnings)
    end)
  end

  rejected("its facility is unknown", "LA,,SKU,A1,5,,,", 1, "facility is unknown")
  rejected("its facility is unknown though its store code is known", "LA,,SKU,A1,5,101,,", 1,
    "facility is unknown")
  rejected("its store code is unknown", ",,SKU,A1,5,999,,", 12, "facility is unknown")
  rejected("its store code is that of two facilities", ",,SKU,A1,5,55,,", 12,
    "more than one facility", function(shop)
      shop:facility("X1", "55")
      shop:facility("X2", "55")
    end)
  rejected("it names no facility", ",,SKU,A1,5,,,", 1, "are empty")
  rejected("it has no quantity", "NY,,SKU,A1,,,,", 12, "availableQty is empty")
  rejected("its quantity is no number", 'NY,"a, b",SKU,A1,5x,,,', 18, "availableQty is no number")
  rejected("its identifier belongs to two products", "NY,,SKU,A1,5,,,", 9, "more than one product",
    function(shop) shop:identifier("B", "sku", "A1") end)

  it("its product is unknown: expired since the filter, and productId doesn't help", function()
    n:upload_text("22:00", HEADER .. "NY,,SKU,A1,5,,A,\n")
    n:run("active_products", "01:00")
    n:run("filter_inventory", "01:30")
    n.world.oms:run "UPDATE good_identification SET thru_date = '2026-11-24 01:45:00'"
    assert.equal(0, n:run("import_reset", "02:00").code)
    assert.same({ { 2, 9, "product is unknown: no identifier valid now" } }, rejects(n))
    assert.equal("10/10", n:totals())
  end)
end)

it("writes no rejects file when there are none", function()
  apply(n, HEADER .. "NY,,SKU,A1,5,,,\n")
  assert.same({ "ResetInventoryActive_20261123T220000Z.csv", "ResetInventory_20261123_220000.csv" },
    n.world:names "archive/2026-11-24")
end)

describe("resolving", function()
  it("takes the store code where facilityId is empty, types in any case, columns in any order",
    function()
      local header = "AVAILABLEQTY,externalfacilityid,IDVALUE,idtype\n"
      assert.equal(0, apply(n, header .. "7,101,A1,sku\n").code)
      assert.equal("7/7", n:totals())
    end)

  it("takes locations of any length and with zero bytes", function()
    local long = ("L"):rep(300)
    local outcome = apply(n, HEADER .. ("NY,%s,SKU,A1,7,,,\nNY,a\0b,SKU,A1,1,,,\n"):format(long))
    assert.equal(0, outcome.code, outcome.message)
    assert.equal("8/8", n:totals())
  end)

  it("makes an item without a location that is too long for the OMS, and says so", function()
    n.shop:facility("LA")
    local outcome = apply(n, HEADER .. ("LA,%s,SKU,A1,7,,,\n"):format(("L"):rep(21)))
    assert.equal(0, outcome.code, outcome.message)
    assert.is_nil(n.world.oms:value
      "SELECT location_seq_id FROM inventory_item WHERE facility_id = 'LA'")
    assert.equal(1, outcome.figures.unplaced)
    assert.match("too long for the OMS", outcome.figures.warnings[1])
  end)

  it("leaves out facilities that the settings name, without rejecting them", function()
    n.world.settings.ignore_facilities = { "999", "POPUP" }
    local outcome = apply(n, HEADER .. ",,SKU,A1,n/a,999,,\nPOPUP,,SKU,A1,3,,,\nNY,,SKU,A1,7,,,\n")
    assert.equal(2, outcome.figures.ignored)
    assert.equal(0, outcome.figures.rejected)
    assert.equal("7/7", n:totals())
  end)

  it("maps other column names from the settings", function()
    n.world.settings.columns.availableQty = "ON_HAND"
    n.world.settings.columns.facilityId = "STORE"
    n.world.settings.columns.idValue = "ALU"
    assert.equal(0, apply(n, "STORE,idType,ALU,ON_HAND\nNY,SKU,A1,6\n").code)
    assert.equal("6/6", n:totals())
  end)

  it("takes two identifiers of one product for one pair", function()
    n.shop:identifier("A", "UPCA", "0001")
    assert.equal(1, apply(n, HEADER .. "NY,,SKU,A1,5,,,\nNY,,UPCA,0001,5,,,\n").figures.duplicates)
    assert.equal("5/5", n:totals())
  end)

  it("takes a decimal comma in a file with semicolons", function()
    assert.equal(0, apply(n, "facilityId;idType;idValue;availableQty\nNY;SKU;A1;2,5\n").code)
    assert.equal("2.5/2.5", n:totals())
  end)
end)

describe("a pair", function()
  it("that lost a row isn't covered; its good rows get a line each", function()
    apply(n, HEADER .. "NY,L1,SKU,A1,5,,,\nNY,L2,SKU,A1,x,,,\nNY,L1,SKU,A1,5,,,\n")
    local found = rejects(n)
    assert.equal(3, #found)
    assert.match("another row of this pair", found[1][3])
    assert.match("no number", found[2][3])
    assert.is_nil(coverage(n))
    assert.equal("10/10", n:totals())
  end)

  it("whose product is named in the filter's rejects isn't covered, anywhere", function()
    n.shop:facility("LA", "202")
    local outcome = apply(n, HEADER .. "NY,,SKU,A1,5,,,\nLA,,SKU,A1,6,,\n")
    assert.equal(0, outcome.code, outcome.message)
    assert.same({ { 3, 15, "fewer fields than the header" } }, rejects(n, "filter"))
    assert.match("another record of this product", rejects(n)[1][3])
    assert.is_nil(coverage(n))
  end)

  it("of contradictory rows can be decided by a rule: the last one", function()
    local asked
    n.world.settings.reset.contradiction = function(rows)
      asked = rows
      return "last"
    end
    apply(n, HEADER .. "NY,L1,SKU,A1,5,,,\nNY,L1,SKU,A1,6,,,\nNY,L2,SKU,A1,1,,,\n")
    assert.equal("7/7", n:totals())
    assert.same({ "5", "6" }, { asked[1].quantity, asked[2].quantity })
  end)

  it("of contradictory rows takes the last one, also where it repeats the first", function()
    n.world.settings.reset.contradiction = "last"
    apply(n, HEADER .. "NY,L1,SKU,A1,5,,,\nNY,L1,SKU,A1,6,,,\nNY,L1,SKU,A1,5,,,\n")
    assert.equal("5/5", n:totals())
  end)

  it("of contradictory rows can be decided by a rule: the sum", function()
    n.world.settings.reset.contradiction = "sum"
    apply(n, HEADER .. "NY,L1,SKU,A1,5,,,\nNY,L1,SKU,A1,6,,,\n")
    assert.equal("11/11", n:totals())
  end)

  it("is stored with what was seen", function()
    n:on("20:00", function() n.shop:ship("I1", n:text "20:00", 2) end)
    n:on("23:00", function()
      n.shop:move("I1", n:text "23:00", -1, -1, { reason_enum_id = "X" })
    end)
    apply(n, HEADER .. "NY,,SKU,A1,10,,,\n")
    local kept = coverage(n)
    assert.same({ 2, 10, 7, 7, 3, 3, 7, 7 }, { kept.line, kept.quantity, kept.qoh_before,
      kept.atp_before, kept.delta, kept.deduction, kept.ledger_qoh, kept.ledger_atp })
  end)

  it("with several items changes the one whose id is smallest as bytes, and books there", function()
    n.shop:product("B", "B1")
    n.shop:item("a", "B", "NY", 5, 5)
    n.shop:item("Z", "B", "NY", 5, 5)
    n.shop:move("a", n:text "23:00", -1, -1)
    apply(n, HEADER .. "NY,,SKU,B1,12,,,\n")
    assert.equal("8/8", n:totals "inventory_item_id = 'Z'")
    n:variance()
    assert.equal("7/7", n:totals "inventory_item_id = 'Z'")
    assert.equal("4/4", n:totals "inventory_item_id = 'a'")
  end)

  it("without an item gets one at the location of its first row, with the next free id", function()
    n.world.oms:run "INSERT INTO sequence_value_item VALUES ('InventoryItem', 10050)"
    n.shop:facility("LA", "202")
    apply(n, HEADER .. "LA,L7,SKU,A1,0,,,\nLA,L8,SKU,A1,0,,,\n")
    assert.same({ inventory_item_id = "10050", inventory_item_type_id = "NON_SERIAL_INV_ITEM",
      product_id = "A", facility_id = "LA", location_seq_id = "L7", quantity_on_hand_total = 0,
      available_to_promise_total = 0 },
      n.world.oms:one "SELECT * FROM inventory_item WHERE facility_id = 'LA'")
    assert.equal(10051, n.world.oms:value
      "SELECT seq_id FROM sequence_value_item WHERE seq_name = 'InventoryItem'")
  end)
end)

describe("the ledger", function()
  it("gets one row and one variance row, under a physical inventory of the reset", function()
    apply(n, HEADER .. "NY,,SKU,A1,4,,,\n")
    local row = n.world.oms:one
      [[SELECT d.*, {stamp d.effective_date} AS at FROM inventory_item_detail d
        WHERE reason_enum_id IS NOT NULL]]
    assert.same({ "00002", "2026-11-24 02:00:00.000", -6, -6, "VAR_EXT_RESET" },
      { row.inventory_item_detail_seq_id, row.at, row.quantity_on_hand_diff,
        row.available_to_promise_diff, row.reason_enum_id })
    local variance = n.world.oms:one "SELECT * FROM inventory_item_variance"
    assert.same({ "I1", row.physical_inventory_id, "VAR_EXT_RESET", -6, -6 },
      { variance.inventory_item_id, variance.physical_inventory_id, variance.variance_reason_id,
        variance.available_to_promise_var, variance.quantity_on_hand_var })
    assert.equal(row.physical_inventory_id,
      n.world.oms:value "SELECT physical_inventory_id FROM physical_inventory")
    assert.equal(1, n.world.oms:value
      "SELECT COUNT(*) FROM variance_reason WHERE variance_reason_id = 'VAR_EXT_RESET'")
  end)

  it("gets a physical inventory even when there is nothing to book", function()
    apply(n, HEADER .. "NY,,SKU,A1,10,,,\n")
    assert.equal(0, n.world.oms:value "SELECT COUNT(*) FROM inventory_item_variance")
    n:variance()
    assert.equal(2, n.world.oms:value "SELECT COUNT(*) FROM physical_inventory")
  end)
end)

it("is refused by a guard with nothing changed, an open cycle before it left open", function()
  apply(n, HEADER .. "NY,,SKU,A1,4,,,\n")
  n.world.settings.guards = { function(figures)
    if figures.changed == 1 then return "changes " .. figures.changed end
  end }
  n:next_day()
  local outcome = apply(n, HEADER .. "NY,,SKU,A1,5,,,\n")
  assert.equal(3, outcome.code)
  assert.match("guard 1 refuses .*: changes 1", outcome.message)
  assert.equal("4/4", n:totals())
  assert.is_nil(n.world.oms:value "SELECT settled_at FROM tallyman_cycle")
end)

it("refuses a snapshot over ten minutes in the future, and takes one within", function()
  n:upload("02:11", { { 4 } })
  assert.equal(3, n:reset().code)
  n:upload("02:09", { { 4 } })
  n.world.exchange:remove "inbound/ResetInventory_20261124_021100.csv"
  n.world.exchange:remove "filtered/ResetInventoryActive_20261124T021100Z.csv"
  assert.equal(0, n:reset().code)
end)

it("leaves an inbound file that was replaced after the filter had read it, and says so", function()
  n:upload("22:00", { { 4 } })
  n:run("active_products", "01:00")
  n:run("filter_inventory", "01:30")
  n:upload("22:00", { { 400 } })
  local outcome = n:run("import_reset", "02:00")
  assert.equal("4/4", n:totals())
  assert.match("was replaced after the filter", outcome.figures.warnings[1])
  assert.equal("ResetInventory_20261123_220000.csv", n.world:names "inbound" [1])
  n:run("filter_inventory", "02:10")
  assert.equal(3, n:run("import_reset", "02:20").code) -- same snapshot, other bytes
end)

it("is done, with an alert, when only the archive is in the way; a later run archives", function()
  local blocked = n.world.folder .. "/exchange/archive"
  assert(io.open(blocked, "w")):close()
  n:upload("22:00", { { 4 } })
  local outcome = n:reset()
  assert.equal("done", outcome.state, outcome.message)
  assert.match("not archived: cannot create", outcome.figures.alerts[1])
  assert.equal("4/4", n:totals())
  os.remove(blocked)
  outcome = n:run("import_reset", "02:10")
  assert.match("applied as cycle 1", outcome.figures.already)
  assert.same({}, n.world:names "filtered")
end)

it("keeps the rejects of a filtered file that a second filter may not replace", function()
  n.shop:product("B", "B1")
  n:upload_text("22:00", HEADER .. "NY,,SKU,A1,5,,,\nNY,,SKU,B1,6,,\n")
  n:run("active_products", "01:00")
  n:run("filter_inventory", "01:30")
  n.world.oms:run "UPDATE product SET sales_discontinuation_date = '2026-11-24 01:35:00'"
  n:run("active_products", "01:40")
  assert.equal(73, n:run("filter_inventory", "01:45").code)
  assert.match("SKU,B1", n.world:read "filtered/Rejects_20261123T220000Z_filter.csv")
end)

it("leaves a replaced inbound file alone though the filter has failed since", function()
  n:upload("22:00", { { 4 } })
  n:run("active_products", "01:00")
  n:run("filter_inventory", "01:30")
  n:upload("22:00", { { 400 } })
  assert.equal(73, n:run("filter_inventory", "01:40").code)
  assert.equal(0, n:run("import_reset", "02:00").code)
  assert.equal("ResetInventory_20261123_220000.csv", n.world:names "inbound" [1])
end)

it("reads rejects that quoting has made longer than a record may be", function()
  n.world.settings.max_record = 4096
  local row = 'NY,,SKU,A1,5,,,"' .. ('""'):rep(1900) .. '"x\n'
  local outcome = apply(n, HEADER .. row .. "NY,,SKU,A1,7,,,\n")
  assert.equal(0, outcome.code, outcome.message)
  assert.equal(1, outcome.figures.rejected)
  assert.equal("10/10", n:totals())
end)
