--- Flows: the jobs of a night, in order. Each run is a process of its own, just as an operator
--- would start it, so that nothing that happens in a job can hurt the flow or another job.
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local host = require "native.host"
local log = require "tallyman.log"
local report = require "tallyman.report"
local stdlib = require "posix.stdlib"
local store = require "tallyman.store"
local signal = require "posix.signal"
local time = require "tallyman.time"
local unistd = require "posix.unistd"
local wait = require "posix.sys.wait"

---@class tallyman.Flow
---@field flow string its name
---@field jobs string[] names of the scripts beside it, in the order of the night

local flow = {}

---@type tallyman.Shape
flow.shape = { type = "table", fields = {
  flow = { type = "string" },
  jobs = { type = "table", each = { type = "string", check = function(name)
    if name:find "[^%w_%-]" then return ("'%s' is no name of a job script"):format(name) end
  end } },
} }

local KILL_AFTER = 128

--- Waits for a child. What ends the wait (a signal) is passed on to the child, which is waited for,
--- and then raised.
local function wait_for(child)
  local stopped
  while true do
    local ok, pid, how, status = pcall(wait.wait, child)
    if ok and pid == child then
      if stopped then error(stopped, 0) end
      return how == "exited" and status or KILL_AFTER + status
    end
    if not ok then
      stopped = pid
      signal.kill(child, signal.SIGTERM)
    end
  end
end

--- Runs a script in a process of its own; gives its exit code.
---@param path string
---@param arguments? string[]
---@return integer
function flow.run_script(path, arguments)
  io.stdout:flush()
  local command = { path, table.unpack(arguments or {}) }
  if clock.is_set() then
    stdlib.setenv("TALLYMAN_NOW", time.iso(clock.now()))
  end
  local child, message = unistd.fork()
  if child == nil then failure.raise(failure.internal, "cannot fork: %s", message) end
  if child == 0 then
    unistd.exec(host.executable, command)
    unistd._exit(127)
  end
  return wait_for(child)
end

--- Why a job can't run tonight: the first of its `after` that has not succeeded.
local function missing_dependency(job, settings, date)
  if job.anyway then return nil end
  local history <close> = store.open(settings.state)
  for _, name in ipairs(job.after or {}) do
    local run = history:last(name, date)
    if not run or run.state ~= "done" then
      return ("%s has not succeeded tonight (%s)"):format(name, run and run.state or "not run")
    end
  end
end

--- Prints the report of a night: tonight's, or that of the date given.
local function print_report(self, context, _, date)
  date = date or time.night(clock.now(), context.settings.timezone)
  if not time.parts(date .. " 00:00") then
    failure.raise(failure.usage, "'%s' is no date; write it as 2026-11-24", date)
  end
  local text, failures = report.text(self, context.settings, date)
  print(text)
  if failures > 0 then
    log.error(self.flow, ("ALERT: the proof of the night of %s fails %d times")
      :format(date, failures))
  end
  return failures > 0 and failure.internal or 0
end

--- Runs tonight's jobs now, in order, without waiting.
local function once(self, context, path)
  local script = require "tallyman.script"
  local first_code = 0
  local date = time.night(clock.now(), context.settings.timezone)
  for _, name in ipairs(self.jobs) do
    local job_path = ("%s/%s.lua"):format(script.folder(path), name)
    local missing = missing_dependency(script.load_job(job_path), context.settings, date)
    local code = failure.try_again
    if missing then
      log.warn(self.flow, ("%s not run: %s"):format(name, missing))
    else
      code = flow.run_script(job_path)
    end
    if first_code == 0 then first_code = code end
  end
  print_report(self, context, path, date)
  return first_code
end

--- The jobs that a job waits for and the flow doesn't have, in words.
local function strangers(self, job, path)
  local validate = require "tallyman.validate"
  local problems = {}
  for _, name in ipairs(job.after or {}) do
    if not (" " .. table.concat(self.jobs, " ") .. " "):find(" " .. name .. " ", 1, true) then
      problems[#problems + 1] = validate.problem(validate.place(path), { "after" },
        ("waits for '%s', which the flow '%s' doesn't have"):format(name, self.flow))
    end
  end
  return problems
end

--- Checks the flow's scripts and settings.
local function check(self, _, path)
  local script = require "tallyman.script"
  local paths = { path }
  for _, name in ipairs(self.jobs) do
    paths[#paths + 1] = ("%s/%s.lua"):format(script.folder(path), name)
  end
  local code = require "tallyman.check"(paths)
  for i = 2, code == 0 and #paths or 0 do
    for _, problem in ipairs(strangers(self, script.load_job(paths[i]), paths[i])) do
      print(problem)
      code = failure.configuration
    end
  end
  return code
end

local VERBS = { once = once, report = print_report, check = check }

--- Runs a flow's verb.
---@param self tallyman.Flow
---@param context table
---@param path string the flow's script
---@param arguments string[]
---@return integer exit_code
function flow.main(self, context, path, arguments)
  log.zone = context.settings.timezone
  local verb = VERBS[arguments[1] or ""]
  if not verb then
    failure.raise(failure.usage, "flow %s: say what to do: once, report [DATE] or check%s",
      self.flow, arguments[1] and (", not '%s'"):format(arguments[1]) or "")
  end
  if #arguments > (verb == print_report and 2 or 1) then
    failure.raise(failure.usage, "flow %s: '%s' is one argument too many", self.flow,
      arguments[#arguments])
  end
  return verb(self, context, path, arguments[2])
end

return flow
