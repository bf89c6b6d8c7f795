--- Logging in to a server as jobs do: a job that lists the exchange is run by the host, with
--- settings and an environment of its own, in an empty home. Besides, ssh-agents.
local process = require "tests.support.process"
local fcntl = require "posix.fcntl"
local socket = require "posix.sys.socket"

local logins = {}

local PROBE = [[
return { name = "probe", run = function(night)
  local exchange <close> = night:exchange()
  return { files = #exchange:list "inbound" }
end }
]]

--- A value as Lua has it.
local function literal(value)
  if type(value) ~= "table" then return ("%q"):format(value) end
  local parts = {}
  for name, item in pairs(value) do parts[#parts + 1] = ("%s = %s"):format(name, literal(item)) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

---@class test.Login
---@field sftp? table settings, besides short limits
---@field env? table<string, string>
---@field secrets? string[] what neither output nor state may contain
---@field within? string[] a command that runs another, put before the host

---@class test.Home
---@field folder string
---@field at test.Server
---@field host string
---@field as? integer user
local Home = {}
Home.__index = Home

--- A home from which a server is reached. Nothing but what a login is given lets it in.
---@param at test.Server
---@return test.Home
function logins.home(at)
  local self = setmetatable({ folder = process.folder(), at = at, host = process.host }, Home)
  process.write(self.folder .. "/probe.lua", PROBE)
  return self
end

--- Makes it the home of a user without rights: root may read everything. For root only. The host
--- and its library are copied to where he may read them.
function Home:disarm()
  local place = process.folder()
  process.run { "cp", "-r", "--parents", "lua", "build/deps", place, cwd = process.root }
  process.must("install", "-D", process.host, place .. "/build/tallyman")
  process.must("chmod", "-R", "a+rX", place)
  process.must("chown", "-R", "nobody:", self.folder)
  self.host, self.as = place .. "/build/tallyman", 65534
end

--- Starts the job.
---@param how? test.Login
---@return test.Child
function Home:start(how)
  how = how or {}
  local sftp = { connect_seconds = 2, login_seconds = 2, idle_seconds = 2, attempts = 0 }
  for name, value in pairs(how.sftp or {}) do sftp[name] = value end
  process.write(self.folder .. "/settings.lua",
    ('return require "tallyman.settings" { sftp = %s }\n'):format(literal(sftp)))
  local command = { "env" }
  for _, name in ipairs { "SSH_AUTH_SOCK", "CREDENTIALS_DIRECTORY" } do
    if not (how.env and how.env[name]) then
      table.move({ "-u", name }, 1, 2, #command + 1, command)
    end
  end
  for _, words in ipairs { how.within or {}, { self.host, self.folder .. "/probe.lua", "--json" } }
  do
    table.move(words, 1, #words, #command + 1, command)
  end
  command.env = { HOME = self.folder, TALLYMAN_EXCHANGE = self.at.url,
    TALLYMAN_STATE = self.folder .. "/state", TALLYMAN_TIMEZONE = "UTC",
    TALLYMAN_KNOWN_HOSTS = not sftp.known_hosts and self.at.known_hosts or nil }
  for name, value in pairs(how.env or {}) do command.env[name] = value end
  command.as = self.as
  return process.start(command)
end

--- Runs the job to its end, which must come soon. No secret may be told, whatever happens.
---@param how? test.Login
---@return test.Result
function Home:run(how)
  local result = self:start(how):wait(logins.LIMIT)
  for _, secret in ipairs(how and how.secrets or {}) do
    local told = result.out .. result.err
    assert(not told:find(secret, 1, true), "a secret is told: " .. told)
    local kept = process.run { "grep", "-rlF", "-e", secret, self.folder .. "/state" }
    assert(kept.out == "", "a secret is kept in " .. kept.out)
  end
  return result
end

logins.LIMIT = 15 -- seconds that any run may take, its limits being 2 each, on a busy machine, too

--- Asserts that the run got in.
---@param result test.Result
function logins.is_in(result)
  if result.status ~= 0 then error(result.out .. result.err, 2) end
  assert(result.out:find '"state":"done"', result.out)
end

--- Asserts that the run failed by this code, with one line on standard error that has all of this,
--- as plain text, and the same message as JSON.
---@param result test.Result
---@param code integer
---@param ... string
function logins.is_out(result, code, ...)
  local line = result.err:match "^[^\n]* probe: failed: ([^\n]*)\n$"
  if result.status ~= code or not line then
    error(("%d, wanted %d: %s%s"):format(result.status, code, result.out, result.err), 2)
  end
  local json = result.out:gsub("\\(.)", "%1")
  if not json:find('"message":"' .. line, 1, true) then error(result.out .. line, 2) end
  for _, text in ipairs { ... } do
    if not line:find(text, 1, true) then error(("no '%s' in: %s"):format(text, line), 2) end
  end
end

-- ---- agents ----

--- Why there can be no agent here; nil when there can.
---@return string?
function logins.lacks_agent()
  local found = process.run { "sh", "-c", "command -v ssh-agent && command -v ssh-add" }.status == 0
  return not found and "needs openssh-client" or nil
end

--- Starts an ssh-agent that holds these keys. It ends by process.clean.
---@param ... string paths of private keys
---@return string socket
function logins.agent(...)
  local path = process.folder() .. "/agent"
  local child = process.start { "ssh-agent", "-D", "-a", path }
  local env = { SSH_AUTH_SOCK = path }
  assert(process.eventually(function() -- 1: it answers, and holds no key
    return process.run { "ssh-add", "-l", env = env }.status == 1
  end, 10), child:err())
  for _, key in ipairs { ... } do process.must { "ssh-add", "-q", key, env = env } end
  return path
end

--- An agent that takes questions and never answers.
---@return string socket
---@return integer fd to be closed; it can be read from as soon as somebody asks
function logins.dumb_agent()
  local path = process.folder() .. "/agent"
  local fd = assert(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0))
  fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
  assert(socket.bind(fd, { family = socket.AF_UNIX, path = path }))
  assert(socket.listen(fd, 10))
  return path, fd
end

return logins
