--- A disk over another that is only read: what is written goes to a folder of its own, what is
--- moved or removed below is remembered. So a night can be rehearsed on the real exchange and
--- change nothing there.
local disk_local = require "tallyman.disk_local"
local failure = require "tallyman.failure"

---@class tallyman.OverlayDisk: tallyman.Disk
---@field lower tallyman.Disk
---@field upper string folder of this machine
---@field hidden table<string, boolean> paths below that are gone
---@field moved table<string, string> where paths lie below, that were moved
---@field changes string[] what would have been done
local OverlayDisk = {}
OverlayDisk.__index = OverlayDisk

local function up(self, path) return self.upper .. path end

--- The path below of a file that is to be seen; nil when nothing below is.
local function below(self, path)
  if self.moved[path] then return self.moved[path] end
  return not self.hidden[path] and path or nil
end

local function note(self, format, ...)
  self.changes[#self.changes + 1] = format:format(...)
end

function OverlayDisk:stat(path)
  local found = disk_local:stat(up(self, path))
  local lower = not found and below(self, path)
  return found or lower and self.lower:stat(lower) or nil
end

function OverlayDisk:list(path)
  local by_name, entries = {}, {}
  local function add(entry) by_name[entry.name] = entry end
  if below(self, path) and self.lower:stat(path) then
    for _, entry in ipairs(self.lower:list(path)) do
      if not self.hidden[path .. "/" .. entry.name] then add(entry) end
    end
  end
  for to, from in pairs(self.moved) do
    local folder, name = to:match "^(.*)/([^/]+)$"
    local entry = folder == path and self.lower:stat(from)
    if entry then
      entry.name = name
      add(entry)
    end
  end
  if disk_local:stat(up(self, path)) then
    for _, entry in ipairs(disk_local:list(up(self, path))) do add(entry) end
  end
  for _, entry in pairs(by_name) do entries[#entries + 1] = entry end
  return entries
end

--- Makes a folder above, and those that it stands in.
function OverlayDisk:make_folder(path)
  local at = self.upper
  for part in path:gmatch "[^/]+" do
    at = at .. "/" .. part
    disk_local:make_folder(at)
  end
end

function OverlayDisk:remove(path)
  local lower = below(self, path)
  if disk_local:stat(up(self, path)) then
    disk_local:remove(up(self, path))
  elseif not lower or not self.lower:stat(lower) then
    return
  end
  self.hidden[path], self.moved[path] = true, nil
  note(self, "remove %s", path)
end

function OverlayDisk:remove_folder(path)
  if #self:list(path) > 0 then return end
  if disk_local:stat(up(self, path)) then disk_local:remove_folder(up(self, path)) end
  self.hidden[path] = true
end

function OverlayDisk:discard(path) disk_local:discard(up(self, path)) end

function OverlayDisk:publish(from, to, replace)
  if not replace and self:stat(to) then
    return nil, ("cannot create %s: File exists"):format(to), failure.cant_create
  end
  self.moved[to], self.hidden[to] = nil, true
  if disk_local:stat(up(self, from)) then
    local done, message, code = disk_local:publish(up(self, from), up(self, to), true)
    if not done then return done, message, code end
    if from:match "%.part$" then
      note(self, "write %s (%d bytes)", to, disk_local:stat(up(self, to)).size)
    else
      note(self, "move %s to %s", from, to)
    end
    return true
  end
  local lower = below(self, from)
  self.hidden[from], self.moved[from], self.moved[to] = true, nil, lower
  note(self, "move %s to %s", from, to)
  return true
end

function OverlayDisk:source(path, options)
  if disk_local:stat(up(self, path)) then return disk_local:source(up(self, path), options) end
  return self.lower:source(below(self, path) or path, options)
end

function OverlayDisk:sink(path, mode) return disk_local:sink(up(self, path), mode) end

--- Stays open until the rehearsal is over.
function OverlayDisk:close() end
OverlayDisk.__close = OverlayDisk.close

local disk_overlay = {}

--- Lays a folder of this machine over a disk.
---@param lower tallyman.Disk
---@param folder string empty
---@return tallyman.OverlayDisk
function disk_overlay.open(lower, folder)
  return setmetatable({ lower = lower, upper = folder, hidden = {}, moved = {}, changes = {} },
    OverlayDisk)
end

return disk_overlay
