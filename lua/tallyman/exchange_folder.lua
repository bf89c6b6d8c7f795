--- The exchange over a folder of a disk: this machine's, or by SFTP a server's. What is written
--- appears whole or not at all: under .NAME.RUNID.part first, synced and checked, then renamed onto
--- a name that must be free.
local exchange = require "tallyman.exchange"
local failure = require "tallyman.failure"

local PART_AGE = 86400 -- seconds after which another run's part is nobody's any more

---@class tallyman.DiskEntry
---@field name string
---@field size integer
---@field mtime number
---@field folder boolean

---@class tallyman.Disk where the folder lies; all paths are whole, and failures raise
---@field stat fun(self, path: string): tallyman.DiskEntry? nil: nothing has that name
---@field list fun(self, path: string): tallyman.DiskEntry[] files and folders, by name
---@field make_folder fun(self, path: string) one that is there is fine
---@field remove_folder fun(self, path: string) one with something in it stays
---@field remove fun(self, path: string) what isn't there is fine
---@field discard fun(self, path: string) removes what was never finished, even after a signal
---@field publish fun(self, from: string, to: string, replace?: boolean): true?, string?, integer?
---@field source fun(self, path: string, options?: table): native.Source
---@field sink fun(self, path: string, mode?: integer): native.Sink
---@field close fun(self)

---@class tallyman.FolderExchange: tallyman.Exchange
---@field root string
---@field run_id string
---@field disk tallyman.Disk
local FolderExchange = exchange.kind {}

--- Refuses names that would leave the exchange.
local function check_path(path)
  if path:find "%c" or path:match "^/" or ("/" .. path .. "/"):find("/../", 1, true) then
    failure.raise(failure.bad_data, "'%s' is no name inside the exchange",
      (path:gsub("%c", "?")))
  end
  return path
end

function FolderExchange:full(path) return self.root .. "/" .. check_path(path) end

--- Raises where the exchange itself isn't there: a forgotten mount must not be papered over.
local function check_root(self)
  if self.root ~= "" and not self.disk:stat(self.root) then
    failure.raise(failure.no_input, "exchange %s: no such folder", self.root)
  end
end

--- Makes the folder, and those above it inside the exchange.
function FolderExchange:make_folder(folder)
  check_root(self)
  local path = self.root
  for part in check_path(folder):gmatch "[^/]+" do
    path = path .. "/" .. part
    self.disk:make_folder(path)
  end
end

--- The entries of a folder in the order of names, but for names that nobody should have; none where
--- it doesn't exist, as long as the exchange itself does.
local function entries_in(self, folder)
  local full = self:full(folder)
  if not self.disk:stat(full) then
    check_root(self)
    return {}
  end
  local entries = {}
  for _, entry in ipairs(self.disk:list(full)) do
    if not entry.name:find "[%c/]" then entries[#entries + 1] = entry end
  end
  table.sort(entries, function(a, b) return a.name < b.name end)
  return entries
end

function FolderExchange:list(folder)
  local found = {}
  for _, entry in ipairs(entries_in(self, folder)) do
    if entry.name:sub(1, 1) ~= "." and not entry.folder then
      found[#found + 1] = { path = folder .. "/" .. entry.name, name = entry.name,
        size = entry.size, mtime = entry.mtime }
    end
  end
  return found
end

function FolderExchange:folders(folder)
  local found = {}
  for _, entry in ipairs(entries_in(self, folder)) do
    if entry.folder then found[#found + 1] = entry.name end
  end
  return found
end

function FolderExchange:exists(path) return self.disk:stat(self:full(path)) ~= nil end

--- Opens a file; options: { digest = true } for its SHA-256; without any, its XXH3-128 is computed.
function FolderExchange:read(entry, options)
  local path = type(entry) == "table" and entry.path or entry
  return self.disk:source(self:full(path), options or { fingerprint = true })
end

--- Removes a file; one that isn't there is removed already.
function FolderExchange:remove(path) self.disk:remove(self:full(path)) end

function FolderExchange:remove_folder(folder)
  for _, entry in ipairs(entries_in(self, folder)) do
    if not entry.folder then self:remove(folder .. "/" .. entry.name) end
  end
  self.disk:remove_folder(self:full(folder))
end

--- SHA-256 of a file.
local function sha256(self, path)
  local source <close> = self:read(path, { digest = true })
  while failure.check(source:read(1048576)) do end
  return source:sha256()
end

--- Moves a file into a folder. The same bytes there already: the source goes; other bytes under its
--- name: it gets a number behind its name; gone meanwhile (a second run moved it): done.
function FolderExchange:move(entry, folder)
  self:make_folder(folder)
  local target, number = folder .. "/" .. entry.name, 1
  while self:exists(target) do
    if sha256(self, target) == sha256(self, entry.path) then return self:remove(entry.path) end
    number = number + 1
    target = ("%s/%s.%d"):format(folder, entry.name, number)
  end
  local moved, message, code = self.disk:publish(self:full(entry.path), self:full(target))
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
  failure.check(self.exchange.disk:publish(self.part, self.exchange:full(self.path), self.replace))
  self.part = nil
  return true
end

--- Lets go; what was not committed leaves no trace.
function Target:close()
  if self.sink then self.sink:close() end
  local part = self.part
  self.part = nil
  if part then self.exchange.disk:discard(part) end
end
Target.__close = Target.close
Target.__gc = Target.close -- a signal may come before the owner's <close> is in place

--- Removes parts that a run left behind over a day before ours was made: ages by one clock, the
--- disk's.
local function remove_old_parts(self, folder, ours)
  local now = self.disk:stat(ours)
  for _, entry in ipairs(now and entries_in(self, folder) or {}) do
    if entry.name:match "^%..+%.part$" and entry.mtime < now.mtime - PART_AGE then
      self.disk:remove(self:full(folder .. "/" .. entry.name))
    end
  end
end

--- Begins a file; options: { replace = true, when_any = true (no file when nothing was written),
--- mode = 384 }.
function FolderExchange:write(path, options)
  options = options or {}
  local folder, name = check_path(path):match "^(.+)/([^/]+)$"
  if not folder then failure.raise(failure.internal, "'%s' names no folder", path) end
  self:make_folder(folder)
  local part = self:full(("%s/.%s.%s.part"):format(folder, name, self.run_id))
  local target = setmetatable({ exchange = self, path = path, part = part,
    replace = options.replace, when_any = options.when_any }, Target)
  target.sink = self.disk:sink(part, options.mode)
  remove_old_parts(self, folder, part)
  return target
end

--- Lets go of the disk.
function FolderExchange:close() self.disk:close() end
FolderExchange.__close = FolderExchange.close

local exchange_folder = {}

--- Opens a folder of a disk.
---@param url string for messages
---@param disk tallyman.Disk
---@param root string its path there
---@param run_id string
---@return tallyman.FolderExchange
function exchange_folder.open(url, disk, root, run_id)
  return setmetatable({ url = url, disk = disk, root = root:gsub("/+$", ""), run_id = run_id },
    FolderExchange)
end

return exchange_folder
