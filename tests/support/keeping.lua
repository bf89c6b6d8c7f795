--- A flow on a clock of its own: the real keeper and the real store, with jobs that take as long,
--- and end, as the spec says. Processes are made up: they outlive the keeper, as real ones do.
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local flow = require "tallyman.flow"
local keeper = require "tallyman.keeper"
local process = require "tests.support.process"
local store = require "tallyman.store"
local time = require "tallyman.time"
local turn = require "tallyman.turn"

local databases

---@class test.Kept
---@field now number
---@field told string[] "02:00:00 import_reset failed: why"
---@field began string[] "02:00:00 import_reset"
---@field store tallyman.Store
---@field acts table<string, fun(attempt: integer, kept: test.Kept): table> what a job's runs do:
--- code, seconds, message; silent: it leaves no word; stubborn: it doesn't end when asked to
local Kept = {}
Kept.__index = Kept

--- Ends a made-up process: it writes what came of it, as a job does.
local function finish(self, id, running)
  self.running[id] = nil
  if running.silent then return end
  local code = running.code or 0
  local state = code == 0 and "done" or code == failure.refused and "refused"
    or code == failure.try_again and "held" or "failed"
  self.store:finish(id, state, code, running.message, {})
end

local Runner = {}
Runner.__index = Runner

function Runner:start(job, run_id)
  local kept = self.kept
  local count = (kept.counts[job.name] or 0) + 1
  kept.counts[job.name] = count
  local act = kept.acts[job.name] and kept.acts[job.name](count, kept) or {}
  if act.unborn then failure.raise(failure.internal, "cannot start") end
  assert(kept.store:claim(run_id, job.name))
  kept.began[#kept.began + 1] = ("%s %s"):format(kept:text(), job.name)
  act.ends_at = kept.now + (act.seconds or 0)
  kept.running[run_id] = act
end

function Runner:lives(run) return self.kept.running[run.run_id] ~= nil end

function Runner:stop(run, hard)
  local act = self.kept.running[run.run_id]
  if act.stubborn and not hard then return end
  act.ends_at, act.silent = self.kept.now, hard
  act.code, act.message = 128 + 15, "stopped by signal 15"
end

--- The local time of day.
function Kept:text() return time.text(self.now, self.zone):sub(12) end

--- The instant of a local time.
function Kept:instant(text) return (time.from_zone(time.parts(text), self.zone)) end

--- Begins to keep the flow, as its process does when it starts, perhaps after another was killed.
function Kept:keep()
  self.keeper = keeper.new { flow = self.flow, jobs = self.jobs, zone = self.zone,
    store = self.store, runner = setmetatable({ kept = self }, Runner),
    tell = function(event, occurrence, text)
      self.told[#self.told + 1] = ("%s %s %s%s"):format(self:text(), occurrence.job, event,
        text ~= "" and ": " .. text or "")
    end }
end

--- The processes that have ended by now.
local function end_some(self)
  for id, running in pairs(self.running) do
    if running.ends_at <= self.now then finish(self, id, running) end
  end
end

--- Lets time pass, with the keeper at work.
---@param text string local time
function Kept:until_(text)
  local goal = self:instant(text)
  while true do
    end_some(self)
    local next_at = self.keeper:step(self.now)
    for _, running in pairs(self.running) do next_at = math.min(next_at, running.ends_at) end
    if next_at > goal then break end
    self.now = math.max(next_at, self.now)
  end
  self.now = goal
  self.keeper:step(self.now)
end

--- Lets time pass without the keeper: it was killed, or the host slept.
---@param text string local time
function Kept:sleep_until(text)
  self.now = self:instant(text)
  end_some(self)
end

--- State and reason of a job's newest occurrence in a night.
---@param job string
---@param night? string
---@return string? state, string? reason
function Kept:state(job, night)
  local row = self.store.db:one([[SELECT state, reason FROM occurrence WHERE job = :job
    AND (:night = '' OR night = :night) ORDER BY night DESC, turn DESC LIMIT 1]],
    { job = job, night = night or "" })
  if row then return row.state, row.reason end
end

function Kept:close()
  clock.now = self.real_now
  self.store:close()
end
Kept.__close = Kept.close

local keeping = {}

--- Lets the store be in databases of PostgreSQL, each one's own; nil: below a folder again.
---@param fresh? table see databases.of_oms
function keeping.use(fresh) databases = fresh end

--- Makes one. Close it, or `local kept <close> = keeping.new { ... }`.
---@param options table now (local time), jobs (a list of job tables), zone?, retry?, acts?
---@return test.Kept
function keeping.new(options)
  local self = setmetatable({ zone = options.zone or "UTC", acts = options.acts or {}, told = {},
    began = {}, counts = {}, running = {}, jobs = {}, real_now = clock.now }, Kept)
  self.flow = { flow = "night", jobs = {}, retry = options.retry or flow.RETRY }
  for i, job in ipairs(options.jobs) do
    self.flow.jobs[i], self.jobs[job.name] = job.name, job
  end
  self.now = self:instant(options.now)
  clock.now = function() return self.now end
  self.store = store.open(process.folder(), databases and databases.fresh())
  self.store.turn = turn.new(self.store, self.flow.flow, 60)
  assert(not self.store.turn:take())
  self:keep()
  return self
end

return keeping
