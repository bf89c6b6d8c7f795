--- The exchange over a local folder. What is written appears whole or not at all: under
--- .NAME.RUNID.part first, synced and checked, then renamed onto a name that must be free.
local exchange = require "tallyman.exchange"
local failure = require "tallyman.failure"
local file = require "native.file"
local dirent = require "posix.dirent"
local errno = require "posix.errno"
local stat = require "posix.sys.stat"
local unistd = require "posix.unistd"

local PART_AGE = 86400 -- seconds after which another run's part is nobody's any more

---@class tallyman.FileExchange: tallyman.Exchange
---@field root string
---@field run_id string
local FileExchange = exchange.kind {}

--- Raises what a posix call said, with `code` unless permission was missing.
local function posix_check(result, message, number, code)
  if result == nil then
    local forbidden = number == errno.EACCES or number == errno.EPERM
    failure.raise(forbidden and failure.not_permitted or code, "%s", message)
  end
  return result
end

--- Refuses names that would leave the exchange.
local function check_path(path)
  if path:find "%c" or path:match "^/" or ("/" .. path .. "/"):find("/../", 1, true) then
    failure.raise(failure.bad_data, "'%s' is no name inside the exchange",
      (path:gsub("%c", "?")))
  end
  return path
end

function FileExchange:full(path) return self.root .. "/" .. check_path(path) end

--- Makes the folder, and those above it inside the exchange; the root must be there already, or a
--- forgotten mount would be papered over.
function FileExchange:make_folder(folder)
  posix_check(stat.stat(self.root), "exchange " .. self.root .. ": no such folder", nil,
    failure.no_input)
  local path = self.root
  for part in check_path(folder):gmatch "[^/]+" do
    path = path .. "/" .. part
    local made, message, number = stat.mkdir(path)
    if not made and number ~= errno.EEXIST then
      posix_check(nil, "cannot create " .. message, number, failure.cant_create)
    end
  end
end

--- Names in a folder; none where it doesn't exist, as long as the exchange itself does.
local function names_in(self, folder)
  local full = self:full(folder)
  local status, message, number = stat.stat(full)
  if not status and number == errno.ENOENT then
    posix_check(stat.stat(self.root), ("exchange %s: no such folder"):format(self.root), nil,
      failure.no_input)
    return {}
  end
  if status then status, message, number = unistd.access(full, "rx") end
  posix_check(status, ("exchange folder %s"):format(message), number, failure.no_input)
  local names = dirent.dir(full)
  table.sort(names)
  return names
end

--- Calls `visit` for each entry of the folder, in the order of names, with its status.
local function each_entry(self, folder, visit)
  for _, name in ipairs(names_in(self, folder)) do
    local status = name ~= "." and name ~= ".." and not name:find "%c"
      and stat.stat(self:full(folder .. "/" .. name))
    if status then visit(name, status) end
  end
end

function FileExchange:list(folder)
  local entries = {}
  each_entry(self, folder, function(name, status)
    if name:sub(1, 1) == "." or stat.S_ISREG(status.st_mode) == 0 then return end
    entries[#entries + 1] = { path = folder .. "/" .. name, name = name, size = status.st_size,
      mtime = status.st_mtime }
  end)
  return entries
end

