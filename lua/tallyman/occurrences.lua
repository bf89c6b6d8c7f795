--- Occurrences in the store: each job of a flow has one a night (one a turn, with `every`), and
--- what happens to it is written here before it happens. A row's `final` says that nothing will.
local db = require "tallyman.db"
local time = require "tallyman.time"

---@class tallyman.Occurrence
---@field flow string
---@field night string
---@field job string
---@field turn integer 0, but for jobs with `every`
---@field state "waiting"|"running"|"done"|"held"|"refused"|"failed"|"missed"|"skipped"
---@field final boolean
---@field due_at number instant
---@field deadline number instant
---@field attempts integer runs that were started
---@field run_id? string the newest of them
---@field next_at? number not before this instant
---@field ended_at? number instant
---@field reason? string why it is as it is

local occurrences = {}

local INSTANTS = { "due_at", "deadline", "next_at", "ended_at" }

local function read(row)
  for _, name in ipairs(INSTANTS) do row[name] = row[name] and time.read(row[name]) end
  row.final = row.final == 1
  return row
end

local function all(store, condition, params)
  local found = store.db:all("SELECT * FROM occurrence WHERE " .. condition
    .. " ORDER BY night, due_at, rowid", params)
  for _, row in ipairs(found) do read(row) end
  return found
end

--- Adds an occurrence, unless it is there.
---@param store tallyman.Store
---@param fields table flow, night, job, turn, due_at, deadline
function occurrences.add(store, fields)
  store.db:run([[INSERT INTO occurrence (flow, night, job, turn, state, final, due_at, deadline,
      attempts)
    VALUES (:flow, :night, :job, :turn, 'waiting', 0, :due_at, :deadline, 0)
    ON CONFLICT DO NOTHING]], { flow = fields.flow, night = fields.night, job = fields.job,
      turn = fields.turn, due_at = time.text(fields.due_at),
      deadline = time.text(fields.deadline) })
end

--- Lets an occurrence that nobody has begun follow a timetable that was changed.
---@param store tallyman.Store
---@param occurrence tallyman.Occurrence
---@param due_at number
---@param deadline number
function occurrences.move(store, occurrence, due_at, deadline)
  occurrence.due_at, occurrence.deadline = due_at, deadline
  store.db:run([[UPDATE occurrence SET due_at = :due_at, deadline = :deadline
    WHERE flow = :flow AND night = :night AND job = :job AND turn = :turn]],
    { flow = occurrence.flow, night = occurrence.night, job = occurrence.job,
      turn = occurrence.turn, due_at = time.text(due_at), deadline = time.text(deadline) })
end

--- Writes an occurrence as it is now.
---@param store tallyman.Store
---@param occurrence tallyman.Occurrence
function occurrences.save(store, occurrence)
  local function text(instant) return instant and time.text(instant) or db.null end
  store.db:run([[UPDATE occurrence SET state = :state, final = :final, attempts = :attempts,
      run_id = :run_id, next_at = :next_at, ended_at = :ended_at, reason = :reason
    WHERE flow = :flow AND night = :night AND job = :job AND turn = :turn]],
    { flow = occurrence.flow, night = occurrence.night, job = occurrence.job,
      turn = occurrence.turn, state = occurrence.state, final = occurrence.final and 1 or 0,
      attempts = occurrence.attempts, run_id = occurrence.run_id or db.null,
      next_at = text(occurrence.next_at), ended_at = text(occurrence.ended_at),
      reason = occurrence.reason or db.null })
end

--- Those of a flow that aren't over, up to a night: later ones are there when a clock was set back.
---@param store tallyman.Store
---@param flow string
---@param night string
---@return tallyman.Occurrence[]
function occurrences.open(store, flow, night)
  return all(store, "flow = :flow AND final = 0 AND night <= :night",
    { flow = flow, night = night })
end

--- The newest turn of each job in a night, by the jobs' names.
---@param store tallyman.Store
---@param flow string
---@param night string
---@return table<string, tallyman.Occurrence>
function occurrences.of_night(store, flow, night)
  local newest = {}
  for _, row in ipairs(all(store, "flow = :flow AND night = :night",
    { flow = flow, night = night })) do
    local before = newest[row.job]
    if not before or before.turn < row.turn then newest[row.job] = row end
  end
  return newest
end

return occurrences
