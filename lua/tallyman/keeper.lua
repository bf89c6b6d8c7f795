--- Keeps a flow's timetable: looks at what the store says of tonight's occurrences and takes each
--- as far as it can go now. It doesn't know the clock, nor how a job is run: whoever uses it does.
--- So tests play years of it.
local events = require "tallyman.events"
local failure = require "tallyman.failure"
local occurrences = require "tallyman.occurrences"
local time = require "tallyman.time"
local timetable = require "tallyman.timetable"
local validate = require "tallyman.validate"

---@class tallyman.Runner how jobs are run
---@field start fun(self, job: tallyman.Job, run_id: string) may raise
---@field lives fun(self, run: tallyman.Run): boolean whether a run's process is there, ours or not
---@field stop fun(self, run: tallyman.Run, hard: boolean) asks a run to end, or ends it

---@class tallyman.Keeper
---@field flow tallyman.Flow
---@field jobs table<string, tallyman.Job> by name
---@field zone? string
---@field store tallyman.Store
---@field runner tallyman.Runner
---@field tell fun(event: string, occurrence: tallyman.Occurrence, text: string)
---@field stops table<string, { hard: number, why: string }> runs that were asked to end, by their
--- ids: when they are ended, and why
local Keeper = {}
Keeper.__index = Keeper

local GRACE = 10 -- seconds that a run has to end after it was asked to
local CRASHES = 3 -- runs that end without a word, after which it isn't tried again
local PASSING = { [failure.try_again] = true, [failure.unavailable] = true }

-- ---- ends ----

--- Writes that an occurrence is over, together with what somebody is to be told of it.
local function finish(self, occurrence, now, kind, text)
  occurrence.final, occurrence.next_at = true, nil
  self.store:change(function()
    occurrences.save(self.store, occurrence)
    events.add(self.store, occurrence, now, kind, text)
  end)
  self.tell(occurrence.state, occurrence, occurrence.reason or "")
end

--- Marks an occurrence as over.
local function conclude(self, occurrence, now, state, reason)
  occurrence.state, occurrence.ended_at, occurrence.reason = state, now, reason
  finish(self, occurrence, now, state, reason)
end

