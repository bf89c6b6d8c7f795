--- The reset: one filtered file decides the covered pairs' totals, in one transaction that also
--- records the cycle, its coverage and its deductions.
local clock = require "tallyman.clock"
local coverage = require "tallyman.coverage"
local cycle = require "tallyman.cycle"
local exchanges = require "tallyman.exchange"
local failure = require "tallyman.failure"
local guards = require "tallyman.guards"
local lookout = require "tallyman.lookout"
local native_csv = require "native.csv"
local native_file = require "native.file"
local csv_text = require "tallyman.csv_text"
local rows = require "tallyman.rows"
local settle = require "tallyman.settle"
local staging = require "tallyman.staging"
local time = require "tallyman.time"

local reset = {}

local FUTURE = 600 -- seconds that a snapshot may lie ahead of our clock
local SHOWN = 20 -- items of a list that history and report show

local COLUMNS = { "facilityId", "externalFacilityId", "locationSeqId", "idType", "idValue",
  "availableQty" }

local function plan_of(settings)
  local ignored = {}
  for _, facility in ipairs(settings.ignore_facilities) do ignored[facility] = true end
  return { quantity = "availableQty", columns = COLUMNS, ignored = ignored,
    required = { idType = true, idValue = true, availableQty = true } }
end

--- Refuses what the rules of identity refuse; gives the cycle that this file is, if it is applied.
local function check_identity(night, oms, filtered, sha256)
  local applied = cycle.same(oms.db, filtered.snapshot, sha256)
  if applied then return applied end
  local newest = oms:newest_cycle()
  local snapshot = time.text(filtered.snapshot)
  if newest and newest.snapshot == filtered.snapshot
    and not night:override(("cycle %d has this snapshot with other bytes"):format(newest.cycle_id))
  then
    failure.raise(failure.refused, "%s: cycle %d has this snapshot (%s UTC) with other bytes: "
      .. "refused; move it away, or if it is right: --force \"WHY IT IS RIGHT\"", filtered.path,
      newest.cycle_id, snapshot)
  end
  if newest and newest.snapshot > filtered.snapshot then
    failure.raise(failure.refused, "%s: snapshot %s UTC is older than the newest cycle's (%d, %s "
      .. "UTC): refused; move it away", filtered.path, snapshot, newest.cycle_id,
      time.text(newest.snapshot))
  end
  if filtered.snapshot > clock.now() + FUTURE then
    failure.raise(failure.refused, "%s: snapshot %s UTC is in the future: refused; move it, and "
      .. "its inbound file, away: they hide older ones", filtered.path, snapshot)
  end
end

--- Products named in the filter's rejects aren't covered: reads their records by the filtered
--- file's header.
local function lose_rejected(oms, exchange, snapshot, reader)
  local path = oms.settings.filter_rejects:name(snapshot)
  if not exchange:exists(path) then return end
  local source <close> = exchange:read(path)
  -- Quoting may have doubled what the filter took.
  local options = { max_record = 2 * oms.settings.max_record + 4096, delimiter = "," }
  local rejects = rows.open(source, { record = "record" }, { record = true }, path, options)
  options.delimiter = reader.delimiter
  local header = csv_text.line(reader.header, reader.delimiter)
  for reject in rejects:each() do
    local record <close> = failure.check(native_file.text(header .. reject.record .. "\n"))
    local fields = failure.check(native_csv.reader(record, options)):next()
    if fields then
      staging.lose(oms, fields[reader.indexes.idType], fields[reader.indexes.idValue])
    end
  end
end

--- Writes the rejects file from a second look at the filtered file; none is written when there are
--- none, and one that an earlier attempt left goes.
local function write_rejects(oms, exchange, filtered, plan, faults)
  local source <close> = exchange:read(filtered)
  local target <close> = exchange:write(oms.settings.import_rejects:name(filtered.snapshot),
    { replace = true, when_any = true })
  local reader = staging.open(oms, source, plan, filtered.path)
  local first = true
  for row in reader:each() do
    local fault = faults[row.line]
    if fault then
      local column = row.fault_column or reader:column(fault.field)
      failure.check(reader.reader:reject(target.sink, first, column, fault.fault))
      first = false
    end
  end
  target:commit()
