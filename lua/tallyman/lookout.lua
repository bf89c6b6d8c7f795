--- What the guards look at: the figures of a reset that is computed and not yet written, beside
--- those of the last good night, which is that of the newest cycle that wasn't undone.
local clock = require "tallyman.clock"

local lookout = {}

local WORST = 10 -- pairs that a refusal names
local MOST = 1000000000 -- no pair changes by more

--- What the filter found when it made a filtered file; nothing where this host's history doesn't
--- know.
local function filtering(night, name)
  return night.store:last_making("filter_inventory", night.settings.filtered.folder .. "/" .. name)
    or {}
end

--- Facilities that the newest cycle covers and no row names, but for those that the settings leave
--- out.
local function missing_facilities(oms, last)
  local missing, ignored = {}, {}
  if not last then return missing end
  for _, id in ipairs(oms.settings.ignore_facilities) do ignored[id] = true end
  for row in oms:rows([[SELECT DISTINCT c.facility_id, f.external_id FROM tallyman_coverage c
    LEFT JOIN facility f ON f.facility_id = c.facility_id
    WHERE c.cycle_id = :cycle_id
      AND NOT EXISTS (SELECT 1 FROM tallyman_row r WHERE r.facility_id = c.facility_id)
    ORDER BY c.facility_id]], { cycle_id = last.cycle_id }) do
    if not ignored[row.facility_id] and not ignored[row.external_id or false] then
      missing[#missing + 1] = row.facility_id
    end
  end
  return missing
end

--- The pairs, by what they have now and would have.
local function look_at_pairs(oms, seen, by)
  local now = oms.settings.reset.method == "exact_qoh" and "qoh" or "atp"
  local counts = oms.db:one(([[SELECT
      COALESCE(SUM(CASE WHEN NOW > 0 THEN 1 ELSE 0 END), 0) AS in_stock,
      COALESCE(SUM(CASE WHEN NOW > 0 AND units <= 0 THEN 1 ELSE 0 END), 0) AS to_zero,
      COUNT(*) AS known, COALESCE(SUM(CASE WHEN ABS(delta) > :by THEN 1 ELSE 0 END), 0) AS far
    FROM tallyman_pair WHERE created = 0]]):gsub("NOW", now), { by = math.floor(by * 1000000) })
  for name, value in pairs(counts) do seen[name] = value end
  seen.worst = oms.db:all((([[SELECT product_id, facility_id, NOW AS old, units AS new
    FROM tallyman_pair WHERE delta <> 0
    ORDER BY ABS(delta) DESC, facility_id, product_id LIMIT ]] .. WORST):gsub("NOW", now)))
end

--- The figures that guards get.
---@param night tallyman.Night
---@param oms tallyman.Oms
---@param filtered tallyman.Entry
---@param figures table what reset.lua computed
---@param last? tallyman.Cycle the newest before this reset
---@return tallyman.ResetFigures
function lookout.of(night, oms, filtered, figures, last)
  local seen, limits = {}, night.settings.guards
  for name, value in pairs(figures) do seen[name] = value end
  local made = filtering(night, filtered.name)
  seen.read, seen.line_end = made.read, made.last_line_end
  seen.kept, seen.broken = made.kept or figures.rows, made.rejected or 0
  seen.age = clock.now() - filtered.snapshot
  seen.missing = missing_facilities(oms, last)
  look_at_pairs(oms, seen, limits.change and limits.change.by or MOST)
  if last then
    local before = filtering(night, last.file_name)
    seen.last = { read = before.read, kept = before.kept, line_end = before.last_line_end }
  end
  return seen
end

return lookout
