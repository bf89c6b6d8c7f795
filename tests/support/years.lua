--- Years of nights on a fake clock: the real jobs, the real library and the real filter on a small
--- shop, by the timetable of scripts/, with faults drawn by a seed. After each thing that happens
--- the rules are checked that must hold whatever happens.
local job = require "tallyman.job"
local keeper = require "tallyman.keeper"
local process = require "tests.support.process"
local proof = require "tallyman.proof"
local rng = require "tests.model.rng"
local shops = require "tests.support.shop"
local store = require "tallyman.store"
local testing = require "tallyman.testing"
local time = require "tallyman.time"

local SCRIPTS = process.root .. "/scripts/"
local FACILITIES, PRODUCTS = { "NY", "NASH" }, { "A", "B", "C" }
local HOUR = 3600

---@class test.Years
---@field world tallyman.World its clock is the host's: real + skew
---@field real number the true time
---@field skew number
---@field queue table[] what will happen: at (true time), act
---@field faults string[] tonight's, in words
---@field down boolean nobody keeps the flow
local Years = {}
Years.__index = Years

-- ---- what is so ----

local function pair(facility, product) return facility .. "/" .. product end

local function new_shop(self)
  local shop = shops.new { oms = self.world.oms }
  for _, facility in ipairs(FACILITIES) do shop:facility(facility) end
  for _, product in ipairs(PRODUCTS) do
    shop:product(product, "SKU-" .. product)
    for _, facility in ipairs(FACILITIES) do
      local id = pair(facility, product)
      shop:insert("inventory_item", { inventory_item_id = id, product_id = product,
        facility_id = facility, quantity_on_hand_total = 0, available_to_promise_total = 0 })
      shop:move(id, "2020-01-01 00:00:00", 1000, 1000)
    end
  end
  return shop
end

function Years:stamp() return time.text(self.real) .. ".000" end

