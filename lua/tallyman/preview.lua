--- Dry runs: the real work in a transaction that is rolled back, over an exchange that can't be
--- written to. What the run would have changed is read off before the end.
local failure = require "tallyman.failure"
local lease = require "tallyman.lease"
local oms = require "tallyman.oms"
local quantity = require "tallyman.quantity"

local preview = {}

local WORST = 10 -- pairs that are shown

local BEFORE = [[
  CREATE TEMPORARY TABLE tallyman_before AS
    SELECT inventory_item_id, quantity_on_hand_total AS qoh, available_to_promise_total AS atp
    FROM inventory_item;
  CREATE UNIQUE INDEX tallyman_before_item ON tallyman_before (inventory_item_id)]]

--- The pairs whose totals differ from before.
local PAIRS = [[
  WITH touched AS (
    SELECT DISTINCT i.product_id, i.facility_id FROM inventory_item i
    LEFT JOIN tallyman_before b ON b.inventory_item_id = i.inventory_item_id
    WHERE b.qoh IS DISTINCT FROM i.quantity_on_hand_total
      OR b.atp IS DISTINCT FROM i.available_to_promise_total
  ), pair AS (
    SELECT i.product_id, i.facility_id, {sum b.qoh} AS old_qoh, {sum b.atp} AS old_atp,
      {sum i.quantity_on_hand_total} AS new_qoh, {sum i.available_to_promise_total} AS new_atp
    FROM touched t JOIN inventory_item i
      ON i.product_id = t.product_id AND i.facility_id = t.facility_id
    LEFT JOIN tallyman_before b ON b.inventory_item_id = i.inventory_item_id
    GROUP BY i.product_id, i.facility_id
  ), differing AS (SELECT * FROM pair WHERE new_qoh <> old_qoh OR new_atp <> old_atp) ]]

local FACILITIES = PAIRS .. [[SELECT facility_id, COUNT(*) AS pairs, SUM(old_qoh) AS old_qoh,
    SUM(new_qoh) AS new_qoh, SUM(old_atp) AS old_atp, SUM(new_atp) AS new_atp,
    SUM(CASE WHEN old_qoh > 0 AND new_qoh <= 0 THEN 1 ELSE 0 END) AS to_zero
  FROM differing GROUP BY facility_id ORDER BY facility_id]]

local WORST_PAIRS = PAIRS .. [[SELECT * FROM differing
  ORDER BY CASE WHEN ABS(new_qoh - old_qoh) > ABS(new_atp - old_atp)
      THEN ABS(new_qoh - old_qoh) ELSE ABS(new_atp - old_atp) END DESC, facility_id, product_id
  LIMIT ]] .. WORST

--- An Oms that stays open, in its transaction, until the run is over.
local Lasting = setmetatable({}, { __index = oms.class })
Lasting.__index = Lasting
function Lasting:import(_, work) return work() end

--- What is there before is what is there once nobody else can change it.
function Lasting:lock_items()
  oms.class.lock_items(self)
  if not self.seen then self.db:script(BEFORE) end
  self.seen = true
end

function Lasting:close() end
Lasting.__close = Lasting.close

--- Opens the OMS in a transaction that nobody commits.
---@param settings tallyman.Settings
---@return tallyman.Oms
function preview.oms(settings)
  local opened = oms.open(settings, function(database)
    database:script(database.driver.begin "read committed")
    lease.limit(database, settings.oms.lease)
    function database.transaction(self, work) return work(self) end
  end)
  return setmetatable(opened, Lasting)
end

local WRITING = { "write", "move", "remove", "remove_folder", "make_folder", "put" }

--- Makes an exchange refuse to change anything.
---@param exchange tallyman.Exchange
---@return tallyman.Exchange
function preview.exchange(exchange)
  for _, name in ipairs(WRITING) do
    exchange[name] = function()
      failure.raise(failure.internal, "a dry run must not %s in the exchange", name)
    end
  end
  return exchange
end

local QUANTITIES = { "old_qoh", "new_qoh", "old_atp", "new_atp" }

--- The rows of a query, quantities as text.
local function texts(orders, sql)
  local list = {}
  for row in orders:rows(sql) do
    for _, name in ipairs(QUANTITIES) do row[name] = quantity.text(row[name]) end
    list[#list + 1] = row
  end
  return list
end

--- What the run has changed so far: by facility, and the pairs that changed most.
---@param orders tallyman.Oms what preview.oms gave
---@return table changes facilities, worst
function preview.changes(orders)
  if not orders.seen then return { facilities = {}, worst = {} } end -- nothing can have changed
  return { facilities = texts(orders, FACILITIES), worst = texts(orders, WORST_PAIRS) }
end

--- The changes in words.
---@param changes table
---@return string
function preview.text(changes)
  local lines = {}
  local function add(format, ...) lines[#lines + 1] = format:format(...) end
  for _, row in ipairs(changes.facilities) do
    add("%s: %d pairs would change, %d of them to none: QOH %s -> %s, ATP %s -> %s in all",
      row.facility_id or "(no facility)", row.pairs, row.to_zero, row.old_qoh, row.new_qoh,
      row.old_atp, row.new_atp)
  end
  if #changes.facilities == 0 then add "no total would change" end
  if #changes.worst > 0 then add "most of all:" end
  for _, row in ipairs(changes.worst) do
    add("  product %s at %s: QOH %s -> %s, ATP %s -> %s", row.product_id or "?",
      row.facility_id or "?", row.old_qoh, row.new_qoh, row.old_atp, row.new_atp)
  end
  return table.concat(lines, "\n")
end

return preview
