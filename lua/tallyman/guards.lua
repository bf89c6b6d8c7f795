--- Guards: rules that look at a reset before it is applied. Each is a pure function: figures in, a
--- verdict out. Their limits stand in the settings; a shop's own guards are functions there, which
--- get the same figures and give nil, or a text that says why this file must not become the shop.
local copy = require "tallyman.copy"
local failure = require "tallyman.failure"
local quantity = require "tallyman.quantity"

local guards = {}

---@class tallyman.ResetFigures what a reset would do
---@field rows integer rows of the filtered file
---@field rejected integer rows rejected by themselves
---@field ignored integer rows of ignored facilities
---@field covered integer pairs
---@field changed integer pairs whose delta isn't 0
---@field created integer inventory items to be made
---@field snapshot string UTC
---@field file string
---@field age number seconds since the snapshot
---@field read? integer rows of the inbound file; nil where nothing is known of it
---@field kept integer rows that the filter kept
---@field broken integer records that the filter rejected
---@field line_end? boolean whether the inbound file's last row had a line end
---@field missing string[] facilities of the last reset that no row names
---@field in_stock integer covered pairs that have stock now
---@field to_zero integer those of them that would have none
---@field known integer covered pairs that have an item
---@field far integer those of them that would change by more than guards.change.by
---@field last? { read?: integer, kept?: integer, line_end?: boolean } the last good night's file
---@field worst table[] the pairs that would change most: product_id, facility_id, old, new (units)

--- Rules over a share of a whole in percent; those with `least` want at least the limit.
local SHARES = {
  rows = { least = true, text = "%d rows in the inbound file, the last one had %d",
    of = function(figures) return figures.read, figures.last and figures.last.read end },
  kept = { least = true, text = "%d rows of active products, the last file had %d",
    of = function(figures) return figures.kept, figures.last and figures.last.kept end },
  zero = { text = "%d of %d pairs in stock go to zero",
    of = function(figures) return figures.to_zero, figures.in_stock end },
  change = { text = "%d of %d pairs change by more than {by}",
    of = function(figures) return figures.far, figures.known end },
  rejects = { text = "%d of %d rows are rejected", of = function(figures)
    return figures.rejected + figures.broken, figures.rows + figures.broken
  end },
}

--- Rules that are kept or broken; each gives a text when it is broken.
local FACTS = {
  line_end = function(figures)
    if figures.line_end == false and figures.last and figures.last.line_end then
      return "the inbound file's last row has no line end, the last file's had one: cut off?"
    end
  end,
  facilities = function(figures)
    if #figures.missing > 0 then
      return ("no row of %s, which the last reset covered"):format(
        table.concat(figures.missing, ", "))
    end
  end,
}

--- The shipped guards, in the order of their verdicts.
guards.names = { "line_end", "rows", "kept", "facilities", "zero", "change", "age", "rejects" }

--- The level whose limit is passed: "refuse" before "warn"; nil when none is.
local function level_of(limit, passes)
  for _, level in ipairs { "refuse", "warn" } do
    if limit[level] and passes(limit[level]) then return level, limit[level] end
  end
end

--- A number without a superfluous fraction.
local function short(number) return (("%.1f"):format(number):gsub("%.0$", "")) end

--- Seconds as h:mm:ss.
local function clock_text(seconds)
  local whole = math.floor(seconds)
  return ("%d:%02d:%02d"):format(whole // 3600, whole // 60 % 60, whole % 60)
end

--- A verdict on a share; it takes more than a few to tell.
local function judge_share(rule, limit, figures, few)
  local part, whole = rule.of(figures)
  if not part or not whole or whole < math.max(few, 1) then return nil end
  local level, passed = level_of(limit, function(percent)
    if rule.least then return part * 100 < percent * whole end
    return part * 100 > percent * whole
  end)
  if not level then return nil end
  local text = rule.text:format(part, whole):gsub("{by}", tostring(limit.by))
  return level, ("%s: %s %%, %s is %s %%"):format(text, short(part * 100 / whole),
    rule.least and "the least" or "the most", short(passed))
end

local function judge_age(limit, figures)
  local level, passed = level_of(limit, function(most) return figures.age > most end)
  if not level then return nil end
  return level, ("the snapshot, %s UTC, is %s old, the most is %s"):format(figures.snapshot,
    clock_text(figures.age), clock_text(passed))
end

--- One shipped guard's verdict: a level and a text, or nothing.
local function judge(name, limit, figures, few)
  if name == "age" then return judge_age(limit, figures) end
  if SHARES[name] then return judge_share(SHARES[name], limit, figures, few) end
  local text = FACTS[name](figures)
  if text then return limit, text end
end

---@class tallyman.Verdict
---@field name string of the guard; "1", "2", ... those of the shop
---@field level "warn"|"refuse"
---@field text string

--- What all guards say of a reset.
---@param limits table settings.guards
---@param figures tallyman.ResetFigures
---@return tallyman.Verdict[] verdicts, string[] off names of the guards that are switched off
function guards.judge(limits, figures)
  local verdicts, off = {}, {}
  for _, name in ipairs(guards.names) do
    if limits[name] then
      local level, text = judge(name, limits[name], figures, limits.few or 0)
      if level then verdicts[#verdicts + 1] = { name = name, level = level, text = text } end
    else
      off[#off + 1] = name
    end
  end
  for i, guard in ipairs(limits) do
    local text = guard(copy(figures)) -- which it may do with what it likes
    if text then verdicts[#verdicts + 1] = { name = tostring(i), level = "refuse", text = text } end
  end
  return verdicts, off
end

--- The pairs that would change most, a line each.
local function lines_of(worst)
  local lines = {}
  for _, pair in ipairs(worst) do
    lines[#lines + 1] = ("  product %s at %s: %s -> %s"):format(pair.product_id, pair.facility_id,
      quantity.text(pair.old), quantity.text(pair.new))
  end
  return lines
end

local function refuse(figures, refusals)
  local lines = {}
  for _, verdict in ipairs(refusals) do
    lines[#lines + 1] = ("guard %s refuses %s: %s"):format(verdict.name, figures.file, verdict.text)
  end
  if #figures.worst > 0 then
    lines[#lines + 1] = "the pairs that would change most:"
    table.move(lines_of(figures.worst), 1, #figures.worst, #lines + 1, lines)
  end
  lines[#lines + 1] = "nothing was changed; if the file is right: --force \"WHY IT IS RIGHT\""
  failure.raise(failure.refused, "%s", table.concat(lines, "\n"))
end

--- Asks every guard; where one refuses, and nobody orders the file through, raises (3), and nothing
--- has been changed.
---@param night tallyman.Night
---@param figures tallyman.ResetFigures
function guards.ask(night, figures)
  if os.getenv "TALLYMAN_GUARDS" == "off" then
    night.guards_off = { "all of them" }
    return night:warn "THE GUARDS ARE OFF by TALLYMAN_GUARDS: no file is refused for its figures"
  end
  local verdicts, off = guards.judge(night.settings.guards, figures)
  local refusals = {}
  night.guards_off = off
  if figures.last and not (figures.read and figures.last.read) then
    off[#off + 1] = ("rows%s and line_end: the history doesn't know this file, or the last one")
      :format(figures.last.kept and "" or ", kept")
  end
  for _, verdict in ipairs(verdicts) do
    if verdict.level == "warn" then
      night:warn("guard %s: %s", verdict.name, verdict.text)
    elseif not night:override(("guard %s: %s"):format(verdict.name, verdict.text)) then
      refusals[#refusals + 1] = verdict
    end
  end
  if #refusals > 0 then refuse(figures, refusals) end
end

return guards
