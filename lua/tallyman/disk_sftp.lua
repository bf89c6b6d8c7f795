--- A server's disk by SFTP, as an exchange wants it: one session, opened when it is first needed.
--- Drops of the connection are told in the log, with what was done about them.
local failure = require "tallyman.failure"
local log = require "tallyman.log"
local pwd = require "posix.pwd"
local secrets = require "tallyman.secrets"
local sftp = require "native.sftp"
local stat = require "posix.sys.stat"
local unistd = require "posix.unistd"

---@class tallyman.SftpDisk: tallyman.Disk
---@field options table those of native.sftp.open
---@field url string without secrets
---@field opened? native.SftpSession
local SftpDisk = {}
SftpDisk.__index = SftpDisk

--- The session; opens it.
local function session(self)
  if not self.opened then self.opened = failure.check(sftp.open(self.options)) end
  return self.opened
end

--- Logs what happened to the connection.
local function tell(self)
  for line in (self.opened and self.opened:notices() or ""):gmatch "[^\n]+" do
    log.warn("sftp", line)
  end
end

--- Calls a method of the session; a failure raises.
local function call(self, method, ...)
  local opened = session(self)
  local result, message, code = opened[method](opened, ...)
  tell(self)
  return failure.check(result, message, code)
end

function SftpDisk:stat(path)
  local found = call(self, "stat", path)
  if not found then return nil end
  found.name = path:match "[^/]*$"
  return found
end

function SftpDisk:list(path)
  local entries = call(self, "list", path)
  for _, entry in ipairs(entries) do
    entry.size, entry.mtime = entry.size or 0, entry.mtime or 0
  end
  return entries
end

function SftpDisk:make_folder(path) call(self, "make_folder", path) end
function SftpDisk:remove(path) call(self, "remove", path) end

--- What can't be removed is told and no more: what went wrong before matters more.
function SftpDisk:discard(path)
  if not self.opened then return end -- then nothing was made there either
  local gone, message = self.opened:discard(path)
  tell(self)
  if not gone then log.warn("sftp", ("%s%s is left there: %s"):format(self.url, path, message)) end
end

function SftpDisk:remove_folder(path)
  local found = self:stat(path)
  if found and #self:list(path) == 0 then call(self, "remove_folder", path) end
end

--- Replacing is done in one step where the server knows how; else the old file goes first, and
--- there is a moment without any.
function SftpDisk:publish(from, to, replace)
  local opened = session(self)
  local method = "rename"
  if replace and opened:features().posix_rename then
    method = "replace"
  elseif replace then
    self:remove(to)
  end
  local published, message, code = opened[method](opened, from, to)
  tell(self)
  return published, message, code
end

function SftpDisk:source(path, options)
  return call(self, "source", path, self.url .. path, options)
end

function SftpDisk:sink(path)
  return call(self, "sink", path, self.url .. path)
end

function SftpDisk:close()
  if not self.opened then return end
  tell(self)
  self.opened:close()
  self.opened = nil
end
SftpDisk.__close = SftpDisk.close

-- ---- who, where, by which key ----

local function home()
  return os.getenv "HOME" or pwd.getpwuid(unistd.geteuid()).pw_dir
end

--- The user's own key, as ssh(1) would find it; nil where there is none.
local function default_key()
  for _, name in ipairs { "id_ed25519", "id_ecdsa", "id_rsa" } do
    local path = home() .. "/.ssh/" .. name
    if stat.stat(path) then return path end
  end
end

---@class tallyman.SftpUrl
---@field user? string
---@field host string
---@field port integer
---@field path string absolute

--- The parts of sftp://[USER@]HOST[:PORT]/DIR; raises where it isn't one. A password has no place
--- there, for URLs are printed.
---@param url string
---@return tallyman.SftpUrl
local function parse(url)
  local authority, path = url:match "^sftp://([^/]+)(/.*)$"
  local user, place = (authority or ""):match "^([^@]*)@(.*)$"
  place = place or authority or ""
  local host, port = place:match "^%[([%w:._-]+)%](.*)$"
  if not host then host, port = place:match "^([%w._-]+)(.*)$" end
  local number = port == "" and 22 or port and #port <= 6 and math.tointeger(port:match "^:(%d+)$")
  local has_password = user and user:find ":"
  if not host or not number or number < 1 or number > 65535 or user == "" or has_password then
    failure.raise(failure.configuration, "'%s' is no sftp://USER@HOST[:PORT]/DIR%s",
      secrets.hide(url), has_password and "; a password has no place there" or "")
  end
  return { user = user, host = host, port = number,
    path = #path > 1 and path:gsub("/+$", "") or path }
end

local disk_sftp = { parse = parse }

--- The options of native.sftp.open for a URL.
---@param url string sftp://[USER@]HOST[:PORT]/DIR
---@param settings? tallyman.Settings without them, the environment alone has a say
---@return table options, tallyman.SftpUrl parts
function disk_sftp.options(url, settings)
  local parts = parse(url)
  local given = settings and settings.sftp or { key = os.getenv "TALLYMAN_SSH_KEY",
    known_hosts = os.getenv "TALLYMAN_KNOWN_HOSTS" }
  return {
    host = parts.host, port = parts.port,
    user = parts.user or os.getenv "USER" or pwd.getpwuid(unistd.geteuid()).pw_name,
    known_hosts = given.known_hosts or home() .. "/.ssh/known_hosts",
    key = given.key or default_key(),
    passphrase = secrets.find("TALLYMAN_SSH_PASSPHRASE", given.passphrase_file, "ssh_passphrase"),
    password = secrets.find("TALLYMAN_SSH_PASSWORD", given.password_file, "ssh_password"),
    ciphers = given.ciphers,
    connect_seconds = given.connect_seconds, login_seconds = given.login_seconds,
    idle_seconds = given.idle_seconds, transfer_seconds = given.transfer_seconds,
    attempts = given.attempts, sessions = given.sessions,
  }, parts
end

--- Opens the disk of a URL; connects at the first call.
---@param url string sftp://[USER@]HOST[:PORT]/DIR
---@param settings? tallyman.Settings
---@return tallyman.SftpDisk disk, string root
function disk_sftp.open(url, settings)
  local options, parts = disk_sftp.options(url, settings)
  local shown = ("sftp://%s:%d"):format(parts.host, parts.port)
  return setmetatable({ options = options, url = shown }, SftpDisk), parts.path
end

return disk_sftp
