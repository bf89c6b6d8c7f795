-- What the exchange and the OMS can do, and what tallyman therefore guarantees: one line for each
-- check, ok or what to do. Changes nothing but for files of its own, which it removes.
--   tallyman examples/doctor.lua [SETTINGS]     scripts/settings.lua by default
-- Ends with 0 when all is ok, or with the exit code of the first check that isn't.
local db = require "tallyman.db"
local disk_sftp = require "tallyman.disk_sftp"
local exchange = require "tallyman.exchange"
local failure = require "tallyman.failure"
local host = require "native.host"
local posix_time = require "posix.time"
local secrets = require "tallyman.secrets"
local tables = require "tallyman.tables"
local unistd = require "posix.unistd"

local LIBRARY = host.library:match "^(.*)/[^/]*$"
local PROBE = 8 * 1024 * 1024 -- bytes
local SKEW = 120 -- seconds by which the server's clock may differ

local worst = 0

--- Prints a check's outcome: what it gives, or what it raises.
local function check(name, run)
  local ok, result = failure.catch(run)
  if not ok and worst == 0 then worst = failure.code(result) end
  print(("%-28s %s%s"):format(name, ok and "ok" or "NOT OK: ",
    ok and (result and ": " .. result or "") or tostring(result)))
  return ok
end

local function seconds()
  local at = posix_time.clock_gettime(posix_time.CLOCK_MONOTONIC)
  return at.tv_sec + at.tv_nsec / 1e9
end

--- A name for a file of ours in a folder, as those of runs are called.
local function probe_in(place, folder, name)
  return place:full(("%s/.%s.doctor%d.part"):format(folder, name, unistd.getpid()))
end

--- Writes a file of so many bytes; megabytes per second.
local function write(disk, path, size)
  local began = seconds()
  local sink <close> = disk:sink(path)
  for _ = 1, size // 65536 do failure.check(sink:write(("x"):rep(65536))) end
  failure.check(sink:finish())
  return size / 1e6 / (seconds() - began)
end

local function read(disk, path)
  local began, size = seconds(), 0
  local source <close> = disk:source(path)
  for bytes in function() return failure.check(source:read(1048576)) end do size = size + #bytes end
  return size / 1e6 / (seconds() - began)
end

--- Whether files can be written, read and removed in a folder.
local function check_writable(place, folder)
  place:make_folder(folder)
  local path = probe_in(place, folder, "probe")
  write(place.disk, path, 65536)
  place.disk:remove(path)
end

--- The speed each way, and the server's clock.
local function check_speed(place, folder)
  local path = probe_in(place, folder, "speed")
  local up = write(place.disk, path, PROBE)
  local written = place.disk:stat(path)
  local down = read(place.disk, path)
  place.disk:remove(path)
  local skew = written.mtime - os.time() -- the real time, not TALLYMAN_NOW's
  if math.abs(skew) > SKEW then
    failure.raise(failure.configuration, "the exchange's clock is %d seconds ahead of ours; set "
      .. "the clocks: files that the POS is still writing could pass for settled ones", skew)
  end
  return ("%.0f MB/s up, %.0f MB/s down, its clock is %d s ahead of ours"):format(up, down, skew)
end

--- What a plain rename onto a name that exists does.
local function check_rename(place, session, folder)
  place:make_folder(folder)
  local one, other = probe_in(place, folder, "one"), probe_in(place, folder, "other")
  write(place.disk, one, 65536)
  write(place.disk, other, 0)
  local done = failure.check(session:try_rename(one, other))
  place.disk:remove(one)
  place.disk:remove(other)
  if done then
    failure.raise(failure.configuration, "the server overwrites files by a plain rename: two runs "
      .. "that write the same name at the same moment can't be kept apart")
  end
  return "refused, as it should be"
end

--- What only a server has to say.
local function check_server(place, settings)
  local session
  local connected = check("host key and login", function()
    session = failure.check(require "native.sftp".open((disk_sftp.options(settings.exchange,
      settings))))
  end)
  if not connected then return false end
  local features = session:features()
  check("sync of what was written", function()
    return features.fsync and "by the server" or "not offered: a power cut there may lose a file"
  end)
  check("replacing a file", function()
    return features.posix_rename and "in one step" or "in two steps: there is a moment without it"
  end)
  check("rename onto another file", function()
    return check_rename(place, session, settings.filtered.folder)
  end)
  session:close()
  return true
end

local function check_exchange(settings)
  local place <close> = exchange.open(settings.exchange, "doctor", settings)
  print(("exchange %s"):format(secrets.hide(settings.exchange)))
  if settings.exchange:match "^sftp:" and not check_server(place, settings) then return end
  check("inbound, to read", function()
    if not place:exists(settings.inbound.folder) then
      failure.raise(failure.no_input, "there is no folder '%s'", settings.inbound.folder)
    end
    return ("%d files"):format(#place:list(settings.inbound.folder))
  end)
  for _, folder in ipairs { settings.filtered.folder, settings.variance.name.folder,
    settings.archive } do
    check(folder .. ", to write", function() return check_writable(place, folder) end)
  end
  check("speed and clock", function() return check_speed(place, settings.filtered.folder) end)
end

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

local function check_table(oms, name, columns)
  local found = columns_of(oms, name)
  if not found then
    failure.raise(failure.configuration, "there is no such table%s", oms.dialect == "sqlite" and ""
      or " in the search path: " .. oms:value "SHOW search_path")
  end
  for _, column in ipairs(columns) do
    if not found[column] then
      failure.raise(failure.configuration, "it has no column %s", column)
    end
  end
end

local function check_tables(oms)
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
  return ("have their owner run what `tallyman scripts/tables.lua postgresql %s` prints")
    :format(oms:value "SELECT current_user")
end

--- Those of tallyman's tables that aren't there; and whether the one with the version is.
local function missing_tables(oms)
  local missing, versioned = {}, true
  for name in tables.sql:gmatch "CREATE TABLE IF NOT EXISTS (%S+)" do
    if not columns_of(oms, name) then
      missing[#missing + 1] = name
      versioned = versioned and name ~= "tallyman_version"
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

--- The tables with which the night does something, by the right that it needs for it: what the SQL
--- says that grants it.
local function needed_rights()
  local needed = { SELECT = {}, INSERT = {}, UPDATE = {} }
  for rights, names in tables.grants "x":gmatch "GRANT ([%u, ]+)\n  ON ([%w_, ]+)\n" do
    for right in rights:gmatch "%u+" do
      for name in names:gmatch "[%w_]+" do table.insert(needed[right], name) end
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

local function check_postgres(oms, settings)
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

local function check_oms(settings)
  print(("OMS %s"):format(secrets.hide(settings.oms.database)))
  local oms
  local opened = check("database", function()
    oms = db.open(settings.oms.database)
    return version(oms)
  end)
  if not opened then return end
  check_tables(oms)
  check("tallyman's own tables", function() return check_own_tables(oms) end)
  if oms.dialect == "postgresql" then check_postgres(oms, settings) end
  check("time zones", function() return check_zones(oms, settings) end)
  oms:close()
end

local settings = dofile(arg[1] or LIBRARY .. "/scripts/settings.lua")
check_exchange(settings)
check_oms(settings)
os.exit(worst, true)
