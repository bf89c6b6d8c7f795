--- Jobs: what a script's table must look like, and one run of it with everything that belongs to a
--- run: history, log, exit code.
local arguments = require "tallyman.arguments"
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local figures = require "tallyman.figures"
local log = require "tallyman.log"
local night = require "tallyman.night"
local preview = require "tallyman.preview"
local stdlib = require "posix.stdlib"
local store = require "tallyman.store"
local time = require "tallyman.time"
local timetable = require "tallyman.timetable"
local unicode = require "tallyman.unicode"
local validate = require "tallyman.validate"

---@class tallyman.Job
---@field name string
---@field run fun(night: tallyman.Night): table? figures, stored and reported
---@field at? string local time of day, "01:30", once a night
---@field after? string[] jobs whose run of tonight must have succeeded
---@field wait? string|number how long after them
---@field anyway? boolean it is run although they haven't succeeded: it decides by the data
---@field latest? string local time of day; not done by then: failed
---@field every? string|number for small extra jobs: so often, from `at` (or noon) until `latest`
---@field days? string[] "mon", "tue", ...: only in nights of these mornings
---@field time_limit? string|number how long a run may take; without it, until `latest`
---@field memory_limit? string|integer bytes of memory that a run may have, "1g" by default
---@field takes? string[] what may stand behind its name: "--dry-run", "--force", "CYCLE", ...

local time_of_day = { type = "string|nil", check = validate.time_of_day }

local job = {}

---@type tallyman.Shape
job.shape = { type = "table", fields = {
  name = { type = "string" },
  run = { type = "function" },
  at = time_of_day,
  latest = time_of_day,
  after = { type = "table|nil", each = { type = "string" } },
  wait = { type = "string|number|nil", check = validate.duration },
  anyway = { type = "boolean|nil" },
  every = { type = "string|number|nil", check = validate.duration },
  days = { type = "table|nil", check = validate.at_least_one "day",
    each = { type = "string", check = timetable.check_day } },
  time_limit = { type = "string|number|nil", check = validate.duration },
  memory_limit = { type = "string|number|nil", check = validate.size },
  takes = { type = "table|nil", each = { type = "string", check = arguments.check } },
} }

--- The state that an exit code stands for.
---@param code integer
---@return string
local function state_of(code)
  if code == 0 then return "done" end
  if code == failure.refused then return "refused" end
  return code == failure.try_again and "held" or "failed"
end

--- What one run came to.
---@class tallyman.Outcome
---@field state string
---@field code integer
---@field figures table
---@field message? string
---@field trace? string traceback of a script's own error

--- Writes that the run began: as one of its own, or as the one that a flow has announced.
local function begin(self, history, date, context, announced)
  if not announced then return history:begin(self.name, date, context.fingerprints), date end
  local night_of = history:claim(announced, self.name, context.fingerprints)
  if not night_of then
    failure.raise(failure.try_again, "%s: the run %s was given up, or is another process's: "
      .. "nothing was done", self.name, announced)
  end
  return announced, night_of
end

--- What a job's function returned, which must be something that can be stored and reported.
local function check_figures(self, result)
  if result ~= nil and type(result) ~= "table" then
    error(self.name .. ": run must return a table of figures, or nothing", 0)
  end
  local ok, wrong = pcall(unicode.json, result or {})
  if ok then return result or {} end
  error(("%s: run must return figures that can be stored as JSON: %s"):format(self.name,
    (tostring(wrong):gsub("^[^\n]-%.lua:%d+: ", ""))), 0)
end

--- Calls the job's function; what a dry run would have changed becomes a figure.
local function call(self, tonight)
  local result = check_figures(self, self.run(tonight))
  if tonight.previewed then result.preview = preview.changes(tonight.previewed) end
  if tonight.force and #tonight.forced == 0 then
    tonight:warn("--force (%s) had nothing to override", tonight.force)
  end
  return result
end

--- Adds what every run has to say.
local function add_common(found, tonight, started)
  found.warnings, found.alerts = tonight.warnings, tonight.alerts
  found.seconds = clock.now() - started
  found.force, found.dry_run = tonight.force, tonight.dry_run or nil
  found.guards_off = tonight.guards_off
  if tonight.force then found.forced = tonight.forced end
end

--- Runs a job once, in this process. A dry run leaves no trace in the history either.
---@param self tallyman.Job
---@param context table settings, make_keys, fingerprints?, places?
---@param options? tallyman.Options
---@param announced? string the run that a flow has announced
---@return tallyman.Outcome
function job.run(self, context, options, announced)
  local settings, dry = context.settings, options and options.dry_run
  local history <close> = (dry and store.look or store.open)(settings.state,
    settings.store)
  local date = time.night(clock.now(), settings.timezone)
  local run_id = "dry-run"
  if not dry then run_id, date = begin(self, history, date, context, announced) end
  local tonight = night.new { settings = settings, job = self.name, run_id = run_id, date = date,
    store = history, make_keys = context.make_keys, options = options,
    places = context.places }
  local started = clock.now()
  local ok, result, trace = failure.catch(call, self, tonight)
  if tonight.previewed then tonight.previewed.db:close() end
  local found = ok and result or {}
  add_common(found, tonight, started)
  local code = ok and 0 or failure.code(result)
  local message = not ok and tostring(result) or nil
  local outcome = { state = state_of(code), code = code, figures = found, message = message,
    trace = trace }
  if not dry then history:finish(run_id, outcome.state, code, message, found) end
  return outcome
end

--- The run that a flow has announced for this process; programs that it starts know nothing of it.
local function announced_run()
  local run_id = os.getenv "TALLYMAN_RUN"
  stdlib.setenv("TALLYMAN_RUN", nil)
  return run_id
end

--- Runs a job for a person or a flow: arguments, log lines, exit code.
---@param self tallyman.Job
---@param context table settings, make_keys
---@param given string[]
---@return integer exit_code
function job.main(self, context, given)
  log.zone = context.settings.timezone
  local options = arguments.parse(self, given)
  if clock.is_set() then
    log.warn(self.name, "the clock is set by TALLYMAN_NOW: " .. time.text(clock.now()) .. " UTC")
  end
  if options.dry_run then log.warn(self.name, "dry run: nothing is changed") end
  local outcome = job.run(self, context, options, announced_run())
  if options.json then
    print(unicode.json { job = self.name, state = outcome.state, exit_code = outcome.code,
      message = outcome.message, figures = outcome.figures })
  end
  if outcome.figures.preview and not options.json then
    print(preview.text(outcome.figures.preview))
  end
  if outcome.code == 0 then
    log.info(self.name, (options.dry_run and "would be " or "") .. outcome.state .. ": "
      .. figures.text(outcome.figures))
  else
    log.error(self.name, outcome.state .. ": " .. (outcome.trace or outcome.message))
  end
  return outcome.code
end

return job
