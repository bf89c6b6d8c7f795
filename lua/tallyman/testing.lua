--- For specs: a world with its own clock, an exchange and an OMS in a temporary folder, and the
--- real library with the real C filter. Jobs run one at a time, in this process.
---
---   local world <close> = testing.world { now = "2026-11-24 01:30:00", keys = { ... } }
---   world.exchange:put("inbound/ResetInventory_20261123_220000.csv", "...")
---   local outcome = world:run "scripts/filter_inventory.lua"
---
--- Or by the timetable, as a flow would run them:
---
---   world:load "scripts/nightly.lua"
---   world:advance "6h"
---   assert.same({ "active_products", ... }, world.ran)
local clock = require "tallyman.clock"
local csv_text = require "tallyman.csv_text"
local db = require "tallyman.db"
local disk_local = require "tallyman.disk_local"
local exchange_folder = require "tallyman.exchange_folder"
local failure = require "tallyman.failure"
local folders = require "tallyman.folders"
local host = require "native.host"
local job = require "tallyman.job"
local log = require "tallyman.log"
local oms = require "tallyman.oms"
local script = require "tallyman.script"
local settings = require "tallyman.settings"
local stat = require "posix.sys.stat"
local stdlib = require "posix.stdlib"
local store = require "tallyman.store"
local time = require "tallyman.time"

---@class tallyman.World
---@field folder string
---@field settings tallyman.Settings
---@field exchange tallyman.Exchange
---@field oms tallyman.Database
---@field time number the world's clock
---@field ran string[] jobs that the timetable has run, in that order
---@field told string[] what the flow would have said in its log
---@field flow? table what load() made
local World = {}
World.__index = World

--- The instant of a text such as "2026-11-24 01:30:00", local to the world.
---@param text string
---@return integer
function World:instant(text)
  local parts = time.parts(text) or error(("'%s' is no time"):format(text), 2)
  return (time.from_zone(parts, self.settings.timezone))
end

--- Sets the clock.
---@param text string local time
function World:at(text) self.time = self:instant(text) end

--- Runs a job's script now.
---@param path string
---@param options? tallyman.Options as the command line gives them: { force = "counted again" }
---@return tallyman.Outcome
function World:run(path, options)
  local context = { settings = self.settings, places = self.places }
  function context.make_keys(name)
    local outcome = self:run(("%s/%s.lua"):format(script.folder(path), name))
    if outcome.code ~= 0 then failure.raise(outcome.code, "%s", outcome.message) end
  end
  package.loaded.settings = self.settings
  return job.run(script.load_job(path), context, options)
end

--- The newest run of a job.
---@param name string
---@return tallyman.Run?
function World:last(name)
  local history <close> = store.open(self.settings.state, self.settings.store)
  return history:last(name)
end

--- What a file of the exchange holds; nil when there is none.
---@param path string "filtered/NAME"
---@return string?
function World:read(path)
  local handle <close> = io.open(self.folder .. "/exchange/" .. path, "rb")
  return handle and handle:read "a"
end

--- Names of the files in a folder of the exchange.
---@param folder string
---@return string[]
function World:names(folder)
  local names = {}
  for i, entry in ipairs(self.exchange:list(folder)) do names[i] = entry.name end
  return names
end

--- Loads a job, or a flow with all its jobs, to be run by its timetable.
---@param path string
function World:load(path) require "tallyman.testing_flow".load(self, path) end

--- Lets time pass; what is due is run.
---@param duration string|number "1s", "6h"
function World:advance(duration) require "tallyman.testing_flow".advance(self, duration) end

--- Lets a job have succeeded tonight, now.
---@param name string
function World:succeed(name) require "tallyman.testing_flow".succeed(self, name) end

--- Ends the world: its files go, and the clock is the host's again.
function World:close()
  clock.now, clock.sleep, log.quiet = self.real.now, self.real.sleep, self.real.quiet
  package.loaded.settings = self.real.settings
  require "tallyman.testing_flow".close(self)
  self.oms:close()
  folders.remove(self.folder)
end
World.__close = World.close

--- Takes the clock over: sleeping moves it.
local function own_clock(world)
  world.real = { now = clock.now, sleep = clock.sleep, quiet = log.quiet,
    settings = package.loaded.settings }
  function clock.now() return world.time end
  function clock.sleep(seconds) world.time = world.time + seconds end
  log.quiet = true
end

--- Writes lists of keys ("TYPE|VALUE") as the jobs of those names would have.
local function keep_keys(world, lists)
  for name, keys in pairs(lists) do
    local path = ("%s/keys/%s.csv"):format(world.settings.state, name)
    local handle <close> = assert(io.open(path, "w"))
    handle:write "productId,idType,idValue\n"
    for _, key in ipairs(keys) do
      local id_type, id_value = key:match "^([^|]*)|(.*)$"
      handle:write(csv_text.line { "", id_type, id_value })
    end
  end
end

--- A disk whose files, once they are told to, break off while they are read.
local function faulty_disk(world)
  return setmetatable({ source = function(_, path, options)
    local given = { cut_after = world.cut_after }
    for name, value in pairs(options or {}) do given[name] = value end
    return disk_local:source(path, given)
  end }, { __index = disk_local })
end

--- What jobs get for the exchange and the OMS.
local function places_of(world)
  local url = world.settings.exchange
  local class = { oms = function() return oms.open(world.settings) end }
  function class.exchange(_, run_id)
    local opened = exchange_folder.open(url, faulty_disk(world), url:match "^file://(.*)$", run_id)
    --- From now on each file that is read from the exchange breaks off after so many bytes.
    function opened.drop_after(_, bytes) world.cut_after = bytes end
    return opened
  end
  return class
end

local testing = {}

---@class tallyman.WorldOptions
---@field now string local time, "2026-11-24 01:30:00"
---@field keys? table<string, string[]> lists that jobs made: { active_products = { "SKU|A1" } }
---@field settings? table as in settings.lua; exchange, oms.database and state are the world's own

--- Makes a world. Close it: `local world <close> = testing.world { ... }`, or in after_each.
---@param options tallyman.WorldOptions
---@return tallyman.World
function testing.world(options)
  local folder = stdlib.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/tallyman-world-XXXXXX")
  local given = options.settings or {}
  given.timezone = given.timezone or "UTC"
  given.exchange, given.state = "file://" .. folder .. "/exchange", folder .. "/state"
  given.oms = given.oms or {}
  given.oms.database = "sqlite:" .. folder .. "/oms.db"
  local world = setmetatable({ folder = folder,
    settings = settings(given, function() return nil end) }, World)
  for _, name in ipairs { "exchange", "exchange/inbound", "state", "state/keys" } do
    stat.mkdir(folder .. "/" .. name, 448)
  end
  world.ran, world.told, world.places = {}, {}, places_of(world)
  world.exchange = world.places:exchange "world"
  world.oms = db.open(given.oms.database, { create = true })
  local schema <close> = assert(io.open(host.library .. "/../examples/oms/schema.sql"))
  world.oms:script(schema:read "a")
  world:at(options.now)
  own_clock(world)
  keep_keys(world, options.keys or {})
  return world
end

return testing
