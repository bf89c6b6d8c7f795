--- Times of day, nights and stamps. An instant is a number: seconds since 1970-01-01 UTC.
--- A night runs from noon to noon, local time, and bears its morning's date.
local native = require "native.clock"
local failure = require "tallyman.failure"

local time = {}

--- Days since 1970-01-01 of a date of the Gregorian calendar; months and days may overflow.
local function days(year, month, day)
  year = year + (month - 1) // 12
  month = (month - 1) % 12 + 1
  if month <= 2 then year, month = year - 1, month + 12 end
  return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day
    - 719469
end

--- The date of a day number.
local function date_of(day)
  local z = day + 719468
  local era = z // 146097
  local doe = z - era * 146097
  local yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
  local doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
  local mp = (5 * doy + 2) // 153
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - (153 * mp + 2) // 5 + 1
end

---@class tallyman.Parts
---@field year integer
---@field month integer
---@field day integer
---@field hour integer
---@field minute integer
---@field second integer

--- The instant at which a clock on UTC shows these parts.
---@param parts tallyman.Parts
---@return integer
function time.from_utc(parts)
  return days(parts.year, parts.month, parts.day) * 86400 + parts.hour * 3600
    + parts.minute * 60 + parts.second
end

--- What a clock on UTC shows.
---@param instant number
---@return tallyman.Parts
function time.utc(instant)
  local whole = math.floor(instant)
  local year, month, day = date_of(whole // 86400)
  local second = whole % 86400
  return { year = year, month = month, day = day, hour = second // 3600,
    minute = second % 3600 // 60, second = second % 60 }
end

--- Seconds east of UTC at an instant.
---@param instant number
---@param zone? string IANA name; nil: the system's
---@return integer
function time.offset(instant, zone)
  return failure.check(native.offset(instant, zone))
end

--- What a clock in the zone shows.
---@param instant number
---@param zone? string
---@return tallyman.Parts
function time.in_zone(instant, zone)
  return time.utc(instant + time.offset(instant, zone))
end

--- The first instant, between two, that has the later one's offset.
local function end_of_gap(early, late, zone)
  local wanted = time.offset(late, zone)
  while early + 1 < late do
    local middle = (early + late) // 2
    if time.offset(middle, zone) == wanted then late = middle else early = middle end
  end
  return late
end

--- The instant at which a clock in the zone shows these parts. A time that exists twice: the first
--- one, and the second as another result. A time that doesn't exist: the end of the gap.
---@param parts tallyman.Parts
---@param zone? string
---@return integer instant, integer? again
function time.from_zone(parts, zone)
  local wall = time.from_utc(parts)
  local before, after = time.offset(wall - 86400, zone), time.offset(wall + 86400, zone)
  local first, second = wall - math.max(before, after), wall - math.min(before, after)
  local first_is = first + time.offset(first, zone) == wall
  local second_is = second + time.offset(second, zone) == wall
  if first_is and second_is and first ~= second then return first, second end
  if first_is then return first end
  if second_is then return second end
  return end_of_gap(first, second, zone)
end

local function format(pattern, parts)
  return pattern:format(parts.year, parts.month, parts.day, parts.hour, parts.minute, parts.second)
end

--- YYYY-MM-DD HH:MM:SS in a zone ("UTC" unless another is named).
---@param instant number
---@param zone? string
---@return string
function time.text(instant, zone)
  return format("%04d-%02d-%02d %02d:%02d:%02d", time.in_zone(instant, zone or "UTC"))
end

--- YYYY-MM-DDTHH:MM:SS.mmmZ, as TALLYMAN_NOW takes it.
---@param instant number
---@return string
function time.iso(instant)
  local millis = math.floor(instant % 1 * 1000)
  return ("%s.%03dZ"):format((time.text(instant):gsub(" ", "T")), millis)
end

--- YYYYMMDDTHHMMSSZ, the stamp of our own files.
---@param instant number
---@return string
function time.stamp(instant)
  return format("%04d%02d%02dT%02d%02d%02dZ", time.utc(instant))
end

--- Parts from six groups of digits; nil when they are no date and time.
local function to_parts(year, month, day, hour, minute, second)
  local parts = { year = tonumber(year), month = tonumber(month), day = tonumber(day),
    hour = tonumber(hour or 0), minute = tonumber(minute or 0), second = tonumber(second or 0) }
  if not parts.year or parts.hour > 23 or parts.minute > 59 or parts.second > 59 then return nil end
  local again = time.utc(time.from_utc(parts))
  local same = again.month == parts.month and again.day == parts.day and parts.day > 0
  return same and parts or nil
end

--- Parts of the first text like YYYYMMDD_HHMMSS (or with T between) in a name; nil where there is
--- none.
---@param name string
---@return tallyman.Parts?
function time.parts_in_name(name)
  return to_parts(name:match "(%d%d%d%d)(%d%d)(%d%d)[_T](%d%d)(%d%d)(%d%d)")
end

--- Parts of YYYY-MM-DD[ HH:MM[:SS]] (T for the blank, and a fraction or Z at the end, are taken).
---@param text string
---@return tallyman.Parts?
function time.parts(text)
  local date, clock = text:match "^(%d%d%d%d%-%d%d%-%d%d)(.*)$"
  if not date then return nil end
  local year, month, day = date:match "(%d+)%-(%d+)%-(%d+)"
  if clock == "" then return to_parts(year, month, day) end
  local hour, minute, rest = clock:match "^[ T](%d%d):(%d%d)(.*)$"
  local second = rest and (rest:match "^:(%d%d)%.?%d*Z?$" or (rest == "" and "0"))
  return second and to_parts(year, month, day, hour, minute, second)
end

--- The instant of a text in UTC, as time.text writes it.
---@param text string
---@return integer
function time.read(text)
  local parts = time.parts(text)
  if not parts then failure.raise(failure.internal, "'%s' is no time", text) end
  return time.from_utc(parts)
end

--- The night that an instant belongs to: the date of its morning.
---@param instant number
---@param zone? string
---@return string date YYYY-MM-DD
function time.night(instant, zone)
  local parts = time.in_zone(instant, zone)
  if parts.hour >= 12 then parts.day = parts.day + 1 end
  return time.text(time.from_utc(parts)):sub(1, 10)
end

--- The noon that begins a night and the noon that ends it.
---@param date string YYYY-MM-DD
---@param zone? string
---@return integer from, integer to
function time.night_bounds(date, zone)
  local parts = time.parts(date .. " 12:00")
  local to = time.from_zone(parts, zone)
  local from = time.from_zone(time.utc(time.from_utc(parts) - 86400), zone)
  return from, to
end

return time
