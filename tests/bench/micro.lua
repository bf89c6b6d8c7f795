-- What single calls of the native modules cost, measured from Lua inside the host.
local clock = require "posix.time"

local csv = require "native.csv"
local running = require "running"
local tables = require "tables"

local REPEATS = 5
local KEYS = 1000000

local COLUMNS = { { "", -40 }, { "ns", 8 }, { " for each", -1 } }

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

---A measure: what it is called, what one of its nanoseconds is for, and what tells them.
---@class bench.Micro
---@field title string
---@field each string
---@field measure fun(): number nanoseconds for each

-- ==== the measures: one line of the table for each; add more here ====
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
}

---Prints the table: the median of a few repeats of each measure.
return function()
  local put = tables.start(("calls from Lua, %d keys; medians of %d"):format(KEYS, REPEATS),
    COLUMNS)
  for _, micro in ipairs(MEASURES) do
    local costs = {}
    for n = 1, REPEATS do costs[n] = micro.measure() end
    put(micro.title, tables.number(0, running.median(costs)), " " .. micro.each)
  end
end
