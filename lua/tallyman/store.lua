--- What ran, when, and what came of it: the run history on the platform's own disk.
local clock = require "tallyman.clock"
local db = require "tallyman.db"
local json = require "dkjson"
local processes = require "tallyman.processes"
local stat = require "posix.sys.stat"
local time = require "tallyman.time"
local unistd = require "posix.unistd"
local errno = require "posix.errno"
local failure = require "tallyman.failure"

--- SQL from each version of the store to the next. It never changes once it has been released.
local VERSIONS = { [[
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

---@class tallyman.Run
---@field run_id string
---@field job string
---@field night string date of its morning
---@field state "starting"|"running"|"done"|"held"|"refused"|"failed"
---@field started_at string UTC
---@field finished_at? string
---@field exit_code? integer
---@field message? string
---@field figures table
---@field flow? string the flow that started it; nobody but an operator otherwise
---@field turn? integer which of the job's turns, in a flow
---@field process? string what runs it, as tallyman.processes names it

---@class tallyman.Store
---@field folder string
local Store = {}
Store.__index = Store

--- Makes a folder that only its owner may enter, and those above it.
local function make_folder(path)
  local at = ""
  for part in path:gmatch "[^/]+" do
    at = at .. "/" .. part
    local made, message, number = stat.mkdir(at, 448) -- 0700
    if not made and number ~= errno.EEXIST and not stat.stat(at) then
      failure.raise(failure.cant_create, "cannot create the state folder: %s", message)
    end
  end
end

--- An id that no other run has: time, process, and a number within it.
local count = 0
local function new_run_id()
  count = count + 1
  return ("%s-%d-%d"):format(time.stamp(clock.now()), unistd.getpid(), count)
end

--- Writes that a run began.
---@param job string
---@param night string
---@param fingerprints? table SHA-256 of script and settings
---@return string run_id
function Store:begin(job, night, fingerprints)
  local run_id, used = new_run_id(), fingerprints or {}
  self.db:run([[INSERT INTO run (run_id, job, night, state, started_at, process, script_sha256,
      settings_sha256)
    VALUES (:run_id, :job, :night, 'running', :now, :process, :script, :settings)]],
    { run_id = run_id, job = job, night = night, now = time.text(clock.now()),
      process = processes.own(), script = used.script or db.null,
      settings = used.settings or db.null })
  return run_id
end

--- Writes that a flow is about to start a run, which that run takes up by claim().
---@param occurrence tallyman.Occurrence
---@return string run_id
function Store:announce(occurrence)
  local run_id = new_run_id()
  self.db:run([[INSERT INTO run (run_id, job, night, state, started_at, flow, turn)
    VALUES (:run_id, :job, :night, 'starting', :now, :flow, :turn)]],
    { run_id = run_id, job = occurrence.job, night = occurrence.night,
      now = time.text(clock.now()), flow = occurrence.flow, turn = occurrence.turn })
  return run_id
end

--- Takes up a run that a flow has announced, once; gives its night, or nil when it isn't there to
--- be taken: the flow has given it up, somebody else has it, or its deadline is past.
---@param run_id string
---@param job string
---@param fingerprints? table SHA-256 of script and settings
---@return string? night
function Store:claim(run_id, job, fingerprints)
  local used = fingerprints or {}
  local row = self.db:one([[UPDATE run SET state = 'running', started_at = :now,
      process = :process, script_sha256 = :script, settings_sha256 = :settings
    WHERE run_id = :run_id AND job = :job AND state = 'starting'
      AND NOT EXISTS (SELECT 1 FROM occurrence o
        WHERE o.run_id = run.run_id AND o.deadline <= :now)
    RETURNING night]],
    { run_id = run_id, job = job, now = time.text(clock.now()), process = processes.own(),
      script = used.script or db.null, settings = used.settings or db.null })
  return row and row.night
end

local function read(run)
  if run then run.figures = json.decode(run.figures or "{}") or {} end
  return run
end

--- A run by its id.
---@param run_id string
---@return tallyman.Run?
function Store:run_by_id(run_id)
  return read(self.db:one("SELECT * FROM run WHERE run_id = :id", { id = run_id }))
end

--- Writes that a run ended without having said so itself, if it still is as we have seen it; gives
--- it as it is now.
---@param run tallyman.Run
---@param code integer
---@param message string
---@return tallyman.Run
function Store:bury(run, code, message)
  self.db:run([[UPDATE run SET state = 'failed', exit_code = :code, message = :message,
    figures = '{}', finished_at = :now WHERE run_id = :run_id AND state = :state]],
    { run_id = run.run_id, state = run.state, code = code, message = message,
      now = time.text(clock.now()) })
  return self:run_by_id(run.run_id)
end

--- How many runs of an occurrence ended without a word, or by a signal.
---@param occurrence tallyman.Occurrence
---@return integer
function Store:crashes(occurrence)
  return self.db:value([[SELECT COUNT(*) FROM run WHERE exit_code >= 128 AND job = :job
    AND night = :night AND flow = :flow AND turn = :turn]], { job = occurrence.job,
    night = occurrence.night, flow = occurrence.flow, turn = occurrence.turn })
end

--- Writes how it ended.
---@param run_id string
---@param state string
---@param exit_code integer
---@param message? string
---@param figures? table
function Store:finish(run_id, state, exit_code, message, figures)
  self.db:run([[UPDATE run SET state = :state, exit_code = :code, message = :message,
    figures = :figures, finished_at = :now WHERE run_id = :run_id AND state = 'running']],
    { state = state, code = exit_code, message = message or db.null, run_id = run_id,
      figures = json.encode(figures or {}), now = time.text(clock.now()) })
end

--- The newest run of a job, in one night or at all.
---@param job string
---@param night? string
---@return tallyman.Run?
function Store:last(job, night)
  return read(self.db:one([[SELECT * FROM run
    WHERE job = :job AND (:night = '' OR night = :night)
    ORDER BY started_at DESC, rowid DESC LIMIT 1]], { job = job, night = night or "" }))
end

--- The first successful run of a job in a night that began at an instant or later.
---@param job string
---@param night string
---@param from number instant
---@return tallyman.Run?
function Store:first_done(job, night, from)
  return read(self.db:one([[SELECT * FROM run
    WHERE job = :job AND night = :night AND state = 'done' AND started_at >= :from
    ORDER BY started_at, rowid LIMIT 1]], { job = job, night = night, from = time.text(from) }))
end

--- The figures of a job's newest successful run that read a certain file.
---@param job string
---@param file string path in the exchange
---@return table? figures
function Store:last_reading(job, file)
  local text = self.db:value([[SELECT figures FROM run WHERE job = :job AND state = 'done'
    AND json_extract(figures, '$.file') = :file ORDER BY started_at DESC, rowid DESC LIMIT 1]],
    { job = job, file = file })
  return text and json.decode(text)
end

--- The figures of a job's newest successful run that made a certain file.
---@param job string
---@param file string path in the exchange
---@return table? figures
function Store:last_making(job, file)
  local text = self.db:value([[SELECT figures FROM run WHERE job = :job AND state = 'done'
    AND json_extract(figures, '$.made') = :file ORDER BY started_at DESC, rowid DESC LIMIT 1]],
    { job = job, file = file })
  return text and json.decode(text)
end

--- Forgets nights before a date.
---@param date string
function Store:prune(date)
  self.db:run("DELETE FROM run WHERE night < :date", { date = date })
  self.db:run("DELETE FROM occurrence WHERE night < :date AND final = 1", { date = date })
  self.db:run("DELETE FROM event WHERE night < :date", { date = date })
end

function Store:close() self.db:close() end
Store.__close = Store.close

--- Makes this process the one that keeps a flow; gives the process that does, when there is one.
---@param flow string
---@return string? other
function Store:keep(flow)
  return self.db:transaction(function()
    local other = self.db:value("SELECT process FROM keeper WHERE flow = :flow", { flow = flow })
    if other and other ~= processes.own() and processes.find(other) then return other end
    self.db:run([[INSERT INTO keeper (flow, process) VALUES (:flow, :process)
      ON CONFLICT (flow) DO UPDATE SET process = excluded.process]],
      { flow = flow, process = processes.own() })
  end)
end

--- The process that keeps a flow; nil when there is none.
---@param flow string
---@return string?
function Store:keeper(flow)
  local found = self.db:value("SELECT process FROM keeper WHERE flow = :flow", { flow = flow })
  return found and processes.find(found) and found
end

local store = {}

--- Brings a store up to the version that this program knows.
local function migrate(database, path)
  local version = database:value "PRAGMA user_version"
  if version == #VERSIONS then return end
  if version > #VERSIONS then
    failure.raise(failure.configuration, "%s is of version %d, this program knows %d: a newer "
      .. "release has changed it", path, version, #VERSIONS)
  end
  database:transaction(function()
    for number = database:value "PRAGMA user_version" + 1, #VERSIONS do
      database:script(VERSIONS[number] .. ("PRAGMA user_version = %d"):format(number))
    end
  end)
end

local function new(folder, database)
  migrate(database, folder .. "/history.db")
  return setmetatable({ folder = folder, db = database }, Store)
end

--- Opens the store below the state folder, making both on first use.
---@param folder string
---@return tallyman.Store
function store.open(folder)
  make_folder(folder)
  return new(folder, db.open("sqlite:" .. folder .. "/history.db", { create = true }))
end

--- The store as it is, for a run that may leave no trace in it; an empty one in memory where there
--- is none, or one of an older version.
---@param folder string
---@return tallyman.Store
function store.look(folder)
  local path = folder .. "/history.db"
  if stat.stat(path) then
    local database = db.open("sqlite:" .. path)
    if database:value "PRAGMA user_version" == #VERSIONS then
      return setmetatable({ folder = folder, db = database }, Store)
    end
    database:close()
  end
  return new(folder, db.open("sqlite::memory:", { create = true }))
end

return store
