--- Sites: an OMS, an exchange and a state folder of their own, and jobs run against them.
local db = require "tallyman.db"
local dirent = require "posix.dirent"
local process = require "tests.support.process"
local sys_stat = require "posix.sys.stat"

local site = {}

---@class test.Site an OMS, an exchange and a state folder of its own, and jobs run against them
---@field folder string in which the folders exchange and state stand, and oms.db
---@field exchange string
---@field state string
---@field scripts string folder of the job scripts
---@field host string
---@field env table<string, string>
---@field as? integer user
local Site = {}
Site.__index = Site

--- A site in a temporary folder, in the night of 2026-11-24, whose OMS has its tables.
---@param fill? fun(oms: tallyman.Database) writes into the OMS
---@return test.Site
function site.new(fill)
  local self = setmetatable({ scripts = process.root .. "/scripts", host = process.host }, Site)
  self:settle_in(process.folder())
  self.env.TALLYMAN_NOW = "2026-11-24T02:00:00Z"
  sys_stat.mkdir(self.exchange)
  sys_stat.mkdir(self.exchange .. "/inbound")
  local oms <close> = self:oms { create = true }
  oms:transaction(function()
    oms:script(process.read(process.root .. "/examples/oms/schema.sql"))
    if fill then fill(oms) end
  end)
  return self
end

--- Gives the site job scripts of its own.
---@param settings? string the text of another settings.lua
function Site:own_scripts(settings)
  self.scripts = self.folder .. "/scripts"
  process.must("cp", "-r", process.root .. "/scripts", self.folder)
  if settings then process.write(self.scripts .. "/settings.lua", settings) end
end

--- Makes the folder the site's own.
function Site:settle_in(folder)
  local clock = self.env and self.env.TALLYMAN_NOW
  self.folder, self.exchange, self.state = folder, folder .. "/exchange", folder .. "/state"
  self.env = { TALLYMAN_OMS = "sqlite:" .. folder .. "/oms.db",
    TALLYMAN_EXCHANGE = "file://" .. self.exchange, TALLYMAN_STATE = self.state,
    TALLYMAN_TIMEZONE = "UTC", TALLYMAN_GUARDS = "off", TALLYMAN_NOW = clock }
end

--- Lets the exchange go over an SFTP server, by way of `through` if given.
---@param at table the server
---@param through? { host: string, port: integer }
function Site:go_over(at, through)
  local place = through or at
  self.env.TALLYMAN_EXCHANGE = ("sftp://%s@%s:%d%s"):format(at.user, place.host, place.port,
    self.exchange)
  self.env.TALLYMAN_SSH_KEY = at.keys.ed25519
  self.env.TALLYMAN_KNOWN_HOSTS = at:known { names = ("[%s]:%d"):format(place.host, place.port) }
end

--- A site of its own with the same contents.
---@return test.Site
function Site:copy()
  local twin = setmetatable({ scripts = self.scripts, host = self.host, env = self.env }, Site)
  twin:settle_in(process.folder())
  process.must("cp", "-a", self.folder .. "/.", twin.folder)
  return twin
end

--- The OMS's database. Close it.
---@return tallyman.Database
function Site:oms(options)
  return db.open(self.env.TALLYMAN_OMS, options)
end

--- The command that runs a job, or a flow with its verb.
---@param name string of the script
---@param ... string its arguments
---@return test.Command
function Site:command(name, ...)
  local command = { self.host, ("%s/%s.lua"):format(self.scripts, name), ... }
  command.env, command.as = self.env, self.as
  return command
end

--- Runs a job to its end.
---@return test.Result
function Site:run(...) return process.run(self:command(...)) end

--- Runs jobs that must succeed, in order.
function Site:jobs(...)
  for _, name in ipairs { ... } do process.must(self:command(name)) end
end

--- The POS uploads a file, with its marker unless that is refused.
---@param bytes string
---@param stamp? string its local time, 20261123_220000 by default
---@param unmarked? boolean
---@return string path
function Site:upload(bytes, stamp, unmarked)
  local name = ("ResetInventory_%s.csv"):format(stamp or "20261123_220000")
  local path = self.exchange .. "/inbound/" .. name
  process.write(path, bytes)
  if not unmarked then process.write(path .. ".done", "") end
  return path
end

--- Adds the paths of all files below a folder, relative to it.
local function walk(folder, prefix, hidden, found)
  for _, name in ipairs(sys_stat.stat(folder) and dirent.dir(folder) or {}) do
    local mode = name ~= "." and name ~= ".." and sys_stat.stat(folder .. "/" .. name).st_mode
    if mode and sys_stat.S_ISDIR(mode) ~= 0 then
      walk(folder .. "/" .. name, prefix .. name .. "/", hidden, found)
    elseif mode and (hidden or name:sub(1, 1) ~= ".") then
      found[#found + 1] = prefix .. name
    end
  end
end

--- Paths of the files in the exchange.
---@param hidden? boolean those of runs that didn't end, too
---@return string[]
function Site:files(hidden)
  local found = {}
  walk(self.exchange, "", hidden, found)
  table.sort(found)
  return found
end

--- Everything that a run at this site may change, but for its history: files and OMS.
---@return string
function Site:everything()
  local read, dump = pcall(self.dump, self)
  return table.concat(self:files(true), "\n") .. "\n" .. (read and dump or "no OMS")
end

local WHEN = "effective_date physical_inventory_date reset_at settled_at"

local function text_of(row)
  local parts = {}
  for name, value in pairs(row) do
    if not WHEN:find(name, 1, true) then parts[#parts + 1] = name .. "=" .. value end
  end
  table.sort(parts)
  return table.concat(parts, " ")
end

local TABLES = { sqlite = "SELECT name FROM sqlite_master WHERE type = 'table'",
  postgresql = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'" }

--- Everything that stands in the OMS, but for when it was written: equal texts, equal states.
---@return string
function Site:dump()
  local oms <close> = self:oms()
  local lines = {}
  for item in oms:rows(TABLES[oms.dialect]) do
    for row in oms:rows("SELECT * FROM " .. item.name) do
      lines[#lines + 1] = item.name .. ": " .. text_of(row)
    end
  end
  table.sort(lines)
  return table.concat(lines, "\n")
end

return site
