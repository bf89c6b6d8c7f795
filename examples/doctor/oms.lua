-- What the doctor asks the OMS's database. It only looks: nothing is written.
local db = require "tallyman.db"
local failure = require "tallyman.failure"
local host = require "native.host"
local secrets = require "tallyman.secrets"
local tables = require "tallyman.tables"

local LIBRARY = host.library:match "^(.*)/[^/]*$"
local SKEW = 120 -- seconds by which the server's clock may differ

--- The tables and columns that the jobs need, as examples/oms/schema.sql has them.
local function needed_columns()
  local handle <close> = assert(io.open(LIBRARY .. "/examples/oms/schema.sql"))
  local needed = {}
  for name, body in handle:read "a":gmatch "CREATE TABLE (%S+) (%b())" do
    needed[name] = {}
    for column in body:gmatch "\n  (%l[%w_]*) " do table.insert(needed[name], column) end
  end
  return needed
end

local COLUMNS = {
  sqlite = "SELECT lower(name) AS name FROM pragma_table_info(:name)",
  -- The information schema wouldn't show a table on which this user has no rights.
  postgresql = [[SELECT CAST(attname AS text) AS name FROM pg_attribute
    WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped]],
}

--- The columns of a table, as a set; nil when there is no such table.
local function columns_of(oms, name)
  local found = {}
  for row in oms:rows(COLUMNS[oms.dialect], { name = name }) do found[row.name] = true end
  return next(found) and found
end

--- Why a table isn't to be seen, in words.
local function absence(oms, name)
  if oms.dialect == "sqlite" then return "there is no such table" end
  local schema = oms:value([[SELECT quote_ident(MIN(n.nspname)) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = :name AND c.relkind IN ('r', 'p', 'v')]], { name = name })
  local path = oms:value "SHOW search_path"
  if not schema then return "there is no such table in the search path: " .. path end
  return ("it is in the schema %s, which this user doesn't see: grant USAGE ON SCHEMA %s to it, "
    .. "and name the schema in its search_path (%s)"):format(schema, schema, path)
end

local function check_table(oms, name, columns)
  local found = columns_of(oms, name)
  if not found then failure.raise(failure.configuration, "%s", absence(oms, name)) end
  for _, column in ipairs(columns) do
    if not found[column] then
      failure.raise(failure.configuration, "it has no column %s", column)
    end
  end
  local hides = oms.dialect == "postgresql"
    and oms:value("SELECT row_security_active(CAST(:name AS text))", { name = name })
  if hides then
    failure.raise(failure.not_permitted, "its row security hides rows from this user, so that no "
      .. "count could be right: ALTER ROLE ... BYPASSRLS")
  end
end

