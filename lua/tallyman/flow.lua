--- Flows: the jobs of a night, in order. Each run is a process of its own, just as an operator
--- would start it, so that nothing that happens in a job can hurt the flow or another job.
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local host = require "native.host"
local log = require "tallyman.log"
local outlook = require "tallyman.outlook"
local report = require "tallyman.report"
local process = require "native.process"
local store = require "tallyman.store"
local time = require "tallyman.time"
local timetable = require "tallyman.timetable"
local validate = require "tallyman.validate"

---@class tallyman.Flow
---@field flow string its name
---@field jobs string[] names of the scripts beside it, in the order of the night
---@field timezone? string IANA name; that of the settings by default
---@field retry? (string|number)[] waits between attempts; the last one repeats

local flow = {}

--- A shape's check: no job stands there twice.
local function check_names(jobs)
  local seen = {}
  for _, name in ipairs(jobs) do
    if seen[name] then return ("names '%s' twice"):format(name) end
    seen[name] = true
  end
end

---@type tallyman.Shape
flow.shape = { type = "table", fields = {
  flow = { type = "string" },
  jobs = { type = "table", check = check_names, each = { type = "string", check = function(name)
    if name:find "[^%w_%-]" then return ("'%s' is no name of a job script"):format(name) end
  end } },
  timezone = { type = "string|nil", check = validate.zone },
  retry = { type = "table|nil", check = validate.at_least_one "wait",
    each = { type = "string|number", check = validate.duration } },
} }

local HANGUP = 128 + 1 -- SIGHUP

--- Waits between the attempts of what may pass.
flow.RETRY = { "1m", "2m", "4m", "8m", "15m" }

--- Runs a script in a process of its own; gives its exit code, or 128 + the signal that ended it.
--- What ends the wait (a signal) ends the process, too.
---@param path string
---@param arguments? string[]
---@return integer
function flow.run_script(path, arguments)
  io.stdout:flush()
  local now = clock.is_set() and { "TALLYMAN_NOW=" .. time.iso(clock.now()) } or nil
  local watch <close> = failure.check(process.watch())
  failure.check(watch:start({ host.executable, path, table.unpack(arguments or {}) },
    { environment = now }))
  while true do
    local event, _, code = failure.check(watch:wait())
    if event == "process" then return code end
    if event == "hangup" then failure.raise(HANGUP, "stopped: the terminal is gone") end
  end
end

--- Why a job can't run tonight: the first of its `after` that has not succeeded.
local function missing_dependency(job, settings, date)
  if job.anyway then return nil end
  local history <close> = store.open(settings.state, settings.store)
  for _, name in ipairs(job.after or {}) do
    local run = history:last(name, date)
    if not run or run.state ~= "done" then
      return ("%s has not succeeded tonight (%s)"):format(name, run and run.state or "not run")
    end
  end
end

local function check_date(date)
  if not time.parts(date .. " 00:00") then
    failure.raise(failure.usage, "'%s' is no date; write it as 2026-11-24", date)
  end
end

--- Prints the report of a night: tonight's, or that of the date given.
local function print_report(self, context, _, date)
  date = date or time.night(clock.now(), context.settings.timezone)
  check_date(date)
  local text, failures, code = report.text(self, context.settings, date)
  print(text)
  if not failures then
    log.error(self.flow, ("ALERT: the night of %s can't be proven"):format(date))
    return code
  end
  if failures > 0 then
    log.error(self.flow, ("ALERT: the proof of the night of %s fails %d times")
      :format(date, failures))
  end
  return failures > 0 and failure.internal or 0
end

--- Runs tonight's jobs now, in order, without waiting; or rehearses them.
local function once(self, context, path, option)
  local script = require "tallyman.script"
  local first_code = 0
  local date = time.night(clock.now(), context.settings.timezone)
  if option == "--dry-run" then
    local loaded = script.load_flow(path)
    return require "tallyman.rehearsal".run(loaded, date, function(job)
      return missing_dependency(job, loaded.settings, date)
    end)
  end
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

--- What is wrong with a job as one of this flow, in words; `places` are the jobs' in the night, and
--- `place` is its own.
local function misfits(self, job, path, places, place)
  local problems = {}
  local function add(field, text)
    problems[#problems + 1] = validate.problem(validate.place(path), { field }, text)
  end
  for _, name in ipairs(job.after or {}) do
    if not places[name] then
      add("after", ("waits for '%s', which the flow '%s' doesn't have"):format(name, self.flow))
    elseif places[name] >= place then
      add("after", ("waits for '%s', which must stand before it in the flow '%s'"):format(name,
        self.flow))
    end
  end
  local field, text = timetable.fault(job)
  if field then add(field, text) end
  if not (job.at or job.after or job.every) then
    add("name", ("job '%s' is never due: it needs at, after or every"):format(job.name))
  end
  return problems
end

--- Raises (78) what is wrong with a flow's jobs among themselves.
---@param self tallyman.Flow
---@param jobs table<string, tallyman.Job>
---@param folder string of the scripts
function flow.check_jobs(self, jobs, folder)
  local problems, places = {}, {}
  for place, name in ipairs(self.jobs) do places[name] = place end
  for place, name in ipairs(self.jobs) do
    local path = ("%s/%s.lua"):format(folder, name)
    table.move(misfits(self, jobs[name], path, places, place), 1, 20, #problems + 1, problems)
  end
  if #problems > 0 then failure.raise(failure.configuration, "%s", table.concat(problems, "\n")) end
end

--- Checks the flow's scripts and settings.
local function check(self, _, path)
  local script = require "tallyman.script"
  local paths = { path }
  for _, name in ipairs(self.jobs) do
    paths[#paths + 1] = ("%s/%s.lua"):format(script.folder(path), name)
  end
  return require "tallyman.check"(paths, function()
    local ok, problems = failure.catch(script.load_flow, path)
    return not ok and tostring(problems) or nil
  end)
end

--- Keeps the flow's timetable until it is stopped.
local function run(_, _, path)
  local script = require "tallyman.script"
  return require "tallyman.flow_keep".run(path, function() return script.load_flow(path) end)
end

--- A verb that prints what there is to say of tonight, or of the night of a date.
local function saying(text_of)
  return function(self, context, path, date)
    local loaded = require "tallyman.script".load_flow(path)
    date = date or time.night(clock.now(), self.timezone or context.settings.timezone)
    check_date(date)
    print(text_of(loaded, date))
    return 0
  end
end

local VERBS = { run = run, once = once, plan = saying(outlook.plan),
  status = saying(outlook.status), report = print_report,
  check = check }
--- What may stand behind a verb.
local TAKES = { plan = "DATE", status = "DATE", report = "DATE", once = "--dry-run" }

--- Runs a flow's verb.
---@param self tallyman.Flow
---@param context table
---@param path string the flow's script
---@param arguments string[]
---@return integer exit_code
function flow.main(self, context, path, arguments)
  log.zone = context.settings.timezone
  local word = arguments[1] or "run"
  local verb = VERBS[word]
  if not verb then
    failure.raise(failure.usage, "flow %s: say what to do: run, once [--dry-run], plan [DATE], "
      .. "status [DATE], report [DATE] or check, not '%s'", self.flow, word)
  end
  local wrong = TAKES[word] == "--dry-run" and arguments[2] and arguments[2] ~= "--dry-run"
  if wrong or #arguments > (TAKES[word] and 2 or 1) then
    failure.raise(failure.usage, "flow %s: '%s' is one argument too many", self.flow,
      arguments[#arguments])
  end
  return verb(self, context, path, arguments[2])
end

return flow
