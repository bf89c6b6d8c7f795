--- File names and the stamps in them.
local failure = require "tallyman.failure"
local time = require "tallyman.time"

local names = {}

--- Turns literal text into a Lua pattern.
local function literal(text) return (text:gsub("%p", "%%%0")) end

---@class tallyman.Stamped our own files: a folder, and a name with STAMP in it (UTC)
---@field folder string
---@field template string the name, with STAMP
local Stamped = {}
Stamped.__index = Stamped

--- The path for an instant, relative to the exchange.
---@param instant number
---@return string
function Stamped:name(instant)
  return ("%s/%s"):format(self.folder, (self.template:gsub("STAMP", time.stamp(instant))))
end

--- The instant in the name of an exchange entry; nil when the name isn't of this kind. Text between
--- the fixed parts and the stamp is allowed.
---@param entry tallyman.Entry
---@return integer? instant
function Stamped:instant(entry)
  local before, after = self.template:match "^(.-)STAMP(.*)$"
  local middle = entry.name:match("^" .. literal(before) .. "(.*)" .. literal(after) .. "$")
  local stamp = middle and middle:match "%d%d%d%d%d%d%d%dT%d%d%d%d%d%dZ"
  local parts = stamp and time.parts_in_name(stamp)
  return parts and time.from_utc(parts)
end

--- Names such as "filtered/ResetInventoryActive_STAMP.csv".
---@param path string
---@return tallyman.Stamped
function names.stamped(path)
  local folder, template = path:match "^(.+)/([^/]*STAMP[^/]*)$"
  if not folder then
    failure.raise(failure.configuration, "'%s' must be FOLDER/NAME with STAMP in the name", path)
  end
  return setmetatable({ folder = folder, template = template }, Stamped)
end

---@class tallyman.Inbound files of the POS, by a glob
---@field folder string
---@field glob string with *, and an optional ending in brackets: "ResetInventory*.csv[.gz]"
---@field settled number seconds between two looks at a file without a marker
---@field markers string[] endings of marker files
---@field zone? string the retailer's time zone
local Inbound = {}
Inbound.__index = Inbound

--- Whether a name is of this kind.
---@param name string
---@return boolean
function Inbound:matches(name)
  local fixed, optional = self.glob:match "^(.-)%[(.*)%]$"
  fixed = fixed or self.glob
  local pattern = "^" .. literal(fixed):gsub("%%%*", ".*")
  return name:match(pattern .. "$") ~= nil
    or optional ~= nil and name:match(pattern .. literal(optional) .. "$") ~= nil
end

--- When the POS took the counts: the local stamp in the name, or the modification time. A stamp
--- that exists twice is the later reading that is not after the modification time. nil when the
--- name isn't of this kind.
---@param entry tallyman.Entry
---@return integer? snapshot, string? note for the report
function Inbound:instant(entry)
  if not self:matches(entry.name) then return nil end
  local parts = time.parts_in_name(entry.name)
  if not parts then
    return math.floor(entry.mtime), entry.name .. ": no stamp in the name; its modification time, "
      .. time.text(entry.mtime) .. " UTC, counts as the snapshot"
  end
  local first, again = time.from_zone(parts, self.zone)
  if not again then return first end
  local snapshot = again <= entry.mtime and again or first
  return snapshot, ("%s: the clocks were set back, this local time exists twice; taken as %s UTC")
    :format(entry.name, time.text(snapshot))
end

--- The POS's names.
---@param inbound tallyman.Inbound its fields
---@return tallyman.Inbound
function names.inbound(inbound) return setmetatable(inbound, Inbound) end

return names
