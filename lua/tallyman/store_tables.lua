--- The store's tables in either database, by version. On PostgreSQL they stand in a schema of their
--- own, and times are texts there, too, which compare as bytes; rowid is what SQLite has by itself.
local failure = require "tallyman.failure"

local store_tables = {}

--- SQL from each version of the store to the next. It never changes once it has been released.
---@type table<string, string[]>
store_tables.versions = {}

store_tables.versions.sqlite = { [[
  CREATE TABLE IF NOT EXISTS run (
    run_id TEXT NOT NULL PRIMARY KEY,
    job TEXT NOT NULL,
    night TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    exit_code INTEGER,
    message TEXT,
    figures TEXT
  );
  CREATE INDEX IF NOT EXISTS run_night ON run (night, job, started_at);
]], [[
  ALTER TABLE run ADD COLUMN flow TEXT;
  ALTER TABLE run ADD COLUMN turn INTEGER;
  ALTER TABLE run ADD COLUMN process TEXT;
  ALTER TABLE run ADD COLUMN script_sha256 TEXT;
  ALTER TABLE run ADD COLUMN settings_sha256 TEXT;
  CREATE TABLE occurrence (
    flow TEXT NOT NULL,
    night TEXT NOT NULL,
    job TEXT NOT NULL,
    turn INTEGER NOT NULL,
    state TEXT NOT NULL,
    final INTEGER NOT NULL,
    due_at TEXT NOT NULL,
    deadline TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    run_id TEXT,
    next_at TEXT,
    ended_at TEXT,
    reason TEXT,
    PRIMARY KEY (flow, night, job, turn)
  );
  CREATE INDEX occurrence_open ON occurrence (flow, final, night);
  CREATE TABLE keeper (flow TEXT NOT NULL PRIMARY KEY, process TEXT NOT NULL);
  CREATE TABLE event (
    event_id INTEGER PRIMARY KEY,
    flow TEXT NOT NULL,
    night TEXT NOT NULL,
    job TEXT NOT NULL,
    turn INTEGER NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    happened_at TEXT NOT NULL,
    command_at TEXT,
    webhook_at TEXT
  );
  CREATE INDEX event_job ON event (flow, job, event_id);
]] }

--- TEXT stands for a text that compares as bytes.
store_tables.versions.postgresql = { (([[
  CREATE SCHEMA IF NOT EXISTS tallyman;
  CREATE TABLE tallyman.run (
    rowid bigint GENERATED ALWAYS AS IDENTITY,
    run_id TEXT NOT NULL PRIMARY KEY,
    job TEXT NOT NULL,
    night TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    exit_code integer,
    message TEXT,
    figures json,
    flow TEXT,
    turn integer,
    process TEXT,
    script_sha256 TEXT,
    settings_sha256 TEXT
  );
  CREATE INDEX run_night ON tallyman.run (night, job, started_at);
  CREATE TABLE tallyman.occurrence (
    rowid bigint GENERATED ALWAYS AS IDENTITY,
    flow TEXT NOT NULL,
    night TEXT NOT NULL,
    job TEXT NOT NULL,
    turn integer NOT NULL,
    state TEXT NOT NULL,
    final integer NOT NULL,
    due_at TEXT NOT NULL,
    deadline TEXT NOT NULL,
    attempts integer NOT NULL,
    run_id TEXT,
    next_at TEXT,
    ended_at TEXT,
    reason TEXT,
    PRIMARY KEY (flow, night, job, turn)
  );
  CREATE INDEX occurrence_open ON tallyman.occurrence (flow, final, night);
  CREATE TABLE tallyman.event (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    flow TEXT NOT NULL,
    night TEXT NOT NULL,
    job TEXT NOT NULL,
    turn integer NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    happened_at TEXT NOT NULL,
    command_at TEXT,
    webhook_at TEXT
  );
  CREATE INDEX event_job ON tallyman.event (flow, job, event_id);
  CREATE TABLE tallyman.tallyman_lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    backend integer NOT NULL,
    fence bigint NOT NULL,
    expires_at timestamp NOT NULL
  );
  CREATE TABLE tallyman.version (version integer NOT NULL PRIMARY KEY);
]]):gsub("TEXT", 'text COLLATE "C"')) }

--- What those who make the tables at once wait for. Any number does that nothing else locks.
local LOCK = "SELECT pg_advisory_xact_lock(8251998)"

local DIALECTS = {
  sqlite = {
    version = function(database) return database:value "PRAGMA user_version" end,
    mark = "PRAGMA user_version = %d;\n",
  },
  postgresql = {
    -- A name that wasn't there is remembered until a transaction ends; rows aren't.
    version = function(database)
      return database:value [[SELECT 1 FROM pg_tables
          WHERE schemaname = 'tallyman' AND tablename = 'version']]
        and database:value "SELECT MAX(version) FROM tallyman.version" or 0
    end,
    mark = "INSERT INTO tallyman.version (version) VALUES (%d);\n",
  },
}

--- The SQL that brings a store up to date.
---@param dialect "sqlite"|"postgresql"
---@param from? integer the version that is there; 0 where there is none
---@return string
function store_tables.script(dialect, from)
  local parts = {}
  for number = (from or 0) + 1, #store_tables.versions[dialect] do
    parts[#parts + 1] = store_tables.versions[dialect][number]
      .. DIALECTS[dialect].mark:format(number)
  end
  return table.concat(parts)
end

--- The SQL that grants a PostgreSQL user what jobs and flows need of the store.
---@param user string
---@return string
function store_tables.grants(user)
  local role = '"' .. user:gsub('"', '""') .. '"'
  return ([[
GRANT USAGE ON SCHEMA tallyman TO %s;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tallyman TO %s;
]]):format(role, role)
end

--- Whether a store is of the version that this program knows, and not of an older one; raises (78)
--- where a newer release has changed it.
---@param database tallyman.Database
---@param place string what messages call it
---@return boolean
function store_tables.current(database, place)
  local known = #store_tables.versions[database.dialect]
  local version = DIALECTS[database.dialect].version(database)
  if version > known then
    failure.raise(failure.configuration, "%s is of version %d, this program knows %d: a newer "
      .. "release has changed it", place, version, known)
  end
  return version == known
end

--- Brings a store up to that version; raises (78) where a newer release has changed it.
---@param database tallyman.Database
---@param place string what messages call it
function store_tables.ensure(database, place)
  if store_tables.current(database, place) then return end
  local dialect = database.dialect
  local version_of = DIALECTS[dialect].version
  local ok, wrong = failure.catch(database.transaction, database, function()
    if dialect == "postgresql" then database:value(LOCK) end
    database:script(store_tables.script(dialect, version_of(database)))
  end, { isolation = "read committed" }) -- to see what was made while we waited
  if ok then return end
  if type(wrong) == "table" and wrong.sqlstate == "42501" then
    failure.raise(failure.not_permitted, "%s; have somebody with the rights run the SQL that "
      .. "'tables.lua store USER' prints", tostring(wrong))
  end
  error(wrong, 0)
end

return store_tables
