--- Tallyman's own tables in the OMS database: their SQL, and making them on first use. A user
--- without the right to make tables needs only that they exist.
local failure = require "tallyman.failure"

local tables = {}

--- SQL that changes the tables from each version to the next, the first being the second version's.
--- It never changes once it has been released. The table tallyman_version lists what was made; no
--- row stands for the first version.
---@type string[]
tables.changes = {}

--- Makes the first version. All times are UTC. reset_id, variance_id and undo_id are physical
--- inventories: ledger rows that bear one of them are "ours". covered is how many pairs
--- are: so the proof notices when some are gone.
tables.sql = [[
CREATE TABLE IF NOT EXISTS tallyman_cycle (
  cycle_id integer NOT NULL PRIMARY KEY,
  snapshot timestamp NOT NULL,
  sha256 varchar(64) NOT NULL,
  file_name varchar(255) NOT NULL,
  business_date varchar(10) NOT NULL,
  method varchar(20) NOT NULL,
  reset_at timestamp NOT NULL,
  reset_id varchar(20) NOT NULL,
  covered integer NOT NULL,
  settled_at timestamp,
  settled_by varchar(20),
  variance_id varchar(20),
  variance_file varchar(255),
  undone_at timestamp,
  undo_id varchar(20)
);
CREATE TABLE IF NOT EXISTS tallyman_coverage (
  cycle_id integer NOT NULL,
  product_id varchar(20) NOT NULL,
  facility_id varchar(20) NOT NULL,
  line integer NOT NULL,
  quantity numeric(18,6) NOT NULL,
  qoh_before numeric(18,6) NOT NULL,
  atp_before numeric(18,6) NOT NULL,
  delta numeric(18,6) NOT NULL,
  deduction numeric(18,6) NOT NULL,
  ledger_qoh numeric(18,6) NOT NULL,
  ledger_atp numeric(18,6) NOT NULL,
  PRIMARY KEY (cycle_id, product_id, facility_id)
);
CREATE TABLE IF NOT EXISTS tallyman_coverage_item (
  cycle_id integer NOT NULL,
  inventory_item_id varchar(20) NOT NULL,
  qoh_before numeric(18,6) NOT NULL,
  atp_before numeric(18,6) NOT NULL,
  ledger_qoh numeric(18,6) NOT NULL,
  ledger_atp numeric(18,6) NOT NULL,
  PRIMARY KEY (cycle_id, inventory_item_id)
);
CREATE TABLE IF NOT EXISTS tallyman_lease (
  name varchar(20) NOT NULL PRIMARY KEY,
  holder varchar(255) NOT NULL,
  backend integer NOT NULL,
  fence bigint NOT NULL,
  expires_at timestamp NOT NULL
);
CREATE TABLE IF NOT EXISTS tallyman_version (version integer NOT NULL PRIMARY KEY);
]]

--- What the nightly jobs do with each table, as PostgreSQL's GRANT has it: rights, tables.
---@type string[][]
tables.rights = {
  { "SELECT", "facility, product, good_identification, shopify_shop_product, order_header, "
    .. "shipment, item_issuance, order_fulfillment_history, tallyman_version" },
  { "SELECT, INSERT", "inventory_item_detail, inventory_item_variance, physical_inventory, "
    .. "variance_reason, tallyman_coverage, tallyman_coverage_item" },
  { "SELECT, INSERT, UPDATE",
    "inventory_item, sequence_value_item, tallyman_cycle, tallyman_lease" },
}

--- The SQL that grants a PostgreSQL user what the nightly jobs need, and no more.
---@param user string
---@return string
function tables.grants(user)
  local role = '"' .. user:gsub('"', '""') .. '"'
  local lines = {}
  for i, right in ipairs(tables.rights) do
    lines[i] = ("GRANT %s\n  ON %s\n  TO %s;"):format(right[1], right[2], role)
  end
  local name, all = user:gsub("'", "''"), {}
  for i, right in ipairs(tables.rights) do all[i] = right[2] end
  lines[#lines + 1] = ([[
DO $grant$ DECLARE part name; BEGIN -- staging uses temporary tables
  EXECUTE format('GRANT TEMPORARY ON DATABASE %%I TO %%I', current_database(), '%s');
  FOR part IN SELECT DISTINCT n.nspname FROM pg_namespace n JOIN pg_class c
      ON c.relnamespace = n.oid
    WHERE c.oid IN (SELECT to_regclass(t) FROM regexp_split_to_table('%s', ', *') t)
  LOOP EXECUTE format('GRANT USAGE ON SCHEMA %%I TO %%I', part, '%s'); END LOOP;
END $grant$;]]):format(name, table.concat(all, ", "), name)
  return table.concat(lines, "\n") .. "\n"
end

local EXISTS = {
  sqlite = "SELECT 1 FROM sqlite_master WHERE name = 'tallyman_version'",
  postgresql = "SELECT 1 WHERE to_regclass('tallyman_version') IS NOT NULL",
}

--- Taken in PostgreSQL before the tables are made. Any number does that nothing else locks.
tables.lock = "SELECT pg_advisory_xact_lock(8251997)"

--- The version of the tables that are there; nil when there are none.
local function found(db)
  return db:value(EXISTS[db.dialect])
    and db:value "SELECT COALESCE(MAX(version), 1) FROM tallyman_version"
end

--- The SQL that makes the tables, or brings those of an older version up to date.
---@param from? integer the version that is there; none
---@return string
function tables.script(from)
  local parts = { not from and tables.sql or nil }
  for number = from or 1, #tables.changes do
    parts[#parts + 1] = tables.changes[number]
    parts[#parts + 1] = ("INSERT INTO tallyman_version (version) VALUES (%d);\n"):format(number + 1)
  end
  return table.concat(parts)
end

--- Makes the tables, or changes them, in one transaction. Two processes may do so at once, but
--- PostgreSQL's IF NOT EXISTS isn't made for that: one waits for the other.
local function make(db)
  db:transaction(function()
    if db.dialect == "postgresql" then db:value(tables.lock) end
    db:script(tables.script(found(db)))
  end, { isolation = "read committed" }) -- to see what was made while we waited
end

local REFUSED = { ["42501"] = true, ["3F000"] = true } -- no right, or no schema where it has one

--- Sees to it that the tables are there, and that they are those that this program knows.
---@param db tallyman.Database
function tables.ensure(db)
  local version, known = found(db), 1 + #tables.changes
  if version == known then return end
  if version and version > known then
    failure.raise(failure.configuration, "the OMS's tallyman tables are of version %d, this "
      .. "program knows %d: a newer release has changed them", version, known)
  end
  local ok, wrong = failure.catch(make, db)
  if ok then return end
  if type(wrong) == "table" and REFUSED[wrong.sqlstate] then
    failure.raise(failure.not_permitted, "%s; have somebody with the rights run the SQL that "
      .. "the script tables.lua prints", tostring(wrong))
  end
  error(wrong, 0)
end

return tables
