--- The variance file: whose it is, what of it is booked besides the deductions, and its archive.
local cycle = require "tallyman.cycle"
local failure = require "tallyman.failure"
local settle = require "tallyman.settle"
local staging = require "tallyman.staging"
local quantity = require "tallyman.quantity"
local time = require "tallyman.time"

local variance = {}

local PLAN = { quantity = "availableDelta", ignored = {}, own = true,
  columns = { "facilityId", "locationSeqId", "idType", "idValue", "availableDelta",
    "varianceReasonId", "comments" },
  required = { facilityId = true, idType = true, idValue = true, availableDelta = true,
    varianceReasonId = true } }

--- Variance files whose query lies before a night's end, oldest first.
local function files_until(exchange, settings, date)
  local _, to = time.night_bounds(date, settings.timezone)
  local found = {}
  for _, entry in ipairs(exchange:find(settings.variance.name)) do
    if entry.snapshot < to then found[#found + 1] = entry end
  end
  return found
end

--- The variance file that belongs to a cycle: the newest whose query lies in the night of its
--- business date; nil when there is none.
---@param exchange tallyman.Exchange
---@param settings tallyman.Settings
---@param of tallyman.Cycle
---@return tallyman.Entry?
function variance.file_of(exchange, settings, of)
  local from = time.night_bounds(of.business_date, settings.timezone)
  local found = files_until(exchange, settings, of.business_date)
  local newest = found[#found]
  return newest and newest.snapshot >= from and newest or nil
end

--- Stages the file's rows.
local function stage(oms, exchange, file)
  local source <close> = exchange:read(file)
  local reader = staging.open(oms, source, PLAN, file.path)
  staging.load(oms, reader, PLAN)
end

--- Resolves the staged rows, and marks those whose reason is unknown.
local function resolve(oms)
  oms:ensure_variance_reason()
  staging.resolve(oms, true)
  oms.db:run [[UPDATE tallyman_row SET fault = 'varianceReasonId is unknown'
    WHERE fault IS NULL AND NOT EXISTS
      (SELECT 1 FROM variance_reason v WHERE v.variance_reason_id = reason)]]
end

--- Why a variance file can't be trusted; nil when it can.
---@param oms tallyman.Oms
---@param exchange tallyman.Exchange
---@param file tallyman.Entry
---@return string?
function variance.spoiled(oms, exchange, file)
  local ok, wrong, trace = failure.catch(stage, oms, exchange, file)
  if ok then return nil end
  if failure.code(wrong) ~= failure.bad_data then error(trace or wrong, 0) end
  return tostring(wrong)
end

--- Reports rows that can't be booked, and rows of pairs that the reset didn't cover; gives their
--- numbers.
local function report_rows(night, oms, file, cycle_id)
  local rejected, skipped = 0, 0
  for row in oms:rows [[SELECT line, fault FROM tallyman_row WHERE fault IS NOT NULL
    ORDER BY line]] do
    rejected = rejected + 1
    night:warn("%s:%d: rejected: %s", file.path, row.line, row.fault)
  end
  for row in oms:rows([[SELECT line, product_id, facility_id FROM tallyman_row r
    WHERE fault IS NULL AND reason = :reason AND NOT EXISTS (SELECT 1 FROM tallyman_coverage v
      WHERE v.cycle_id = :cycle_id AND v.product_id = r.product_id
        AND v.facility_id = r.facility_id) ORDER BY line]],
    { reason = oms.settings.variance.reason, cycle_id = cycle_id }) do
    skipped = skipped + 1
    night:warn("%s:%d: skipped: product %s at %s was not covered by the reset", file.path, row.line,
      row.product_id, row.facility_id)
  end
  return rejected, skipped
end

local HAND_ADDED = [[
  CREATE TEMPORARY TABLE IF NOT EXISTS tallyman_hand (
    line integer NOT NULL PRIMARY KEY,
    product_id varchar(20), facility_id varchar(20), location text,
    item_id varchar(20), created integer NOT NULL
  );
  DELETE FROM tallyman_hand;
]]

--- Makes items for pairs of hand-added rows that have none.
local function make_items(oms)
  oms.db:script(HAND_ADDED)
  oms.db:run([[INSERT INTO tallyman_hand (line, product_id, facility_id, location, created)
    SELECT MIN(line), product_id, facility_id, NULL, 0 FROM tallyman_row r
    WHERE fault IS NULL AND reason <> :reason AND units <> 0
      AND NOT EXISTS (SELECT 1 FROM inventory_item i
        WHERE i.product_id = r.product_id AND i.facility_id = r.facility_id)
    GROUP BY product_id, facility_id]], { reason = oms.settings.variance.reason })
  oms.db:run [[UPDATE tallyman_hand SET location =
    (SELECT r.location FROM tallyman_row r WHERE r.line = tallyman_hand.line)]]
  oms:number_new_items "tallyman_hand"
  oms:insert_items "tallyman_hand"
end

--- Books the rows with another reason as they stand, each under a physical inventory of its own.
local function book_hand_added(oms, file)
  local reason = oms.settings.variance.reason
  make_items(oms)
  local hand_added = oms.db:all([[SELECT line, units, reason, comments,
      (SELECT MIN({bytes i.inventory_item_id}) FROM inventory_item i
        WHERE i.product_id = r.product_id AND i.facility_id = r.facility_id) AS item_id
    FROM tallyman_row r WHERE fault IS NULL AND reason <> :reason AND units <> 0
    ORDER BY line]], { reason = reason })
  oms:begin_booking()
  for _, row in ipairs(hand_added) do
    row.id = oms:new_physical_inventory(("Hand-added, %s line %d"):format(file.name, row.line))
    row.comments = oms.cut(row.comments or "")
    oms.db:run([[INSERT INTO tallyman_booking (number, inventory_item_id, units, reason,
        physical_inventory_id, comments)
      VALUES (:line, :item_id, :units, :reason, :id, :comments)]], row)
  end
  oms:book()
  return #hand_added
end

--- What a run has to say of a cycle that is settled already.
---@param of tallyman.Cycle
---@return table figures
function variance.settled(of)
  return { already = ("nothing to do: cycle %d is settled (by %s, %s UTC)"):format(of.cycle_id,
    of.settled_by, of.settled_at) }
end

--- Settles a cycle, with its file or (nil) without, in one transaction.
---@param night tallyman.Night
---@param oms tallyman.Oms
---@param exchange tallyman.Exchange
---@param of tallyman.Cycle
---@param file? tallyman.Entry
---@return table figures
function variance.settle(night, oms, exchange, of, file)
  if file then stage(oms, exchange, file) end
  return oms:import(night, function()
    local now = cycle.newest(oms.db)
    if not now or now.cycle_id ~= of.cycle_id then
      failure.raise(failure.try_again, "cycle %d was replaced or undone meanwhile; run again",
        of.cycle_id)
    end
    if now.settled_at then return variance.settled(now) end
    if file then resolve(oms) end
    oms:lock_items()
    if not file then return settle.book(oms, night, of, { by = "deadline" }) end
    local rejected, skipped = report_rows(night, oms, file, of.cycle_id)
    local figures = settle.book(oms, night, of, { by = "file", file = file.name })
    figures.rejected, figures.skipped = rejected, skipped
    figures.hand_added = book_hand_added(oms, file)
    figures.file = file.path
    return figures
  end)
end

--- Warns of the hand-added rows of a file that is archived without having been booked.
local function warn_of_unbooked(night, oms, exchange, file)
  night:warn("%s belongs to no cycle that is open; archived, not booked", file.path)
  local readable, wrong = failure.catch(stage, oms, exchange, file)
  if not readable then return night:warn("%s: %s", file.path, tostring(wrong)) end
  for row in oms:rows([[SELECT line, facility_given, id_type, id_value, units, reason
      FROM tallyman_row WHERE reason <> :reason ORDER BY line]],
    { reason = oms.settings.variance.reason }) do
    night:warn("%s:%d: hand-added and not booked: %s %s %s at %s: %s", file.path, row.line,
      row.reason, row.id_type, row.id_value, row.facility_given,
      row.units and quantity.text(row.units) or "?")
  end
end

--- Archives the variance files up to the night of a settled cycle. The one that it was settled by
--- goes quietly; others with a warning.
---@param night tallyman.Night
---@param oms tallyman.Oms
---@param exchange tallyman.Exchange
---@param of tallyman.Cycle settled
function variance.archive(night, oms, exchange, of)
  for _, file in ipairs(files_until(exchange, night.settings, of.business_date)) do
    if file.name ~= of.variance_file then warn_of_unbooked(night, oms, exchange, file) end
    exchange:archive(night.settings, file, of.business_date)
  end
end

return variance
