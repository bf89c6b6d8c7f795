--- One night's reset files: a timetable drawn at random, and everything that can go wrong.

local clock = require "model.clock"
local encode = require "model.encode"

local Night = {}
Night.__index = Night

-- Something to be done `minute` minutes after local midnight.
function Night:at(minute, action)
  table.insert(self.actions, { minute = minute, order = #self.actions, action = action })
end

function Night:instant(minute)
  return self.midnight + minute * 60
end

-- The stamp of an upload: local time in the name, or only the modification time.
function Night:stamp(snapshot, uploaded)
  local rng, zone = self.rng, self.run.model.zone
  if rng:chance(8) then
    self.run.shop.count = self.run.shop.count + 1
    return { base = "ResetInventory" .. self.run.shop.count, mtime = snapshot }
  end
  local mtime = math.max(snapshot, self:instant(uploaded) - rng:int(0, 600))
  return { wall = snapshot + clock.offset(zone, snapshot), mtime = mtime }
end

-- Where clocks are set that night, snapshots in the hour that is missing or there twice.
function Night:odd_hour()
  local zone, day = self.run.model.zone, self.day
  local before, after = clock.offset(zone, self.midnight), clock.offset(zone, self:instant(720))
  if before == after or not self.rng:chance(70) then return nil end
  local base = clock.utc(day[1], day[2], day[3])
  local minute = after > before and self.rng:int(120, 179) or self.rng:int(60, 119)
  return base + minute * 60 + 7
end

-- Uploaded before its second reading, a file must mean the first.
function Night:odd_stamp(minute)
  local mtime = self:instant(minute) - 60
  if self.rng:chance(50) then
    mtime = clock.instant(self.run.model.zone, self.wall, 0) + self.rng:int(0, 3500)
  end
  return { wall = self.wall, mtime = mtime }
end

-- The minutes of tonight's jobs.
function Night:timetable()
  local rng = self.rng
  local reset = rng:weighted { { 120, 40 }, { rng:int(-60, 240), 60 } }
  self.wall = self:odd_hour()
  if self.wall then reset = 240 end
  local plan = { reset = reset, put = reset - rng:int(35, 180), active = reset - rng:int(20, 90),
    filter = reset - rng:int(2, 15), export = reset - rng:int(-9, 200),
    variance = reset + rng:int(30, 150), late = reset + rng:int(185, 300) }
  if self.wall then plan.put = reset - rng:int(20, 58) end
  plan.taken = plan.put - rng:int(1, 240)
  self.plan = plan
end

function Night:job(minute, name, percent)
  self:at(minute, function()
    local cycle = self.run:job(name)
    self.run:again(name, percent or 7)
    return cycle
  end)
end

-- A reset; what it doesn't take is cleared away.
function Night:reset(minute)
  self:at(minute, function()
    local run = self.run
    local known = run.jobs:tonight(run.now)
    local cycle = run:job "import_reset"
    if cycle or known then run:again("import_reset", 10) end
    if not cycle and #run.jobs.filtered + #run.jobs.inbound > 0 then run:clean() end
  end)
end

function Night:upload(minute, snapshot, options)
  self:at(minute, function()
    local stamp = self.wall and self:odd_stamp(minute) or self:stamp(snapshot, minute)
    self.entry = self.run:put(self.run:file(options), stamp)
  end)
end

-- A product that the filtered file wouldn't hold, were it not sold online; rather one that the
-- filter's rejects name, too.
local function kept_product(run)
  local list, entry = {}, run.jobs.filtered[1]
  for _, piece in ipairs(entry and entry.file.pieces or {}) do
    local kind, value = piece.key:match "^(.-)|(.*)$"
    local products = run.model.oms:named(kind, value, run.now)
    if #products == 1 then
      if entry.blocked[products[1]] then return products[1] end
      list[#list + 1] = products[1]
    end
  end
  return #list > 0 and run.rng:pick(list)
end

-- A product is taken off the shop, and the filter runs with the new list before the reset. It must
-- not touch what the first filter wrote, rejects included.
function Night:relist(minute)
  self:at(minute, function()
    local run = self.run
    local product = kept_product(run)
    if not product then return end
    run:apply { { "set", "product", product, { discontinued = (run.now - 60) * 1000 } } }
    run:job "active_products"
    run:job "filter_inventory"
  end)
end

local first = {}

function first.normal(n)
  local plan = n.plan
  local taken = n:instant(plan.taken) + n.rng:pick { 0, 7, 19 }
  if n.rng:chance(12) and not n.wall then
    n:at(plan.put - 1, function()
      n.run:put(n.run:file {}, n:stamp(taken - 1800, plan.put - 1))
    end)
  end
  -- A filter's rejects name products for the whole night: only its last file may have any.
  local relisted = n.rng:chance(8)
  n:upload(plan.put, taken, { damage = not n.second })
  if relisted then n:relist(plan.reset - 1) end
  n:job(plan.active, "active_products")
  n:job(math.max(plan.filter, plan.active + 1), "filter_inventory")
  n:reset(plan.reset)
end

function first.none(n)
  n:job(n.plan.active, "active_products")
  n:job(n.plan.filter, "filter_inventory")
  n:reset(n.plan.reset)
end

function first.placed(n)
  n:at(n.plan.put, function()
    n.run:place(n.run:file {}, n:instant(n.plan.taken) + 7)
  end)
  n:job(n.plan.active, "active_products")
  n:reset(n.plan.reset)
end

function first.fatal(n)
  n:upload(n.plan.put, n:instant(n.plan.taken), { fatal = n.rng:pick { "quote", "cut" } })
  first.none(n)
end

-- The POS's clock is ahead: by a few minutes, or by too much.
function first.future(n)
  local ahead = n.rng:pick { 300, 900 }
  n:at(n.plan.put, function()
    local taken = n:instant(n.plan.reset) + ahead
    n.run:put(n.run:file {}, { base = "ResetInventoryAhead", mtime = taken })
  end)
  first.none(n)
end

-- Last night's file once more.
function first.stale(n)
  local old = n.run.last_entry
  if old then n:at(n.plan.put, function() n.run:put(old.file, old.stamp) end) end
  first.none(n)
end

-- The same snapshot under a name that the archive doesn't know yet.
local function again(n, change)
  local old = n.entry
  if not old then return end
  local file = change(old.file)
  if file ~= old.file then file.gzip = not old.file.gzip end
  n.run:put(file, old.stamp)
end

local second = {}

function second.newer(n, minute, reset)
  n:at(minute, function()
    local taken = n:instant(n.rng:pick { n.plan.taken + 1, n.plan.put + 1, minute - 1 }) + 3
    if n.wall then taken = n:instant(reset - 9) + 3 end
    n.entry = n.run:put(n.run:file { damage = true }, n:stamp(taken, minute))
  end)
end

function second.older(n, minute)
  n:at(minute, function()
    local newest = n.run.model:newest()
    local taken = (newest and newest.snapshot or n:instant(n.plan.taken)) - n.rng:pick { 60, 1200 }
    n.run:put(n.run:file {}, n:stamp(taken, minute))
  end)
end

function second.same(n, minute)
  n:at(minute, function() again(n, function(file) return file end) end)
end

function second.other(n, minute)
  n:at(minute, function()
    again(n, function(old)
      local file = encode.file(n.rng, old.style, old.rows)
      file.style, file.rows = old.style, old.rows
      return file
    end)
  end)
end

function second.inactive(n, minute)
  n:at(minute, function()
    again(n, function(old) return encode.with_stranger(n.rng, old.style, old) end)
  end)
end

return { Night = Night, first = first, second = second }
