--- A flow that is kept until it is stopped: waits for what is due, lets the keeper do it, and loads
--- the scripts again when they have changed.
local clock = require "tallyman.clock"
local dirent = require "posix.dirent"
local failure = require "tallyman.failure"
local host = require "native.host"
local keeper = require "tallyman.keeper"
local log = require "tallyman.log"
local metrics = require "tallyman.metrics"
local notify = require "tallyman.notify"
local process = require "native.process"
local processes = require "tallyman.processes"
local runner = require "tallyman.runner"
local signal = require "posix.signal"
local store = require "tallyman.store"
local teller = require "tallyman.teller"
local time = require "tallyman.time"
local turns = require "tallyman.turn"

local flow_keep = {}

local RETRY = 5 -- seconds after which the store is looked at again
local SETTLED = 1 -- seconds without a change after which changed scripts are looked at
local CHECK_LIMIT = 20 -- seconds that loading them may take

--- What the log says of an event.
local WORDS = {
  done = { log.info, "%s: done" }, retry = { log.warn, "%s: %s; %s" },
  late = { log.error, "%s: %s: it is ended" }, held = { log.error, "%s: held: %s" },
  missed = { log.error, "%s: missed: %s" }, skipped = { log.error, "%s: skipped: %s" },
  refused = { log.error, "%s: refused: %s" }, failed = { log.error, "%s: failed: %s" },
}

--- Says in the log what happens.
local function in_log(name, zone)
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
---@field folder string that the scripts stand in
---@field scripts string all of them, as they were last looked at
---@field keeper tallyman.Keeper
---@field turn tallyman.Turn
---@field ours? boolean whether it is this process that keeps the flow
---@field other? string the process that does
---@field ended table[] processes that have ended, which hasn't been taken in yet: pid, status
---@field runner tallyman.ProcessRunner
---@field teller tallyman.Teller
---@field metrics? string file
---@field published? string what stands in it
---@field wrong? string why nothing can be done
---@field watch native.Watch
---@field changed? number when a script was last seen to change
---@field checking? integer pid of the process that checks the scripts
---@field check_until? number when that is ended

--- Takes the flow's scripts as they are now.
local function take_over(self, loaded)
  local zone = loaded.flow.timezone or loaded.settings.timezone
  local settings = loaded.settings
  if settings.state ~= self.state or settings.store ~= self.keeper.store.url then
    log.warn(loaded.flow.flow, "another state folder or store is used from the flow's next start")
  end
  self.teller:configure(loaded.settings, zone)
  self.metrics = loaded.settings.tell.metrics
  self.keeper.flow, self.keeper.jobs, self.keeper.zone = loaded.flow, loaded.jobs, zone
  self.keeper.tell = in_log(loaded.flow.flow, zone)
  log.zone = zone
end

--- The scripts of the flow's folder, as one text; nil where there is no such folder now.
local function scripts_of(folder)
  local there, found = pcall(dirent.dir, folder)
  if not there then return nil end
  local names, texts = {}, {}
  for _, name in ipairs(found) do
    if name:match "^[^.].*%.lua$" then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local handle <close> = io.open(folder .. "/" .. name, "rb")
    texts[i] = name .. "\0" .. (handle and handle:read "a" or "")
  end
  return table.concat(texts, "\0")
end

--- Notes it when the scripts have changed: files of the state folder change all the time.
local function look_at_scripts(self)
  local scripts = scripts_of(self.folder)
  if scripts and scripts ~= self.scripts then self.scripts, self.changed = scripts, clock.now() end
end

--- Begins to check the scripts, in a process of its own. They may stand in another folder of the
--- same name by now, which is the one to watch.
local function check_scripts(self)
  self.changed, self.check_until = nil, clock.now() + CHECK_LIMIT
  self.watch:folder(self.folder) -- where there is none, the check says so
  self.checking = failure.check(self.watch:start({ host.executable, self.path, "check" },
    { output = 2 }))
end

--- Sees to it that changed scripts are checked, and in time; gives when to look again.
local function attend_to_scripts(self, now)
  if self.checking then
    if now < self.check_until then return self.check_until end
    log.error(self.keeper.flow.flow, ("loading the scripts takes longer than %d s: it is ended")
      :format(CHECK_LIMIT))
    self.check_until = math.huge
    signal.killpg(self.checking, signal.SIGKILL)
    return math.huge
  end
  if self.changed and now >= self.changed + SETTLED then check_scripts(self) end
  return self.checking and self.check_until or self.changed and self.changed + SETTLED or math.huge
end

--- Takes changed scripts over when nothing is wrong with them.
local function checked(self, status)
  self.checking = nil
  local name = self.keeper.flow.flow
  local ok, loaded
  if status == 0 then ok, loaded = failure.catch(self.load) end
  if ok then ok, loaded = failure.catch(take_over, self, loaded) end
  if ok then
    log.info(name, "the scripts have changed: the new ones are used from now on")
  else
    log.error(name, ("the scripts have changed, and are wrong: the old timetable is kept%s")
      :format(loaded and ": " .. tostring(loaded) or ""))
  end
end

--- Takes in that a process has ended.
local function process_ended(self, pid, status)
  if self.teller:ended(pid, status, clock.now()) then return end
  local run_id = self.runner:ended(pid)
  if run_id then self.keeper:ended(run_id, status) end
end

