--- The world that specs of jobs live in: its timetable, its clock, its broken links.
local process = require "tests.support.process"
local testing = require "tallyman.testing"

local SCRIPTS = process.root .. "/scripts/"

describe("filter_inventory in a world", function()
  local world, exchange
  before_each(function()
    world = testing.world { now = "2026-11-24 01:29:59", keys = { active_products = { "SKU|A1" } } }
    exchange = world.exchange
    exchange:put("inbound/ResetInventory_20261123_220000.csv.done", "")
    exchange:put("inbound/ResetInventory_20261123_220000.csv",
      "idType,idValue,availableQty\nSKU,A1,5\nSKU,Z9,7\n")
    world:load(SCRIPTS .. "filter_inventory.lua")
  end)
  after_each(function() world:close() end)

  it("waits for 01:30 and for active_products", function()
    world:advance "1s"
    assert.same({}, world.ran)
    world:succeed "active_products"
    world:advance "1s"
    assert.same({ "filter_inventory" }, world.ran)
  end)

  it("leaves nothing behind when the link drops for good", function()
    exchange:drop_after(16)
    world:succeed "active_products"
    world:advance "1s"
    assert.equal("failed", world:last "filter_inventory".state)
    assert.same({}, exchange:list "filtered")
    world:advance "1h"
    assert.is_true(#world.ran > 3)
    assert.same({}, world:names "filtered")
    exchange:drop_after(nil)
    world:advance "15m"
    assert.equal("done", world:last "filter_inventory".state)
    assert.same({ "ResetInventoryActive_20261123T220000Z.csv" }, world:names "filtered")
  end)
end)

describe("a flow in a world", function()
  it("is the night, in order, by its timetable", function()
    local world <close> = testing.world { now = "2026-11-24 00:00:00" }
    world:load(SCRIPTS .. "nightly.lua")
    world.exchange:put("inbound/ResetInventory_20261123_220000.csv.done", "")
    world.exchange:put("inbound/ResetInventory_20261123_220000.csv",
      "facilityId,idType,idValue,availableQty\nNY,SKU,A1,5\n")
    world.oms:run "INSERT INTO facility (facility_id) VALUES ('NY')"
    world.oms:run "INSERT INTO product (product_id) VALUES ('P1')"
    world.oms:run [[INSERT INTO good_identification (product_id, good_identification_type_id,
      id_value) VALUES ('P1', 'SKU', 'A1')]]
    world.oms:run [[INSERT INTO shopify_shop_product (shop_id, product_id, shopify_product_id)
      VALUES ('S', 'P1', '1')]]
    world:advance "1h15m"
    assert(os.remove(world.folder .. "/state/keys/active_products.csv")) -- it is made again
    world:advance "45m"
    assert.same({ "active_products", "filter_inventory", "export_variance", "import_reset" },
      world.ran)
    world:advance "59m"
    assert.equal(4, #world.ran)
    world:advance "1m"
    assert.equal("import_variance", world.ran[5])
    assert.same({ "active_products: done", "filter_inventory: done", "export_variance: done",
      "import_reset: done", "import_variance: done" }, world.told)
    world:advance "9h"
    assert.equal(5, #world.ran)
  end)

  it("says what a duration is", function()
    local world <close> = testing.world { now = "2026-11-24 00:00:00" }
    assert.has_error(function() world:advance "soon" end,
      "'soon' is no duration; write 90 (seconds), '15m' or '1h30m'")
  end)
end)
