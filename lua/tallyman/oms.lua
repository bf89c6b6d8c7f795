--- The order system's database: its times, its ids, its ledger.
local clock = require "tallyman.clock"
local cycle = require "tallyman.cycle"
local db = require "tallyman.db"
local failure = require "tallyman.failure"
local lease = require "tallyman.lease"
local tables = require "tallyman.tables"
local time = require "tallyman.time"

---@class tallyman.Oms
---@field db tallyman.Database
---@field settings tallyman.Settings
local Oms = {}
Oms.__index = Oms

local BOOKING = [[
  CREATE TEMPORARY TABLE IF NOT EXISTS tallyman_booking (
    number integer NOT NULL {sqlite PRIMARY KEY},
    inventory_item_id varchar(20) NOT NULL,
    units bigint NOT NULL,
    reason varchar(20) NOT NULL,
    physical_inventory_id varchar(20) NOT NULL,
    comments varchar(255),
    last_seq bigint
  );
  DELETE FROM tallyman_booking;
]]

--- An instant as the OMS writes it, in its zone, in the form that {stamp X} gives.
---@param instant number
---@return string
function Oms:stamp(instant)
  local millis = math.floor((instant - math.floor(instant)) * 1000)
  return ("%s.%03d"):format(time.text(instant, self.settings.oms.timezone), millis)
end

--- The first 255 bytes of a text, without half a character at the end.
---@param text string
---@return string
function Oms.cut(text)
  if #text <= 255 then return text end
  local short = text:sub(1, 255)
  return utf8.len(short) and short or (short:gsub("[\xC0-\xFF][\x80-\xBF]*$", ""))
end

--- Rows of a query, as tallyman.Database gives them.
---@param sql string
---@param params? table<string, any>
---@return fun(): table?
function Oms:rows(sql, params) return self.db:rows(sql, params) end

--- The first column of a query's first row.
---@param sql string
---@param params? table<string, any>
---@return any
function Oms:value(sql, params) return self.db:value(sql, params) end

--- The newest cycle that wasn't undone.
---@return tallyman.Cycle?
function Oms:newest_cycle() return cycle.newest(self.db) end

local RETRIES = 5 -- after a deadlock with the OMS's own transactions

--- Takes out what an attempt that is done again has said.
local function forget(list, kept)
  for i = #list, kept + 1, -1 do list[i] = nil end
end

--- Runs an import in one transaction, under the lease. Where PostgreSQL has to end a deadlock by
--- ending us, all of it is done again. Each statement must see what was committed before it: so
--- what waits for a lock sees what the lock was waited for.
---@generic T
---@param night tallyman.Night
---@param work fun(): T
---@return T
function Oms:import(night, work)
  local warnings, alerts = #night.warnings, #night.alerts
  local held <close> = lease.take(self.db, night.job, self.settings.oms.lease)
  local ok, result = pcall(self.db.transaction, self.db, function()
    forget(night.warnings, warnings)
    forget(night.alerts, alerts)
    held:hold()
    return work()
  end, { isolation = "read committed", retries = RETRIES })
  if not ok then error(lease.explain(result), 0) end
  return result
end

--- Locks the stock until the import's transaction ends; the lease comes first, always. Whoever
--- moves stock updates an item, or has it locked to do so: either that was committed before, and we
--- see it with its ledger row, or it waits for us. Who only reads isn't held off.
function Oms:lock_items()
  if self.db.dialect == "postgresql" then
    self.db:run "LOCK TABLE inventory_item IN EXCLUSIVE MODE"
  end
end

--- Has PostgreSQL look at a temporary table that was filled: nothing else does, and plans need it.
---@param name string
function Oms:analyze(name)
  if self.db.dialect == "postgresql" then self.db:run("ANALYZE " .. name) end
end