--- Marks an occurrence as done; what its run wants somebody to know is told.
local function succeed(self, occurrence, run, now)
  occurrence.state, occurrence.reason = "done", nil
  occurrence.ended_at = time.read(run.finished_at)
  local alerts = run.figures.alerts or {}
  finish(self, occurrence, now, #alerts > 0 and "alert" or "done", table.concat(alerts, "; "))
end

--- How long to wait before the next attempt: the flow's waits, of which the last repeats.
local function pause(self, attempts)
  local waits = self.flow.retry
  return validate.seconds(waits[math.min(attempts, #waits)])
end

--- Lets an occurrence be tried again.
local function try_later(self, occurrence, now, state, reason)
  local first = occurrence.reason ~= reason
  occurrence.state, occurrence.reason = state, reason
  occurrence.next_at = now + pause(self, occurrence.attempts)
  if occurrence.next_at >= occurrence.deadline then occurrence.next_at = nil end
  self.store:change(function() occurrences.save(self.store, occurrence) end)
  if first then self.tell("retry", occurrence, reason) end
end

--- Takes in what a run came to.
local function take_in(self, occurrence, run, now)
  local stop = self.stops[run.run_id]
  local reason = stop and stop.why or run.message
  self.stops[run.run_id] = nil
  if run.state == "done" then return succeed(self, occurrence, run, now) end
  local crashed = run.exit_code >= 128 and self.store:crashes(occurrence) < CRASHES
  if (PASSING[run.exit_code] or crashed) and now < occurrence.deadline then
    try_later(self, occurrence, now, run.state, reason)
  else
    conclude(self, occurrence, now, run.state, reason)
  end
end

local VANISHED = 128 + 9 -- as if somebody had killed it

--- Codes of a run that couldn't write in the store what came of it: that may pass.
local UNWRITTEN = { [failure.cant_create] = failure.try_again, [failure.io] = failure.try_again }

--- Writes what has become of a run whose process has ended, unless it has done so itself. One that
--- never began is no crash.
---@param run_id string
---@param status? integer its exit code, where that is known
function Keeper:ended(run_id, status)
  local run = self.store:run_by_id(run_id)
  if not run or run.finished_at then return end
  local code, message = VANISHED, "its process is gone and left no word"
  if status then
    code = status ~= 0 and (UNWRITTEN[status] or status) or VANISHED
    message = ("ended with %d and left no word"):format(status)
  elseif run.state == "starting" then
    code, message = failure.try_again, "it was announced and never began"
  end
  self.store:bury(run, code, message)
end

-- ---- a run that is under way ----

--- The instant after which a run is asked to end, and why: its own limit, or its deadline.
local function limit_of(job, occurrence, run)
  local most = job and job.time_limit
  local limit = most and time.read(run.started_at) + validate.seconds(most) or math.huge
  if limit < occurrence.deadline then return limit, "longer than its limit, " .. most end
  return occurrence.deadline, "not done by its deadline"
end

--- Looks after a run: gives when to look again.
local function attend(self, occurrence, now)
  local run = self.store:run_by_id(occurrence.run_id)
  if not run.finished_at and not self.runner:lives(run) then
    self:ended(run.run_id)
    run = self.store:run_by_id(run.run_id)
  end
  if run.finished_at then return nil, take_in(self, occurrence, run, now) end
  local limit, why = limit_of(self.jobs[occurrence.job], occurrence, run)
  if now < limit then return limit end
  local stop = self.stops[run.run_id]
  if not stop then
    stop = { hard = now + GRACE, why = why }
    self.stops[run.run_id] = stop
    self.tell("late", occurrence, why)
    self.runner:stop(run, false)
  elseif now >= stop.hard then
    self.runner:stop(run, true)
    stop.hard = now + GRACE
  end
  return stop.hard
end

-- ---- one that waits ----

--- What the jobs say that an occurrence waits for: the instant of the last success, or what is
--- missing; and whether nothing more will come of that.
local function look_back(self, job, night)
  if not job.after then return 0 end
  local tonight = occurrences.of_night(self.store, self.flow.flow, night)
  local since = 0
  for _, name in ipairs(job.after) do
    local other = tonight[name]
    if not other then return nil, name .. " doesn't run tonight", true end
    if other.state ~= "done" then
      local text = other.reason and ("%s is %s: %s"):format(name, other.state, other.reason)
        or ("%s is %s"):format(name, other.state)
      return nil, text, other.final
    end
    since = math.max(since, other.ended_at)
  end
  return since
end

--- Whether an operator has done the job tonight, since it was due: then it is done, even where the
--- flow had given it up.
local function done_by_hand(self, occurrence, now)
  local run = self.store:first_done(occurrence.job, occurrence.night, occurrence.due_at)
  if not run then return false end
  occurrence.run_id = run.run_id
  take_in(self, occurrence, run, now)
  return true
end

--- Ends an occurrence whose deadline has come.
local function give_up(self, occurrence, now, missing)
  if occurrence.attempts > 0 then
    conclude(self, occurrence, now, occurrence.state, occurrence.reason or "not done in time")
  elseif missing then
    conclude(self, occurrence, now, "skipped", missing)
  else
    conclude(self, occurrence, now, "missed", "nobody was there to run it in its time")
  end
end

--- Starts a run. That it will is written first: whoever comes after a crash finds either the run at
--- work, or one that was announced and never began.
local function start(self, occurrence, job, now)
  self.store:change(function()
    occurrence.run_id = self.store:announce(occurrence)
    occurrence.state, occurrence.attempts = "running", occurrence.attempts + 1
    occurrence.next_at = nil
    occurrences.save(self.store, occurrence)
  end)
  local ok, wrong = failure.catch(self.runner.start, self.runner, job, occurrence.run_id)
  if not ok then
    local run = self.store:bury(self.store:run_by_id(occurrence.run_id), failure.code(wrong),
      tostring(wrong))
    take_in(self, occurrence, run, now)
  end
end

--- Takes an occurrence that waits as far as it goes; gives when to look again.
local function advance(self, occurrence, now)
  local job = self.jobs[occurrence.job]
  if not job then
    conclude(self, occurrence, now, "skipped", "the flow has no such job any more")
    return nil
  end
  if now < occurrence.due_at then return occurrence.due_at end
  if done_by_hand(self, occurrence, now) then return nil end
  local since, missing, never = look_back(self, job, occurrence.night)
  if missing and job.anyway and never then since, missing = 0, nil end
  if now >= occurrence.deadline then return nil, give_up(self, occurrence, now, missing) end
  local tried = occurrence.attempts > 0 and not occurrence.next_at -- there is no time for more
  local at = (missing or tried) and occurrence.deadline
    or math.max(since + (validate.seconds(job.wait or 0)), occurrence.next_at or 0)
  if now < at then return math.min(at, occurrence.deadline) end
  start(self, occurrence, job, now)
  return limit_of(job, occurrence, self.store:run_by_id(occurrence.run_id))
end

-- ---- the night ----

--- Sees to it that a job's occurrence of a night stands in the store, as its timetable has it now.
--- Of a job's turns the newest counts; one that comes while the one before isn't over is left out.
local function enter(self, job, night, now, there)
  if not timetable.runs_on(job, night) then return nil end
  local turn, due, again = 0, timetable.due(job, night, self.zone), nil
  local deadline = timetable.deadline(job, night, self.zone)
  if job.every then
    turn, due = timetable.turn(job, night, self.zone, now)
    again = turn and due + validate.seconds(job.every) or due
    if again >= deadline then again = nil end
    if not turn or due >= deadline then return again end
  end
  if not there or there.final and there.turn < turn and there.ended_at <= due then
    self.store:change(function()
      occurrences.add(self.store, { flow = self.flow.flow, night = night, job = job.name,
        turn = turn, due_at = due, deadline = deadline })
    end)
  elseif not job.every and there.state == "waiting"
    and (there.due_at ~= due or there.deadline ~= deadline) then
    self.store:change(function() occurrences.move(self.store, there, due, deadline) end)
  end
  return again
end

--- Takes every occurrence as far as it goes at an instant.
---@param now number
---@return number wake the instant at which to look again, if nothing happens before
function Keeper:step(now)
  now = math.floor(now) -- the store's times are whole seconds
  local night = time.night(now, self.zone)
  local wake = select(2, time.night_bounds(night, self.zone))
  local function look_again(at) if at and at > now then wake = math.min(wake, at) end end
  local known = occurrences.of_night(self.store, self.flow.flow, night)
  for _, name in ipairs(self.flow.jobs) do
    local there = known[name]
    if there and there.final and there.state ~= "done" then done_by_hand(self, there, now) end
    look_again(enter(self, self.jobs[name], night, now, known[name]))
  end
  repeat -- what one job has done may let another begin
    local moved = false
    for _, occurrence in ipairs(occurrences.open(self.store, self.flow.flow, night)) do
      local before = occurrence.state
      local at
      if before == "running" then
        at = attend(self, occurrence, now)
      else
        at = advance(self, occurrence, now)
      end
      look_again(at)
      moved = moved or occurrence.state ~= before or occurrence.final
    end
  until not moved
  self.store:change(function() events.close_nights(self.store, self.flow.flow, now) end)
  return wake
end

local keeper = {}

--- Makes one.
---@param fields table flow, jobs, zone, store, runner, tell
---@return tallyman.Keeper
function keeper.new(fields)
  fields.stops = {}
  return setmetatable(fields, Keeper)
end

return keeper