local function any(self, list) return list[self.random:int(1, #list)] end

local function any_pair(self) return pair(any(self, FACILITIES), any(self, PRODUCTS)) end

local function chance(self, percent) return self.random:int(1, 100) <= percent end

--- Lets something happen so many seconds from now, give or take.
local function later(self, seconds, act)
  local entry = { at = self.real + seconds, act = act }
  local at = #self.queue + 1
  while at > 1 and self.queue[at - 1].at > entry.at do at = at - 1 end
  table.insert(self.queue, at, entry)
end

-- ---- what the shop does ----

local function sell(self)
  local where, quantity = any_pair(self), self.random:int(1, 3)
  self.shelf[where], self.pos[where] = self.shelf[where] - quantity, self.pos[where] - quantity
  self.shop:move(where, self:stamp(), -quantity, -quantity, { reason_enum_id = "POS_SALE" })
end

local function ship(self)
  local where, quantity = any_pair(self), self.random:int(1, 3)
  self.shelf[where] = self.shelf[where] - quantity
  local sale = self.shop:ship(where, self:stamp(), quantity)
  later(self, self.random:int(1, 72) * HOUR, function()
    self.pos[where] = self.pos[where] - quantity
    self.shop:acknowledge(sale, self:stamp())
  end)
end

--- Goods that the POS takes in, and the OMS learns of by the next file.
local function receive(self)
  local where, quantity = any_pair(self), self.random:int(5, 20)
  self.shelf[where], self.pos[where] = self.shelf[where] + quantity, self.pos[where] + quantity
  table.insert(self.received, { at = self.real, where = where, quantity = quantity })
end

--- The POS counts now, and uploads the file after a while.
local function count(self, delay)
  local lines = { "facilityId,idType,idValue,availableQty\n" }
  for _, facility in ipairs(FACILITIES) do
    for _, product in ipairs(PRODUCTS) do
      lines[#lines + 1] = ("%s,SKU,SKU-%s,%d\n"):format(facility, product,
        self.pos[pair(facility, product)])
    end
  end
  lines[#lines + 1] = "NY,SKU,SKU-NEVER-SOLD,5\n"
  local parts = time.in_zone(self.real, self.zone)
  local name = ("inbound/ResetInventory_%04d%02d%02d_%02d%02d%02d.csv"):format(parts.year,
    parts.month, parts.day, parts.hour, parts.minute, parts.second)
  later(self, delay, function()
    self.world.exchange:put(name, table.concat(lines))
    self.world.exchange:put(name .. ".done", "")
  end)
end

-- ---- the host ----

--- Whether a run is to meet with something; then that is over.
local function meets(self, what)
  local met = self.next_run == what
  if met then self.next_run = nil end
  return met
end

local function run_now(self, one, run_id)
  local world = self.world
  local context = { settings = world.settings, places = world.places }
  function context.make_keys(name)
    job.run(self.jobs[name], { settings = world.settings, places = world.places })
  end
  package.loaded.settings = world.settings
  self.outcome = job.run(one, context, nil, run_id)
  self:check()
end

local Runner = {}
Runner.__index = Runner

function Runner:start(one, run_id)
  local sim = self.sim
  if meets(sim, "stalled") then -- its process has begun, and stands still before it does anything
    sim.stalled[run_id] = sim.kept
    return later(sim, sim.random:int(60, 3 * HOUR), function()
      sim.stalled[run_id] = nil
      pcall(run_now, sim, one, run_id)
    end)
  end
  if meets(sim, "gone") then -- its process is killed before it has done anything
    return sim.history:claim(run_id, one.name)
  end
  if meets(sim, "silent") then -- it is killed when all is done but the last word
    local class = getmetatable(sim.history)
    local finish = class.finish
    class.finish = function() end
    local ok, wrong = pcall(run_now, sim, one, run_id)
    class.finish = finish
    if not ok then error(wrong, 0) end
    return nil
  end
  run_now(sim, one, run_id)
end

function Runner:lives(run) return self.sim.stalled[run.run_id] == self.sim.kept end
function Runner:stop(run) self.sim.stalled[run.run_id] = nil end

--- A flow's process begins to keep it.
function Years:keep()
  self.kept = keeper.new { flow = self.flow, jobs = self.jobs, zone = self.zone,
    store = self.history, runner = setmetatable({ sim = self }, Runner), tell = function() end }
end

--- An operator runs a job by hand, twice; perhaps at another host.
local function by_hand(self, elsewhere)
  local one, own = self.jobs[any(self, self.flow.jobs)], self.world.settings.state
  if elsewhere then self.world.settings.state = own .. "-elsewhere" end
  local ok, wrong = pcall(function()
    for _ = 1, 2 do run_now(self, one) end
  end)
  self.world.settings.state = own
  if not ok then error(wrong, 0) end
end

local FAULTS = {
  { 10, "the host is down", function(self)
    self.down = true
    later(self, self.random:int(10, 14 * 60) * 60, function()
      self.down = false
      self:keep()
    end)
  end },
  { 20, "the flow's process is killed", function(self) self:keep() end },
  { 10, "the link is cut", function(self)
    self.world.cut_after = 16
    later(self, self.random:int(5, 200) * 60, function() self.world.cut_after = nil end)
  end },
  { 6, "a run stalls, and the flow's process is killed", function(self)
    self.next_run = "stalled"
    later(self, self.random:int(1, 60) * 60, function() self:keep() end)
  end },
  { 6, "a run is killed", function(self) self.next_run = "gone" end },
  { 6, "a run is killed at its end", function(self) self.next_run = "silent" end },
  { 6, "the clock is wrong", function(self)
    self.skew = self.random:int(-7200, 7200)
    later(self, self.random:int(5, 240) * 60, function() self.skew = 0 end)
  end },
  { 12, "an operator runs a job twice", function(self) by_hand(self, false) end },
  { 8, "somebody runs a job twice at another host", function(self) by_hand(self, true) end },
}

-- ---- the rules ----

local function broken(self, format, ...)
  local parts = time.text(self.real, self.zone)
  error(("seed %d, zone %s, %s: %s\ntonight: %s"):format(self.seed, self.zone, parts,
    format:format(...), table.concat(self.faults, "; ")), 0)
end

--- What must hold whenever something was run.
function Years:check()
  local rows = self.history.db:all [[SELECT night, job, turn, COUNT(*) AS done FROM run
    WHERE flow IS NOT NULL AND state = 'done' GROUP BY night, job, turn HAVING COUNT(*) > 1]]
  for _, row in ipairs(rows) do broken(self, "%s was done %d times in the night of %s", row.job,
    row.done, row.night) end
  for _, row in ipairs(self.history.db:all [[SELECT r.job, r.night, r.started_at, o.deadline
      FROM run r JOIN occurrence o ON o.flow = r.flow AND o.night = r.night AND o.job = r.job
        AND o.turn = r.turn WHERE r.process IS NOT NULL AND r.started_at >= o.deadline]]) do
    broken(self, "%s of the night of %s began at %s", row.job, row.night, row.started_at)
  end
  for _, row in ipairs(self.history.db:all [[SELECT v.night, v.started_at, r.ended_at
      FROM run v JOIN occurrence r ON r.flow = v.flow AND r.night = v.night
      WHERE v.job = 'import_variance' AND r.job = 'import_reset' AND v.flow IS NOT NULL
        AND (r.final = 0 OR r.state = 'done' AND v.started_at < r.ended_at)]]) do
    broken(self, "import_variance of %s began at %s, before the reset was over (%s)", row.night,
      row.started_at, row.ended_at or "-")
  end
  self:check_counts()
end

--- What must hold of the OMS at any time.
function Years:check_counts()
  local orders <close> = self.world.places:oms()
  local newest = orders:newest_cycle()
  if not newest then return end
  local proven = proof.of(orders, newest)
  if proven.failures[1] then broken(self, "the proof fails: %s", proven.failures[1]) end
  if not newest.settled_at then return end
  local expected = {}
  for where, quantity in pairs(self.shelf) do expected[where] = quantity end
  for _, one in ipairs(self.received) do
    if one.at > newest.snapshot then
      expected[one.where] = expected[one.where] - one.quantity
    end
  end
  for row in orders:rows [[SELECT inventory_item_id AS id, quantity_on_hand_total AS qoh
      FROM inventory_item]] do
    if row.qoh ~= expected[row.id] then
      broken(self, "%s has %g, and %g are there", row.id, row.qoh, expected[row.id])
    end
  end
end

--- What must have come of a night.
local function check_night(self, night)
  local late = self.upload and self.upload > 5.25 * HOUR
  if #self.faults > 0 or not self.upload or late or self.was_troubled then return end
  for _, name in ipairs(self.flow.jobs) do
    local state = self.history.db:value([[SELECT state FROM occurrence
      WHERE night = :night AND job = :job]], { night = night, job = name })
    if state ~= "done" then
      broken(self, "%s is %s though nothing went wrong: %s", name, state,
        self.history.db:value("SELECT reason FROM occurrence WHERE night = :n AND job = :j",
          { n = night, j = name }))
    end
  end
end

-- ---- time ----

--- Lets the keeper do what is due until a true time.
local function keep_until(self, goal)
  while not self.down do
    self.world.time = self.real + self.skew
    local wake = self.kept:step(self.world.time) - self.skew
    if wake >= goal then break end
    self.real = math.max(wake, self.real)
  end
  self.real = goal
  self.world.time = self.real + self.skew
end

local function run_until(self, goal)
  while self.queue[1] and self.queue[1].at < goal do
    local event = table.remove(self.queue, 1)
    keep_until(self, math.max(event.at, self.real))
    event.act()
  end
  keep_until(self, goal)
end

--- Draws what will happen until noon tomorrow.
local function draw(self)
  local midnight = 12 * HOUR
  local function some(most, act)
    for _ = 1, self.random:int(0, most) do
      later(self, self.random:int(0, 86399), function() act(self) end)
    end
  end
  some(4, sell)
  some(3, ship)
  some(1, receive)
  self.was_troubled = #self.faults > 0 or self.down or self.world.cut_after ~= nil
  self.faults, self.upload = {}, 0
  if chance(self, 25) then self.upload = self.random:int(1, 11 * 60) * 60 end
  if chance(self, 4) then self.upload = nil end
  local upload = self.upload
  if upload then later(self, midnight - 2 * HOUR, function() count(self, upload) end) end
  for _, fault in ipairs(FAULTS) do
    if not self.calm and chance(self, fault[1]) then
      self.faults[#self.faults + 1] = fault[2]
      later(self, midnight + self.random:int(-2 * HOUR, 9 * HOUR), function() fault[3](self) end)
    end
  end
end

--- Plays nights.
---@param nights integer
function Years:play(nights)
  for _ = 1, nights do
    draw(self)
    local night = time.night(self.real + 1, self.zone)
    run_until(self, select(2, time.night_bounds(night, self.zone)))
    check_night(self, night)
    self:check_counts()
  end
end

function Years:close()
  self.history:close()
  self.world:close()
end
Years.__close = Years.close

local years = {}

--- Makes a shop at the beginning of a year.
---@param options table zone, seed, first (YYYY-MM-DD), calm? (no faults), change? (of the jobs)
---@return test.Years
function years.new(options)
  local self = setmetatable({ zone = options.zone, seed = options.seed, skew = 0, queue = {},
    faults = {}, stalled = {}, received = {}, shelf = {}, pos = {}, jobs = {}, down = false,
    random = rng.new(options.seed), calm = options.calm }, Years)
  self.world = testing.world { now = (options.first or "2026-01-01") .. " 12:00:00",
    settings = { timezone = options.zone, keep_days = 3 } }
  self.real = self.world.time
  self.shop = new_shop(self)
  for _, facility in ipairs(FACILITIES) do
    for _, product in ipairs(PRODUCTS) do
      self.shelf[pair(facility, product)], self.pos[pair(facility, product)] = 1000, 1000
    end
  end
  self.history = store.open(self.world.settings.state)
  self.world:load(SCRIPTS .. "nightly.lua")
  self.jobs = self.world.flow.jobs
  self.flow = { flow = "night", jobs = self.world.flow.names,
    retry = { "1m", "2m", "4m", "8m", "15m" } }
  if options.change then options.change(self) end
  self:keep()
  return self
end

return years