--- Takes a block of ids the way OFBiz does: seq_id is the next free number.
---@param sequence string "InventoryItem", ...
---@param count integer
---@param highest string SQL for the highest numeric id, asked when there is no such sequence yet
---@return integer first
function Oms:take_ids(sequence, count, highest)
  local first = self.db:value([[UPDATE sequence_value_item SET seq_id = seq_id + :count
    WHERE seq_name = :name RETURNING seq_id - :count]], { count = count, name = sequence })
  if first then return math.tointeger(first) end
  first = math.max(10000, (self.db:value(highest) or 0) + 1)
  self.db:run("INSERT INTO sequence_value_item (seq_name, seq_id) VALUES (:name, :next)",
    { name = sequence, next = first + count })
  return first
end

--- Makes a physical inventory, the heading under which ledger rows stand.
---@param comments string
---@return string physical_inventory_id
function Oms:new_physical_inventory(comments)
  local id = tostring(self:take_ids("PhysicalInventory", 1,
    "SELECT MAX({number physical_inventory_id}) FROM physical_inventory"))
  self.db:run([[INSERT INTO physical_inventory (physical_inventory_id, physical_inventory_date,
    general_comments) VALUES (:id, :now, :comments)]],
    { id = id, now = self:stamp(clock.now()), comments = Oms.cut(comments) })
  return id
end

--- Adds a variance reason of ours that the OMS doesn't have.
---@param id string
---@param description string
function Oms:ensure_reason(id, description)
  self.db:run([[INSERT INTO variance_reason (variance_reason_id, description)
    VALUES (:id, :description) ON CONFLICT DO NOTHING]],
    { id = id, description = description })
end

--- Adds the reason under which deductions are booked.
function Oms:ensure_variance_reason()
  self:ensure_reason(self.settings.variance.reason, "Shipped, and not acknowledged by the POS")
end

--- SQL for whether a location is longer than the OMS has room for: it can be none of its own.
Oms.alien_location = "LENGTH(location) > 20"

--- Makes inventory items at zero for the pairs of a table (item_id, product_id, facility_id,
--- location) in which `created` is set.
---@param source string name of the table
function Oms:insert_items(source)
  self.db:run(([[INSERT INTO inventory_item (inventory_item_id, inventory_item_type_id, product_id,
      facility_id, location_seq_id, quantity_on_hand_total, available_to_promise_total)
    SELECT item_id, 'NON_SERIAL_INV_ITEM', product_id, facility_id,
      CASE WHEN location <> '' AND NOT %s THEN location END, 0, 0
    FROM %s WHERE created = 1]]):format(Oms.alien_location, source))
end

--- Gives each pair of a table that has no item the id of one to be made.
---@param source string name of the table, with columns line, item_id, created
---@return integer count
function Oms:number_new_items(source)
  local count = self.db:value(("SELECT COUNT(*) FROM %s WHERE item_id IS NULL"):format(source))
  if count == 0 then return 0 end
  local first = self:take_ids("InventoryItem", count,
    "SELECT MAX({number inventory_item_id}) FROM inventory_item")
  self.db:run(([[UPDATE %s SET created = 1, item_id = CAST(:first + n AS varchar(20))
    FROM (SELECT line AS at, ROW_NUMBER() OVER (ORDER BY line) - 1 AS n FROM %s
      WHERE item_id IS NULL) numbered
    WHERE line = at]]):format(source, source), { first = first })
  return count
end

--- Begins a set of bookings: rows of tallyman_booking, written by book(). last_seq is the largest
--- number in the item's ledger, where that is known.
function Oms:begin_booking() self.db:script(BOOKING) end

