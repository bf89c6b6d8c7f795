--- A night for specs: one facility, one product, the jobs at their usual times, and events that are
--- committed at theirs. Times are "HH:MM"; from noon on they belong to the evening before.
local db = require "tallyman.db"
local shop = require "tests.support.shop"
local testing = require "tallyman.testing"

local Night = {}
Night.__index = Night

local HEADER = "facilityId,locationSeqId,idType,idValue,availableQty,comments\n"
local SCRIPTS = require "native.host".library .. "/../scripts/"

--- The shipped guards switched off: what is wrong for a shop is usual for one product.
local OFF = { line_end = false, rows = false, kept = false, facilities = false, zero = false,
  change = false, age = false, rejects = false }

local night = {}

--- Where nights are from now on: `fresh` gives the URL of a new OMS, which has its tables, and
--- `drop` takes it away. By default, and with nil, each is a SQLite file of its own.
---@param databases? { fresh: (fun(): string), drop: fun(url: string) }
function night.use(databases) night.databases = databases end

--- Moves a world to another database.
local function move(world, url)
  world.oms:close()
  world.settings.oms.database = url
  world.oms = db.open(url)
end

--- A world with New York, product A (SKU A1) and, unless start is false, item I1; without guards
--- unless the settings name some.
function night.new(options)
  options = options or {}
  local settings = options.settings or {}
  settings.guards = settings.guards or OFF
  local world = testing.world { now = "2026-11-24 01:00:00", settings = settings }
  local databases = night.databases
  if databases then move(world, databases.fresh()) end
  local self = setmetatable({ world = world, databases = databases, shop = shop.new(world),
    events = {}, day = 24 }, Night)
  self.shop:facility("NY", "101")
  self.shop:product("A", "A1")
  if options.start ~= false then
    local start = options.start or { 10, 10 }
    self.shop:item("I1", "A", "NY", start[1], start[2])
  end
  return self
end

--- The text of a time of this night.
function Night:text(clock)
  local evening = clock >= "12:00"
  return ("2026-11-%02d %s%s"):format(self.day - (evening and 1 or 0), clock,
    #clock == 5 and ":00" or "")
end

--- Something that is committed at a time.
function Night:on(clock, event)
  self.events[#self.events + 1] = { at = self:text(clock), run = event }
end

--- Moves the clock on; what happens until then happens.
function Night:at(clock)
  local now = self:text(clock)
  table.sort(self.events, function(a, b) return a.at < b.at end)
  while self.events[1] and self.events[1].at <= now do table.remove(self.events, 1).run() end
  self.world:at(now)
end

--- The POS uploads a file; rows are { quantity, location }.
function Night:upload(snapshot, rows, name)
  local lines = { HEADER }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = ("NY,%s,SKU,A1,%s,\n"):format(row[2] or "", row[1])
  end
  self:upload_text(snapshot, table.concat(lines), name)
end

--- The POS uploads these bytes.
function Night:upload_text(snapshot, text, name)
  local stamp = self:text(snapshot):gsub("[-:]", ""):gsub(" ", "_")
  name = name or ("inbound/ResetInventory_%s.csv"):format(stamp)
  local exchange = self.world.exchange
  if exchange:exists(name) then exchange:remove(name) end
  exchange:put(name, text)
  if not exchange:exists(name .. ".done") then exchange:put(name .. ".done", "") end
end

--- Runs a job at a time.
function Night:run(job, clock, options)
  self:at(clock)
  return self.world:run(SCRIPTS .. job .. ".lua", options)
end

--- The jobs up to the reset; options are the reset's.
function Night:reset(clock, options)
  self:run("active_products", "01:00")
  if not self.exported then self:run("export_variance", "01:30") end
  self.exported = true
  self:run("filter_inventory", clock or "01:59")
  return self:run("import_reset", clock or "02:00", options)
end

function Night:variance(clock, options)
  return self:run("import_variance", clock or "03:00", options)
end

--- Undoes a cycle.
function Night:undo(clock, cycle, reason)
  return self:run("undo", clock, { CYCLE = tostring(cycle), reason = reason or "wrong file" })
end

--- The next night begins.
function Night:next_day() self.day, self.exported = self.day + 1, false end

function Night:totals(where) return self.shop:totals(where) end

function Night:close()
  self.world:close()
  if self.databases then self.databases.drop(self.world.settings.oms.database) end
end
Night.__close = Night.close

return night