--- Takes in what has happened; what is to be written in the store waits until it can be.
local function take_in(self, event, pid, status)
  if event == "files" then look_at_scripts(self) end
  if event == "hangup" then self.changed = -math.huge end
  if event == "clock" then log.warn(self.keeper.flow.flow, "the system's clock was set") end
  if event ~= "process" then return end
  if pid == self.checking then return checked(self, status) end
  self.ended[#self.ended + 1] = { pid = pid, status = status }
end

--- Writes the figures where they are watched, when they have changed.
local function publish(self)
  if not self.metrics then return end
  local text = metrics.text(self.keeper.store, self.keeper.flow, self.ours)
  if text == self.published then return end
  local ok, wrong = failure.catch(metrics.write, self.metrics, text)
  if ok then self.published = text end
  if not ok and tostring(wrong) ~= self.unpublished then
    log.error(self.keeper.flow.flow, tostring(wrong))
  end
  self.unpublished = not ok and tostring(wrong) or nil
end

--- Tells systemd that we live, and until when we sleep; gives when to do so again.
local function report_to_systemd(self, wake)
  notify.send(("WATCHDOG=1\nSTATUS=%s until %s"):format(self.ours and "sleeping" or "standing by",
    log.time(wake)))
  local watchdog = notify.watchdog()
  return watchdog and math.min(wake, clock.now() + watchdog) or wake
end

-- ---- whose turn it is ----

--- Takes note of who keeps the flow, nobody else being us; says so when that has changed.
local function note_keeper(self, other)
  if other == self.other and self.ours == not other then return end
  local name = self.keeper.flow.flow
  if not other then
    log.info(name, "kept from now on")
  else
    log.info(name, ("standing by: %s keeps it"):format(processes.text(other)))
  end
  self.ours, self.other = not other, other
end

--- Does what there is to do for the one whose turn it is, and for one that stands by.
local function do_what_is_due(self, now)
  self.keeper.store:check_in_place()
  while #self.ended > 0 do
    process_ended(self, self.ended[1].pid, self.ended[1].status)
    table.remove(self.ended, 1)
  end
  note_keeper(self, self.turn:take())
  local wake = self.teller:attend(now)
  if self.ours then wake = math.min(self.keeper:step(now), self.teller:work(now)) end
  publish(self)
  return math.min(wake, self.turn.pause and now + self.turn.pause or math.huge)
end

--- What may pass when nothing can be done: the store is locked, its disk is full, its server is
--- gone, the time zone's rules can't be read.
local PASSING = { [failure.unavailable] = true, [failure.cant_create] = true, [failure.io] = true,
  [failure.try_again] = true, [failure.configuration] = true }

--- Says that nothing can be done, or that it can again.
local function say_whether_able(self, wrong)
  local name = self.keeper.flow.flow
  if wrong and wrong ~= self.wrong then
    log.error(name, wrong .. ": nothing is begun until that is mended")
  elseif self.wrong and not wrong then
    log.info(name, "that is mended")
  end
  self.wrong = wrong
end

--- Does what is due; gives when to look again. While that can't be done nothing is begun, and
--- nothing is lost: it is caught up as soon as it can.
local function work(self, now)
  local ok, wake, trace = failure.catch(function()
    if self.wrong then self.keeper.store:reconnect() end
    return do_what_is_due(self, now)
  end)
  if not ok and not PASSING[failure.code(wake)] then error(trace or wake, 0) end
  if self.turn.lost then return now end -- the next round says who keeps it
  say_whether_able(self, not ok and tostring(wake) or nil)
  return ok and wake or now + RETRY
end

--- One round: does what is due, and waits for what comes next.
local function round(self)
  local now = clock.now()
  local wake = math.min(attend_to_scripts(self, now), work(self, now))
  wake = report_to_systemd(self, wake)
  take_in(self, failure.check(self.watch:wait(wake)))
end

--- Begins, unless another process of this host keeps the flow.
local function begin(self)
  local name, other = self.keeper.flow.flow, self.turn:take()
  if other and not self.keeper.store:is_elsewhere(other) and processes.find(other) then
    failure.raise(failure.try_again, "flow %s: %s keeps it already", name, processes.text(other))
  end
  note_keeper(self, other)
  if clock.is_set() then
    log.warn(name, "the clock is set by TALLYMAN_NOW: " .. time.text(clock.now()) .. " UTC")
  end
end

local STOPPED = { [128 + 2] = true, [128 + 15] = true }

--- Keeps a flow until SIGTERM or SIGINT; then its jobs are asked to end, and waited for, or killed.
---@param path string the flow's script
---@param load fun(): table flow, jobs by name, settings, as the scripts are now
---@return integer exit_code
function flow_keep.run(path, load)
  local loaded = load()
  local settings, name = loaded.settings, loaded.flow.flow
  local history <close> = store.open(settings.state, settings.store)
  history.turn = turns.new(history, name, settings.oms.lease)
  local turn <close> = history.turn
  local watch <close> = failure.check(process.watch())
  local folder = path:match "^(.*)/[^/]*$" or "."
  failure.check(watch:folder(folder))
  failure.check(watch:folder(settings.state)) -- an operator's runs end there
  local kept = { path = path, folder = folder, state = settings.state, load = load, watch = watch,
    scripts = scripts_of(folder), turn = turn, ended = {},
    runner = runner.new(folder, watch, history) }
  kept.keeper = keeper.new { store = history, runner = kept.runner }
  kept.teller = teller.new { flow = name, path = path, store = history, watch = watch }
  take_over(kept, loaded)
  begin(kept)
  notify.send "READY=1"
  local ok, wrong, trace = failure.catch(function()
    while true do round(kept) end
  end)
  if ok or not STOPPED[failure.code(wrong)] then error(trace or wrong, 0) end
  notify.send "STOPPING=1"
  local killed = watch:close()
  if killed > 0 then log.warn(name, killed .. " didn't end when asked to, and were killed") end
  kept.ours = false
  publish(kept)
  log.info(name, "stopped")
  return 0
end

return flow_keep