end

--- Shortens a list to what the report shows.
local function shorten(list)
  if #list <= SHOWN then return list end
  local short = table.move(list, 1, SHOWN, 1, {})
  short[SHOWN + 1] = ("and %d more"):format(#list - SHOWN)
  return short
end

--- Books the deltas under a physical inventory of this reset.
local function book_deltas(night, oms, filtered)
  local forced = #night.forced > 0 and ("forced: %s; "):format(night.force) or ""
  local comment = oms.cut(("%sReset to %s (counts of %s UTC)"):format(forced, filtered.name,
    time.text(filtered.snapshot)))
  local reset_id = oms:new_physical_inventory(comment)
  oms:ensure_reason("VAR_EXT_RESET", "Reset to the counts of an external system")
  oms:begin_booking()
  oms.db:run([[INSERT INTO tallyman_booking (number, inventory_item_id, units, reason,
      physical_inventory_id, comments, last_seq)
    SELECT p.line, p.item_id, p.delta, 'VAR_EXT_RESET', :reset_id, :comment,
      COALESCE(t.last_seq, 0)
    FROM tallyman_pair p LEFT JOIN tallyman_item t ON t.item_id = p.item_id
    WHERE p.delta <> 0]], { reset_id = reset_id, comment = comment })
  oms:book()
  return reset_id
end

--- Settles the cycle before this one from its deductions, if nobody has; gives what is to be said
--- of it once the guards have let the file pass.
local function settle_newest(night, oms, newest)
  if not newest or newest.settled_at then return end
  local settled = settle.book(oms, night, newest, { by = "next reset" })
  return ("cycle %d was not settled; settled first, from its deductions (%d pairs)"):format(
    newest.cycle_id, settled.booked)
end

--- Computes everything that the reset would do; of the OMS only ids for new items are taken.
local function compute(oms, filtered, counts)
  local figures = { rows = counts.rows, ignored = counts.ignored, file = filtered.path,
    snapshot = time.text(filtered.snapshot) }
  figures.duplicates = coverage.pair_up(oms)
  coverage.look_up(oms)
  local params = coverage.deduct(oms, filtered.snapshot, oms.settings.reset.method)
  figures.created = oms:number_new_items "tallyman_pair"
  figures.covered = oms.db:value "SELECT COUNT(*) FROM tallyman_pair"
  figures.unplaced = oms.db:value("SELECT COUNT(*) FROM tallyman_pair WHERE created = 1 AND "
    .. oms.alien_location)
  figures.changed = oms.db:value "SELECT COUNT(*) FROM tallyman_pair WHERE delta <> 0"
  figures.deducted = oms.db:value "SELECT COUNT(*) FROM tallyman_pair WHERE deduction <> 0"
  local stale = clock.now() - oms.settings.oms.stale_days * 86400
  for name, list in pairs(coverage.doubts(oms, params, stale)) do
    figures[name], figures[name .. "_rows"] = shorten(list), #list
  end
  return figures
end

--- Writes the reset: items, coverage, bookings, cycle.
local function write(night, oms, filtered, sha256, covered)
  local number = cycle.next_number(oms.db)
  oms:insert_items "tallyman_pair"
  coverage.keep(oms, number)
  cycle.insert(oms.db, { cycle_id = number, snapshot = filtered.snapshot, sha256 = sha256,
    file_name = filtered.name, business_date = night.date, method = oms.settings.reset.method,
    reset_at = clock.now(), reset_id = book_deltas(night, oms, filtered), covered = covered })
  return number
end

--- Stages the filtered file: before the transaction, so that no link holds up the shop.
local function stage(oms, exchange, filtered)
  local plan = plan_of(oms.settings)
  local source <close> = exchange:read(filtered, { digest = true })
  local reader = staging.open(oms, source, plan, filtered.path)
  local counts = staging.load(oms, reader, plan)
  lose_rejected(oms, exchange, filtered.snapshot, reader)
  return { plan = plan, counts = counts, sha256 = source:sha256() }
end

--- The reset's transaction.
local function in_transaction(night, oms, exchange, filtered, staged)
  local applied = check_identity(night, oms, filtered, staged.sha256)
  if applied then
    return { already = ("nothing to do: %s is applied as cycle %d"):format(filtered.name,
      applied.cycle_id), cycle = applied.cycle_id }
  end
  staging.resolve(oms, false)
  oms:lock_items() -- before any total or ledger row is read
  local last = oms:newest_cycle()
  local settled = settle_newest(night, oms, last)
  local figures = compute(oms, filtered, staged.counts)
  local faults
  faults, figures.rejected = staging.faults(oms)
  guards.ask(night, lookout.of(night, oms, filtered, figures, last))
  if settled then night:warn("%s", settled) end
  figures.cycle = write(night, oms, filtered, staged.sha256, figures.covered)
  if not night.dry_run then write_rejects(oms, exchange, filtered, staged.plan, faults) end
  return figures
end

--- Says what somebody should look at.
local function warn(night, figures)
  local function about(count, text) if count > 0 then night:warn(text, count) end end
  about(figures.rejected, "%d rows were rejected; see the rejects file")
  about(figures.duplicates, "%d rows said the same again and count once")
  about(figures.unplaced, "%d items were made without the location: it is too long for the OMS")
  about(figures.stale_rows, "%d unacknowledged shipments are stale, and deducted all the same")
  about(figures.uncertain_rows, "%d movements lie within the delay after the snapshot")
  about(figures.timeless_rows, "%d rows of the OMS have no time and count as long ago")
end

--- Applies a filtered file once. Raises (3) what identity or a guard refuses; then the OMS is as it
--- was.
---@param night tallyman.Night
---@param oms tallyman.Oms
---@param exchange tallyman.Exchange
---@param filtered tallyman.Entry with its snapshot
---@return table figures
function reset.apply(night, oms, exchange, filtered)
  local ok, figures = pcall(function()
    local staged = stage(oms, exchange, filtered)
    return oms:import(night, function()
      return in_transaction(night, oms, exchange, filtered, staged)
    end)
  end)
  if not ok and failure.code(figures) == failure.no_input
    and not exchange:exists(filtered.path) then
    return night:no_input(oms.settings.filtered) -- another run applied and archived it meanwhile
  end
  if not ok then error(figures, 0) end
  if not figures.already then warn(night, figures) end
  return figures
end

--- Whether the POS replaced a file after the filter had read it: then nobody has seen it yet.
local function is_unread(night, entry)
  local read = night.store:last_reading("filter_inventory", entry.path)
  return read ~= nil and not exchanges.same(read, entry)
end

--- Archives one file, unless it is one that nobody has read.
local function archive_one(night, exchange, entry)
  if is_unread(night, entry) then
    night:warn("%s was replaced after the filter had read it: not archived, run the filter again",
      entry.path)
  else
    exchange:archive(night.settings, entry, night.date)
  end
end

--- Moves the files of applied resets to the archive: inbound (older ones as superseded), filtered
--- and rejects; prunes archives and history. Doing it again does nothing. The filtered file goes
--- last: as long as it is there, a run that was killed can be done again.
---@param night tallyman.Night
---@param exchange tallyman.Exchange
---@param snapshot integer of the newest applied reset
function reset.archive(night, exchange, snapshot)
  local settings = night.settings
  for _, pattern in ipairs { settings.inbound, settings.filter_rejects, settings.import_rejects,
    settings.filtered } do
    for _, entry in ipairs(exchange:find(pattern, true)) do
      if entry.snapshot <= snapshot then archive_one(night, exchange, entry) end
    end
  end
  exchange:prune(settings, night:keep_from())
  night.store:prune(night:keep_from())
end

return reset
