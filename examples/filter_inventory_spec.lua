-- A spec of a job: a world with a clock, an exchange and an OMS of its own, the real filter.
--   tallyman test examples/filter_inventory_spec.lua
local testing = require "tallyman.testing"

local SCRIPT = require "native.host".library .. "/../scripts/filter_inventory.lua"
local INBOUND = "inbound/ResetInventory_20261123_220000.csv"

describe("filter_inventory", function()
  local world

  before_each(function()
    world = testing.world {
      now = "2026-11-24 01:30:00", keys = { active_products = { "SKU|A1" } },
    }
  end)
  after_each(function() world:close() end)

  it("keeps what is sold online", function()
    world.exchange:put(INBOUND .. ".done", "")
    world.exchange:put(INBOUND, "idType,idValue,availableQty\nSKU,A1,5\nSKU,Z9,7\n")
    local outcome = world:run(SCRIPT)
    assert.equal("done", outcome.state, outcome.message)
    assert.equal("idType,idValue,availableQty\nSKU,A1,5\n",
      world:read "filtered/ResetInventoryActive_20261123T220000Z.csv")
  end)

  it("is held while there is no file", function()
    assert.equal("held", world:run(SCRIPT).state)
  end)
end)
