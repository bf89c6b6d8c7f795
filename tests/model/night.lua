--- One night as a whole: the reset files, the variance file and what is done to it by hand, jobs
--- that are late, early, missing or run once more.

local clock = require "model.clock"
local uploads = require "model.uploads"

local Night, first, second = uploads.Night, uploads.first, uploads.second

local night = {}

local REASONS = { "VAR_FOUND", "VAR_LOST", "VAR_DAMAGED", "MISMATCH" }

-- Pairs that have an item, in an order that is the same on every host.
local function stocked(run)
  local list = {}
  for _, product in ipairs(run.shop.products) do
    for _, facility in ipairs(run.shop.facilities) do
      if #run.model.oms:items(product, facility) > 0 then
        list[#list + 1] = { product = product, facility = facility }
      end
    end
  end
  return run.rng:shuffle(list)
end

-- Rows that somebody adds to the variance file: with a reason of their own they are booked.
local function by_hand(run)
  local rng, added = run.rng, {}
  local list = stocked(run)
  for i = 1, math.min(#list, rng:int(1, 3)) do
    local ids = run.shop.ids[list[i].product].stable
    local id = #ids > 0 and rng:chance(70) and rng:pick(ids)
      or { kind = "PRODUCT_ID", value = list[i].product }
    table.insert(added, { product = list[i].product, facility = list[i].facility, id = id,
      delta = rng:pick { 1000000, -2000000, 250000, -1 }, reason = rng:pick(REASONS) })
  end
  return added
end

-- Exports; at times somebody then edits the file.
function Night:export(minute, edited)
  self:at(minute, function()
    local run = self.run
    run:job "export_variance"
    run:again("export_variance", 8)
    run:take_export()
    if edited and self.rng:chance(45) then
      run:edit_export(by_hand(run), { forget = self.rng:chance(30), change = self.rng:chance(30),
        style = self.rng:pick { "plain", "windows", "tabs" } })
    end
  end)
end

-- The first variance of the night. Without its file it is held, and settled when that is too late.
function Night:variances(kind)
  local plan, rng = self.plan, self.rng
  if rng:chance(8) then self:job(plan.reset - 1, "import_variance", 0) end
  if kind == "normal" then
    self:export(plan.export, true)
    self:job(rng:chance(85) and plan.variance or plan.late, "import_variance", 14)
  elseif kind == "missing" then
    self:job(plan.variance, "import_variance")
    if rng:chance(70) then self:job(plan.late, "import_variance") end
    if rng:chance(40) then
      self:export(plan.late + 5, true)
      self:job(plan.late + 10, "import_variance")
    end
  elseif kind == "skipped" and rng:chance(50) then
    self:export(plan.export, false)
  end
end

-- A second file in the same night, and the jobs that follow it.
function Night:again(kind, after)
  local plan, rng = self.plan, self.rng
  local from = after and plan.variance or plan.reset
  local put, filter, reset = from + 2, from + 4, from + 6
  if not after and kind == "newer" and rng:chance(20) then put = plan.reset - 1 end
  second[kind](self, put, reset)
  if rng:chance(20) then self:job(filter - 1, "active_products") end
  self:job(filter, "filter_inventory")
  self:reset(reset)
  if after then
    if rng:chance(60) then self:export(from + 8, true) end
    self:job(from + 12, "import_variance", 14)
    if rng:chance(60) then self:job(from + 200, "import_variance") end
  end
end

-- Everything once more in the morning, when nothing is left to do.
function Night:repeat_all()
  self:at(650, function()
    local run = self.run
    if #run.jobs.inbound + #run.jobs.filtered > 0 then run:clean() end
    for _, name in ipairs { "active_products", "filter_inventory", "import_reset",
      "import_variance" } do
      run:job(name)
    end
  end)
end

local FIRST = { { "normal", 64 }, { "none", 11 }, { "placed", 10 }, { "fatal", 5 },
  { "future", 5 }, { "stale", 5 } }
local SECOND = { { "newer", 48 }, { "older", 12 }, { "same", 12 }, { "other", 14 },
  { "inactive", 14 } }

function Night:draw()
  local rng = self.rng
  self.first = rng:weighted(FIRST)
  local may = self.first == "normal" or self.first == "none" or self.first == "fatal"
  self.second = may and rng:chance(32)
  self:timetable()
  first[self.first](self)
  self:variances(rng:weighted { { "normal", 74 }, { "missing", 14 }, { "skipped", 12 } })
  if self.second then
    local kind = self.first == "normal" and rng:weighted(SECOND) or "newer"
    self:again(kind, rng:chance(50))
  end
  if rng:chance(9) then self:repeat_all() end
end

--- Lives through one night, up to the noon after it.
---@param run model.Run
---@param day integer[]  year, month, day of the morning
function night.run(run, day)
  local self = setmetatable({ run = run, rng = run.rng, day = day, actions = {} }, Night)
  self.midnight = clock.at(run.model.zone, day[1], day[2], day[3], 0)
  self:draw()
  table.sort(self.actions, function(a, b)
    if a.minute ~= b.minute then return a.minute < b.minute end
    return a.order < b.order
  end)
  for _, step in ipairs(self.actions) do
    run:idle(self:instant(step.minute) + self.rng:int(30, 40))
    step.action()
  end
  run.last_entry = self.entry
end

return night
