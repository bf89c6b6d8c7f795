--- Real processes for specs: the host or any command as a child, with its arguments, environment
--- and standard input; what it wrote and how it ended. Besides, temporary folders, and sites to run
--- jobs at. `process.clean`, in an after_each, ends the children and removes the folders.
local errno = require "posix.errno"
local fcntl = require "posix.fcntl"
local signal = require "posix.signal"
local stdlib = require "posix.stdlib"
local sys_stat = require "posix.sys.stat"
local sys_wait = require "posix.sys.wait"
local time = require "posix.time"
local unistd = require "posix.unistd"

local process = { SIGTERM = signal.SIGTERM, SIGINT = signal.SIGINT, SIGKILL = signal.SIGKILL }

local LIMIT = 60 -- seconds after which a child is ended and its spec fails
local PAUSE = { tv_sec = 0, tv_nsec = 2000000 } -- between two looks at a child

--- The host that runs this spec: the specs of a sanitizer build start that build's host.
process.host = unistd.readlink "/proc/self/exe"
--- The checkout, absolute, without a slash at the end.
process.root = stdlib.realpath(debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" .. "/../..")
process.is_root = unistd.geteuid() == 0

local children, folders = {}, {}
local outputs, started_count = nil, 0 -- the folder in which children's outputs are kept

-- ---- files ----

--- The bytes of a file; nil when it can't be read.
---@param path string
---@return string?
function process.read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a"
end

--- Writes a file, making the folder that it stands in.
---@param path string
---@param bytes string
---@return string path
function process.write(path, bytes)
  local folder = path:match "^(.*)/"
  if not sys_stat.stat(folder) then os.execute(("mkdir -p '%s'"):format(folder)) end
  local file <close> = assert(io.open(path, "wb"))
  file:write(bytes)
  return path
end

--- A new temporary folder.
---@param below? string $TMPDIR by default, from which programs perhaps can't be run
---@return string path
function process.folder(below)
  below = below or os.getenv "TMPDIR" or "/tmp"
  local path = stdlib.mkdtemp(below .. "/tallyman-spec.XXXXXX")
  folders[#folders + 1] = path
  return path
end

-- ---- children ----

---@class test.Result
---@field out string standard output
---@field err string standard error
---@field code? integer exit code
---@field signal? integer the signal that ended it
---@field status integer exit code, or 128 and the signal, as a shell says it
---@field seconds number how long it ran

---@class test.Child
---@field pid integer
---@field result? test.Result
local Child = {}
Child.__index = Child

local function now()
  local at = time.clock_gettime(time.CLOCK_MONOTONIC)
  return at.tv_sec + at.tv_nsec / 1e9
end

--- Waits until `ready` gives something; nil when it takes too long.
---@generic T
---@param ready fun(): T?
---@param seconds? number
---@return T?
function process.eventually(ready, seconds)
  local last = now() + (seconds or LIMIT)
  repeat
    local found = ready()
    if found then return found end
    time.nanosleep(PAUSE)
  until now() > last
  return nil
end

--- Puts a file in the place of a standard stream.
local function redirect(path, flags, descriptor)
  local opened = fcntl.open(path, flags, 384)
  if not opened then unistd._exit(126) end
  unistd.dup2(opened, descriptor)
  unistd.close(opened)
end

--- The child's part after fork.
local function become(command, folder)
  for _, name in ipairs { "SIGPIPE", "SIGXFSZ", "SIGINT", "SIGTERM" } do
    signal.signal(signal[name], signal.SIG_DFL) -- the host's spec runner ignores some of them
  end
  for name in pairs(stdlib.getenv()) do
    if name:match "^TALLYMAN_" or name:match "^LUA_" then stdlib.setenv(name, nil) end
  end
  for name, value in pairs(command.env or {}) do stdlib.setenv(name, value) end
  redirect(folder .. "/in", fcntl.O_RDONLY, 0)
  redirect(folder .. "/out", fcntl.O_WRONLY | fcntl.O_CREAT, 1)
  redirect(folder .. "/err", fcntl.O_WRONLY | fcntl.O_CREAT, 2)
  if command.cwd and not unistd.chdir(command.cwd) then unistd._exit(126) end
  if command.as then
    unistd.setpid("g", command.as)
    unistd.setpid("u", command.as)
  end
  unistd.execp(command[1], table.move(command, 2, #command, 1, {}))
end

--- A folder for one child's streams.
local function output_folder()
  outputs = outputs or process.folder()
  started_count = started_count + 1
  local folder = ("%s/%d"):format(outputs, started_count)
  sys_stat.mkdir(folder)
  return folder
end

---@class test.Command the program and its arguments, and
---@field stdin? string what it reads; nothing by default
---@field env? table<string, string>
---@field cwd? string
---@field as? integer the user that it runs as (for root only)

--- Starts a command in the background.
---@param command test.Command
---@return test.Child
function process.start(command)
  local folder = output_folder()
  process.write(folder .. "/in", command.stdin or "")
  io.stdout:flush()
  local started = now()
  local pid = assert(unistd.fork())
  if pid == 0 then
    pcall(become, command, folder) -- whatever happens, no second spec runner may go on from here
    unistd._exit(127)
  end
  local child = setmetatable({ pid = pid, folder = folder, started = started }, Child)
  children[pid] = child
  return child
end

--- What the child wrote until now, to standard output and to standard error.
function Child:out() return process.read(self.folder .. "/out") or "" end
function Child:err() return process.read(self.folder .. "/err") or "" end

--- Looks whether the child has ended; its result if so.
---@return test.Result?
function Child:poll()
  if self.result then return self.result end
  local pid, how, status = sys_wait.wait(self.pid, sys_wait.WNOHANG)
  if pid ~= self.pid then
    assert(pid or status == errno.EINTR, how)
    return nil
  end
  children[self.pid] = nil
  local exited = how == "exited"
  self.result = { out = self:out(), err = self:err(), code = exited and status or nil,
    signal = not exited and status or nil, status = exited and status or 128 + status,
    seconds = now() - self.started }
  return self.result
end

--- Sends a signal, by default SIGKILL.
---@param number? integer
---@return test.Child
function Child:kill(number)
  if not self:poll() then signal.kill(self.pid, number or signal.SIGKILL) end
  return self
end

--- Waits for the end. A child that takes longer than the limit is killed, which is an error.
---@param seconds? number
---@return test.Result
function Child:wait(seconds)
  local result = process.eventually(function() return self:poll() end, seconds)
  if result then return result end
  self:kill()
  process.eventually(function() return self:poll() end)
  error(("no end in %d s; it wrote: %s%s"):format(seconds or LIMIT, self:out(), self:err()), 2)
end

--- Runs a command to its end.
---@param command test.Command
---@return test.Result
function process.run(command) return process.start(command):wait() end

--- Runs the host with arguments; options as in test.Command.
---@param ... string|table arguments, and at the end perhaps a table of options
---@return test.Result
function process.tallyman(...)
  local command = { process.host, ... }
  local options = type(command[#command]) == "table" and table.remove(command) or {}
  for name, value in pairs(options) do command[name] = value end
  return process.run(command)
end

--- Runs a command that the spec needs to work.
---@param ... string|test.Command
---@return string out
function process.must(...)
  local command = type(...) == "table" and ... or { ... }
  local result = process.run(command)
  if result.status ~= 0 then error(table.concat(command, " ") .. ": " .. result.err, 2) end
  return result.out
end

local kept = 0 -- folders that clean() leaves

--- What there is now outlives clean(): for a setup. Its teardown calls clean(true).
function process.keep()
  for _, child in pairs(children) do child.kept = true end
  kept, outputs = #folders, nil
end

--- Ends what still runs and removes the temporary folders.
---@param all? boolean what keep() kept, too
function process.clean(all)
  local left = {}
  for _, child in pairs(children) do
    if all or not child.kept then left[#left + 1] = child end
  end
  for _, child in ipairs(left) do child:kill():wait() end
  if all then kept = 0 end
  local gone = { table.unpack(folders, kept + 1) }
  if #gone == 0 then return end
  os.execute(("chmod -R u+rwx '%s' 2>/dev/null; rm -rf '%s'"):format(table.concat(gone, "' '"),
    table.concat(gone, "' '")))
  folders, outputs = { table.unpack(folders, 1, kept) }, nil
end

--- The lines that stand in one of two texts only, for a short message; nil when they are equal.
---@param before string
---@param after string
---@return string?
function process.difference(before, after)
  local found, lines = {}, {}
  for line in after:gmatch "[^\n]+" do lines[line] = (lines[line] or 0) + 1 end
  for line in before:gmatch "[^\n]+" do lines[line] = (lines[line] or 0) - 1 end
  for line, more in pairs(lines) do
    if more ~= 0 then found[#found + 1] = (more > 0 and "+ " or "- ") .. line end
  end
  return #found > 0 and table.concat(found, "\n") or nil
end

--- A site for jobs: see tests.support.site.
---@param fill? fun(oms: tallyman.Database) writes into the OMS
---@return test.Site
function process.site(fill) return require "tests.support.site".new(fill) end

return process
