--- The five jobs as the rules describe them: what each leaves in the folders and in the OMS, and
--- the exit code that it answers with.

local clock = require "model.clock"
local encode = require "model.encode"
local rules = require "model.rules"

local DONE, REFUSED, BAD_DATA, EXISTS, HELD = 0, 3, 65, 73, 75
local DEADLINE = 3 * 3600
local AHEAD = 600

---@class model.Jobs
---@field inbound table[]   name, file, snapshot
---@field filtered table[]  snapshot, file, rejects, blocked
---@field variance table[]  name, at, added
---@field archived table[]  night, name
local Jobs = {}
Jobs.__index = Jobs

---@param model model.Model
---@return model.Jobs
local function new(model)
  return setmetatable({ model = model, inbound = {}, filtered = {}, variance = {}, archived = {},
    active = {} }, Jobs)
end

local function newest(list)
  local best
  for _, entry in ipairs(list) do
    if not best or entry.snapshot > best.snapshot then best = entry end
  end
  return best
end

local function remove(list, entry)
  for i = #list, 1, -1 do
    if list[i] == entry then table.remove(list, i) end
  end
end

-- The newest cycle, if its reset ran in the night of `now`.
function Jobs:tonight(now)
  local cycle = self.model:newest()
  return cycle and cycle.night == clock.night(self.model.zone, now) and cycle or nil
end

function Jobs:idle(now)
  return self:tonight(now) and DONE or HELD
end

Jobs.run = {}

---@return integer code
function Jobs.run.active_products(jobs, now)
  jobs.active = jobs.model.oms:active_keys(now)
  return DONE
end

-- The products that keys name, whatever else they name.
local function products(model, keys, now)
  local set = {}
  for key in pairs(keys) do
    local kind, value = key:match "^(.-)|(.*)$"
    for _, product in ipairs(model.oms:named(kind, value, now)) do set[product] = true end
  end
  return set
end

---@return integer code
function Jobs.run.filter_inventory(jobs, now)
  local inbound = newest(jobs.inbound)
  if not inbound then return jobs:idle(now) end
  local result = rules.filter(inbound.file, jobs.active)
  if result.fatal then return BAD_DATA end
  local entry = { snapshot = inbound.snapshot, rejects = result.rejects,
    name = "ResetInventoryActive_" .. clock.stamp(inbound.snapshot) .. ".csv",
    blocked = products(jobs.model, result.blocked, now),
    file = encode.filtered(inbound.file, result.kept) }
  for _, old in ipairs(jobs.filtered) do
    if old.name == entry.name then return old.file.bytes == entry.file.bytes and DONE or EXISTS end
  end
  table.insert(jobs.filtered, entry)
  return DONE
end

---@return integer code
function Jobs.run.export_variance(jobs, now)
  jobs.exported = jobs.model:unacknowledged()
  for _, row in ipairs(jobs.exported) do row.names = jobs.model:names(row.product, now) end
  return DONE
end

-- Why a reset is not applied: its code; nil where it is.
local function verdict(jobs, entry, now)
  for _, cycle in ipairs(jobs.model.cycles) do
    if cycle.snapshot == entry.snapshot and cycle.bytes == entry.file.bytes then return DONE end
  end
  local last = jobs.model:newest()
  if last and entry.snapshot <= last.snapshot then return REFUSED end
  if entry.snapshot > now + AHEAD then return REFUSED end
end

function Jobs:archive(cycle, name)
  table.insert(self.archived, { night = cycle.night, name = name })
end

-- The applied file and what it superseded; a file that is newer still waits for the filter.
function Jobs:put_away_inputs(cycle, entry)
  local newer = {}
  for _, inbound in ipairs(self.inbound) do
    if inbound.snapshot > entry.snapshot then
      newer[#newer + 1] = inbound
    else
      self:archive(cycle, inbound.name)
    end
  end
  self:archive(cycle, entry.name)
  self.inbound, self.filtered = newer, {}
end

---@return integer code
---@return table? cycle  the one that was applied
function Jobs.run.import_reset(jobs, now, item_of)
  local entry = newest(jobs.filtered)
  if not entry then return jobs:idle(now) end
  local code = verdict(jobs, entry, now)
  if code then return code end
  local plan = rules.import(jobs.model, entry.file, now, entry.blocked)
  local cycle = jobs.model:reset(plan.entries, entry.snapshot, now, item_of)
  cycle.bytes, cycle.name = entry.file.bytes, entry.name
  cycle.rejects, cycle.optional, cycle.dropped = plan.rejects, plan.optional, entry.rejects
  jobs:put_away_inputs(cycle, entry)
  return DONE, cycle
end

-- The newest variance file whose query lies in the night of a cycle.
function Jobs:variance_of(cycle)
  local best
  for _, file in ipairs(self.variance) do
    if clock.night(self.model.zone, file.at) == cycle.night and (not best or file.at > best.at) then
      best = file
    end
  end
  return best
end

function Jobs:book(cycle, file, now)
  self.model:settle(cycle, "file", now, file.added)
  cycle.file = file.name
  self:archive(cycle, file.name)
  remove(self.variance, file)
  return DONE, cycle
end

-- Files that turn up once their cycle is settled are only put away.
function Jobs:put_away(cycle)
  local file = self:variance_of(cycle)
  while file do
    self:archive(cycle, file.name)
    remove(self.variance, file)
    file = self:variance_of(cycle)
  end
  return DONE
end

---@return integer code
---@return table? cycle  the one that was settled
function Jobs.run.import_variance(jobs, now)
  local cycle = jobs.model:newest()
  if not cycle then return HELD end
  local tonight, late = jobs:tonight(now), now >= cycle.at + DEADLINE
  local file = tonight and jobs:variance_of(cycle)
  if cycle.settled then return tonight and jobs:put_away(cycle) or HELD end
  if file then return jobs:book(cycle, file, now) end
  if not late then return HELD end
  -- A file of that other night, unedited, may have been used or not: the sums are the same.
  cycle.past = not tonight
  jobs.model:settle(cycle, "deadline", now)
  return DONE, cycle
end

return { new = new }
