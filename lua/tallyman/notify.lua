--- Tells systemd how a flow is: ready, what it waits for, alive. Elsewhere it does nothing. The
--- messages: sd_notify(3).
local socket = require "posix.sys.socket"
local unistd = require "posix.unistd"

local notify = {}

--- Sends a message.
---@param text string "READY=1", "STATUS=...", "WATCHDOG=1", "STOPPING=1"
function notify.send(text)
  local path = os.getenv "NOTIFY_SOCKET"
  if not path or path == "" then return end
  local handle = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0)
  if not handle then return end
  socket.sendto(handle, text, { family = socket.AF_UNIX, path = (path:gsub("^@", "\0")) })
  unistd.close(handle)
end

--- How often systemd wants to hear that we live: half of what it allows; nil when it doesn't.
---@return number? seconds
function notify.watchdog()
  local limit = tonumber(os.getenv "WATCHDOG_USEC")
  local pid = tonumber(os.getenv "WATCHDOG_PID")
  if not limit or limit <= 0 or pid and pid ~= unistd.getpid() then return nil end
  return limit / 2000000
end

return notify
