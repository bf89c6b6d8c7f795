--- SQL text and the named parameters (:name) in it. A colon within a string, a quoted name, a
--- comment or a dollar quote is none, nor are ::casts, := and the colon of an array's slice.
local db_sql = {}

--- What a token that isn't looked into begins with, as a pattern, and how its end is found.
local SKIP = {
  { "^%-%-[^\n]*", function(_, _, stop) return stop end },
  { "^/%*", function(text, _, stop) -- comments nest
    local depth = 1
    while depth > 0 do
      local at = text:find("[/*][/*]", stop + 1)
      if not at then return #text end
      local pair = text:sub(at, at + 1)
      local real = pair == "/*" or pair == "*/"
      depth = depth + (pair == "/*" and 1 or pair == "*/" and -1 or 0)
      stop = real and at + 1 or at
    end
    return stop
  end },
  { "^[eE]'", function(text, _, stop) -- a backslash takes the next character along
    repeat
      local at = text:find("[\\']", stop + 1)
      if not at then return #text end
      stop = text:sub(at, at) == "\\" and at + 1 or at
    until stop == at
    return stop
  end },
  { "^['\"]", function(text, start, stop) -- a doubled quote ends it and begins another
    return text:find(text:sub(start, start), stop + 1, true) or #text
  end },
  { "^%$[%a_\x80-\xFF]?[%w_\x80-\xFF]*%$", function(text, start, stop)
    local _, finish = text:find(text:sub(start, stop), stop + 1, true)
    return finish or #text
  end },
  { "^[%w_\x80-\xFF][%w_.$\x80-\xFF]*", function(text, _, stop) -- in a[low:high] with its colon
    return text:find("^:[^:=]", stop + 1) and stop + 1 or stop
  end },
  { "^:[:=]", function(_, _, stop) return stop end },
}

--- What any token, and any parameter, begins with: nothing else needs a look.
local BEGINS = "[%w_\x80-\xFF%-/'\"$:]"

--- The end of the token at `at`; a parameter's name when it is one.
local function token(text, at)
  for _, skip in ipairs(SKIP) do
    local start, stop = text:find(skip[1], at)
    if start then return skip[2](text, start, stop) end
  end
  local _, stop, name = text:find("^:([%a_][%w_]*)", at)
  if name then return stop, name end
  if text:find("^%$%d", at) then error("parameters must be named, as in :snapshot", 0) end
  return at
end

---@class tallyman.ParsedSql
---@field texts string[] what stands before, between and after the parameters
---@field names string[] of the parameters, as often as they occur

--- Takes an SQL text apart.
---@param text string
---@return tallyman.ParsedSql
function db_sql.parse(text)
  local texts, names, from = {}, {}, 1
  local at = text:find(BEGINS, 1)
  while at do
    local stop, name = token(text, at)
    if name then
      texts[#texts + 1] = text:sub(from, at - 1)
      names[#names + 1] = name
      from = stop + 1
    end
    at = text:find(BEGINS, stop + 1)
  end
  texts[#texts + 1] = text:sub(from)
  return { texts = texts, names = names }
end

--- Puts a text together again; `mark` says what stands for a parameter.
local function join(parsed, mark)
  local parts = {}
  for i, name in ipairs(parsed.names) do
    parts[#parts + 1] = parsed.texts[i]
    parts[#parts + 1] = mark(name)
  end
  parts[#parts + 1] = parsed.texts[#parsed.texts]
  return table.concat(parts)
end

--- The text with $1, $2, ... for its parameters, a name having one number wherever it occurs; and
--- the names by number.
---@param text string
---@return string text, string[] names
function db_sql.number(text)
  local names, numbers = {}, {}
  return join(db_sql.parse(text), function(name)
    if not numbers[name] then
      names[#names + 1] = name
      numbers[name] = #names
    end
    return "$" .. numbers[name]
  end), names
end

--- Whether any parameter is a list.
local function has_list(params)
  for _, value in pairs(params or {}) do
    if type(value) == "table" then return true end
  end
  return false
end

--- Spreads list parameters out: ":shipped" becomes (:shipped_1, :shipped_2).
---@param text string
---@param params? table<string, any>
---@return string text, table<string, any>? params
function db_sql.spread(text, params)
  if not has_list(params) then return text, params end
  local flat = setmetatable({}, { __index = params })
  return join(db_sql.parse(text), function(name)
    local list = params[name]
    if type(list) ~= "table" then return ":" .. name end
    local marks = {}
    for i, item in ipairs(list) do
      flat[name .. "_" .. i] = item
      marks[i] = (":%s_%d"):format(name, i)
    end
    return "(" .. (#marks > 0 and table.concat(marks, ", ") or "NULL") .. ")"
  end), flat
end

return db_sql
