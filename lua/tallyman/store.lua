--- What ran, when, and what came of it: the run history, on the platform's own disk or, where hosts
--- share it, in PostgreSQL.
local clock = require "tallyman.clock"
local db = require "tallyman.db"
local json = require "dkjson"
local processes = require "tallyman.processes"
local stat = require "posix.sys.stat"
local time = require "tallyman.time"
local unicode = require "tallyman.unicode"
local unistd = require "posix.unistd"
local errno = require "posix.errno"
local failure = require "tallyman.failure"
local secrets = require "tallyman.secrets"
local store_tables = require "tallyman.store_tables"

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
---@field db tallyman.Database
---@field url? string of PostgreSQL's
---@field path? string of SQLite's file
---@field inode? integer of that file
---@field turn? tallyman.Turn by which a flow is kept
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

--- The lock that a run has on PostgreSQL for as long as it is connected.
local LOCK = "hashtextextended(:run_id, 8251999)"

--- Lets hosts that share the store see that a run is there.
function Store:be_there(run_id)
  if not self.url then return end
  self.db:value(("SELECT pg_advisory_lock(%s)"):format(LOCK), { run_id = run_id })
end

--- Whether a process is another host's: all that can be seen of it is its connection to the store.
--- Hosts don't share SQLite's file.
---@param name? string
---@return boolean
function Store:is_elsewhere(name)
  return self.url ~= nil and name ~= nil and processes.is_elsewhere(name)
end

--- Whether a run on another host lives: it is connected to the store.
---@param run_id string
---@return boolean
function Store:is_there(run_id)
  return not self.db:value(("SELECT pg_try_advisory_xact_lock(%s)")
    :format(LOCK), { run_id = run_id })
end

--- Cuts the connection of a run that is on another host: it can't write any more what came of it.
---@param run_id string
function Store:cut_off(run_id)
  self.db:all(([[SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
    AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (CAST(classid AS bigint) << 32) + CAST(objid AS bigint) = %s]]):format(LOCK),
    { run_id = run_id })
end

--- Writes that a run began.
---@param job string
---@param night string
---@param fingerprints? table SHA-256 of script and settings
---@return string run_id
function Store:begin(job, night, fingerprints)
  local run_id, used = new_run_id(), fingerprints or {}
  self:be_there(run_id)
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
  self:be_there(run_id)
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

--- A text as databases take it, or none: a file's odd bytes, quoted in a message, mustn't keep a
--- run's end from being written.
local function stored(text) return text and unicode.clean(text) or db.null end

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
    { run_id = run.run_id, state = run.state, code = code, message = stored(message),
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

--- Writes how it ended. A connection that was lost meanwhile doesn't keep it from that.
---@param run_id string
---@param state string
---@param exit_code integer
---@param message? string
---@param figures? table
function Store:finish(run_id, state, exit_code, message, figures)
  local function write()
    self.db:run([[UPDATE run SET state = :state, exit_code = :code, message = :message,
      figures = :figures, finished_at = :now WHERE run_id = :run_id AND state = 'running']],
      { state = state, code = exit_code, message = stored(message), run_id = run_id,
        figures = unicode.json(figures or {}), now = time.text(clock.now()) })
  end
  local ok, wrong = failure.catch(write)
  if ok then return end
  if not self.url or failure.code(wrong) ~= failure.unavailable then error(wrong, 0) end
  self:reconnect()
  write()
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
    AND figures ->> 'file' = :file ORDER BY started_at DESC, rowid DESC LIMIT 1]],
    { job = job, file = file })
  return text and json.decode(text)
end

