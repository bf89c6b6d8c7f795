--- Staging: the rows of a filtered file or a variance file in a temporary table, each resolved to a
--- facility and a product or marked with its fault. Faulty rows stay, since a pair that lost a row
--- isn't covered.
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local file = require "native.file"
local quantity = require "tallyman.quantity"
local rows = require "tallyman.rows"

local staging = {}

local TABLES = [[
  CREATE TEMPORARY TABLE IF NOT EXISTS tallyman_row (
    line integer NOT NULL {sqlite PRIMARY KEY},
    facility_given text,
    external_given text,
    location text NOT NULL,
    id_type text,
    id_value text,
    units bigint,
    reason text,
    comments text,
    fault varchar(255),
    fault_field varchar(60),
    facility_id varchar(20),
    product_id varchar(20),
    facilities integer NOT NULL,
    products integer NOT NULL,
    dropped integer NOT NULL
  );
  {sqlite CREATE INDEX IF NOT EXISTS tallyman_row_pair ON tallyman_row (product_id, facility_id)};
  CREATE TEMPORARY TABLE IF NOT EXISTS tallyman_lost (id_type text, id_value text);
  DELETE FROM tallyman_row;
  DELETE FROM tallyman_lost;
]]

--- The columns that load() fills.
local LOADED = { "line", "facility_given", "external_given", "location", "id_type", "id_value",
  "units", "reason", "comments", "fault", "fault_field", "facilities", "products", "dropped" }
--- Our names of the texts among them, in that order; the quantity stands before the last two.
local TEXTS = { "facilityId", "externalFacilityId", "locationSeqId", "idType", "idValue",
  "varianceReasonId", "comments" }
local AT_ONCE = 500 -- rows

--- The identifiers that are valid now, for the row r.
local MATCHES = [[
  g.id_value = %s AND UPPER({bytes g.good_identification_type_id}) = UPPER({bytes %s})
  AND (g.from_date IS NULL OR {stamp g.from_date} <= :now)
  AND (g.thru_date IS NULL OR {stamp g.thru_date} > :now)]]

---@class tallyman.StagingPlan what kind of file it is
---@field quantity string our name of the quantity's column
---@field required table<string, boolean> columns that the header must have
---@field columns string[] our names of all columns that count
---@field ignored table<string, boolean> facilities whose rows are left out
---@field own? boolean a file of ours: our column names, and a broken row stands for itself alone

--- What is wrong with a row by itself: a text and the field; nil when nothing is.
local function own_fault(row, plan, units)
  if row.fault then return row.fault, "" end
  if row.facilityId == "" and (row.externalFacilityId or "") == "" then
    return "facilityId and externalFacilityId are empty", "facilityId"
  end
  if row.idType == "" then return "idType is empty", "idType" end
  if row.idValue == "" then return "idValue is empty", "idValue" end
  if units then return nil end
  local given = row[plan.quantity]
  if given:match "^[ \t]*$" then return plan.quantity .. " is empty", plan.quantity end
  return plan.quantity .. " is no number", plan.quantity
end

--- Text that any database takes; with bytes that are no UTF-8, or zero bytes, it must match no
--- identifier.
local function clean(text)
  if not text then return "" end
  if not utf8.len(text) then text = text:gsub("[\128-\255]", "\u{FFFD}") end
  return (text:gsub("\0", "\u{FFFD}"))
end

--- A text as a field of CSV, in quotes: empty is not NULL. Most texts have nothing to be changed.
local function field_of(text)
  if text and text:find '[^%w%-_ .]' then text = clean(text):gsub('"', '""') end
  return '"' .. (text or "") .. '"'
end

--- Rows of tallyman_row as CSV, given to the database many at a time.
local Batch = {}
Batch.__index = Batch

