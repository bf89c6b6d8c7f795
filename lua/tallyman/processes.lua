--- Processes by names that no other process ever has: host; boot and PID namespace; pid; when it
--- began. So a process that is gone isn't taken for the one that got its number, and one in another
--- container isn't looked for here. Of these the host's name alone can change while they live.
local unistd = require "posix.unistd"
local utsname = require "posix.sys.utsname"

local processes = {}

local function line_of(path)
  local handle <close> = io.open(path)
  return handle and handle:read "l"
end

--- When a process began, in ticks since boot; nil when there is none, or it has ended and its
--- parent hasn't noticed yet.
local function beginning(pid)
  local line = line_of(("/proc/%d/stat"):format(pid))
  local state, rest = (line or ""):match "^.*%) (%a) (.*)$"
  if not state or state == "Z" or state == "X" then return nil end
  local at = 0
  for field in rest:gmatch "%S+" do -- the first one here is the line's fourth
    at = at + 1
    if at == 19 then return field end
  end
end

--- This host.
---@return string
function processes.host() return utsname.uname().nodename end

--- Where processes can be found by this one: the kernel's run, and the PID namespace in it.
local function realm()
  local boot = line_of "/proc/sys/kernel/random/boot_id" or "?"
  local namespace = (unistd.readlink "/proc/self/ns/pid" or ""):match "%d+" or "?"
  return boot .. "/" .. namespace
end

--- Whether a process is another host's, or another container's.
---@param name string
---@return boolean
function processes.is_elsewhere(name)
  local host, place = name:match "^(%S+) (%S+)"
  return host ~= processes.host() or place ~= realm()
end

--- The name of a process of this host; nil when there is none with that number.
---@param pid integer
---@return string?
function processes.name(pid)
  local began = beginning(pid)
  return began and ("%s %s %d %s"):format(processes.host(), realm(), pid, began)
end

--- The name of this process.
---@return string
function processes.own() return processes.name(unistd.getpid()) end

--- The pid of a process by its name, while it lives here; whatever the host is called by now.
---@param name string
---@return integer? pid
function processes.find(name)
  local place, number, began = name:match "^%S+ (%S+) (%d+) (%d+)$"
  local pid = math.tointeger(tonumber(number))
  return place == realm() and beginning(pid) == began and pid or nil
end

--- What a person is told of a process.
---@param name string
---@return string
function processes.text(name)
  local host, pid = name:match "^(%S+) %S+ (%d+) "
  return host and ("process %s on %s"):format(pid, host) or name
end

return processes
