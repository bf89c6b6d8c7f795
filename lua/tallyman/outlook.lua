--- What a person asks of a flow: when its jobs are due, and what has become of them.
local clock = require "tallyman.clock"
local figures = require "tallyman.figures"
local occurrences = require "tallyman.occurrences"
local processes = require "tallyman.processes"
local store = require "tallyman.store"
local time = require "tallyman.time"
local timetable = require "tallyman.timetable"
local turn = require "tallyman.turn"

local outlook = {}

--- A local time, with the date where it isn't that of the night's morning.
local function at(instant, zone, date)
  local text = time.text(instant, zone)
  return text:sub(1, 10) == date and text:sub(12) or text
end

--- What a job waits for, in words.
local function conditions(job)
  local words = {}
  if job.after then words[1] = "after " .. table.concat(job.after, ", ") end
  if job.wait then words[#words + 1] = ("%s later"):format(job.wait) end
  if job.every then words[#words + 1] = "every " .. job.every end
  if job.anyway then words[#words + 1] = "anyway" end
  return table.concat(words, ", ")
end

--- The timetable of a night.
---@param loaded table flow, jobs, settings
---@param date string
---@return string
function outlook.plan(loaded, date)
  local zone = loaded.flow.timezone or loaded.settings.timezone
  local from, to = time.night_bounds(date, zone)
  local lines = { ("night of %s, flow %s, zone %s"):format(date, loaded.flow.flow,
    zone or "the system's") }
  if to - from ~= 86400 then
    lines[1] = ("%s: the clocks change, it lasts %g hours"):format(lines[1], (to - from) / 3600)
  end
  for _, name in ipairs(loaded.flow.jobs) do
    local job = loaded.jobs[name]
    local text = "not tonight"
    if timetable.runs_on(job, date) then
      text = ("%-19s until %-19s  %s"):format(
        job.at and at(timetable.due(job, date, zone), zone, date) or "-",
        at(timetable.deadline(job, date, zone), zone, date), conditions(job))
    end
    lines[#lines + 1] = ("  %-16s %s"):format(name, text):gsub("%s+$", "")
  end
  return table.concat(lines, "\n")
end

--- Who runs it, in words; nothing where nobody has begun it.
local function runner_of(run, history)
  if not run.process then return "" end
  local gone = not history:is_elsewhere(run.process) and not processes.find(run.process)
  return (", %s%s"):format(processes.text(run.process), gone and ", which is gone" or "")
end

--- One occurrence in words; its job is nil when the flow has it no more.
local function state_of(occurrence, job, zone, date, history)
  if occurrence.state == "waiting" then
    return "waiting", occurrence.due_at > clock.now()
      and "due at " .. at(occurrence.due_at, zone, date) or job and conditions(job) or ""
  end
  local words = {}
  if occurrence.ended_at then words[1] = at(occurrence.ended_at, zone, date) end
  local run = occurrence.run_id and history:run_by_id(occurrence.run_id)
  if occurrence.state == "running" and run then
    words[1] = ("since %s%s"):format(at(time.read(run.started_at), zone, date),
      runner_of(run, history))
  elseif occurrence.state == "done" and run then
    words[#words + 1] = figures.text(run.figures)
  elseif occurrence.reason then
    words[#words + 1] = occurrence.reason
  end
  if occurrence.next_at and not occurrence.final then
    words[#words + 1] = "tried again at " .. at(occurrence.next_at, zone, date)
  end
  if occurrence.attempts > 1 then words[#words + 1] = occurrence.attempts .. " attempts" end
  return occurrence.state, table.concat(words, "; ")
end

--- What has become of a night's jobs.
---@param loaded table flow, jobs, settings
---@param date string
---@return string
function outlook.status(loaded, date)
  local zone = loaded.flow.timezone or loaded.settings.timezone
  local history <close> = store.look(loaded.settings.state, loaded.settings.store)
  local kept_by = turn.holder(history, loaded.flow.flow)
  local lines = { ("night of %s, flow %s, %s"):format(date, loaded.flow.flow, kept_by
    and "kept by " .. processes.text(kept_by) or "kept by nobody") }
  local newest, seen = occurrences.of_night(history, loaded.flow.flow, date), {}
  local function add(name, state, text)
    seen[name] = true
    local line = ("  %-16s %-8s %s"):format(name, state, text)
    lines[#lines + 1] = line:gsub("%c+", " "):gsub("%s+$", "")
  end
  for _, name in ipairs(loaded.flow.jobs) do
    if newest[name] then
      add(name, state_of(newest[name], loaded.jobs[name], zone, date, history))
    else
      add(name, "-", timetable.runs_on(loaded.jobs[name], date) and "not looked at yet"
        or "not tonight")
    end
  end
  for name, row in pairs(newest) do -- of a flow that had other jobs then
    if not seen[name] then add(name, state_of(row, nil, zone, date, history)) end
  end
  return table.concat(lines, "\n")
end

return outlook
