--- Edges of the rules, each on one shop: what counts, what is listed, where ids and comments end.
local night = require "tests.support.night"
local oms_class = require "tallyman.oms".class

local function with(options, run)
  return function()
    local n <close> = night.new(options)
    run(n, n.shop)
  end
end

--- After a night whose file says 10: totals in the end, the reset's and the variance's outcome.
local function after(n, quantity)
  n:upload("22:00", { { quantity or 10 } })
  local outcome = n:reset()
  assert.equal(0, outcome.code, outcome.message)
  local second = n:variance()
  assert.equal(0, second.code, second.message)
  return n:totals(), outcome, second
end

--- The same, with these rows added to the variance file by hand.
local function with_rows(n, rows)
  n:upload("22:00", { { 10 } })
  assert.equal(0, n:reset().code)
  local name = "variance/" .. n.world:names "variance" [1]
  local text = n.world:read(name)
  n.world.exchange:remove(name)
  n.world.exchange:put(name, text .. rows)
  return n:variance()
end

describe("rows at one place, of which one is faulty,", function()
  for _, rule in ipairs { "reject", "last", "sum" } do
    it("are all rejected, each for its own fault: " .. rule,
      with({ settings = { reset = { contradiction = rule } } }, function(n)
        n:upload("22:00", { { 5, "L" }, { 6, "L" }, { "n/a", "L" } })
        local outcome = n:reset()
        assert.equal(0, outcome.code, outcome.message)
        assert.equal(3, outcome.figures.rejected)
        local rejects = n.world:read "archive/2026-11-24/Rejects_20261123T220000Z_import.csv"
        assert.match("\n4,[^\n]*is no number", rejects)
      end))
  end
end)

it("an issuance without a time is before shipments_since",
  with({ settings = { oms = { shipments_since = "2026-11-20 00:00" } } }, function(n, shop)
    shop:leave(shop:issue("I1", nil, 2), n:text "20:00", 2)
    assert.equal("10/10", (after(n)))
  end))

it("the smallest id is that by bytes", with({ start = false }, function(n, shop)
  shop:item("a1", "A", "NY", 6, 6)
  shop:item("B1", "A", "NY", 4, 4)
  after(n, 7)
  assert.equal("1/1", n:totals "inventory_item_id = 'B1'")
end))

it("an acknowledged shipment is not stale", with(nil, function(n, shop)
  shop:acknowledge(shop:ship("I1", "2026-10-01 00:00:00", 1), "2026-10-02 00:00:00")
  assert.equal(0, select(2, after(n)).figures.stale_rows)
end))

it("nor is one before shipments_since",
  with({ settings = { oms = { shipments_since = "2026-11-20 00:00" } } }, function(n, shop)
    shop:ship("I1", "2026-10-01 00:00:00", 1)
    assert.equal(0, select(2, after(n)).figures.stale_rows)
  end))

it("our own rows are never uncertain",
  with({ settings = { pos = { sale_delay = "10m" } } }, function(n, shop)
    shop:ship("I1", n:text "20:00", 2)
    after(n)
    n:upload("02:55", { { 10 } })
    n:run("filter_inventory", "03:20")
    local outcome = n:run("import_reset", "03:30")
    assert.equal(0, outcome.code, outcome.message)
    assert.same({}, outcome.figures.uncertain)
  end))

it("an acknowledgement at the snapshot is certain",
  with({ settings = { pos = { ack_delay = "10m" } } }, function(n, shop)
    shop:acknowledge(shop:ship("I1", n:text "20:00", 2), n:text "22:00")
    assert.same({}, select(2, after(n)).figures.uncertain)
  end))

