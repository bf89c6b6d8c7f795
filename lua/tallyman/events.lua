--- What somebody is to be told of: written in the store together with what it tells of, so that it
--- is told once, whatever is killed in between.
local time = require "tallyman.time"

---@alias tallyman.EventKind
---| "failed"|"refused"|"held"|"missed"|"alert"|"recovered" # of a job
---| "good"|"bad"|"proof"|"unproven" # of a night as a whole

---@class tallyman.Event
---@field event_id integer
---@field flow string
---@field night string
---@field job string "" for the night as a whole
---@field kind tallyman.EventKind
---@field text string
---@field happened_at string UTC

local events = {}

--- What is wrong until the job succeeds.
local TROUBLE = { failed = true, refused = true, held = true, missed = true }
--- What is told of.
local TOLD = { failed = true, refused = true, held = true, missed = true, alert = true,
  recovered = true }

local function insert(store, of, now, kind, text)
  store.db:run([[INSERT INTO event (flow, night, job, turn, kind, text, happened_at)
    VALUES (:flow, :night, :job, :turn, :kind, :text, :now)]],
    { flow = of.flow, night = of.night, job = of.job, turn = of.turn, kind = kind, text = text,
      now = time.text(now) })
end

--- The kind of a job's newest event.
local function last_kind(store, of)
  return store.db:value([[SELECT kind FROM event WHERE flow = :flow AND job = :job
    ORDER BY event_id DESC LIMIT 1]], { flow = of.flow, job = of.job })
end

--- Adds what an occurrence's end is to be told by: nothing for a success, unless the job was in
--- trouble before; nothing for one that was skipped, since what it waited for is told of.
---@param store tallyman.Store
---@param occurrence tallyman.Occurrence
---@param now number
---@param kind string its state, or "alert"
---@param text string
function events.add(store, occurrence, now, kind, text)
  local recovered = (kind == "done" or kind == "alert") and TROUBLE[last_kind(store, occurrence)]
  if TOLD[kind] then insert(store, occurrence, now, kind, text) end
  if recovered then insert(store, occurrence, now, "recovered", "done again") end
end

--- Adds, once, what is to be told of a night as a whole.
---@param store tallyman.Store
---@param flow string
---@param night string
---@param now number
---@param kind "proof"|"unproven"
---@param text string
function events.add_of_night(store, flow, night, now, kind, text)
  store:change(function()
    local there = store.db:value([[SELECT 1 FROM event WHERE flow = :flow AND night = :night
      AND kind = :kind]], { flow = flow, night = night, kind = kind })
    if there then return end
    insert(store, { flow = flow, night = night, job = "", turn = 0 }, now, kind, text)
  end)
end

--- Writes, once, of each night whose jobs are all over, that it is: "good" where every one is done.
--- Jobs that come again and again count by their first turn.
---@param store tallyman.Store
---@param flow string
---@param now number
function events.close_nights(store, flow, now)
  store.db:run([[INSERT INTO event (flow, night, job, turn, kind, text, happened_at)
    SELECT flow, night, '', 0,
      CASE WHEN SUM(CASE WHEN state = 'done' THEN 1 ELSE 0 END) = COUNT(*) THEN 'good'
        ELSE 'bad' END, '', :now
    FROM occurrence o WHERE flow = :flow AND turn = 0 AND NOT EXISTS (SELECT 1 FROM event e
      WHERE e.flow = o.flow AND e.night = o.night AND e.kind IN ('good', 'bad'))
    GROUP BY flow, night HAVING SUM(final) = COUNT(*)]], { flow = flow, now = time.text(now) })
end

--- Those since an instant that a channel hasn't told of yet, oldest first.
---@param store tallyman.Store
---@param flow string
---@param channel "command"|"webhook"
---@param from number
---@return tallyman.Event[]
function events.untold(store, flow, channel, from)
  return store.db:all(([[SELECT * FROM event WHERE flow = :flow AND %s_at IS NULL
    AND kind NOT IN ('good', 'bad') AND happened_at >= :from ORDER BY event_id]]):format(channel),
    { flow = flow, from = time.text(from) })
end

--- A night that is over, since an instant, and hasn't been proven and told of: its event.
---@param store tallyman.Store
---@param flow string
---@param from number
---@return tallyman.Event?
function events.closed_night(store, flow, from)
  return store.db:one([[SELECT * FROM event WHERE flow = :flow AND kind IN ('good', 'bad')
    AND webhook_at IS NULL AND happened_at >= :from ORDER BY event_id LIMIT 1]],
    { flow = flow, from = time.text(from) })
end

--- Marks events as told by a channel.
---@param store tallyman.Store
---@param list tallyman.Event[]
---@param channel "command"|"webhook"
---@param now number
function events.mark(store, list, channel, now)
  for _, event in ipairs(list) do
    store.db:run(("UPDATE event SET %s_at = :now WHERE event_id = :id"):format(channel),
      { now = time.text(now), id = event.event_id })
  end
end

--- The jobs that are in trouble still, since an instant: the newest event of each that is in any.
---@param store tallyman.Store
---@param flow string
---@param from number
---@return tallyman.Event[]
function events.troubles(store, flow, from)
  local found = {}
  for _, event in ipairs(store.db:all([[SELECT * FROM event e WHERE flow = :flow AND job <> ''
    AND happened_at >= :from AND NOT EXISTS (SELECT 1 FROM event o
      WHERE o.flow = e.flow AND o.job = e.job AND o.event_id > e.event_id AND o.kind <> 'alert')
    ORDER BY event_id]], { flow = flow, from = time.text(from) })) do
    if TROUBLE[event.kind] then found[#found + 1] = event end
  end
  return found
end

return events