--- Writes what tallyman_booking lists: a ledger row and a variance row each, both quantities moved
--- alike, and the items' totals.
function Oms:book()
  self.db:run [[UPDATE tallyman_booking SET last_seq = COALESCE((
      SELECT MAX({number d.inventory_item_detail_seq_id}) FROM inventory_item_detail d
      WHERE d.inventory_item_id = tallyman_booking.inventory_item_id), 0)
    WHERE last_seq IS NULL]]
  self:analyze "tallyman_booking"
  self.db:run([[
    INSERT INTO inventory_item_detail (inventory_item_id, inventory_item_detail_seq_id,
      effective_date, quantity_on_hand_diff, available_to_promise_diff, reason_enum_id,
      physical_inventory_id, description)
    SELECT b.inventory_item_id,
      {seq b.last_seq + ROW_NUMBER() OVER (PARTITION BY b.inventory_item_id ORDER BY b.number)},
      :now, {amount b.units}, {amount b.units}, b.reason, b.physical_inventory_id, b.comments
    FROM tallyman_booking b]], { now = self:stamp(clock.now()) })
  self.db:run [[
    INSERT INTO inventory_item_variance (inventory_item_id, physical_inventory_id,
      variance_reason_id, available_to_promise_var, quantity_on_hand_var, comments)
    SELECT inventory_item_id, physical_inventory_id, reason, {amount units}, {amount units},
      comments
    FROM tallyman_booking]]
  self.db:run [[
    UPDATE inventory_item SET
      quantity_on_hand_total = {amount {units quantity_on_hand_total} + moved},
      available_to_promise_total = {amount {units available_to_promise_total} + moved}
    FROM (SELECT inventory_item_id AS id, SUM(units) AS moved FROM tallyman_booking
      GROUP BY inventory_item_id) booked
    WHERE inventory_item_id = id]]
end

--- An identifier that names this product and no other now: type and value, by the order of
--- settings.id_types; PRODUCT_ID where there is none.
---@param product_id string
---@return string id_type, string id_value
function Oms:identifier(product_id)
  local now = self:stamp(clock.now())
  for _, id_type in ipairs(self.settings.id_types) do
    local found = self.db:one([[
      SELECT g.good_identification_type_id AS type, g.id_value AS value FROM good_identification g
      WHERE g.product_id = :product AND UPPER({bytes g.good_identification_type_id})
          = UPPER({bytes :type})
        AND g.id_value <> '' AND (g.from_date IS NULL OR {stamp g.from_date} <= :now)
        AND (g.thru_date IS NULL OR {stamp g.thru_date} > :now)
        AND NOT EXISTS (SELECT 1 FROM good_identification o
          WHERE o.id_value = g.id_value AND o.product_id <> g.product_id
            AND UPPER({bytes o.good_identification_type_id}) = UPPER({bytes :type})
            AND (o.from_date IS NULL OR {stamp o.from_date} <= :now)
            AND (o.thru_date IS NULL OR {stamp o.thru_date} > :now))
      ORDER BY {bytes g.id_value} LIMIT 1]], { product = product_id, type = id_type, now = now })
    if found then return found.type, found.value end
  end
  return "PRODUCT_ID", product_id
end

--- The instant before which shipments don't count; nil when settings say nothing.
---@return string? stamp
function Oms:shipments_since()
  local text = self.settings.oms.shipments_since
  if not text then return nil end
  return self:stamp((time.from_zone(time.parts(text), self.settings.timezone)))
end

function Oms:close() self.db:close() end
Oms.__close = Oms.close

local oms = { class = Oms }

--- A session of few long statements, each of which runs once: compiling them takes PostgreSQL
--- longer than running them, and a million rows shouldn't be sorted on disk.
local SESSION = "SET jit = off; SET work_mem = '64MB'; SET temp_buffers = '64MB'"

--- Opens the database that the settings name; makes our own tables on first use.
---@param settings tallyman.Settings
---@param prepare? fun(database: tallyman.Database) what comes before our tables are made
---@return tallyman.Oms
function oms.open(settings, prepare)
  local ok, database = failure.catch(db.open, settings.oms.database)
  if not ok then
    failure.raise(failure.code(database),
      "%s (the OMS: oms.database in the settings, TALLYMAN_OMS)", tostring(database))
  end
  if database.dialect == "postgresql" then database:script(SESSION) end
  if prepare then prepare(database) end
  tables.ensure(database)
  return setmetatable({ db = database, settings = settings }, Oms)
end

return oms
