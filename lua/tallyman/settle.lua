--- Settling a cycle: its variance is booked, exactly -D for each covered pair, once.
local clock = require "tallyman.clock"
local cycle = require "tallyman.cycle"
local quantity = require "tallyman.quantity"

local settle = {}

local TABLES = [[
  CREATE TEMPORARY TABLE IF NOT EXISTS tallyman_deduction (
    line integer NOT NULL PRIMARY KEY,
    product_id varchar(20) NOT NULL,
    facility_id varchar(20) NOT NULL,
    item_id varchar(20),
    units bigint NOT NULL,
    in_file bigint NOT NULL
  );
  DELETE FROM tallyman_deduction;
]]

--- The staged variance rows of our reason, summed up: F is what the file deducts.
local IN_FILE = [[COALESCE((SELECT -SUM(r.units) FROM tallyman_row r
  WHERE r.fault IS NULL AND r.reason = :reason
    AND r.product_id = v.product_id AND r.facility_id = v.facility_id), 0)]]

--- Lists the cycle's deductions that aren't 0, each with the item that takes it.
local function list_deductions(oms, cycle_id, with_file)
  local db = oms.db
  db:script(TABLES)
  db:run(([[INSERT INTO tallyman_deduction (line, product_id, facility_id, item_id, units, in_file)
    SELECT v.line, v.product_id, v.facility_id,
      (SELECT MIN({bytes i.inventory_item_id}) FROM inventory_item i
        WHERE i.product_id = v.product_id AND i.facility_id = v.facility_id),
      {units v.deduction}, %s
    FROM tallyman_coverage v
    WHERE v.cycle_id = :cycle_id AND {units v.deduction} <> 0]])
    :format(with_file and IN_FILE or "0"),
    { cycle_id = cycle_id, reason = oms.settings.variance.reason })
end

--- Leaves out pairs that have no inventory item any more: nobody can book on them, and one pair
--- must not stop the others. Somebody is told, and the proof names them, too.
local function leave_out_lost(oms, night, cycle_id)
  for lost in oms:rows "SELECT * FROM tallyman_deduction WHERE item_id IS NULL" do
    night:alert("cycle %d: product %s at %s has no inventory item any more: its variance of %s is "
      .. "not booked", cycle_id, lost.product_id, lost.facility_id, quantity.text(-lost.units))
  end
  oms.db:run "DELETE FROM tallyman_deduction WHERE item_id IS NULL"
end

--- Books the cycle's deductions and marks it settled. Call inside a transaction.
---@param oms tallyman.Oms
---@param night tallyman.Night
---@param of tallyman.Cycle
---@param how table by: "file", "deadline" or "next reset"; file: its name, its rows being staged
---@return table figures booked = number of pairs
function settle.book(oms, night, of, how)
  local settings = oms.settings
  list_deductions(oms, of.cycle_id, how.file ~= nil)
  leave_out_lost(oms, night, of.cycle_id)
  oms:ensure_variance_reason()
  local id = oms:new_physical_inventory(("Variance of cycle %d (%s)"):format(of.cycle_id,
    how.file or "settled by " .. how.by))
  oms:begin_booking()
  oms.db:run([[INSERT INTO tallyman_booking (number, inventory_item_id, units, reason,
      physical_inventory_id, comments)
    SELECT line, item_id, -units, :reason, :id, 'file ' || {decimal in_file} || ', late '
      || {decimal units - in_file}
    FROM tallyman_deduction]], { reason = settings.variance.reason, id = id })
  oms:book()
  cycle.settle(oms.db, of.cycle_id, { settled_at = clock.now(), settled_by = how.by,
    variance_id = id, variance_file = how.file })
  return { booked = oms.db:value "SELECT COUNT(*) FROM tallyman_deduction", cycle = of.cycle_id }
end

return settle
