-- What the stores report live: sales, damages and returns. The POS knows of them at once, the OMS
-- has them in its ledger.

local times = require "retailer.times"

local movements = {}

-- Movements in the stores for each thousand pairs, before and after the snapshot.
local SALES = { before = 40, after = 15 }
local DAMAGES = { before = 6, after = 3 }
local RETURNS = { before = 4, after = 2 }

-- A count in the store that the OMS was told of.
local function damage(desk, item, time)
  local id = desk.book:next_id "physical_inventory"
  desk.book:add("physical_inventory", {
    physical_inventory_id = id, physical_inventory_date = times.sql(time),
    party_id = "STORE_CLERK", general_comments = "damaged goods",
  })
  desk.book:add("inventory_item_variance", {
    inventory_item_id = item.id, physical_inventory_id = id, variance_reason_id = "VAR_DAMAGED",
    available_to_promise_var = "-1", quantity_on_hand_var = "-1",
  })
  item:move(time, -1, desk.snapshot, {
    reason_enum_id = "VAR_DAMAGED", physical_inventory_id = id, description = "damaged",
  })
end

local function store_sale(desk, item, time)
  item:move(time, -desk.random:between(1, 2), desk.snapshot,
    { reason_enum_id = "POS_SALE", description = "store sale" })
end

local function store_return(desk, item, time)
  item:move(time, 1, desk.snapshot, { description = "returned in the store" })
end

-- Let something happen to so many items; shelves that are empty are left alone.
local function sprinkle(desk, shares, happen)
  for _, when in ipairs { "before", "after" } do
    for _ = 1, math.ceil(shares[when] * #desk.stocked / 1000) do
      happen(desk, desk.random:pick(desk.stocked).items[1], desk:instant(when))
    end
  end
end

---Let the stores have their days before and after the snapshot.
---@param desk retailer.Desk
function movements.make(desk)
  sprinkle(desk, SALES, store_sale)
  sprinkle(desk, DAMAGES, damage)
  sprinkle(desk, RETURNS, store_return)
end

return movements
