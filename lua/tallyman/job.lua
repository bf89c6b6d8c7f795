--- Jobs: what a script's table must look like, and one run of it with everything that belongs to a
--- run: history, log, exit code.
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local figures = require "tallyman.figures"
local json = require "dkjson"
local log = require "tallyman.log"
local night = require "tallyman.night"
local store = require "tallyman.store"
local time = require "tallyman.time"
local validate = require "tallyman.validate"

---@class tallyman.Job
---@field name string
---@field run fun(night: tallyman.Night): table? figures, stored and reported
---@field at? string local time of day, "01:30", once a night
---@field after? string[] jobs whose run of tonight must have succeeded
---@field wait? string|number how long after them
---@field anyway? boolean `once` runs it although they haven't succeeded: it decides by the data
---@field latest? string local time of day; not done by then: failed

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

--- Runs a job once, in this process.
---@param self tallyman.Job
---@param context table settings, make_keys
---@return tallyman.Outcome
function job.run(self, context)
  local settings = context.settings
  local history <close> = store.open(settings.state)
  local date = time.night(clock.now(), settings.timezone)
  local run_id = history:begin(self.name, date)
  local tonight = night.new { settings = settings, job = self.name, run_id = run_id, date = date,
    store = history, make_keys = context.make_keys }
  local started = clock.now()
  local ok, result, trace = failure.catch(self.run, tonight)
  if ok and result ~= nil and type(result) ~= "table" then
    ok, result = false, self.name .. ": run must return a table of figures, or nothing"
  end
  local found = ok and result or {}
  found.warnings, found.alerts = tonight.warnings, tonight.alerts
  found.seconds = clock.now() - started
  local code = ok and 0 or failure.code(result)
  local message = not ok and tostring(result) or nil
  local outcome = { state = state_of(code), code = code, figures = found, message = message,
    trace = trace }
  history:finish(run_id, outcome.state, code, message, found)
  return outcome
end

--- Runs a job for a person or a flow: arguments, log lines, exit code.
---@param self tallyman.Job
---@param context table settings, make_keys
---@param arguments string[]
---@return integer exit_code
function job.main(self, context, arguments)
  log.zone = context.settings.timezone
  local as_json = arguments[1] == "--json"
  if #arguments > (as_json and 1 or 0) then
    failure.raise(failure.usage, "job %s takes --json and nothing else, not '%s'", self.name,
      arguments[as_json and 2 or 1])
  end
  if clock.is_set() then
    log.warn(self.name, "the clock is set by TALLYMAN_NOW: " .. time.text(clock.now()) .. " UTC")
  end
  local outcome = job.run(self, context)
  if as_json then
    print(json.encode { job = self.name, state = outcome.state, exit_code = outcome.code,
      message = outcome.message, figures = outcome.figures })
  end
  if outcome.code == 0 then
    log.info(self.name, outcome.state .. ": " .. figures.text(outcome.figures))
  else
    log.error(self.name, outcome.state .. ": " .. (outcome.trace or outcome.message))
  end
  return outcome.code
end

return job