function FileExchange:folders(folder)
  local found = {}
  each_entry(self, folder, function(name, status)
    if stat.S_ISDIR(status.st_mode) ~= 0 then found[#found + 1] = name end
  end)
  return found
end

function FileExchange:exists(path) return stat.stat(self:full(path)) ~= nil end

--- Opens a file; options: { digest = true } for its SHA-256; without any, its XXH3-128 is computed.
function FileExchange:read(entry, options)
  local path = type(entry) == "table" and entry.path or entry
  return failure.check(file.source(self:full(path), options or { fingerprint = true }))
end

--- Removes a file; one that isn't there is removed already.
function FileExchange:remove(path)
  local removed, message, number = unistd.unlink(self:full(path))
  if not removed and number ~= errno.ENOENT then
    posix_check(nil, message, number, failure.io)
  end
end

function FileExchange:remove_folder(folder)
  each_entry(self, folder, function(name, status)
    if stat.S_ISDIR(status.st_mode) == 0 then self:remove(folder .. "/" .. name) end
  end)
  local removed, message, number = unistd.rmdir(self:full(folder))
  if not removed and number ~= errno.ENOENT and number ~= errno.ENOTEMPTY then
    posix_check(nil, message, number, failure.io)
  end
end

--- SHA-256 of a file.
local function sha256(self, path)
  local source <close> = self:read(path, { digest = true })
  while failure.check(source:read(1048576)) do end
  return source:sha256()
end

--- Moves a file into a folder. The same bytes there already: the source goes; other bytes under its
--- name: it gets a number behind its name; gone meanwhile (a second run moved it): done.
function FileExchange:move(entry, folder)
  self:make_folder(folder)
  local target, number = folder .. "/" .. entry.name, 1
  while self:exists(target) do
    if sha256(self, target) == sha256(self, entry.path) then return self:remove(entry.path) end
    number = number + 1
    target = ("%s/%s.%d"):format(folder, entry.name, number)
  end
  local moved, message, code = file.publish(self:full(entry.path), self:full(target))
  if not moved and self:exists(entry.path) then failure.raise(code, "%s", message) end
end

---@class tallyman.Target a file in the making
---@field sink native.Sink
---@field path string
local Target = {}
Target.__index = Target

--- Writes bytes.
function Target:write(bytes) failure.check(self.sink:write(bytes)) end

--- Makes sure that commit() will do: the bytes are safe, and the name is free, or holds the same
--- bytes, or may be replaced. Raises (73) when it is taken by others.
---@return boolean exists whether the same bytes stand there already
function Target:verify()
  failure.check(self.sink:finish())
  local exists = self.exchange:exists(self.path)
  local same = exists and sha256(self.exchange, self.path) == self.sink:sha256()
  if exists and not same and not self.replace then
    failure.raise(failure.cant_create,
      "%s exists already with other content; move it away and run again",
      self.exchange:full(self.path))
  end
  return same
end

--- Makes the file appear under its name; raises as verify() does. One that was only wanted with
--- content, and has none, doesn't appear, and what stood there goes.
---@return boolean new false: the same bytes were there already
function Target:commit()
  if self.when_any and self.sink:bytes() == 0 then
    self.exchange:remove(self.path)
    return true
  end
  if self:verify() then return false end
  failure.check(file.publish(self.part, self.exchange:full(self.path), self.replace))
  self.part = nil
  return true
end

--- Lets go; what was not committed leaves no trace.
function Target:close()
  if self.sink then self.sink:close() end
  if self.part then unistd.unlink(self.part) end
  self.part = nil
end
Target.__close = Target.close
Target.__gc = Target.close -- a signal may come before the owner's <close> is in place

--- Removes parts that a run left behind over a day before ours was made: ages by one clock, the
--- file system's.
local function remove_old_parts(self, folder, ours)
  local now = stat.stat(ours).st_mtime
  each_entry(self, folder, function(name, status)
    if name:match "^%..+%.part$" and status.st_mtime < now - PART_AGE then
      unistd.unlink(self:full(folder .. "/" .. name))
    end
  end)
end

--- Begins a file; options: { replace = true, when_any = true (no file when nothing was written),
--- mode = 384 }.
function FileExchange:write(path, options)
  options = options or {}
  local folder, name = check_path(path):match "^(.+)/([^/]+)$"
  if not folder then failure.raise(failure.internal, "'%s' names no folder", path) end
  self:make_folder(folder)
  local part = self:full(("%s/.%s.%s.part"):format(folder, name, self.run_id))
  local target = setmetatable({ exchange = self, path = path, part = part,
    replace = options.replace, when_any = options.when_any }, Target)
  target.sink = failure.check(file.sink(part, options.mode))
  remove_old_parts(self, folder, part)
  return target
end

local exchange_file = {}

--- Opens a local folder.
---@param url string for messages
---@param root string absolute
---@param run_id string
---@return tallyman.FileExchange
function exchange_file.open(url, root, run_id)
  return setmetatable({ url = url, root = root, run_id = run_id }, FileExchange)
end

return exchange_file
