--- What ran, when, and what came of it: the run history on the platform's own disk.
local clock = require "tallyman.clock"
local db = require "tallyman.db"
local json = require "dkjson"
local stat = require "posix.sys.stat"
local time = require "tallyman.time"
local unistd = require "posix.unistd"
local errno = require "posix.errno"
local failure = require "tallyman.failure"

local TABLES = [[
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
]]

---@class tallyman.Run
---@field run_id string
---@field job string
---@field night string date of its morning
---@field state "running"|"done"|"held"|"refused"|"failed"
---@field started_at string UTC
---@field finished_at? string
---@field exit_code? integer
---@field message? string
---@field figures table

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
---@return string run_id
function Store:begin(job, night)
  local run_id = new_run_id()
  self.db:run([[INSERT INTO run (run_id, job, night, state, started_at)
    VALUES (:run_id, :job, :night, 'running', :now)]],
    { run_id = run_id, job = job, night = night, now = time.text(clock.now()) })
  return run_id
end

--- Writes how it ended.
---@param run_id string
---@param state string
---@param exit_code integer
---@param message? string
---@param figures? table
function Store:finish(run_id, state, exit_code, message, figures)
  self.db:run([[UPDATE run SET state = :state, exit_code = :code, message = :message,
    figures = :figures, finished_at = :now WHERE run_id = :run_id]],
    { state = state, code = exit_code, message = message or db.null, run_id = run_id,
      figures = json.encode(figures or {}), now = time.text(clock.now()) })
end

--- The newest run of a job, in one night or at all.
---@param job string
---@param night? string
---@return tallyman.Run?
function Store:last(job, night)
  local run = self.db:one([[SELECT * FROM run WHERE job = :job AND (:night = '' OR night = :night)
    ORDER BY started_at DESC, rowid DESC LIMIT 1]], { job = job, night = night or "" })
  if run then run.figures = json.decode(run.figures or "{}") or {} end
  return run
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

--- Forgets runs of nights before a date.
---@param date string
function Store:prune(date)
  self.db:run("DELETE FROM run WHERE night < :date", { date = date })
end

function Store:close() self.db:close() end
Store.__close = Store.close

local store = {}

--- Opens the store below the state folder, making both on first use.
---@param folder string
---@return tallyman.Store
function store.open(folder)
  make_folder(folder)
  local database = db.open("sqlite:" .. folder .. "/history.db", { create = true })
  database:script(TABLES)
  return setmetatable({ folder = folder, db = database }, Store)
end

--- The store as it is, for a run that may leave no trace in it; an empty one in memory where there
--- is none.
---@param folder string
---@return tallyman.Store
function store.look(folder)
  local path = folder .. "/history.db"
  if stat.stat(path) then
    return setmetatable({ folder = folder, db = db.open("sqlite:" .. path) }, Store)
  end
  local database = db.open("sqlite::memory:", { create = true })
  database:script(TABLES)
  return setmetatable({ folder = folder, db = database }, Store)
end

return store
