--- When jobs are due, by rule: pure functions of a job, a night and a zone. A night runs from noon
--- to noon, local time, and each job has one occurrence in it, whatever daylight saving does: a
--- time that doesn't exist is due at the first instant after the gap, one that exists twice the
--- first time.
local time = require "tallyman.time"
local validate = require "tallyman.validate"

local timetable = {}

local WEEKDAYS = { sun = 0, mon = 1, tue = 2, wed = 3, thu = 4, fri = 5, sat = 6 }

--- A shape's check: a weekday, by three letters.
---@param value string
---@return string?
function timetable.check_day(value)
  if not WEEKDAYS[value] then
    return ("'%s' is no day; write it as 'mon', 'tue', 'wed', 'thu', 'fri', 'sat' or 'sun'")
      :format(value)
  end
end

--- The instant of a time of day in a night: from noon on, that of the evening.
---@param of_day string "01:30"
---@param date string the night's, YYYY-MM-DD
---@param zone? string
---@return integer
function timetable.instant(of_day, date, zone)
  local hour, minute, second = validate.clock_time(of_day)
  local parts = time.parts(("%s %02d:%02d:%02d"):format(date, hour, minute, second))
  if hour >= 12 then parts.day = parts.day - 1 end
  return (time.from_zone(parts, zone))
end

--- Whether a job has an occurrence in a night; its days are those of the mornings.
---@param job tallyman.Job
---@param date string
---@return boolean
function timetable.runs_on(job, date)
  if not job.days then return true end
  local day = (time.from_utc(time.parts(date)) // 86400 + 4) % 7 -- 1970-01-01 was a Thursday
  for _, name in ipairs(job.days) do if WEEKDAYS[name] == day then return true end end
  return false
end

--- From when on a job may run: `at`, or the night's beginning.
---@param job tallyman.Job
---@param date string
---@param zone? string
---@return integer
function timetable.due(job, date, zone)
  return job.at and timetable.instant(job.at, date, zone) or (time.night_bounds(date, zone))
end

--- Seconds after noon of a time of day.
local function after_noon(of_day)
  local hour, minute, second = validate.clock_time(of_day)
  return (hour - 12) % 24 * 3600 + minute * 60 + second
end

--- Until when it must be done: `latest`, or the night's end. Where `at` and `latest` both come to
--- the end of an hour that doesn't exist, `latest` is as long after `at` as in any other night.
---@param job tallyman.Job
---@param date string
---@param zone? string
---@return integer
function timetable.deadline(job, date, zone)
  if not job.latest then return (select(2, time.night_bounds(date, zone))) end
  local due, deadline = timetable.due(job, date, zone), timetable.instant(job.latest, date, zone)
  if deadline > due then return deadline end
  return due + after_noon(job.latest) - after_noon(job.at)
end

--- The turn that a job with `every` has at an instant: its number, from 0 on, and when it was due.
--- Turns are so long apart, whatever the clocks show.
---@param job tallyman.Job
---@param date string
---@param zone? string
---@param now number
---@return integer? turn nil before the first
---@return number due of that turn, or of the first
function timetable.turn(job, date, zone, now)
  local first, every = timetable.due(job, date, zone), validate.seconds(job.every)
  if now < first then return nil, first end
  local number = math.floor((now - first) / every)
  return number, first + number * every
end

--- What is wrong with a job's times among themselves: name of the field, text.
---@param job tallyman.Job
---@return string? field, string? text
function timetable.fault(job)
  local from = job.at or "12:00"
  if job.latest and after_noon(job.latest) <= after_noon(from) then
    return "latest", ("'%s' isn't after at = '%s' in a night, which runs from noon to noon")
      :format(job.latest, from)
  end
  if job.wait and not job.after then return "wait", "waits after what? It needs after = { ... }" end
  if job.every and job.after then return "every", "goes with at, latest and days, not after" end
  if job.every and validate.seconds(job.every) < 1 then return "every", "must be 1s or more" end
end

return timetable
