--- The night's report, as text for a person.
local clock = require "tallyman.clock"
local cycle = require "tallyman.cycle"
local figures = require "tallyman.figures"
local failure = require "tallyman.failure"
local oms = require "tallyman.oms"
local proof = require "tallyman.proof"
local store = require "tallyman.store"
local time = require "tallyman.time"

local report = {}

local LISTS = { { "alerts", "ALERT" }, { "warnings", "warning" }, { "stale", "stale shipment" },
  { "uncertain", "uncertain" }, { "timeless", "without a time" },
  { "guards_off", "guard not asked" }, { "forced", "forced" } }

local function add_job(lines, name, run, zone)
  if not run then
    lines[#lines + 1] = ("  %-16s not run"):format(name)
    return
  end
  local said = (run.message or figures.text(run.figures)):gsub("\n", "\n      ")
  lines[#lines + 1] = ("  %-16s %-7s %s  %s"):format(name, run.state,
    time.text(time.read(run.started_at), zone):sub(12), said)
  if run.figures.force then lines[#lines + 1] = "    --force: " .. run.figures.force end
  for _, list in ipairs(LISTS) do
    for _, text in ipairs(run.figures[list[1]] or {}) do
      lines[#lines + 1] = ("    %s: %s"):format(list[2], text)
    end
  end
end

local function add_proof(lines, orders, tonight)
  local result = proof.of(orders, tonight)
  lines[#lines + 1] = ("proof: %d covered pairs and %d items checked, %d fail"):format(result.pairs,
    result.items, #result.failures)
  for _, text in ipairs(result.failures) do lines[#lines + 1] = "  FAILS: " .. text end
  lines[#lines + 1] = "  known limits: these data can't tell a stocktake in the POS after an"
  lines[#lines + 1] = "  unacknowledged shipment, nor a return that the POS never learns of"
  return #result.failures
end

--- Says of undone cycles why, and proves that nothing of theirs is left; gives the failures.
local function add_undone(lines, orders, date)
  local failures = 0
  for _, undone in ipairs(cycle.undone_of_night(orders.db, date)) do
    local result = proof.of_undone(orders, undone)
    lines[#lines + 1] = ("cycle %d: %s, undone at %s UTC: %s"):format(undone.cycle_id,
      undone.file_name, undone.undone_at, result.comment)
    lines[#lines + 1] = ("proof: what it booked on %d items is taken back, %d fail"):format(
      result.items, #result.failures)
    for _, text in ipairs(result.failures) do lines[#lines + 1] = "  FAILS: " .. text end
    failures = failures + #result.failures
  end
  return failures
end

local function add_cycle(lines, orders, date, applied)
  local tonight = cycle.of_night(orders.db, date)
  local number = applied and applied.state == "done" and applied.figures.cycle
  if number and not cycle.by_number(orders.db, number) then
    lines[#lines + 1] = ("cycle %d: its reset is done, and it is gone from the OMS"):format(number)
    return 1
  end
  if not tonight then
    lines[#lines + 1] = "cycle: none tonight: no reset was applied, so no variance may be booked"
    return 0
  end
  lines[#lines + 1] = ("cycle %d: %s, counts of %s UTC, %s, reset at %s UTC, %s"):format(
    tonight.cycle_id, tonight.file_name, time.text(tonight.snapshot), tonight.method,
    time.text(tonight.reset_at), tonight.settled_at
      and ("variance booked at %s UTC (by %s)"):format(tonight.settled_at, tonight.settled_by)
      or "variance not booked yet")
  return add_proof(lines, orders, tonight)
end

--- The report of one night.
---@param flow tallyman.Flow
---@param settings tallyman.Settings
---@param date string YYYY-MM-DD
---@param given? tallyman.Oms a rehearsal's, which stays open
---@return string text, integer? failures of the proof; nil where the OMS can't be asked
---@return integer? code then: that of the failure
function report.text(flow, settings, date, given)
  local lines = { ("night of %s, flow %s"):format(date, flow.flow) }
  if clock.is_set() then
    lines[#lines + 1] = ("  THE CLOCK IS SET by TALLYMAN_NOW: now %s UTC")
      :format(time.text(clock.now()))
  end
  local history <close> = store.open(settings.state, settings.store)
  for _, name in ipairs(flow.jobs) do
    add_job(lines, name, history:last(name, date), settings.timezone)
  end
  local ok, failures = failure.catch(function()
    local orders <close> = given or oms.open(settings)
    return add_undone(lines, orders, date)
      + add_cycle(lines, orders, date, history:last("import_reset", date))
  end)
  if not ok then lines[#lines + 1] = "cycle: unknown: " .. tostring(failures) end
  if ok then return table.concat(lines, "\n"), failures end
  return table.concat(lines, "\n"), nil, failure.code(failures)
end

return report
