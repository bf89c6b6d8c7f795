--- A private OpenSSH server on loopback, with keys of its own, for specs.
local process = require "tests.support.process"
local server = require "tests.support.server"
local sys_stat = require "posix.sys.stat"
local pwd = require "posix.pwd"
local unistd = require "posix.unistd"

local sshd = {}

---@class test.Sshd: test.Server
---@field options test.SshdOptions
local Sshd = setmetatable({}, { __index = server.Server })
Sshd.__index = Sshd

---@class test.SshdOptions
---@field host? string to listen at; 127.0.0.1 by default
---@field port? integer a free one by default
---@field within? string[] a command that runs another elsewhere, put before sshd's own
---@field as? integer the user that sshd runs as (for root only); its clients log in as the same.
--- Not nobody, whose account sshd then finds locked: systemd says so
---@field user? string whom its clients log in as; whoever runs sshd by default
---@field folder? string what it serves; a new one by default
---@field chroot? boolean the folder is all that its clients see, as `/` (for root only)
---@field config? table<string, string|number> lines of sshd_config, stronger than its own
---@field host_keys? "host"|"other" which set of host keys it has
---@field host_key_types? string[] of them; all by default
---@field log? string LogLevel; VERBOSE by default

--- Why there can be no server here; nil when there can.
---@return string?
function sshd.lacks()
  for _, name in ipairs { "sshd", "ssh-keygen", "sftp" } do
    if not server.program(name) then return "needs openssh-server and openssh-client" end
  end
  return nil
end

--- Newer servers punish addresses that fail often, as specs do on purpose.
local function punishes()
  local major, minor = process.run { "ssh", "-V" }.err:match "OpenSSH_(%d+)%.(%d+)"
  return major and tonumber(major) * 100 + tonumber(minor) >= 908
end

local function config_text(self, options)
  local lines, place = {}, self.place
  local function add(name, value) lines[#lines + 1] = ("%s %s"):format(name, value) end
  for name, value in pairs(options.config or {}) do add(name, value) end
  add("Port", self.port)
  add("ListenAddress", self.host)
  for _, type in ipairs(options.host_key_types or { "ed25519", "ecdsa", "rsa" }) do
    add("HostKey", ("%s/%s/%s"):format(place, options.host_keys or "host", type))
  end
  add("AuthorizedKeysFile", place .. "/authorized_keys")
  add("StrictModes", "no") -- temporary folders belong to anybody
  add("PermitRootLogin", "yes")
  add("PasswordAuthentication", "no")
  add("KbdInteractiveAuthentication", "no")
  add("UsePAM", "no")
  add("UseDNS", "no")
  add("PidFile", "none")
  add("LogLevel", options.log or "VERBOSE")
  add("MaxStartups", 100)
  if punishes() then add("PerSourcePenalties", "no") end
  add("Subsystem", "sftp internal-sftp -d " .. self.path)
  add("ForceCommand", "internal-sftp -d " .. self.path)
  if options.chroot then add("ChrootDirectory", self.folder) end
  return table.concat(lines, "\n") .. "\n"
end

--- Makes the folders that sshd needs and the one that it serves.
local function make_places(self, options)
  local below = options.chroot and "/run" or nil -- a chroot's parents may be writable by root only
  self.place = process.folder()
  self.folder = options.folder or process.folder(below)
  self.path = options.chroot and "/" or self.folder
  if process.is_root and not sys_stat.stat "/run/sshd" then sys_stat.mkdir("/run/sshd", 493) end
  for _, set in ipairs { "host", "other" } do server.keys(set, self.place .. "/" .. set) end
  local keys = server.public_keys "user"
  keys.stranger = nil
  local lines = {}
  for _, key in pairs(keys) do lines[#lines + 1] = key end
  process.write(self.place .. "/authorized_keys", table.concat(lines, "\n") .. "\n")
end

--- Lets the user that sshd runs as, and whom clients log in as, reach what is theirs.
local function hand_over(self, options)
  sys_stat.chmod(self.place, 493)
  if not process.is_root then return end
  if options.as then process.must("chown", "-R", tostring(options.as), self.place) end
  if options.chroot then
    sys_stat.chmod(self.folder, 493)
  elseif not options.folder then
    process.must("chown", self.user, self.folder)
  end
end

--- Starts it anew at the same port. Options given here replace those of the start: with
--- `host_keys = "other"` its host keys are swapped.
---@param options? test.SshdOptions
function Sshd:start(options)
  for name, value in pairs(options or {}) do self.options[name] = value end
  local path = self.place .. "/sshd_config"
  process.write(path, config_text(self, self.options))
  local command = { server.program "sshd", "-D", "-e", "-f", path, as = self.options.as }
  server.launch(self, command, self.options.within)
end

--- Starts a server. It ends by `stop`, or by process.clean.
---@param options? test.SshdOptions
---@return test.Sshd
function sshd.start(options)
  options = setmetatable({}, { __index = options })
  local self = setmetatable({ host = options.host or "127.0.0.1", options = options }, Sshd)
  local user = assert(pwd.getpwuid(options.as or unistd.geteuid()))
  self.user = options.user or user.pw_name
  make_places(self, options)
  hand_over(self, options)
  server.settle(self, options.port)
  return server.adopt(self)
end

return sshd