function Batch:flush()
  if #self == 0 then return end
  local text = table.concat(LOADED, ",") .. "\n" .. table.concat(self)
  local source <close> = failure.check(file.text(text))
  self.db:copy_in("tallyman_row", LOADED, source, { delimiter = ",", max_record = #text })
  for i = #self, 1, -1 do self[i] = nil end
end

--- Adds one row; notes the product of a record whose structure is broken.
function Batch:add(oms, row, plan, comma)
  local given = row[plan.quantity]
  local units = given and quantity.parse(given, comma)
  local fault, field = own_fault(row, plan, units)
  local texts = {}
  for i, name in ipairs(TEXTS) do texts[i] = field_of(row[name]) end
  self[#self + 1] = ("%d,%s,%s,%s,%s,%s,0,0,0\n"):format(row.line,
    table.concat(texts, ",", 1, 5), units or "", table.concat(texts, ",", 6),
    fault and field_of(fault) or "", field and field_of(field) or "")
  if #self == AT_ONCE then self:flush() end
  if row.fault and not plan.own then staging.lose(oms, row.idType, row.idValue) end
end

--- Marks the products of an identifier as not covered.
---@param oms tallyman.Oms
---@param id_type? string
---@param id_value? string
function staging.lose(oms, id_type, id_value)
  if not id_type or not id_value then return end
  oms.db:run("INSERT INTO tallyman_lost (id_type, id_value) VALUES (:type, :value)",
    { type = clean(id_type), value = clean(id_value) })
end

--- Whether the row's facility is one that the settings leave out.
local function is_ignored(row, plan)
  local facility = row.facilityId or ""
  if facility == "" then facility = row.externalFacilityId or "" end
  return plan.ignored[facility] == true
end

--- Opens the rows of a file by the plan's columns.
---@param oms tallyman.Oms
---@param source native.Source
---@param plan tallyman.StagingPlan
---@param name string
---@return tallyman.Rows
function staging.open(oms, source, plan, name)
  local columns = {}
  for _, column in ipairs(plan.columns) do
    columns[column] = plan.own and column or oms.settings.columns[column]
  end
  local reader = rows.open(source, columns, plan.required, name,
    { max_record = oms.settings.max_record })
  if not reader.indexes.facilityId and not reader.indexes.externalFacilityId then
    failure.raise(failure.bad_data, "%s:1:1: header has neither facilityId nor externalFacilityId",
      name)
  end
  return reader
end

--- Fills the table from a file. Call inside the transaction that uses it.
---@param oms tallyman.Oms
---@param reader tallyman.Rows
---@param plan tallyman.StagingPlan
---@return table counts rows, ignored
function staging.load(oms, reader, plan)
  oms.db:script(TABLES)
  local counts, batch = { rows = 0, ignored = 0 }, setmetatable({ db = oms.db }, Batch)
  for row in reader:each() do
    counts.rows = counts.rows + 1
    if not row.facilityId and not row.fault then row.facilityId = "" end
    if not row.fault and is_ignored(row, plan) then
      counts.ignored = counts.ignored + 1
    else
      batch:add(oms, row, plan, reader.comma)
    end
  end
  batch:flush()
  oms:analyze "tallyman_row"
  return counts
end

local function mark(oms, fault, field, condition)
  oms.db:run(("UPDATE tallyman_row SET fault = :fault, fault_field = %s WHERE fault IS NULL AND %s")
    :format(field, condition), { fault = fault })
end

--- Each row's facility and product, with how many there are; both are looked up in one go, for
--- PostgreSQL writes a row anew with every change.
local RESOLVE = [[UPDATE tallyman_row SET facilities = found.facilities,
    facility_id = CASE WHEN found.facilities = 1 THEN found.facility_id END,
    products = found.products,
    product_id = CASE WHEN found.products = 1 THEN found.product_id END
  FROM (SELECT r.line AS at,
      CASE WHEN f.facility_id IS NOT NULL THEN 1 ELSE COALESCE(e.number, 0) END AS facilities,
      COALESCE(f.facility_id, e.id) AS facility_id,
      COALESCE(p.number, 0) AS products, p.id AS product_id
    FROM tallyman_row r
    LEFT JOIN facility f ON f.facility_id = r.facility_given AND r.facility_given <> ''
    LEFT JOIN (SELECT external_id, COUNT(*) AS number, MIN(facility_id) AS id FROM facility
      WHERE external_id <> '' GROUP BY external_id) e
      ON e.external_id = r.external_given AND r.facility_given = ''
    LEFT JOIN (SELECT t.line, COUNT(DISTINCT g.product_id) AS number, MIN(g.product_id) AS id
      FROM tallyman_row t JOIN good_identification g ON ]]
    .. MATCHES:format("t.id_value", "t.id_type") .. [[
      WHERE t.id_value <> '' GROUP BY t.line) p ON p.line = r.line) found
  WHERE line = found.at]]

--- Resolves facilities and products, and marks rows that can't be.
---@param oms tallyman.Oms
---@param product_ids boolean whether PRODUCT_ID is an identifier type
function staging.resolve(oms, product_ids)
  local now = oms:stamp(clock.now())
  oms.db:run(RESOLVE, { now = now })
  if product_ids then
    oms.db:run [[UPDATE tallyman_row SET products = 1, product_id = id_value
      WHERE product_id IS NULL AND UPPER({bytes id_type}) = 'PRODUCT_ID'
        AND EXISTS (SELECT 1 FROM product p WHERE p.product_id = id_value)]]
  end
  local field = "CASE WHEN facility_given = '' THEN 'externalFacilityId' ELSE 'facilityId' END"
  mark(oms, "facility is unknown", field, "facilities = 0")
  mark(oms, "externalFacilityId belongs to more than one facility", field, "facilities > 1")
  mark(oms, "product is unknown: no identifier valid now", "'idValue'", "products = 0")
  mark(oms, "identifier belongs to more than one product", "'idValue'", "products > 1")
  oms.db:run([[UPDATE tallyman_row SET fault = :fault, fault_field = 'idValue'
    WHERE fault IS NULL AND product_id IN (SELECT g.product_id FROM good_identification g
      JOIN tallyman_lost l ON ]] .. MATCHES:format("l.id_value", "l.id_type") .. ")",
    { now = now, fault = "another record of this product is broken" })
end

--- The faulty rows by line.
---@param oms tallyman.Oms
---@return table<integer, { fault: string, field: string }>, integer count
function staging.faults(oms)
  local faults, count = {}, 0
  for row in oms:rows "SELECT line, fault, fault_field FROM tallyman_row WHERE fault IS NOT NULL" do
    faults[row.line] = { fault = row.fault, field = row.fault_field }
    count = count + 1
  end
  return faults, count
end

return staging
