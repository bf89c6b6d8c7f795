-- A private SFTP server on loopback for demos: OpenSSH's sshd on a free port, with keys of its own
-- in a folder, ended with the program that started it.
--   local server <close> = require "private_sshd".start(FOLDER)     server.port, .user, .key, ...
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local pwd = require "posix.pwd"
local signal = require "posix.signal"
local socket = require "posix.sys.socket"
local stat = require "posix.sys.stat"
local sys_wait = require "posix.sys.wait"
local unistd = require "posix.unistd"

local SSHD = "/usr/sbin/sshd"
local CONFIG = [[
Port %d
ListenAddress 127.0.0.1
HostKey %s/host_key
AuthorizedKeysFile %s/user_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PidFile none
Subsystem sftp internal-sftp
]]

local function write(path, text)
  local handle <close> = assert(io.open(path, "w"))
  handle:write(text)
end

local function read(path)
  local handle <close> = assert(io.open(path))
  return handle:read "a"
end

--- A port that nobody listens at.
local function free_port()
  local fd = assert(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
  assert(socket.bind(fd, { family = socket.AF_INET, addr = "127.0.0.1", port = 0 }))
  local port = assert(socket.getsockname(fd)).port
  unistd.close(fd)
  return port
end

--- Whether somebody listens.
local function answers(port)
  local fd = assert(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
  local connected = socket.connect(fd, { family = socket.AF_INET, addr = "127.0.0.1", port = port })
  unistd.close(fd)
  return connected ~= nil
end

local function make_key(path)
  local made = os.execute(("ssh-keygen -q -t ed25519 -N '' -f '%s'"):format(path))
  if not made then failure.raise(failure.unavailable, "ssh-keygen can't be run") end
end

---@class PrivateSshd
---@field port integer
---@field user string
---@field key string
---@field known_hosts string
local PrivateSshd = {}
PrivateSshd.__index = PrivateSshd

--- Ends the server.
function PrivateSshd:close()
  if not self.pid then return end
  signal.kill(self.pid, signal.SIGTERM)
  sys_wait.wait(self.pid)
  self.pid = nil
end
PrivateSshd.__close = PrivateSshd.close
PrivateSshd.__gc = PrivateSshd.close

local private_sshd = {}

--- Starts a server; its keys stand in the folder, which must be empty.
---@param folder string absolute
---@return PrivateSshd
function private_sshd.start(folder)
  if not stat.stat(SSHD) then
    failure.raise(failure.unavailable, "%s isn't there; install openssh-server", SSHD)
  end
  stat.mkdir(folder, 448)
  if unistd.geteuid() == 0 then stat.mkdir("/run/sshd", 493) end -- sshd insists on it
  for _, name in ipairs { "host_key", "user_key" } do make_key(folder .. "/" .. name) end
  local port = free_port()
  write(folder .. "/sshd_config", CONFIG:format(port, folder, folder))
  write(folder .. "/known_hosts", ("[127.0.0.1]:%d %s"):format(port, read(folder
    .. "/host_key.pub"):match "^%S+ %S+") .. "\n")
  local pid = assert(unistd.fork())
  if pid == 0 then
    unistd.execp(SSHD, { "-D", "-f", folder .. "/sshd_config", "-E", folder .. "/log" })
    unistd._exit(127)
  end
  local self = setmetatable({ pid = pid, port = port, key = folder .. "/user_key",
    user = pwd.getpwuid(unistd.geteuid()).pw_name, known_hosts = folder .. "/known_hosts" },
    PrivateSshd)
  for _ = 1, 100 do
    if answers(port) then return self end
    clock.sleep(0.05)
  end
  self:close()
  failure.raise(failure.unavailable, "sshd doesn't answer; see %s/log", folder)
end

return private_sshd
