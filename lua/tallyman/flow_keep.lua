--- A flow that is kept until it is stopped: waits for what is due, lets the keeper do it, and loads
--- the scripts again when they have changed.
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local host = require "native.host"
local keeper = require "tallyman.keeper"
local log = require "tallyman.log"
local process = require "native.process"
local processes = require "tallyman.processes"
local runner = require "tallyman.runner"
local store = require "tallyman.store"
local time = require "tallyman.time"

local flow_keep = {}

local SETTLED = 1 -- seconds without a change after which changed scripts are looked at

--- What the log says of an event.
local WORDS = {
  done = { log.info, "%s: done" }, retry = { log.warn, "%s: %s; %s" },
  late = { log.error, "%s: %s: it is ended" }, held = { log.error, "%s: held: %s" },
  missed = { log.error, "%s: missed: %s" }, skipped = { log.error, "%s: skipped: %s" },
  refused = { log.error, "%s: refused: %s" }, failed = { log.error, "%s: failed: %s" },
}

--- Tells of an event in the log.
local function teller(name, zone)
  return function(event, occurrence, text)
    local say, format = table.unpack(WORDS[event])
    local again = occurrence.next_at
      and "tried again at " .. time.text(occurrence.next_at, zone):sub(12)
      or "there is no time to try again"
    say(name, format:format(occurrence.job, text, again))
  end
end

---@class tallyman.Kept a flow that is kept
---@field path string of its script
---@field script string[] command that checks it
---@field keeper tallyman.Keeper
---@field runner tallyman.ProcessRunner
---@field watch native.Watch
---@field changed? number when a file was last seen to change
---@field checking? integer pid of the process that checks the scripts
local Kept = {}
Kept.__index = Kept

--- Takes the flow's scripts as they are now.
local function take_over(self, loaded)
  self.keeper.flow, self.keeper.jobs = loaded.flow, loaded.jobs
  self.keeper.zone = loaded.flow.timezone or loaded.settings.timezone
  log.zone = self.keeper.zone
  self.keeper.tell = teller(loaded.flow.flow, self.keeper.zone)
end

--- Begins to check changed scripts, in a process of its own.
local function check_scripts(self)
  self.changed = nil
  self.checking = failure.check(self.watch:start({ host.executable, self.path, "check" },
    { output = 2 }))
end

--- Takes changed scripts over when nothing is wrong with them.
local function checked(self, status)
  self.checking = nil
  local name = self.keeper.flow.flow
  local ok, loaded
  if status == 0 then ok, loaded = failure.catch(self.load) end
  if ok then
    take_over(self, loaded)
    log.info(name, "the scripts have changed: the new ones are used from now on")
  else
    log.error(name, ("the scripts have changed, and are wrong: the old timetable is kept%s")
      :format(loaded and ": " .. tostring(loaded) or ""))
  end
end

--- Takes in what has happened.
local function take_in(self, event, pid, status)
  if event == "hangup" then check_scripts(self) end
  if event == "files" then self.changed = clock.now() end
  if event == "clock" then log.warn(self.keeper.flow.flow, "the system's clock was set") end
  if event ~= "process" then return end
  if pid == self.checking then return checked(self, status) end
  local run_id = self.runner:ended(pid)
  if run_id then self.keeper:ended(run_id, status) end
end

--- One round: does what is due, and waits for what comes next.
local function round(self)
  local now = clock.now()
  if self.changed and not self.checking and now >= self.changed + SETTLED then
    check_scripts(self)
  end
  local wake = self.keeper:step(now)
  if self.changed then wake = math.min(wake, self.changed + SETTLED) end
  take_in(self, failure.check(self.watch:wait(wake)))
end

--- Makes this process the one that keeps the flow.
local function begin(name, history)
  local other = history:keep(name)
  if other then
    failure.raise(failure.try_again, "flow %s: %s keeps it already", name, processes.text(other))
  end
  log.info(name, "kept from now on")
  if clock.is_set() then
    log.warn(name, "the clock is set by TALLYMAN_NOW: " .. time.text(clock.now()) .. " UTC")
  end
end

local STOPPED = { [128 + 2] = true, [128 + 15] = true }

--- Keeps a flow until SIGTERM or SIGINT; then its jobs are asked to end, and waited for.
---@param path string the flow's script
---@param load fun(): table flow, jobs by name, settings, as the scripts are now
---@return integer exit_code
function flow_keep.run(path, load)
  local loaded = load()
  local history <close> = store.open(loaded.settings.state)
  local name = loaded.flow.flow
  begin(name, history)
  local watch <close> = failure.check(process.watch())
  local folder = path:match "^(.*)/[^/]*$" or "."
  failure.check(watch:folder(folder))
  local kept = setmetatable({ path = path, load = load, watch = watch,
    runner = runner.new(folder, watch) }, Kept)
  kept.keeper = keeper.new { store = history, runner = kept.runner }
  take_over(kept, loaded)
  local ok, wrong, trace = failure.catch(function()
    while true do round(kept) end
  end)
  if ok or not STOPPED[failure.code(wrong)] then error(trace or wrong, 0) end
  log.info(name, "stopped")
  return 0
end

return flow_keep
