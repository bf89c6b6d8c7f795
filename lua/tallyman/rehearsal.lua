--- A rehearsal: tonight's jobs, in order, against the real servers, and nothing is changed
--- anywhere. All of them run in this process: on one transaction of the OMS, which is rolled back,
--- on an exchange over which a folder is laid, and on a copy of the history.
local disk_overlay = require "tallyman.disk_overlay"
local exchange = require "tallyman.exchange"
local exchange_folder = require "tallyman.exchange_folder"
local failure = require "tallyman.failure"
local figures = require "tallyman.figures"
local job = require "tallyman.job"
local log = require "tallyman.log"
local preview = require "tallyman.preview"
local report = require "tallyman.report"
local stat = require "posix.sys.stat"
local stdlib = require "posix.stdlib"
local store = require "tallyman.store"
local folders = require "tallyman.folders"

---@class tallyman.Rehearsal: tallyman.Places
---@field folder string
---@field settings tallyman.Settings
---@field real tallyman.Exchange
---@field disk tallyman.OverlayDisk
---@field orders? tallyman.Oms
local Rehearsal = {}
Rehearsal.__index = Rehearsal

--- The exchange, for a run.
---@param run_id string
---@return tallyman.Exchange
function Rehearsal:exchange(run_id)
  return exchange_folder.open(self.real.url, self.disk, self.real.root, run_id)
end

--- The OMS in its one transaction, opened when it is first needed.
---@return tallyman.Oms
function Rehearsal:oms()
  self.orders = self.orders or preview.oms(self.settings)
  return self.orders
end

--- Lets go of everything; the OMS forgets what was done.
function Rehearsal:close()
  if self.orders then self.orders.db:close() end
  if self.real then self.real:close() end
  folders.remove(self.folder)
end
Rehearsal.__close = Rehearsal.close

--- Begins one, with a copy of the history, for the guards know past nights from it. From now on the
--- settings name the rehearsal's own state folder and store.
local function open(settings)
  local folder = stdlib.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/tallyman-rehearsal-XXXXXX")
  local self = setmetatable({ folder = folder, settings = settings }, Rehearsal)
  local ok, wrong = failure.catch(function()
    store.copy(settings.state, settings.store, folder .. "/state")
    stat.mkdir(folder .. "/exchange", 448)
    self.real = exchange.open(settings.exchange, "rehearsal", settings)
  end)
  if not ok then
    self:close()
    error(wrong, 0)
  end
  self.disk = disk_overlay.open(self.real.disk, folder .. "/exchange")
  settings.state, settings.store = folder .. "/state", nil
  return self
end

--- Runs one job; says what came of it.
local function play(self, loaded, name)
  local context = { settings = self.settings, places = self }
  function context.make_keys(other) return play(self, loaded, other) end
  local outcome = job.run(loaded.jobs[name], context)
  local say = outcome.code == 0 and log.info or log.error
  say(name, ("would be %s: %s"):format(outcome.state, outcome.code == 0
    and figures.text(outcome.figures) or outcome.trace or outcome.message))
  return outcome.code
end

--- What would have changed, in words.
local function summary(self)
  local lines = {}
  for i, change in ipairs(self.disk.changes) do lines[i] = "would " .. change end
  if #lines == 0 then lines[1] = "no file would change" end
  if self.orders then lines[#lines + 1] = preview.text(preview.changes(self.orders)) end
  return table.concat(lines, "\n")
end

local rehearsal = {}

--- Plays tonight and changes nothing; prints what it would have done, and the report as it would
--- be.
---@param loaded table flow, jobs, settings
---@param date string
---@param missing fun(job: tallyman.Job): string? why a job can't run, by the history so far
---@return integer exit_code of the first job that wasn't 0
function rehearsal.run(loaded, date, missing)
  local first_code = 0
  local self <close> = open(loaded.settings)
  log.warn(loaded.flow.flow, "rehearsal: nothing is changed")
  for _, name in ipairs(loaded.flow.jobs) do
    local why, code = missing(loaded.jobs[name]), failure.try_again
    if why then
      log.warn(loaded.flow.flow, ("%s would not be run: %s"):format(name, why))
    else
      code = play(self, loaded, name)
    end
    if first_code == 0 then first_code = code end
  end
  print(summary(self))
  print((report.text(loaded.flow, loaded.settings, date, self.orders)))
  return first_code
end

return rehearsal
