--- Undoing a cycle: compensating ledger rows, never deletions. Each item gets the opposite of what
--- the cycle booked on it, reset and variance together, so that it has what it would have, had the
--- cycle not been; what else moved since then stays.
local clock = require "tallyman.clock"
local cycle = require "tallyman.cycle"
local failure = require "tallyman.failure"

local undo = {}

local REASON = "VAR_EXT_UNDO"

--- The cycle's own ledger rows, item by item; what sums up to 0 needs no row. An item that is gone
--- can't be booked on.
local COMPENSATIONS = [[
  INSERT INTO tallyman_booking (number, inventory_item_id, units, reason, physical_inventory_id,
    comments)
  SELECT ROW_NUMBER() OVER (ORDER BY item_id), item_id, -moved, :reason, :id, :comment
  FROM (SELECT d.inventory_item_id AS item_id, SUM({units d.quantity_on_hand_diff}) AS moved
    FROM inventory_item_detail d
    JOIN inventory_item i ON i.inventory_item_id = d.inventory_item_id
    WHERE d.physical_inventory_id IN :own
    GROUP BY d.inventory_item_id HAVING SUM({units d.quantity_on_hand_diff}) <> 0) booked]]

local LOST = [[SELECT DISTINCT d.inventory_item_id AS id FROM inventory_item_detail d
  WHERE d.physical_inventory_id IN :own AND NOT EXISTS
    (SELECT 1 FROM inventory_item i WHERE i.inventory_item_id = d.inventory_item_id)]]

--- The cycle to be undone; raises what can't be.
local function find(oms, number)
  local of = cycle.by_number(oms.db, number)
  if not of then failure.raise(failure.no_input, "there is no cycle %d", number) end
  local newest = oms:newest_cycle()
  if not of.undone_at and newest.cycle_id ~= number then
    failure.raise(failure.refused, "cycle %d can't be undone: cycle %d was applied after it; undo "
      .. "that first", number, newest.cycle_id)
  end
  return of
end

--- Books the opposite of what the cycle booked.
local function compensate(night, oms, of, reason)
  local own = { of.reset_id, of.variance_id }
  local id = oms:new_physical_inventory(("Undo of cycle %d: %s"):format(of.cycle_id, reason))
  cycle.undone_by(oms.db, of.cycle_id, id)
  oms:ensure_reason(REASON, "A reset to an external system's counts that was taken back")
  oms:begin_booking()
  local booked = oms.db:run(COMPENSATIONS, { own = own, reason = REASON, id = id,
    comment = oms.cut(reason) })
  oms:book()
  for row in oms:rows(LOST, { own = own }) do
    night:alert("item %s is gone: what cycle %d booked on it stays", row.id, of.cycle_id)
  end
  return booked
end

--- Undoes a cycle, once, in one transaction. Raises (3) while a newer one is applied.
---@param night tallyman.Night
---@param oms tallyman.Oms
---@param number integer the cycle's
---@param reason string
---@return table figures
function undo.apply(night, oms, number, reason)
  return oms:import(night, function()
    oms:lock_items()
    local of = find(oms, number)
    if not cycle.undo(oms.db, number, clock.now()) then
      return { already = ("nothing to do: cycle %d was undone already"):format(number) }
    end
    return { cycle = number, reason = reason, items = compensate(night, oms, of, reason) }
  end)
end

return undo
