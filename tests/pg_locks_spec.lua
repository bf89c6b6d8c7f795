--- What a reset computes while shipments change their status, which no lock holds off.
local databases = require "tests.support.databases"
local night = require "tests.support.night"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"

describe("imports on PostgreSQL", function()
  if postgres.lacks() then return pending(postgres.lacks()) end
  local made

  setup(function()
    made = databases.of_oms(postgres.start())
    process.keep()
  end)
  teardown(function()
    made.connect:close()
    postgres.clean()
  end)

  --- A night in which a shipment turns SHIPPED, its ledger row being there, right after the reset
  --- has run for the nth time a statement that computes; QOH/ATP in the end, and whether there were
  --- so many such statements.
  local function with_status_after(nth, class, real)
    local n <close> = night.new()
    local sale = n.shop:issue("I1", n:text "23:00", 2)
    n.shop:move("I1", n:text "23:00", -2, -2, { order_id = sale.order_id,
      order_item_seq_id = "00001", shipment_id = sale.shipment_id, shipment_item_seq_id = "00001" })
    n:upload("22:00", { { 10 } })
    local count = 0
    function class.run(self, sql, params)
      local changed = real(self, sql, params)
      if self ~= n.world.oms and (sql:find "tallyman_pair" or sql:find "tallyman_item") then
        count = count + 1
        if count == nth then
          real(n.world.oms, "UPDATE shipment SET status_id = 'SHIPMENT_SHIPPED'")
        end
      end
      return changed
    end
    assert.equal(0, n:reset().code)
    class.run = real
    assert.equal(0, n:variance().code)
    return n:totals(), count >= nth
  end

  it("count a shipment once, between whichever two statements its status changes", function()
    local class = getmetatable(made.connect)
    local real = class.run
    finally(function()
      class.run = real
      night.use(nil)
    end)
    night.use(made)
    local nth = 0
    repeat
      nth = nth + 1
      local totals, there = with_status_after(nth, class, real)
      assert.equal("8/8", totals, ("after statement %d"):format(nth))
    until not there
    assert.is_true(nth > 4)
  end)
end)
