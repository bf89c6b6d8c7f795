--- Random nights against a model that was written from the rules alone: it shares no code and no
--- SQL with the library. TALLYMAN_MODEL_RUNS says how many runs (200), TALLYMAN_MODEL_SEED the
--- first seed, TALLYMAN_MODEL_PG_RUNS how many of them run on PostgreSQL, too (10);
--- TALLYMAN_MODEL_HOST and TALLYMAN_MODEL_SCRIPTS try another build.

local source = debug.getinfo(1, "S").source:sub(2)
local here = source:match "^(.*)/[^/]*$" or "."
local lfs = require "lfs"
if here:sub(1, 1) ~= "/" then here = lfs.currentdir() .. "/" .. here end
here = here:gsub("/%.%f[/\0]", "")
package.path = here .. "/?.lua;" .. package.path

local databases = require "tests.support.databases"
local db = require "tallyman.db"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local cases = require "model.cases"
local drivers = require "model.driver"
local runs = require "model.run"

local ROOT = here:gsub("/[^/]*$", "")

-- Memory serves better than a disk: thousands of transactions, none of which must outlive a crash.
local function folder()
  local base = lfs.attributes("/dev/shm", "mode") == "directory" and "/dev/shm" or "/tmp"
  local pipe <close> = assert(io.popen(("mktemp -d %s/model.XXXXXX"):format(base)))
  return pipe:read "l"
end

local place = {
  root = ROOT, folder = folder(), db = db,
  host = os.getenv "TALLYMAN_MODEL_HOST" or ROOT .. "/build/tallyman",
  scripts = os.getenv "TALLYMAN_MODEL_SCRIPTS" or ROOT .. "/scripts",
}

local function remove(path)
  os.execute(("rm -rf '%s'"):format(path))
end

local REPLAY = "replay: TALLYMAN_MODEL_SEED=%d TALLYMAN_MODEL_RUNS=1 build/tallyman test "
  .. "tests/model_spec.lua"

local function report(run, why)
  return table.concat({ ("seed %d (%s, %s)"):format(run.seed, run.model.zone, run.model.method),
    REPLAY:format(run.seed), "files: " .. run.driver.dir, "",
    table.concat(run.trace, "\n"), "", tostring(why) }, "\n")
end

describe("the model itself", function()
  for _, case in ipairs(cases.list) do
    it(("gets the numbers of case %d"):format(case[1]), function()
      assert.equal(case.want, cases.result(case))
    end)
  end
end)

local first = tonumber(os.getenv "TALLYMAN_MODEL_SEED") or 1
local count = tonumber(os.getenv "TALLYMAN_MODEL_RUNS") or 200
local failed = false

teardown(function()
  if not failed then remove(place.folder) end
end)

-- One run, for real and in the model.
local function agree(at, seed)
  local run = runs.new(seed, function(made) return drivers.new(at, made) end)
  local ok, why = xpcall(run.all, function(message)
    return type(message) == "string" and message or debug.traceback(message)
  end, run)
  run.driver:close()
  if not ok then
    failed = true
    error(report(run, why), 0)
  end
  remove(run.driver.dir)
end

describe("the model and the jobs agree", function()
  for seed = first, first + count - 1 do
    it("on the nights of seed " .. seed, function() agree(place, seed) end)
  end
end)

describe("the model and the jobs agree on PostgreSQL", function()
  if postgres.lacks() then return pending(postgres.lacks()) end
  local at = setmetatable({}, { __index = place })
  local made

  setup(function()
    made = databases.of_oms(postgres.start())
    process.keep()
    at.fresh, at.drop = made.fresh, made.drop
  end)
  teardown(function()
    made.connect:close()
    postgres.clean()
  end)

  local few = math.min(count, tonumber(os.getenv "TALLYMAN_MODEL_PG_RUNS") or 20)
  for seed = first, first + few - 1 do
    it("on the nights of seed " .. seed, function() agree(at, seed) end)
  end
end)