local function check_tables(check, oms)
  local sound, needed, names = 0, needed_columns(), {}
  for name in pairs(needed) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local ok, problem = failure.catch(check_table, oms, name, needed[name])
    if ok then sound = sound + 1 else check("table " .. name, function() error(problem, 0) end) end
  end
  check("tables and columns", function()
    if sound < #names then
      failure.raise(failure.configuration, "%d of %d tables have what they need", sound, #names)
    end
    return sound .. " tables have what they need"
  end)
end

-- ---- tallyman's own tables ----

--- Whether this user may make tables where the jobs would make them.
local function may_make(oms)
  return oms.dialect == "sqlite"
    or oms:value "SELECT has_schema_privilege(current_schema(), 'CREATE')" == true
end

--- What to do about rights, in words.
local function advice(oms)
  local user = oms:value "SELECT current_user"
  return ("have their owner run what `tallyman scripts/tables.lua postgresql %s` prints")
    :format(user:match "^[%w_]+$" and user or "'" .. user:gsub("'", "'\\''") .. "'")
end

--- Those of tallyman's tables, and of their columns, that aren't there; and whether the one with
--- the version is.
local function missing_tables(oms)
  local missing, versioned = {}, true
  for name, body in tables.sql:gmatch "CREATE TABLE IF NOT EXISTS (%S+) (%b())" do
    local found = columns_of(oms, name)
    if not found then
      missing[#missing + 1] = name
      versioned = versioned and name ~= "tallyman_version"
    end
    for column in body:gmatch "\n  (%l[%w_]*) " do
      if found and not found[column] then missing[#missing + 1] = name .. "." .. column end
    end
  end
  return missing, versioned
end

local function check_own_tables(oms)
  local missing, versioned = missing_tables(oms)
  if not versioned and may_make(oms) then return "not all there; the first import makes them" end
  if #missing > 0 then
    failure.raise(failure.configuration, "there is no %s; %s", table.concat(missing, ", "),
      oms.dialect == "sqlite" and "restore a copy" or advice(oms))
  end
  local version = oms:value "SELECT COALESCE(MAX(version), 1) FROM tallyman_version"
  local known = 1 + #tables.changes
  if version > known then
    failure.raise(failure.configuration, "they are of version %d, this program knows %d: a newer "
      .. "release has changed them; run that one", version, known)
  end
  return ("version %d%s"):format(version, version < known
    and ("; the next import, by their owner, makes it %d"):format(known) or "")
end

-- ---- what only PostgreSQL has to say ----

--- The tables with which the night does something, by the right that it needs for it.
local function needed_rights()
  local needed = { SELECT = {}, INSERT = {}, UPDATE = {} }
  for _, granted in ipairs(tables.rights) do
    for right in granted[1]:gmatch "%u+" do
      for name in granted[2]:gmatch "[%w_]+" do table.insert(needed[right], name) end
    end
  end
  return needed
end

--- What the user lacks, in words. A table that isn't there was told already.
local function lacking_rights(oms)
  local needed, lacking = needed_rights(), {}
  for _, right in ipairs { "SELECT", "INSERT", "UPDATE" } do
    local names = {}
    for _, name in ipairs(needed[right]) do
      local has = oms:value("SELECT has_table_privilege(to_regclass(:name), :right)",
        { name = name, right = right })
      if has == false then names[#names + 1] = name end
    end
    if #names > 0 then lacking[#lacking + 1] = right .. " on " .. table.concat(names, ", ") end
  end
  if not oms:value "SELECT has_database_privilege(current_database(), 'TEMPORARY')" then
    lacking[#lacking + 1] = "TEMPORARY on the database"
  end
  return lacking
end

local function check_rights(oms)
  local lacking, user = lacking_rights(oms), oms:value "SELECT current_user"
  if #lacking > 0 then
    failure.raise(failure.not_permitted, "%s lacks %s; %s", user, table.concat(lacking, "; "),
      advice(oms))
  end
  return ("%s may do with these tables what the night does, %s make others"):format(user,
    may_make(oms) and "and" or "but not")
end

--- Whether it takes writes: a standby doesn't.
local function check_writes(oms)
  if oms:value "SHOW transaction_read_only" == "on" then
    failure.raise(failure.configuration, "it takes none: %s",
      oms:value "SELECT pg_is_in_recovery()" and "it is a standby; name the primary server"
      or "default_transaction_read_only is on for this user or database; set it off")
  end
  return "the server takes them"
end

local LIMIT = [[
  SELECT set_config(name, CAST(:millis AS text), true) FROM pg_settings
  WHERE name = 'idle_in_transaction_session_timeout']]

--- Whether the server will end a host that stands still in the middle of an import.
local function check_lease(oms, settings)
  local set = oms:transaction(function()
    return oms:value(LIMIT, { millis = math.ceil(settings.oms.lease * 1000) })
  end)
  if not set then
    failure.raise(failure.configuration, "the server has no idle_in_transaction_session_timeout, "
      .. "as PostgreSQL 9.6 and later have: a host that stands still would keep others waiting")
  end
  return ("idle_in_transaction_session_timeout can be set: a host that stands still for %g s is "
    .. "ended"):format(settings.oms.lease)
end

--- The imports say which isolation they need.
local function check_isolation(oms)
  oms:transaction(function() oms:value "SELECT 1" end, { isolation = "read committed" })
  return ("%s by default; imports ask for read committed")
    :format(oms:value "SHOW default_transaction_isolation")
end

local function check_server_clock(oms)
  local skew = math.floor(oms:value
    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)" - os.time())
  if math.abs(skew) > SKEW then
    failure.raise(failure.configuration, "the database's clock is %d seconds ahead of ours; set "
      .. "the clocks: whose movement came before a count would be told wrongly", skew)
  end
  return ("the database's is %d s ahead of ours"):format(skew)
end

local function check_postgres(check, oms, settings)
  for _, one in ipairs { { "rights", check_rights }, { "writes", check_writes },
    { "lease", check_lease }, { "transaction isolation", check_isolation },
    { "clock", check_server_clock } } do
    check(one[1], function() return one[2](oms, settings) end)
  end
end

-- ---- the OMS ----

local TYPE = [[SELECT format_type(atttypid, NULL) FROM pg_attribute
  WHERE attrelid = to_regclass('inventory_item_detail') AND attname = 'effective_date']]

--- The zones of retailer and OMS. Times with a zone come in the session's, which is UTC.
local function check_zones(oms, settings)
  local zones = ("retailer %s, OMS %s"):format(settings.timezone or "the system's",
    settings.oms.timezone)
  if oms.dialect == "sqlite" then return zones end
  if oms:value(TYPE) == "timestamp with time zone" and settings.oms.timezone ~= "UTC" then
    failure.raise(failure.configuration, "the OMS's times bear a zone and are read as UTC: set "
      .. "oms.timezone to UTC, not %s", settings.oms.timezone)
  end
  return ("%s; the session's is UTC, the server's default %s"):format(zones,
    oms:value "SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'")
end

--- Which database it is.
local function version(oms)
  if oms.dialect == "sqlite" then return "SQLite " .. oms:value "SELECT sqlite_version()" end
  return ("PostgreSQL %s, database %s, user %s"):format(oms:value "SHOW server_version",
    oms:value "SELECT current_database()", oms:value "SELECT current_user")
end

--- Checks the OMS's database; `check` prints an outcome.
---@param check fun(name: string, run: fun(): string?): boolean
---@param settings table
return function(check, settings)
  print(("OMS %s"):format(secrets.hide(settings.oms.database)))
  local oms
  local opened = check("database", function()
    oms = db.open(settings.oms.database)
    return version(oms)
  end)
  if not opened then return end
  check_tables(check, oms)
  check("tallyman's own tables", function() return check_own_tables(oms) end)
  if oms.dialect == "postgresql" then check_postgres(check, oms, settings) end
  check("time zones", function() return check_zones(oms, settings) end)
  oms:close()
end
