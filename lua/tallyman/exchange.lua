--- The exchange: the folders inbound, filtered, variance and archive, wherever they are. What all
--- kinds of exchange have in common stands here; exchange_folder.lua is the kind over a folder, on
--- this machine's disk or, by SFTP, a server's.
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local secrets = require "tallyman.secrets"

---@class tallyman.Entry a file of the exchange
---@field path string relative to the exchange: "inbound/NAME"
---@field name string
---@field size integer
---@field mtime number
---@field snapshot? integer instant that the name stands for, where newest() found it
---@field note? string what the report should say of the snapshot

---@class tallyman.Exchange
---@field url string
---@field list fun(self, folder: string): tallyman.Entry[] files by name, our own parts left out;
--- none where there is no such folder
---@field exists fun(self, path: string): boolean
---@field read fun(self, entry: tallyman.Entry|string, options?: table): native.Source
---@field write fun(self, path: string, options?: table): tallyman.Target
---@field move fun(self, entry: tallyman.Entry, folder: string)
---@field remove fun(self, path: string)
---@field folders fun(self, folder: string): string[] names of its folders
---@field remove_folder fun(self, folder: string) with the files in it; folders in it stay
local Exchange = {}
Exchange.__index = Exchange

--- Whether one of the file's markers stands among the folder's names.
local function is_marked(pattern, entry, present)
  for _, ending in ipairs(pattern.markers) do
    if present[entry.name .. ending] then return true end
  end
  return false
end

local exchange = {}

--- Whether two looks at a name saw the same file, by size and time.
---@param first { size: integer, mtime: number }
---@param second? { size: integer, mtime: number } nil: it was gone
---@return boolean
function exchange.same(first, second)
  return second ~= nil and first.size == second.size and first.mtime == second.mtime
end

local function by_name(entries)
  local result = {}
  for _, entry in ipairs(entries) do result[entry.name] = entry end
  return result
end

--- Files of the POS, with their snapshots; those that may still be growing are left out: without a
--- marker, a file counts when a second look, `settled` seconds later, finds it unchanged.
local function complete(self, pattern)
  if not self:exists(pattern.folder) then
    self:list(pattern.folder) -- says so where the exchange itself isn't there
    failure.raise(failure.no_input, "exchange folder '%s' doesn't exist; create it, or correct "
      .. "inbound.folder in the settings", pattern.folder)
  end
  local before = self:list(pattern.folder)
  local present, marked, unmarked = by_name(before), {}, {}
  for _, entry in ipairs(before) do
    if pattern:matches(entry.name) then
      local list = is_marked(pattern, entry, present) and marked or unmarked
      list[#list + 1] = entry
    end
  end
  if #unmarked == 0 then return marked end
  clock.sleep(pattern.settled)
  local after = by_name(self:list(pattern.folder))
  for _, entry in ipairs(unmarked) do
    if exchange.same(entry, after[entry.name]) then marked[#marked + 1] = entry end
  end
  return marked
end

--- All files of a kind with their snapshots, oldest first. Of the POS's files only those that are
--- complete, unless `growing` ones are asked for, too.
---@param pattern tallyman.Stamped|tallyman.Inbound
---@param growing? boolean
---@return tallyman.Entry[]
function Exchange:find(pattern, growing)
  local found = {}
  local wait = pattern.markers and not growing
  for _, entry in ipairs(wait and complete(self, pattern) or self:list(pattern.folder)) do
    entry.snapshot, entry.note = pattern:instant(entry)
    if entry.snapshot then found[#found + 1] = entry end
  end
  table.sort(found, function(a, b)
    if a.snapshot ~= b.snapshot then return a.snapshot < b.snapshot end
    return a.name < b.name
  end)
  return found
end

--- The complete file with the newest snapshot; nil when there is none.
---@param pattern tallyman.Stamped|tallyman.Inbound
---@return tallyman.Entry?
function Exchange:newest(pattern)
  local found = self:find(pattern)
  return found[#found]
end

--- Raises (75) when a file isn't any more what newest() found: somebody wrote while we read.
---@param entry tallyman.Entry
function Exchange:check_unchanged(entry)
  local now = by_name(self:list(entry.path:match "^(.+)/"))[entry.name]
  if not exchange.same(entry, now) then
    failure.raise(failure.try_again, "%s changed while it was read; run again", entry.path)
  end
end

--- Moves a file, and its markers, to the archive's folder of a date.
---@param settings tallyman.Settings
---@param entry tallyman.Entry
---@param date string YYYY-MM-DD
function Exchange:archive(settings, entry, date)
  local folder = settings.archive .. "/" .. date
  for _, ending in ipairs(settings.inbound.markers) do
    self:remove(entry.path .. ending) -- first: a marker without its file would never go
  end
  if self:exists(entry.path) then self:move(entry, folder) end
end

--- Removes the archive's folders of dates before `date`.
---@param settings tallyman.Settings
---@param date string YYYY-MM-DD
---@return integer removed
function Exchange:prune(settings, date)
  local removed = 0
  for _, name in ipairs(self:folders(settings.archive)) do
    if name:match "^%d%d%d%d%-%d%d%-%d%d$" and name < date then
      self:remove_folder(settings.archive .. "/" .. name)
      removed = removed + 1
    end
  end
  return removed
end

--- Puts a whole small file there (tests, markers).
---@param path string
---@param bytes string
function Exchange:put(path, bytes)
  local target <close> = self:write(path)
  target:write(bytes)
  target:commit()
end

--- Nothing is held open between calls over a local folder; other kinds close their session.
function Exchange:close() end
Exchange.__close = Exchange.close

--- Makes the methods that all kinds share available to one kind.
---@param kind table its own methods
---@return table class
function exchange.kind(kind)
  kind.__index = kind
  kind.__close = kind.__close or Exchange.close
  return setmetatable(kind, Exchange)
end

--- Opens the exchange that a URL names.
---@param url string file:///DIR or sftp://[USER@]HOST[:PORT]/DIR
---@param run_id string stands in the names of our temporary files
---@param settings? tallyman.Settings those of SFTP
---@return tallyman.Exchange
function exchange.open(url, run_id, settings)
  local folder = url:match "^file://(/.*)$"
  local open = require "tallyman.exchange_folder".open
  if folder then return open(url, require "tallyman.disk_local", folder, run_id) end
  if url:match "^sftp://" then
    local disk, root = require "tallyman.disk_sftp".open(url, settings)
    return open(url, disk, root, run_id)
  end
  failure.raise(failure.configuration, "exchange '%s' is neither file:///DIR nor "
    .. "sftp://USER@HOST/DIR", secrets.hide(url))
end

return exchange
