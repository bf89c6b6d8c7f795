--- Checks tables that people write (settings, jobs, flows) against a shape, and says every problem
--- with its file and line.
local clock = require "native.clock"
local suggest = require "tallyman.suggest"

---@class tallyman.Shape
---@field type string Lua types that are allowed, as "string|nil"
---@field fields? table<string, tallyman.Shape> for tables with known names
---@field items? tallyman.Shape for the list in a table that has known names, too
---@field each? tallyman.Shape for lists and for tables with free names
---@field free? boolean a table with free names, not a list
---@field check? fun(value: any): string? says what is wrong with a value of the right type

local validate = {}

--- Seconds of a duration: a number, or text such as "90s", "3h", "1h30m".
---@param value any
---@return number? seconds nil when it is no duration
function validate.seconds(value)
  if type(value) == "number" then return value >= 0 and value or nil end
  if type(value) ~= "string" or value == "" then return nil end
  local units, total = { d = 86400, h = 3600, m = 60, s = 1 }, 0
  local rest = value:gsub("(%d+)([dhms])", function(number, unit)
    total = total + tonumber(number) * units[unit]
    return ""
  end)
  return rest == "" and total or nil
end

--- Bytes of a size: a number, or text such as "512k", "300m", "1g".
---@param value any
---@return integer? bytes nil when it is no size
function validate.bytes(value)
  if type(value) == "number" then return value >= 0 and math.tointeger(value) or nil end
  local number, unit = tostring(value):match "^(%d+)([kmg]?)$"
  local factors = { [""] = 1, k = 1024, m = 1024 ^ 2, g = 1024 ^ 3 }
  return number and math.tointeger(tonumber(number) * factors[unit])
end

--- A shape's check for sizes.
---@param value any
---@return string?
function validate.size(value)
  if not validate.bytes(value) then
    return ("'%s' is no size; write 1000000 (bytes), '300m' or '1g'"):format(tostring(value))
  end
end

--- A shape's check for durations.
---@param value any
---@return string?
function validate.duration(value)
  if not validate.seconds(value) then
    return ("'%s' is no duration; write 90 (seconds), '15m' or '1h30m'"):format(tostring(value))
  end
end

--- A shape's check for time zones: the system must know them.
---@param value string
---@return string?
function validate.zone(value)
  local offset, message = clock.offset(0, value)
  return not offset and message or nil
end

--- A shape's check for numbers that may not be negative.
---@param value number
---@return string?
function validate.not_negative(value)
  if value < 0 then return ("%s is negative"):format(value) end
end

--- A shape's check for lists that may not be empty.
---@param what string one of them, in words
---@return fun(list: table): string?
function validate.at_least_one(what)
  return function(list)
    if #list == 0 then return "must name at least one " .. what end
  end
end

--- Hour, minute and second of a time of day such as "01:30" or "01:30:15"; nil when it is none.
---@param value string
---@return integer? hour, integer? minute, integer? second
function validate.clock_time(value)
  local hour, minute, rest = value:match "^(%d%d):(%d%d)(.*)$"
  local second = rest and (rest == "" and "0" or rest:match "^:(%d%d)$")
  if not second or tonumber(hour) > 23 or tonumber(minute) > 59 or tonumber(second) > 59 then
    return nil
  end
  return math.tointeger(tonumber(hour)), math.tointeger(tonumber(minute)),
    math.tointeger(tonumber(second))
end

--- A shape's check for local times of day.
---@param value string
---@return string?
function validate.time_of_day(value)
  if not validate.clock_time(value) then
    return ("'%s' is no time of day; write it as '01:30'"):format(value)
  end
end

--- The line of a Lua source on which the innermost name of a path is set; nil when not found.
---@param path string[] names from the outermost in
---@param source? string the file's text
---@return integer?
local function line_of(path, source)
  local at = 1
  for _, name in ipairs(path) do
    if type(name) == "string" then
      local escaped = name:gsub("%p", "%%%0")
      at = source and at and source:find("%f[%w_]" .. escaped .. "%f[^%w_]%s*=", at)
    end
  end
  if not at or #path == 0 then return nil end
  return select(2, source:sub(1, at):gsub("\n", "\n")) + 1
end

---@class tallyman.Place
---@field file string what messages call the file
---@field source? string its text

--- A problem in words: "file:line: text".
---@param place tallyman.Place
---@param path string[] names from the outermost in
---@param text string
---@return string
function validate.problem(place, path, text)
  local line = line_of(path, place.source)
  return ("%s:%s %s"):format(place.file, line and line .. ":" or "", text)
end

local function add(problems, place, path, text)
  problems[#problems + 1] = validate.problem(place, path, text)
end

local check_value

--- The names in a table, in order.
---@param fields table<string, any>
---@return string[]
function validate.names_of(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function extended(path, name)
  local longer = table.move(path, 1, #path, 1, {})
  longer[#longer + 1] = name
  return longer
end

local function check_fields(value, shape, path, place, problems)
  for name in pairs(value) do
    if shape.items and math.type(name) == "integer" then
      check_value(value[name], shape.items, extended(path, name), place, problems)
    elseif not shape.fields[name] then
      local hint = suggest(tostring(name), validate.names_of(shape.fields))
      add(problems, place, extended(path, name), ("unknown field '%s'%s"):format(name, hint))
    end
  end
  for _, name in ipairs(validate.names_of(shape.fields)) do
    check_value(value[name], shape.fields[name], extended(path, name), place, problems)
  end
end

local function check_each(value, shape, path, place, problems)
  for key, item in pairs(value) do
    if not shape.free and math.type(key) ~= "integer" then
      add(problems, place, extended(path, key), ("'%s' must be a list, without names")
        :format(table.concat(path, ".")))
    end
    check_value(item, shape.each, extended(path, key), place, problems)
  end
end

function check_value(value, shape, path, place, problems)
  local name = table.concat(path, ".")
  if not ("|" .. shape.type .. "|"):find("|" .. type(value) .. "|", 1, true) then
    local what = value == nil and "is missing" or "is a " .. type(value)
    add(problems, place, path, ("field '%s' %s; it must be a %s"):format(name, what,
      (shape.type:gsub("|nil$", ""):gsub("|", " or "))))
    return
  end
  if value == nil then return end
  local wrong = shape.check and shape.check(value)
  if wrong then add(problems, place, path, ("field '%s': %s"):format(name, wrong)) end
  if type(value) ~= "table" then return end
  if shape.fields then check_fields(value, shape, path, place, problems) end
  if shape.each then check_each(value, shape, path, place, problems) end
end

--- Checks a value; gives the list of problems, each "file:line: text".
---@param value any
---@param shape tallyman.Shape
---@param place tallyman.Place
---@return string[]
function validate.problems(value, shape, place)
  local problems = {}
  check_value(value, shape, {}, place, problems)
  return problems
end

--- The place of a Lua chunk, for messages.
---@param file string its path
---@return tallyman.Place
function validate.place(file)
  local handle <close> = io.open(file, "rb")
  return { file = file, source = handle and handle:read "a" }
end

return validate