--- The figures of a job's newest successful run that made a certain file.
---@param job string
---@param file string path in the exchange
---@return table? figures
function Store:last_making(job, file)
  local text = self.db:value([[SELECT figures FROM run WHERE job = :job AND state = 'done'
    AND figures ->> 'made' = :file ORDER BY started_at DESC, rowid DESC LIMIT 1]],
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

--- Changes the store in one transaction. A flow that another process has taken over changes nothing
--- any more: it fails (75).
---@generic T
---@param work fun(): T
---@return T
function Store:change(work)
  return self.db:transaction(function()
    if self.turn then self.turn:hold() end
    return work()
  end)
end

--- Settings of a connection to PostgreSQL: where the tables are, and that the connection of a host
--- that is gone ends within a minute.
local SESSION = [[
  SET search_path TO tallyman, pg_temp;
  SET tcp_keepalives_idle = 20;
  SET tcp_keepalives_interval = 10;
  SET tcp_keepalives_count = 3]]

--- Gives what a function gives of a database, which is closed when it fails.
local function close_unless(database, work, ...)
  local ok, result = failure.catch(work, database, ...)
  if ok then return result end
  database:close()
  error(result, 0)
end

local function connect(url, options)
  local database = db.open(url, options)
  close_unless(database, database.script, SESSION)
  return database
end

--- Sees to it that SQLite's file is still the one that was opened: raises when somebody has removed
--- or replaced it, since whoever opens it now finds another one.
function Store:check_in_place()
  local found = self.path and stat.stat(self.path)
  if not self.path or found and found.st_ino == self.inode then return end
  failure.raise(failure.internal, "%s was removed or replaced while it was in use: start again "
    .. "with the one that counts", self.path)
end

--- Connects to PostgreSQL anew, after a failure.
function Store:reconnect()
  if not self.url then return end
  local database = connect(self.url)
  self.db:close()
  self.db = database
end

function Store:close() self.db:close() end
Store.__close = Store.close

local store = {}

--- What messages call a store in PostgreSQL.
local function place_of(url) return "the store in " .. secrets.hide(url) end

local function new(database, place, url)
  close_unless(database, store_tables.ensure, place)
  return setmetatable({ db = database, url = url }, Store)
end

--- Opens the store: below the state folder, making both on first use, or where the settings say.
---@param folder string the state folder
---@param url? string PostgreSQL's
---@return tallyman.Store
function store.open(folder, url)
  make_folder(folder)
  if url then return new(connect(url), place_of(url), url) end
  local path = folder .. "/history.db"
  local self = new(db.open("sqlite:" .. path, { create = true }), path)
  self.path, self.inode = path, stat.stat(path).st_ino
  return self
end

--- Opens a file of SQLite's to read in it; for that SQLite writes beside it.
local function open_to_read(path)
  local ok, database = failure.catch(db.open, "sqlite:" .. path)
  if ok then return database end
  if failure.code(database) ~= failure.not_permitted then error(database, 0) end
  failure.raise(failure.not_permitted, "%s: only the user whose state folder it is can look at it",
    tostring(database))
end

--- The store as it is, if it is one of this program's version.
local function existing(folder, url)
  local path = folder .. "/history.db"
  if not url and not stat.stat(path) then return nil end
  local database = url and connect(url, { readonly = true }) or open_to_read(path)
  if close_unless(database, store_tables.current, url and place_of(url) or path) then
    return setmetatable({ db = database, url = url }, Store)
  end
  database:close()
end

--- The store as it is, for a run that may leave no trace in it; an empty one in memory where there
--- is none, or one of an older version. Raises (78) where a newer release has changed it.
---@param folder string
---@param url? string PostgreSQL's
---@return tallyman.Store
function store.look(folder, url)
  return existing(folder, url) or new(db.open("sqlite::memory:", { create = true }), "memory")
end

--- Copies the history of runs into a new store below another folder.
---@param folder string
---@param url? string PostgreSQL's
---@param to string
function store.copy(folder, url, to)
  local from <close> = store.look(folder, url)
  local into <close> = store.open(to)
  into.db:transaction(function()
    for row in from.db:rows "SELECT * FROM run ORDER BY rowid" do
      into.db:run([[INSERT INTO run (run_id, job, night, state, started_at, finished_at, exit_code,
          message, figures, flow, turn)
        VALUES (:run_id, :job, :night, :state, :started_at, :finished_at, :exit_code, :message,
          :figures, :flow, :turn)]], setmetatable(row, { __index = function() return db.null end }))
    end
  end)
end

return store
