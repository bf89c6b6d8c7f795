-- What single calls of the native modules cost, measured from Lua inside the host.
local clock = require "posix.time"

local csv = require "native.csv"
local file = require "native.file"
local running = require "running"
local tables = require "tables"

local REPEATS = 5
local KEYS = 1000000
local ROWS = 100000

local COLUMNS = { { "", -44 }, { "ns", 8 }, { " for each", -1 } }

-- Seconds of the monotonic clock.
local function now()
  local at = clock.clock_gettime(clock.CLOCK_MONOTONIC)
  return at.tv_sec + at.tv_nsec / 1e9
end

-- Nanoseconds that `work` takes for each of `count` things, collecting garbage beforehand.
local function cost(count, work)
  collectgarbage()
  local began = now()
  work()
  return (now() - began) * 1e9 / count
end

-- As many different keys, from a number on.
local function make_keys(from, count)
  local keys = {}
  for n = 1, count do keys[n] = ("%d-XL"):format(from + n) end
  return keys
end

-- A key set of these keys.
local function key_set(keys)
  local set = csv.keyset()
  for _, key in ipairs(keys) do set:add(key) end
  return set
end

-- Asks a set of made-up keys for others, `from` on.
local function ask_for(from)
  local set <close> = key_set(make_keys(0, KEYS))
  local asked = make_keys(from, KEYS)
  return cost(KEYS, function()
    for n = 1, KEYS do set:has(asked[n]) end
  end)
end

-- A file of ROWS records of eight fields, a third of them with quotes.
local function make_file()
  local parts = { "facilityId,locationSeqId,idType,idValue,availableQty,externalFacilityId,"
    .. "productId,comments\n" }
  for n = 1, ROWS do
    local comment = n % 3 == 0 and '"top row, behind the till"' or "moved to the outlet"
    parts[n + 1] = ("NEW_YORK,TLTLTLLL16,SKU,%d-S,%d,S001,P%d,%s\n"):format(n, n % 100, n, comment)
  end
  return table.concat(parts)
end

-- Goes over the rows of a file in Lua.
local function go_over(visit)
  local source <close> = file.text(make_file())
  return cost(ROWS, function()
    for row in csv.rows(source) do visit(row) end
  end)
end

-- Filters a file of which all rows are kept; `each` sees them.
local function keep_all(each)
  local keys <close> = csv.keyset()
  for n = 1, ROWS do keys:add(("%d-S"):format(n)) end
  local source <close> = file.text(make_file())
  local sink <close> = file.memory()
  return cost(ROWS, function()
    assert(csv.filter(source, sink, { key = { "idValue" }, keep = keys, each = each }))
  end)
end

-- Makes a key set of a list's lines.
local function read_list()
  local list <close> = file.text(table.concat(make_keys(0, KEYS), "\n"))
  return cost(KEYS, function() csv.list(list):close() end)
end

---A measure: what it is called, what one of its nanoseconds is for, and what tells them.
---@class bench.Micro
---@field title string
---@field each string
---@field measure fun(): number nanoseconds for each

---@type bench.Micro[]
local MEASURES = {
  {
    title = "key set: build", each = "key, the loop in Lua included",
    measure = function()
      local keys = make_keys(0, KEYS)
      return cost(KEYS, function() key_set(keys):close() end)
    end,
  },
  {
    title = "key set: look up, present", each = "key, the loop in Lua included",
    measure = function() return ask_for(0) end,
  },
  {
    title = "key set: look up, absent", each = "key, the loop in Lua included",
    measure = function() return ask_for(KEYS) end,
  },
  { title = "key set: build from a list", each = "key", measure = read_list },
  {
    title = "rows, nothing asked", each = "row of eight fields",
    measure = function() return go_over(function() end) end,
  },
  {
    title = "rows, one field by name", each = "row",
    measure = function() return go_over(function(row) return row.idValue end) end,
  },
  {
    title = "rows, all eight by number", each = "row",
    measure = function()
      return go_over(function(row) for n = 1, 8 do local _ = row[n] end end)
    end,
  },
  {
    title = "rows, the record as it stands", each = "row",
    measure = function() return go_over(tostring) end,
  },
  {
    title = "filter, all rows kept", each = "row, SHA-256 included",
    measure = function() return keep_all(nil) end,
  },
  {
    title = "filter, all rows kept, each asks one field", each = "row",
    measure = function() return keep_all(function(row) return row.idValue ~= nil end) end,
  },
}

---Prints the table: the median of a few repeats of each measure.
return function()
  local title = ("calls from Lua, %d keys, %d rows; medians of %d"):format(KEYS, ROWS, REPEATS)
  local put = tables.start(title, COLUMNS)
  for _, micro in ipairs(MEASURES) do
    local costs = {}
    for n = 1, REPEATS do costs[n] = micro.measure() end
    put(micro.title, tables.number(0, running.median(costs)), " " .. micro.each)
  end
end
