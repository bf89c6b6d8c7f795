--- Runs a flow's jobs as processes of their own, just as an operator would, and knows which live.
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local host = require "native.host"
local processes = require "tallyman.processes"
local signal = require "posix.signal"
local time = require "tallyman.time"
local validate = require "tallyman.validate"

---@class tallyman.ProcessRunner: tallyman.Runner
---@field folder string of the job scripts
---@field store tallyman.Store
---@field watch native.Watch
---@field children table<integer, string> runs by pid: our children
---@field adopted table<integer, string> runs by pid: others', which are watched, too
local Runner = {}
Runner.__index = Runner

local MEMORY = "1g" -- of a job that says nothing else

--- Starts a job for a run that was announced.
---@param job tallyman.Job
---@param run_id string
function Runner:start(job, run_id)
  local environment = { "TALLYMAN_RUN=" .. run_id }
  if clock.is_set() then environment[2] = "TALLYMAN_NOW=" .. time.iso(clock.now()) end
  local pid = failure.check(self.watch:start({ host.executable,
    ("%s/%s.lua"):format(self.folder, job.name) },
    { environment = environment, memory = validate.bytes(job.memory_limit or MEMORY) }))
  self.children[pid] = run_id
end

--- The pid of a run's process, whoever started it.
local function pid_of(self, run)
  for pid, run_id in pairs(self.children) do
    if run_id == run.run_id then return pid end
  end
  return run.process and processes.find(run.process)
end

--- Whether a run's process is there. One that an earlier process of the flow has left is watched
--- from then on.
---@param run tallyman.Run
---@return boolean
function Runner:lives(run)
  if self.store:is_elsewhere(run.process) then return self.store:is_there(run.run_id) end
  local pid = pid_of(self, run)
  if pid and not self.children[pid] and not self.adopted[pid] then
    self.adopted[pid] = run.run_id
    failure.check(self.watch:process(pid))
  end
  return pid ~= nil
end

--- Asks a run to end, or ends it; the programs that it has started, too. One on another host is cut
--- off, whatever it does there.
---@param run tallyman.Run
---@param hard boolean
function Runner:stop(run, hard)
  if self.store:is_elsewhere(run.process) then return self.store:cut_off(run.run_id) end
  local pid = pid_of(self, run)
  if pid then signal.killpg(pid, hard and signal.SIGKILL or signal.SIGTERM) end
end

--- Takes in that a process has ended; gives the run that it was, if it was one.
---@param pid integer
---@return string? run_id
function Runner:ended(pid)
  local run_id = self.children[pid] or self.adopted[pid]
  self.children[pid], self.adopted[pid] = nil, nil
  return run_id
end

local runner = {}

--- Makes one.
---@param folder string of the job scripts
---@param watch native.Watch
---@param store tallyman.Store
---@return tallyman.ProcessRunner
function runner.new(folder, watch, store)
  return setmetatable({ folder = folder, watch = watch, store = store, children = {},
    adopted = {} }, Runner)
end

return runner
