--- A private ProFTPD on loopback that speaks SFTP (mod_sftp), with keys of its own, for specs: it
--- renames and overwrites otherwise than OpenSSH, and takes passwords.
local process = require "tests.support.process"
local server = require "tests.support.server"
local sys_stat = require "posix.sys.stat"
local pwd = require "posix.pwd"
local unistd = require "posix.unistd"

local proftpd = {}

---@class test.Proftpd: test.Server
---@field password string
---@field options test.ProftpdOptions
local Proftpd = setmetatable({}, { __index = server.Server })
Proftpd.__index = Proftpd

---@class test.ProftpdOptions
---@field host? string to listen at; 127.0.0.1 by default
---@field port? integer a free one by default
---@field within? string[] a command that runs another elsewhere, put before proftpd's own
---@field folder? string what it serves; a new one by default
---@field chroot? boolean the folder is all that its clients see, as `/` (for root only)
---@field methods? string SFTPAuthMethods; `publickey password` by default
---@field config? table<string, string|number> lines of its configuration, behind its own
---@field host_keys? "host"|"other" which set of host keys it has

--- Where the distributions keep modules.
local MODULES = "/usr/lib/proftpd"

--- Why there can be no server here; nil when there can.
---@return string?
function proftpd.lacks()
  if not server.program "proftpd" then return "needs proftpd-core" end
  if not unistd.access(MODULES .. "/mod_sftp.so", "r") then return "needs proftpd-mod-crypto" end
  return nil
end

local function config_text(self, options)
  local lines, place = {}, self.place
  local function add(name, value) lines[#lines + 1] = ("%s %s"):format(name, value) end
  add("ModulePath", MODULES)
  add("LoadModule", "mod_sftp.c")
  add("ServerType", "standalone")
  add("ServerName", "private")
  add("DefaultAddress", self.host)
  add("Port", self.port)
  add("UseIPv6", self.host:find(":", 1, true) and "on" or "off")
  add("User", self.user)
  add("Group", self.group)
  add("RootLogin", "on")
  add("PidFile", place .. "/pid")
  add("ScoreboardFile", place .. "/scoreboard")
  add("SystemLog", place .. "/system.log")
  add("TransferLog", "none")
  add("WtmpLog", "off")
  add("UseReverseDNS", "off")
  add("DelayEngine", "off") -- it makes logins slow on purpose
  add("AuthOrder", "mod_auth_file.c")
  add("AuthUserFile", place .. "/passwd")
  add("AuthGroupFile", place .. "/group")
  add("RequireValidShell", "off")
  add("UseFtpUsers", "off") -- the system's list of those who may not, root among them
  add("Umask", "022")
  add("AllowOverwrite", "on")
  add("SFTPEngine", "on")
  add("SFTPLog", place .. "/sftp.log")
  add("SFTPAuthMethods", options.methods or "publickey password")
  add("SFTPAuthorizedUserKeys", "file:" .. place .. "/authorized_keys")
  for _, type in ipairs { "ed25519", "ecdsa", "rsa" } do
    add("SFTPHostKey", ("%s/%s/%s"):format(place, options.host_keys or "host", type))
  end
  if options.chroot then add("DefaultRoot", "~") end
  for name, value in pairs(options.config or {}) do add(name, value) end
  return table.concat(lines, "\n") .. "\n"
end

--- Writes the user's keys in the format of RFC 4716, which is the only one that it reads.
local function write_authorized_keys(self)
  local parts = {}
  for name, path in pairs(server.keys("user", self.place .. "/user")) do
    if name ~= "stranger" then
      parts[#parts + 1] = process.must("ssh-keygen", "-e", "-m", "RFC4716", "-f", path .. ".pub")
    end
  end
  process.write(self.place .. "/authorized_keys", table.concat(parts))
end

--- A password as AuthUserFile has it. By perl, which is everywhere: under a sanitizer, crypt() of
--- this process isn't to be had.
local function encrypted(password)
  return process.must("perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, "$6$tallyman$")
end

local function make_place(self)
  self.place = process.folder()
  sys_stat.chmod(self.place, 493)
  for _, set in ipairs { "host", "other" } do server.keys(set, self.place .. "/" .. set) end
  write_authorized_keys(self)
  local user = pwd.getpwuid(unistd.geteuid())
  process.write(self.place .. "/passwd", ("%s:%s:%d:%d::%s:/bin/sh\n"):format(self.user,
    encrypted(server.PASSWORD), user.pw_uid, user.pw_gid, self.folder))
  process.write(self.place .. "/group", ("%s:x:%d:\n"):format(self.group, user.pw_gid))
  for _, name in ipairs { "passwd", "group" } do sys_stat.chmod(self.place .. "/" .. name, 384) end
end

--- Starts it anew at the same port. Options given here replace those of the start.
---@param options? test.ProftpdOptions
function Proftpd:start(options)
  for name, value in pairs(options or {}) do self.options[name] = value end
  local path = self.place .. "/proftpd.conf"
  process.write(path, config_text(self, self.options))
  os.remove(self.place .. "/scoreboard")
  local command = { server.program "proftpd", "-n", "-c", path }
  server.launch(self, command, self.options.within)
end

--- What it wrote to its logs.
---@return string
function Proftpd:log()
  return (process.read(self.place .. "/system.log") or "")
    .. (process.read(self.place .. "/sftp.log") or "")
end

--- Starts a server. It ends by `stop`, or by process.clean.
---@param options? test.ProftpdOptions
---@return test.Proftpd
function proftpd.start(options)
  options = setmetatable({}, { __index = options })
  local self = setmetatable({ host = options.host or "127.0.0.1", options = options }, Proftpd)
  self.user = pwd.getpwuid(unistd.geteuid()).pw_name
  self.group = process.must("id", "-gn"):match "%S+"
  self.password = server.PASSWORD
  self.folder = options.folder or process.folder()
  self.path = options.chroot and "/" or self.folder
  make_place(self)
  server.settle(self, options.port)
  return server.adopt(self)
end

return proftpd
