--- The proof: what must be true of a cycle, asked of the database by queries of its own, and whom
--- it names when somebody has tampered with it.
local cycle = require "tallyman.cycle"
local night = require "tests.support.night"
local oms = require "tallyman.oms"
local proof = require "tallyman.proof"

local n
before_each(function() n = night.new() end)
after_each(function() n:close() end)

local function ship(at, quantity)
  n:on(at, function() n.shop:ship("I1", n:text(at), quantity) end)
end

describe("the proof", function()
  local function prove()
    local orders <close> = oms.open(n.world.settings)
    return proof.of(orders, cycle.newest(orders.db))
  end

  before_each(function()
    n.shop:product("B", "B1")
    n.shop:item("I2", "B", "NY", 5, 4)
    ship("20:00", 2)
    n:upload_text("22:00",
      "facilityId,idType,idValue,availableQty\nNY,SKU,A1,10\nNY,SKU,B1,7\n")
    n:reset()
  end)

  it("holds before the variance, after it, and after movements", function()
    assert.same({ pairs = 2, items = 2, failures = {} }, prove())
    n:variance()
    assert.same({ pairs = 2, items = 2, failures = {} }, prove())
    n.shop:move("I1", n:text "04:00", -3, -3)
    n.shop:ship("I2", n:text "04:00", 1)
    assert.same({ pairs = 2, items = 2, failures = {} }, prove())
  end)

  it("names the pair whose total somebody changed, and no other", function()
    n:variance()
    n.world.oms:run
      "UPDATE inventory_item SET quantity_on_hand_total = 9 WHERE inventory_item_id = 'I1'"
    local found = prove().failures
    assert.equal(2, #found)
    assert.match("product A at NY has 9, must have 8", found[1])
    assert.match("item I1", found[2])
  end)

  it("names the pair whose variance is gone from the ledger", function()
    n:variance()
    n.world.oms:run "DELETE FROM inventory_item_detail WHERE reason_enum_id = 'UNACK_SHIPMENT'"
    assert.match("item I1 .*totals changed by 0/0, its ledger by 2/2", prove().failures[1])
  end)

  it("names the pair that was booked twice", function()
    n:variance()
    local id = n.world.oms:value "SELECT variance_id FROM tallyman_cycle"
    n.shop:move("I1", n:text "04:00", -2, -2, { physical_inventory_id = id })
    local found = prove().failures
    assert.match("product A at NY has 6, must have 8", found[1])
    assert.match("product A at NY: what the variance has booked is off by %-2", found[2])
    assert.match("item I1: its ledger and inventory_item_variance differ by %-2/%-2", found[3])
    assert.equal(3, #found)
  end)

  -- What somebody does to the database, and what the proof then says, and of whom.
  local TAMPERED = {
    { "DELETE FROM inventory_item WHERE inventory_item_id = 'I1'",
      "item I1, which the reset covered, is gone" },
    { "DELETE FROM inventory_item WHERE inventory_item_id = 'I2'",
      "item I2, which the reset covered, is gone" },
    { "UPDATE inventory_item SET facility_id = 'LA' WHERE inventory_item_id = 'I2'",
      "product B at NY: its items aren't those that the reset covered" },
    { "DELETE FROM tallyman_coverage", "0 pairs are covered, of the 2 that the reset covered" },
    { "DELETE FROM tallyman_coverage WHERE product_id = 'B'",
      "1 pairs are covered, of the 2 that the reset covered" },
    { "DELETE FROM tallyman_coverage_item WHERE inventory_item_id = 'I2'",
      "product B at NY: its items aren't those that the reset covered" },
    { "UPDATE tallyman_coverage SET delta = delta + 1 WHERE product_id = 'B'",
      "product B at NY: its delta misses the file's quantity by 1" },
    { "UPDATE tallyman_coverage SET qoh_before = 0 WHERE product_id = 'B'",
      "product B at NY: its delta misses the file's quantity by -5" },
    { "DELETE FROM inventory_item_variance WHERE inventory_item_id = 'I2'",
      "item I2: its ledger and inventory_item_variance differ by 2/2" },
    { "UPDATE inventory_item_detail SET available_to_promise_diff = 0 "
      .. "WHERE inventory_item_id = 'I2' AND reason_enum_id = 'VAR_EXT_RESET'",
      "item I2: its ledger and inventory_item_variance differ by 0/-2" },
    { "DELETE FROM inventory_item_detail WHERE inventory_item_id = 'I1' "
      .. "AND reason_enum_id = 'UNACK_SHIPMENT'",
      "product A at NY: what the variance has booked is off by 2" },
  }
  for _, case in ipairs(TAMPERED) do
    it("names what is wrong after: " .. case[1], function()
      n:variance()
      n.world.oms:run(case[1])
      local found = table.concat(prove().failures, "\n")
      assert.truthy(found:find(case[2], 1, true), found)
      local other = case[2]:find "I1" and "product B" or case[2]:find "B at" and "product A"
      assert.falsy(other and found:find(other, 1, true), found)
    end)
  end

  it("knows items that came since, and those of a pair that had none", function()
    n:variance()
    n.shop:item("I0", "A", "NY", 3, 3)
    assert.same({}, prove().failures)
  end)
end)
