--- A world's timetable: the real one, on the world's clock, with jobs that run in this process.
local failure = require "tallyman.failure"
local flow = require "tallyman.flow"
local job = require "tallyman.job"
local keeper = require "tallyman.keeper"
local occurrences = require "tallyman.occurrences"
local script = require "tallyman.script"
local store = require "tallyman.store"
local time = require "tallyman.time"
local timetable = require "tallyman.timetable"
local validate = require "tallyman.validate"

local testing_flow = {}

local NAME = "world"

--- Runs jobs at once, in this process. Each one's end is written before start() returns.
local Runner = {}
Runner.__index = Runner

function Runner:start(one, run_id)
  local world = self.world
  world.ran[#world.ran + 1] = one.name
  local context = { settings = world.settings, places = world.places }
  function context.make_keys(name)
    local outcome = job.run(world.flow.jobs[name], context)
    if outcome.code ~= 0 then failure.raise(outcome.code, "%s", outcome.message) end
  end
  package.loaded.settings = world.settings
  job.run(one, context, nil, run_id)
end

function Runner:lives() return false end
function Runner:stop() end

--- The keeper of the world's timetable, made when it is first needed.
local function keeper_of(world)
  if world.flow then return world.flow.keeper end
  world.flow = { jobs = {}, names = {},
    store = store.open(world.settings.state, world.settings.store) }
  world.flow.keeper = keeper.new { flow = { flow = NAME, jobs = world.flow.names,
      retry = flow.RETRY }, jobs = world.flow.jobs, zone = world.settings.timezone,
    store = world.flow.store, runner = setmetatable({ world = world }, Runner),
    tell = function(event, occurrence, text)
      table.insert(world.told, ("%s: %s%s"):format(occurrence.job, event,
        text ~= "" and ": " .. text or ""))
    end }
  return world.flow.keeper
end

local function add(world, one)
  if not world.flow.jobs[one.name] then table.insert(world.flow.names, one.name) end
  world.flow.jobs[one.name] = one
end

--- Loads a job or a flow.
---@param world tallyman.World
---@param path string
function testing_flow.load(world, path)
  local kept = keeper_of(world)
  package.loaded.settings = world.settings
  local value = assert(script.compile(path))()
  if not script.is_flow(value) then return add(world, script.load_job(path)) end
  script.check(value, path)
  kept.flow.retry, kept.zone = value.retry or flow.RETRY, value.timezone or kept.zone
  for _, name in ipairs(value.jobs) do
    add(world, script.load_job(("%s/%s.lua"):format(script.folder(path), name)))
  end
  flow.check_jobs(value, world.flow.jobs, script.folder(path))
end

--- Lets time pass.
---@param world tallyman.World
---@param duration string|number
function testing_flow.advance(world, duration)
  local seconds = validate.seconds(duration)
  if not seconds then error(validate.duration(duration), 3) end
  local kept, goal = keeper_of(world), world.time + seconds
  while true do
    local wake = kept:step(world.time)
    if wake > goal then break end
    world.time = math.max(wake, world.time)
  end
  world.time = math.max(goal, world.time) -- a job may have slept
end

--- Lets a job have succeeded tonight.
---@param world tallyman.World
---@param name string
function testing_flow.succeed(world, name)
  local kept = keeper_of(world)
  local night = time.night(world.time, kept.zone)
  local occurrence = { flow = NAME, night = night, job = name, turn = 0, attempts = 0,
    due_at = world.time, deadline = world.time + 1 }
  local one = world.flow.jobs[name]
  if one then occurrence.deadline = timetable.deadline(one, night, kept.zone) end
  occurrences.add(world.flow.store, occurrence)
  occurrence.state, occurrence.final, occurrence.ended_at = "done", true, world.time
  occurrences.save(world.flow.store, occurrence)
end

--- Ends it.
---@param world tallyman.World
function testing_flow.close(world) if world.flow then world.flow.store:close() end end

return testing_flow
