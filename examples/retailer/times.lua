-- Times of the retailer: instants are seconds since 1970 (UTC), as os.time counts them. The OMS
-- writes them in UTC, the POS stamps its files in the retailer's local time.

local times = {}

local EVENING = 22          -- the hour, local time, at which the POS takes its counts
local AN_HOUR = 3600

---Make `zone` (a name of the time zone database) the local time; nil leaves the system's.
---@param zone string?
function times.set_zone(zone)
  if zone then require("posix.stdlib").setenv("TZ", zone) end
end

-- The instant of a date in UTC; days are counted by the proleptic Gregorian calendar.
local function from_utc(year, month, day, hour, min, sec)
  if month <= 2 then year, month = year - 1, month + 12 end
  local days = 365 * year + year // 4 - year // 100 + year // 400
    + (153 * (month - 3) + 2) // 5 + day - 719469
  return ((days * 24 + hour) * 60 + min) * 60 + sec
end

local function integers(...)
  local list = { ... }
  for place, text in ipairs(list) do list[place] = math.tointeger(text) end
  return table.unpack(list)
end

---The instant that `2026-11-24T06:30:00Z` names; nil when the text is no such time.
---@param text string
---@return integer?
function times.parse_utc(text)
  local year, month, day, hour, min, sec =
    text:match "^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d)Z$"
  return year and from_utc(integers(year, month, day, hour, min, sec))
end

---The instant of a local stamp `20261123_220000`; nil when the text is no such stamp.
---@param stamp string
---@return integer?
function times.parse_stamp(stamp)
  local year, month, day, hour, min, sec =
    stamp:match "^(%d%d%d%d)(%d%d)(%d%d)_(%d%d)(%d%d)(%d%d)$"
  return year and os.time {
    year = year, month = month, day = day, hour = hour, min = min, sec = sec,
  }
end

---The stamp of the latest evening count that lies at least an hour before `now`.
---@param now integer
---@return string
function times.evening_before(now)
  local today = os.date("!*t", now)
  -- The local date may be a day ahead of UTC's or a day behind; os.time sorts the fields out.
  for offset = 1, -2, -1 do
    local date = {
      year = today.year, month = today.month, day = today.day + offset, hour = EVENING,
    }
    if os.time(date) <= now - AN_HOUR then
      return ("%04d%02d%02d_%02d0000"):format(date.year, date.month, date.day, EVENING)
    end
  end
  error "no evening lies before that time"
end

---An instant as the OMS stores it.
---@param instant integer
---@return string
function times.sql(instant)
  return os.date("!%Y-%m-%d %H:%M:%S", instant) --[[@as string]]
end

return times
