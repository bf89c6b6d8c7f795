--- One random run: the model and the real thing side by side, and the steps that both take.
--- Without a driver (`dry`) the model runs alone, which tests the generator itself.

local clock = require "model.clock"
local encode = require "model.encode"
local events = require "model.events"
local jobs = require "model.jobs"
local models = require "model.model"
local night = require "model.night"
local records = require "model.records"
local rngs = require "model.rng"
local shops = require "model.shop"

---@class model.Run
---@field rng model.Rng
---@field model model.Model
---@field jobs model.Jobs
---@field driver table?
---@field trace string[]
local Run = {}
Run.__index = Run

-- Ordinary days, and the nights in which New York sets its clocks.
local DAYS = { { 2026, 11, 24 }, { 2025, 12, 31 }, { 2027, 2, 27 }, { 2026, 7, 4 },
  { 2026, 11, 1 }, { 2026, 3, 8 }, { 2026, 11, 1 }, { 2026, 3, 8 } }

---@param seed integer
---@param driver_of? fun(run: model.Run): table
---@return model.Run
local function new(seed, driver_of)
  local rng = rngs.new(seed)
  local zone = rng:pick { "UTC", "America/New_York" }
  local method = rng:weighted { { "exact_qoh", 65 }, { "exact_atp", 35 } }
  local run = setmetatable({ rng = rng, seed = seed, trace = {}, day = rng:pick(DAYS) }, Run)
  run.model = models.new(zone, method)
  run.jobs = jobs.new(run.model)
  run.midnight = clock.at(zone, run.day[1], run.day[2], run.day[3], 0)
  run.now = run.midnight - 20 * 3600
  run.driver = driver_of and driver_of(run)
  return run
end

function Run:note(text, ...)
  table.insert(self.trace, clock.sql(self.now) .. "  " .. text:format(...))
end

--- Operations go to the model and to the database alike.
function Run:apply(ops)
  for _, op in ipairs(ops) do self.model.oms:apply(op) end
  if self.driver then self.driver:apply(ops) end
end

--- The shop, and what happened in it before the first night.
function Run:open()
  local ops
  self.shop, ops = shops.build(self.rng, self.midnight)
  self:apply(ops)
  self.events = events.new(self.rng, self.model.oms, self.shop)
  for _ = 1, self.rng:int(2, 10) do self:apply(self.events:next(self.now)) end
end

--- Lets time pass until an instant; the longer, the more happens.
---@param instant integer
function Run:idle(instant)
  local span = instant - self.now
  local count = span > 7200 and self.rng:int(2, 9) or span > 0 and self.rng:int(0, 3) or 0
  local from, ops = self.now, {}
  for i = 1, count do
    for _, op in ipairs(self.events:next(from + span * i // (count + 1))) do
      self.model.oms:apply(op)
      ops[#ops + 1] = op
    end
  end
  if self.driver then self.driver:apply(ops) end
  self.now = math.max(self.now + 2, instant)
end

--- The rows of a file, laid out in a style.
function Run:file(options)
  local style = encode.style(self.rng)
  local rows = records.rows(self.rng, self.model.oms, self.shop, style, options)
  local file = encode.file(self.rng, style, rows, options.fatal)
  file.rows, file.style = rows, style
  return file
end

--- Uploads a file whose name says `wall` (a local time), or nothing.
---@param file table
---@param stamp { wall: integer?, base: string?, mtime: integer }
---@return table entry
function Run:put(file, stamp)
  local base = stamp.base or "ResetInventory_" .. clock.plain(stamp.wall)
  local entry = { file = file, stamp = stamp, mtime = stamp.mtime,
    name = base .. (file.gzip and ".csv.gz" or ".csv"),
    snapshot = stamp.wall and clock.instant(self.model.zone, stamp.wall, stamp.mtime)
      or stamp.mtime }
  table.insert(self.jobs.inbound, entry)
  table.insert(self.events.specials, entry.snapshot)
  self:note("put %s (snapshot %s)", entry.name, clock.sql(entry.snapshot))
  if self.driver then self.driver:put(entry) end
  return entry
end

--- A filtered file that didn't come from the filter.
function Run:place(file, snapshot)
  local entry = { file = file, snapshot = snapshot, rejects = {}, blocked = {},
    name = "ResetInventoryActive_" .. clock.stamp(snapshot) .. ".csv" }
  table.insert(self.jobs.filtered, entry)
  table.insert(self.events.specials, snapshot)
  self:note("placed %s", entry.name)
  if self.driver then self.driver:place_filtered(entry) end
end

--- Somebody clears away what the jobs left lying: refused and damaged files.
function Run:clean()
  self.jobs.inbound, self.jobs.filtered = {}, {}
  self:note("cleaned up")
  if self.driver then self.driver:clean() end
end

-- The id of the item that a reset made for a pair without one.
function Run:made(cover)
  if self.driver then return self.driver:made(cover) end
  self.shop.next_item = (self.shop.next_item or 10000) + 1
  return tostring(self.shop.next_item)
end

-- A job isn't run within a minute of a deadline: which side it falls on would be chance.
function Run:step_aside(name)
  local cycle = self.model:newest()
  local distance = cycle and math.abs(cycle.at + 3 * 3600 - self.now) or math.huge
  if name == "import_variance" and distance < 60 then self.now = self.now + 120 end
end

--- Runs one job, for real and in the model, and compares.
---@param name string
---@return table? cycle  the cycle that it changed
function Run:job(name)
  self:step_aside(name)
  local real = self.driver and self.driver:job(name, self.now)
  local expected, cycle = self.jobs.run[name](self.jobs, self.now, function(cover)
    return self:made(cover)
  end)
  self:note("%s: %d", name, expected)
  if self.driver then self.driver:check(name, real, expected, cycle) end
  self.now = self.now + 5
  return cycle
end

--- Runs a job a second time, whatever it did the first time.
function Run:again(name, percent)
  if self.rng:chance(percent) then self:job(name) end
end

--- Notes the newest variance file; of several of one night, the older ones are taken away.
function Run:take_export()
  local name = self.driver and self.driver:newest_export()
    or "InventoryVariance_" .. clock.stamp(self.now) .. ".csv"
  local entry, kept = { name = name, at = clock.parse(name), added = {} }, {}
  local tonight = clock.night(self.model.zone, entry.at)
  for _, old in ipairs(self.jobs.variance) do
    if clock.night(self.model.zone, old.at) ~= tonight then
      kept[#kept + 1] = old
    elseif old.name ~= name and self.driver then
      self.driver:remove("variance/" .. old.name)
    end
  end
  kept[#kept + 1] = entry
  self.jobs.variance = kept
end

--- Somebody opens the newest variance file, adds rows, and saves it in another style.
function Run:edit_export(added, how)
  local entry = self.jobs.variance[#self.jobs.variance]
  entry.added = added
  for _, row in ipairs(added) do
    self:note("by hand: %s at %s %g %s", row.product, row.facility, row.delta / 1e6, row.reason)
  end
  if self.driver then self.driver:edit(entry, how) end
end

--- Opens the shop and lives through all its nights.
function Run:all()
  self:open()
  local day = clock.utc(table.unpack(self.day))
  for _ = 1, self.rng:weighted { { 2, 75 }, { 3, 25 } } do
    night.run(self, { clock.date(day) })
    day = day + 86400 * (self.rng:chance(90) and 1 or 2)
  end
end

return { new = new }
