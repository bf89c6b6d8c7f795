--- What the private servers for specs have in common: a port, keys, waiting until one answers,
--- ending all that it started, and OpenSSH's own client to look at it.
local process = require "tests.support.process"
local errno = require "posix.errno"
local signal = require "posix.signal"
local socket = require "posix.sys.socket"
local sys_stat = require "posix.sys.stat"
local unistd = require "posix.unistd"

local server = {}

server.PASSPHRASE = "open sesame" -- of the user's key "locked"
server.PASSWORD = "correct horse" -- of the user at servers that take one

-- ---- what there is ----

--- Where a program is; nil when it isn't installed. System programs are found without PATH's help.
---@param name string
---@return string?
function server.program(name)
  for folder in ((os.getenv "PATH" or "") .. ":/usr/sbin:/sbin:/usr/bin"):gmatch "[^:]+" do
    if unistd.access(folder .. "/" .. name, "x") then return folder .. "/" .. name end
  end
  return nil
end

-- ---- ports ----

local FIRST, LAST = 20000, 32000 -- below those that the kernel gives to outgoing connections

local function address(host, port)
  local family = host:find(":", 1, true) and socket.AF_INET6 or socket.AF_INET
  return { family = family, addr = host, port = port }, family
end

local function is_free(host, port)
  local at, family = address(host, port)
  local fd <const> = socket.socket(family, socket.SOCK_STREAM, 0)
  if not fd then return false end
  socket.setsockopt(fd, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  local bound, _, code = socket.bind(fd, at)
  unistd.close(fd)
  return bound ~= nil or code == errno.EADDRNOTAVAIL -- an address of another network namespace
end

--- A number that no other process draws, too: specs seed math.random, and those of both builds run
--- side by side.
---@param first integer
---@param last integer
---@return integer
function server.draw(first, last)
  local source <close> = assert(io.open("/dev/urandom", "rb"))
  return first + string.unpack("<I4", source:read(4)) % (last - first + 1)
end

--- A TCP port that nobody listens at.
---@param host? string 127.0.0.1 by default
---@return integer
function server.free_port(host)
  for _ = 1, 100 do
    local port = server.draw(FIRST, LAST)
    if is_free(host or "127.0.0.1", port) then return port end
  end
  error("no free port at " .. (host or "127.0.0.1"))
end

--- What a server says first; nil when nobody listens or it says nothing for the time given.
---@param host string
---@param port integer
---@param seconds? number 1 by default
---@return string?
function server.greeting(host, port, seconds)
  seconds = seconds or 1
  local at, family = address(host, port)
  local fd = socket.socket(family, socket.SOCK_STREAM, 0)
  for _, which in ipairs { socket.SO_RCVTIMEO, socket.SO_SNDTIMEO } do -- the latter for connect
    socket.setsockopt(fd, socket.SOL_SOCKET, which, seconds // 1 | 0, seconds % 1 * 1e6 // 1 | 0)
  end
  local said = socket.connect(fd, at) and socket.recv(fd, 256)
  unistd.close(fd)
  return said and said ~= "" and said or nil
end

-- ---- processes ----

--- Whether a process has ended.
---@param pid integer|string
---@return boolean
function server.is_gone(pid)
  local stat = process.read(("/proc/%s/stat"):format(pid))
  return stat == nil or stat:find "^%d+ %b() Z" ~= nil -- or ended, and its parent didn't look yet
end

local function add_descendants(pid, found)
  local children = process.read(("/proc/%s/task/%s/children"):format(pid, pid)) or ""
  for child in children:gmatch "%d+" do
    if not server.is_gone(child) then found[#found + 1] = math.tointeger(child) end
    add_descendants(child, found)
  end
  return found
end

--- The processes that a child of ours started, and those that these started.
---@param child test.Child
---@return integer[] pids
function server.descendants(child) return add_descendants(child.pid, {}) end

--- Kills processes, and waits until they are gone.
---@param pids integer[]
function server.kill(pids)
  for _, pid in ipairs(pids) do signal.kill(pid, signal.SIGKILL) end
  for _, pid in ipairs(pids) do
    process.eventually(function() return server.is_gone(pid) end, 5)
  end
end

--- Ends a server at once, with all that it started.
---@param child test.Child
function server.stop(child)
  if child:poll() then return end
  signal.kill(child.pid, signal.SIGSTOP) -- so that it starts nothing more while we look
  local sessions = server.descendants(child)
  child:kill():wait()
  server.kill(sessions)
end

-- ---- keys ----

local SETS = {
  host = { ed25519 = {}, ecdsa = {}, rsa = {} },
  other = { ed25519 = {}, ecdsa = {}, rsa = {} }, -- the host's, swapped
  user = { ed25519 = {}, ecdsa = {}, rsa = {}, locked = { type = "ed25519" },
    stranger = { type = "ed25519" } },
}
local BITS = { ecdsa = "256", ed25519 = "256" } -- RSA: a user's key is long, a host's soon made
local made = {} -- bytes of the keys of each set: RSA takes its time, so that one is made once

local function make(set)
  local folder, children, keys = process.folder(), {}, {}
  for name, how in pairs(SETS[set]) do
    local type = how.type or name
    children[#children + 1] = process.start { "ssh-keygen", "-q", "-t", type, "-b",
      BITS[type] or set == "user" and "3072" or "2048",
      "-N", name == "locked" and server.PASSPHRASE or "", "-C", name, "-f", folder .. "/" .. name }
  end
  for _, child in ipairs(children) do assert(child:wait().status == 0, child:err()) end
  for name in pairs(SETS[set]) do
    local path = folder .. "/" .. name
    keys[name] = { private = process.read(path), public = process.read(path .. ".pub") }
  end
  return keys
end

--- Writes a set of keys into a folder, as NAME and NAME.pub. The sets are `host` and `other` (of a
--- host: ed25519, ecdsa, rsa) and `user` (these, `locked` by PASSPHRASE, and `stranger`, which no
--- server knows).
---@param set "host"|"other"|"user"
---@param folder string
---@return table<string, string> paths by name
function server.keys(set, folder)
  made[set] = made[set] or make(set)
  local paths = {}
  for name, key in pairs(made[set]) do
    paths[name] = folder .. "/" .. name
    process.write(paths[name], key.private)
    process.write(paths[name] .. ".pub", key.public)
    sys_stat.chmod(paths[name], 384)
  end
  return paths
end

--- The public keys of a set, without their comments.
---@param set "host"|"other"|"user"
---@return table<string, string> keys by name, such as `ssh-ed25519 AAAA...`
function server.public_keys(set)
  made[set] = made[set] or make(set)
  local found = {}
  for name, key in pairs(made[set]) do found[name] = key.public:match "^%S+ %S+" end
  return found
end

---@class test.Known
---@field set? "host"|"other" whose keys; those that the server has at first by default
---@field types? string[] of the keys; all by default
---@field marker? string such as `@revoked`
---@field hashed? boolean names that can't be read
---@field names? string instead of the server's own

--- Writes a known_hosts file.
---@param path string
---@param host string
---@param port integer
---@param known? test.Known
---@return string path
function server.write_known(path, host, port, known)
  known = known or {}
  local name = known.names or port == 22 and host or ("[%s]:%d"):format(host, port)
  local keys, lines = server.public_keys(known.set or "host"), {}
  for _, type in ipairs(known.types or { "ed25519", "ecdsa", "rsa" }) do
    lines[#lines + 1] = (known.marker and known.marker .. " " or "") .. name .. " " .. keys[type]
  end
  process.write(path, table.concat(lines, "\n") .. "\n")
  if known.hashed then process.must("ssh-keygen", "-q", "-H", "-f", path) end
  return path
end

-- ---- what all servers can do ----

---@class test.Server
---@field host string
---@field port integer
---@field user string
---@field folder string what it serves, as a path here
---@field path string the same folder, as its clients name it
---@field url string of that folder
---@field keys table<string, string> paths of the user's private keys: see server.keys
---@field known_hosts string a file with its host keys
---@field place string its own folder: configuration, keys, logs
---@field child test.Child
---@field start fun(self: test.Server, options?: table) anew, at the same port
local Server = {}
Server.__index = Server
server.Server = Server

--- Sets what is the same for all servers; the rest is there already.
---@param self table
---@return test.Server
function server.adopt(self)
  local literal = self.host:find(":", 1, true) and "[" .. self.host .. "]" or self.host
  self.url = ("sftp://%s@%s:%d%s"):format(self.user, literal, self.port, self.path)
  self.keys = server.keys("user", self.place .. "/user")
  self.known_hosts = server.write_known(self.place .. "/known_hosts", self.host, self.port)
  return self
end

--- Starts a server's program, and waits until it greets as SSH servers do.
---@param self test.Server
---@param command test.Command
---@param within? string[] a command that runs another elsewhere, put before it
function server.launch(self, command, within)
  local whole = { as = command.as, table.unpack(within or {}) }
  table.move(command, 1, #command, #whole + 1, whole)
  self.child = process.start(whole)
  local said = process.eventually(function()
    if self.child:poll() then return "" end
    return server.greeting(self.host, self.port, 5)
  end, 10)
  if said and said:find "^SSH%-" then return end
  said = self:log()
  self:stop()
  error(command[1] .. " doesn't start: " .. said, 2)
end

--- Starts a server for the first time: at the port given, or at one that is free.
---@param self test.Server
---@param port? integer
function server.settle(self, port)
  for _ = 1, 3 do -- somebody else may take a port that was free a moment ago
    self.port = port or server.free_port(self.host)
    local started, err = pcall(self.start, self)
    if started then return end
    if port then error(err, 2) end
    self.err = err
  end
  error(self.err, 2)
end

--- Ends it and all of its sessions, and starts it anew.
---@param options? table as those of `start`
function Server:restart(options)
  self:stop()
  self:start(options)
end

--- Ends it and all of its sessions.
function Server:stop() server.stop(self.child) end

--- Cuts all connections; it still listens.
function Server:cut() server.kill(server.descendants(self.child)) end

--- A known_hosts file of another content.
---@param known test.Known
---@return string path
function Server:known(known)
  self.known_count = (self.known_count or 0) + 1
  return server.write_known(("%s/known_hosts.%d"):format(self.place, self.known_count), self.host,
    self.port, known)
end

--- What it wrote to its log.
---@return string
function Server:log() return self.child:err() end

---@class test.Sftp how OpenSSH's client is called
---@field key? string path; that of ed25519 by default
---@field known_hosts? string
---@field host? string to connect to instead, by a link say
---@field port? integer
---@field options? string[] for ssh, as NAME=VALUE, stronger than its own
---@field arguments? string[] for sftp
---@field answers? table<string, string> to what it asks for, by part of the prompt

--- Gives ssh a program to ask for passwords; answers what stands in its environment then.
local function ask(self, answers)
  local lines = { "#!/bin/sh", 'case "$1" in' }
  for prompt, answer in pairs(answers) do
    lines[#lines + 1] = ("*'%s'*) echo '%s';;"):format(prompt, answer)
  end
  local path = process.write(self.place .. "/askpass", table.concat(lines, "\n") .. "\nesac\n")
  sys_stat.chmod(path, 448)
  return { SSH_ASKPASS = path, SSH_ASKPASS_REQUIRE = "force" }
end

--- The command by which OpenSSH's client does what a batch says, a line after the other.
---@param batch string
---@param how? test.Sftp
---@return test.Command
function Server:sftp_command(batch, how)
  how = how or {}
  local host = how.host or self.host
  local command = { "sftp", "-q", "-F", "none", "-P", tostring(how.port or self.port) }
  local function add(list, flag)
    for _, word in ipairs(list or {}) do table.move({ flag, word }, 1, 2, #command + 1, command) end
  end
  add(how.options, "-o")
  add({ "IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=yes", "LogLevel=ERROR",
    "BatchMode=" .. (how.answers and "no" or "yes"), "GlobalKnownHostsFile=/dev/null",
    "IdentityFile=" .. (how.key or self.keys.ed25519),
    "UserKnownHostsFile=" .. (how.known_hosts or self.known_hosts),
    ("HostKeyAlias=[%s]:%d"):format(self.host, self.port) }, "-o")
  table.move({ "-b", "-" }, 1, 2, #command + 1, command)
  table.move(how.arguments or {}, 1, #(how.arguments or {}), #command + 1, command)
  if host:find(":", 1, true) then host = "[" .. host .. "]" end
  command[#command + 1] = self.user .. "@" .. host
  command.stdin, command.env = batch .. "\n", how.answers and ask(self, how.answers)
  return command
end

--- Lets OpenSSH's client do what a batch says.
---@param batch string
---@param how? test.Sftp
---@return test.Result
function Server:sftp(batch, how) return process.run(self:sftp_command(batch, how)) end

return server
