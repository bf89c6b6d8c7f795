--- The nightly jobs on PostgreSQL: the very specs that hold on SQLite, once more.
local databases = require "tests.support.databases"
local night = require "tests.support.night"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"

describe("on PostgreSQL", function()
  if postgres.lacks() then return pending(postgres.lacks()) end
  local made

  setup(function()
    made = databases.of_oms(postgres.start())
    process.keep()
    night.use(made)
  end)
  teardown(function()
    night.use(nil)
    made.connect:close()
    postgres.clean()
  end)

  for _, name in ipairs { "cases", "deduction", "reset", "variance", "guards", "force",
    "undo" } do
    local path = ("%s/tests/%s_spec.lua"):format(process.root, name)
    describe(name .. ":", assert(loadfile(path, "t", _ENV)))
  end
end)