it("an acknowledgement within the delay is listed once, for its shipment",
  with({ settings = { pos = { ack_delay = "10m" } } }, function(n, shop)
    local first = shop:ship("I1", n:text "20:00", 2)
    shop:insert("shipment", { shipment_id = "S9", status_id = "SHIPMENT_SHIPPED" })
    shop:insert("item_issuance", { item_issuance_id = "X9", order_id = first.order_id,
      order_item_seq_id = "00001", shipment_id = "S9", shipment_item_seq_id = "00001",
      inventory_item_id = "I1", issued_date_time = n:text "20:10", quantity = 1 })
    shop:acknowledge(first, n:text "22:05")
    assert.equal(1, #select(2, after(n)).figures.uncertain)
  end))

it("an issuance without a time is reported", with(nil, function(n, shop)
  shop:leave(shop:issue("I1", nil, 2), n:text "20:00", 2)
  local _, outcome = after(n)
  assert.equal(1, outcome.figures.timeless_rows)
  assert.match("^issuance X%d+ has no time", outcome.figures.timeless[1])
end))

it("an item that the reset made stands in the coverage, at 0", with({ start = false },
  function(n)
    after(n, 7)
    assert.equal(1, n.world.oms:value "SELECT COUNT(*) FROM tallyman_coverage_item")
  end))

it("an identifier is valid from its very second", with({ start = false }, function(n, shop)
  n.world.oms:run "UPDATE good_identification SET from_date = '2026-11-24 02:00:00'"
  n:upload("22:00", { { 7 } })
  shop:identifier("A", "SKU", "OTHER")
  n:run("active_products", "02:00")
  n:run("filter_inventory", "02:00")
  assert.equal(1, n:run("import_reset", "02:00").figures.covered)
end))

it("and no more from its end on", with(nil, function(n)
  n:upload("22:00", { { 7 } })
  n:run("active_products", "01:00")
  n:run("filter_inventory", "01:30")
  n.world.oms:run "UPDATE good_identification SET thru_date = '2026-11-24 02:00:00'"
  assert.equal(1, n:run("import_reset", "02:00").figures.rejected)
end))

describe("a row that names no place or product", function()
  it("isn't one of a facility whose external id is empty", with({ start = false },
    function(n, shop)
      shop:facility("NASH", "")
      n:upload_text("22:00", "facilityId,externalFacilityId,idType,idValue,availableQty\n"
        .. ",,SKU,A1,3\nNASH,,SKU,A1,4\n")
      local outcome = n:reset()
      assert.equal(1, outcome.figures.covered)
    end))
end)

describe("in a variance file, PRODUCT_ID", function()
  for text, row in pairs { ["that no product has"] = "PRODUCT_ID,NOPE",
    ["is an idType of its own"] = "SKU,A" } do
    it(text, with(nil, function(n, shop)
      shop:insert("variance_reason", { variance_reason_id = "VAR_FOUND" })
      local outcome = with_rows(n, "NY,," .. row .. ",1,VAR_FOUND,\n")
      assert.equal(0, outcome.code, outcome.message)
      assert.equal(1, outcome.figures.rejected)
      assert.equal(1, n.world.oms:value "SELECT COUNT(*) FROM inventory_item")
    end))
  end
  it("may be written in any case", with(nil, function(n, shop)
    shop:insert("variance_reason", { variance_reason_id = "VAR_FOUND" })
    local outcome = with_rows(n, "NY,,product_id,A,1,VAR_FOUND,\n")
    assert.equal(1, outcome.figures.hand_added)
  end))
  it("counts only where no identifier says otherwise", with(nil, function(n, shop)
    shop:insert("variance_reason", { variance_reason_id = "VAR_FOUND" })
    shop:insert("product", { product_id = "B" })
    shop:item("I9", "B", "NY", 1, 1)
    shop:identifier("B", "PRODUCT_ID", "A")
    with_rows(n, "NY,,PRODUCT_ID,A,1,VAR_FOUND,\n")
    assert.equal("2/2", n:totals "inventory_item_id = 'I9'")
  end))
end)

it("ids of our own lie above all there are", with({ start = false }, function(n, shop)
  shop:product("B", "B1")
  shop:item("20000", "B", "NY", 1, 1)
  shop:insert("physical_inventory", { physical_inventory_id = "30000" })
  after(n, 7)
  assert.equal("7/7", n:totals "inventory_item_id = '20001'")
  assert.equal("30001", n.world.oms:value "SELECT reset_id FROM tallyman_cycle")
end))

for text, location in pairs { ["none is NULL"] = "", ["one of 20 fits"] = ("L"):rep(20),
  ["one of 21 doesn't"] = ("L"):rep(21) } do
  it("a new item's location: " .. text, with({ start = false }, function(n)
    n:upload("22:00", { { 7, location } })
    assert.equal(0, n:reset().code)
    assert.equal(#location == 20 and location or nil,
      n.world.oms:value "SELECT location_seq_id FROM inventory_item")
  end))
end

it("new items are numbered as the file has them", with({ start = false }, function(n, shop)
  shop:product("B", "B1")
  n:upload_text("22:00", "facilityId,idType,idValue,availableQty\nNY,SKU,B1,1\nNY,SKU,A1,2\n")
  n:reset()
  assert.equal("B", n.world.oms:value
    "SELECT product_id FROM inventory_item ORDER BY inventory_item_id")
end))

it("the variance's ledger row comes after the largest number", with(nil, function(n, shop)
  shop:ship("I1", n:text "20:00", 2)
  n.world.oms:run [[UPDATE inventory_item_detail SET inventory_item_detail_seq_id = '00004'
    WHERE inventory_item_detail_seq_id = '00001']]
  assert.equal("8/8", (after(n)))
  assert.equal("00006", n.world.oms:value [[SELECT MAX(inventory_item_detail_seq_id)
    FROM inventory_item_detail WHERE reason_enum_id = 'UNACK_SHIPMENT']])
end))

describe("the variance file names a product", function()
  local function names(given, want)
    return with(nil, function(n, shop)
      shop:insert("product", { product_id = "B" })
      for _, id in ipairs(given) do shop:identifier(table.unpack(id)) end
      shop:ship("I1", n:text "20:00", 2)
      n:run("export_variance", "01:30")
      assert.match(want, n.world:read("variance/" .. n.world:names "variance" [1]), 1, true)
    end)
  end
  it("by a value that another has under another type", names({ { "B", "UPCA", "A1" } }, "SKU,A1"))
  it("by a value that another will have",
    names({ { "B", "SKU", "A1", "2027-01-01 00:00:00" } }, "SKU,A1"))
  it("never by an empty one", names({ { "A", "SKU", "" } }, "SKU,A1"))
  it("by the first of several", names({ { "A", "SKU", "A0" } }, "SKU,A0"))
  it("by the first as bytes", names({ { "A", "SKU", "a0" } }, "SKU,A1"))
  it("by a type in any case", with(nil, function(n, shop)
    n.world.oms:run "UPDATE good_identification SET good_identification_type_id = 'sku'"
    shop:ship("I1", n:text "20:00", 2)
    n:run("export_variance", "01:30")
    assert.match("sku,A1", n.world:read("variance/" .. n.world:names "variance" [1]), 1, true)
  end))
end)

it("a comment is cut between characters", function()
  assert.equal(("x"):rep(254), oms_class.cut(("x"):rep(254) .. "ä"))
  assert.equal(("x"):rep(253) .. "ä", oms_class.cut(("x"):rep(253) .. "äx"))
end)

it("times have milliseconds", function()
  local orders = { settings = { oms = { timezone = "UTC" } } }
  assert.equal("1970-01-01 00:00:01.500", oms_class.stamp(orders, 1.5))
end)
