--- Calendar arithmetic of the model: instants are whole seconds since 1970 in UTC, stamps in the
--- OMS are milliseconds. Only the two zones that the runs use are known.

local clock = {}

-- Days since 1970-01-01 of a civil date, and back.
local function days(year, month, day)
  local y = month <= 2 and year - 1 or year
  local era = y // 400
  local yoe = y - era * 400
  local doy = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468
end

local function civil(count)
  local z = count + 719468
  local era = z // 146097
  local doe = z - era * 146097
  local yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
  local doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
  local mp = (5 * doy + 2) // 153
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - (153 * mp + 2) // 5 + 1
end

---@return integer instant
function clock.utc(year, month, day, hour, minute, second)
  return days(year, month, day) * 86400 + (hour or 0) * 3600 + (minute or 0) * 60 + (second or 0)
end

-- The n-th Sunday of a month, as a count of days. Day 0 was a Thursday.
local function sunday(year, month, nth)
  local first = days(year, month, 1)
  return first + (3 - first) % 7 + 7 * (nth - 1)
end

-- The instants between which New York keeps daylight saving time in a year.
local function saving(year)
  return sunday(year, 3, 2) * 86400 + 7 * 3600, sunday(year, 11, 1) * 86400 + 6 * 3600
end

--- Seconds that local time is ahead of UTC.
---@param zone string
---@param instant integer
---@return integer
function clock.offset(zone, instant)
  if zone == "UTC" then return 0 end
  assert(zone == "America/New_York", zone)
  local from, to = saving((civil(instant // 86400)))
  return instant >= from and instant < to and -4 * 3600 or -5 * 3600
end

-- The instant that a local date and time name; where they name two, the later one that is not
-- after `latest`; where they name none, the end of the gap.
---@param zone string
---@param wall integer  the local time, counted as if it were UTC
---@param latest integer
---@return integer
function clock.instant(zone, wall, latest)
  local found
  for _, hours in ipairs(zone == "UTC" and { 0 } or { 4, 5 }) do
    local instant = wall + hours * 3600
    local fits = instant + clock.offset(zone, instant) == wall
    if fits and (not found or instant <= latest) then found = instant end
  end
  return found or (saving((civil(wall // 86400))))
end

-- Midnight, or any other hour, of a local day.
---@return integer instant
function clock.at(zone, year, month, day, hour)
  local wall = clock.utc(year, month, day, hour)
  return clock.instant(zone, wall, math.maxinteger)
end

--- Year, month and day of an instant, in UTC.
---@return integer, integer, integer
function clock.date(instant)
  return civil(instant // 86400)
end

local function fields(instant)
  local year, month, day = civil(instant // 86400)
  local rest = instant % 86400
  return year, month, day, rest // 3600, rest // 60 % 60, rest % 60
end

local function formatted(pattern)
  return function(instant) return pattern:format(fields(instant)) end
end

clock.iso = formatted "%04d-%02d-%02dT%02d:%02d:%02dZ"
clock.stamp = formatted "%04d%02d%02dT%02d%02d%02dZ"
clock.plain = formatted "%04d%02d%02d_%02d%02d%02d"
clock.sql = formatted "%04d-%02d-%02d %02d:%02d:%02d"

--- The stamp of an inbound file's name: local time.
---@return string
function clock.wall(zone, instant)
  return clock.plain(instant + clock.offset(zone, instant))
end

--- The morning's date of the night (noon to noon, local) that an instant lies in.
---@return string
function clock.night(zone, instant)
  return clock.sql(instant + clock.offset(zone, instant) + 12 * 3600):sub(1, 10)
end

--- The instant of a stamp like 20261124T013000Z or 2026-11-24 01:30:00, read as UTC.
---@param text string
---@return integer?
function clock.parse(text)
  local y, mo, d, h, mi, s = text:match "(%d%d%d%d)%-?(%d%d)%-?(%d%d)[T _](%d%d):?(%d%d):?(%d%d)"
  if not y then return nil end
  local i = tonumber
  return clock.utc(i(y), i(mo), i(d), i(h), i(mi), i(s))
end

return clock
