-- A spec of a timetable: a shop in London moves its night to half past one, into the hour that is
-- there twice on 2026-10-25 and not at all on 2027-03-28, and each job still runs once.
--   tallyman test examples/timetable_spec.lua
local testing = require "tallyman.testing"

local SCRIPTS = require "native.host".library .. "/../scripts/"

-- The shop's own flow: the jobs as they are shipped, at other times.
local function load(world)
  world:load(SCRIPTS .. "nightly.lua")
  local jobs = world.flow.jobs
  jobs.active_products.at = "01:15"
  jobs.filter_inventory.at, jobs.export_variance.at = "01:30", "01:30"
  jobs.import_reset.at = "01:45"
  jobs.import_variance.wait = "30m"
end

-- A shop that sells one product, and what its POS has sent.
local function open(now, stamp)
  local world = testing.world { now = now, settings = { timezone = "Europe/London" } }
  world.oms:run "INSERT INTO facility (facility_id) VALUES ('LONDON')"
  world.oms:run "INSERT INTO product (product_id) VALUES ('P1')"
  world.oms:run [[INSERT INTO good_identification (product_id, good_identification_type_id,
    id_value) VALUES ('P1', 'SKU', 'A1')]]
  world.oms:run [[INSERT INTO shopify_shop_product (shop_id, product_id, shopify_product_id)
    VALUES ('SHOP', 'P1', '1')]]
  local inbound = ("inbound/ResetInventory_%s.csv"):format(stamp)
  world.exchange:put(inbound .. ".done", "")
  world.exchange:put(inbound, "facilityId,idType,idValue,availableQty\nLONDON,SKU,A1,5\n")
  load(world)
  return world
end

local NIGHT = { "active_products", "filter_inventory", "export_variance", "import_reset",
  "import_variance" }

-- Jobs of one instant run at the same time: export_variance doesn't wait for active_products.
local AT_ONCE = { "active_products", "export_variance", "filter_inventory", "import_reset" }

describe("the night of a shop in London", function()
  it("runs once when an hour is there twice", function()
    local world <close> = open("2026-10-25 00:00:00", "20261024_220000")
    world:advance "3h" -- until the second 02:00
    assert.same(NIGHT, world.ran)
    world:advance "9h"
    assert.same(NIGHT, world.ran)
  end)

  it("runs once when an hour isn't there", function()
    local world <close> = open("2027-03-28 00:00:00", "20270327_220000")
    world:advance "1h" -- until 02:00, which comes right after 00:59
    assert.same(AT_ONCE, world.ran)
    world:advance "30m"
    assert.equal("import_variance", world.ran[5])
    world:advance "9h"
    assert.equal(5, #world.ran)
  end)
end)
