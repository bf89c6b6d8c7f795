--- `tallyman check`, and what jobs, flows and settings answer to a mistake in them.
local process = require "tests.support.process"

local tallyman = process.tallyman

local folder
before_each(function()
  folder = process.folder() .. "/scripts"
  process.must("cp", "-r", process.root .. "/scripts", folder)
end)
after_each(process.clean)

local function path_of(name) return ("%s/%s.lua"):format(folder, name) end

--- Replaces text in a script of the copy; gives the line on which it stands.
local function edit(name, from, to)
  local text = process.read(path_of(name))
  local first, last = text:find(from, 1, true)
  assert(first, from .. " doesn't stand in " .. name)
  process.write(path_of(name), text:sub(1, first - 1) .. to .. text:sub(last + 1))
  return select(2, text:sub(1, first):gsub("\n", "")) + 1
end

local function write(name, text) return process.write(path_of(name), text) end

local function check(...)
  local paths = {}
  for i, name in ipairs { ... } do paths[i] = path_of(name) end
  return tallyman("check", table.unpack(paths))
end

--- The check fails and one of its lines is "FILE:LINE: text", with a part of the text given.
local function finds(result, name, line, text)
  assert.equal(78, result.code, result.out .. result.err)
  local start = ("%s:%d: "):format(path_of(name), line)
  for found in (result.out .. result.err:gsub("^tallyman: ", "")):gmatch "[^\n]+" do
    if found:sub(1, #start) == start and found:find(text, 1, true) then return end
  end
  error(("no line '%s...%s' in:\n%s%s"):format(start, text, result.out, result.err), 2)
end

local ALL = { "settings", "active_products", "filter_inventory", "export_variance", "import_reset",
  "import_variance", "nightly" }

describe("tallyman check", function()
  it("finds nothing wrong with the scripts as they are shipped", function()
    local result = check(table.unpack(ALL))
    assert.equal(0, result.code, result.out)
    assert.matches("7 scripts checked", result.out)
    assert.equal("", result.err)
  end)

  it("answers 64 when nothing is named, and fails for a script that isn't there", function()
    assert.equal(64, tallyman "check".code)
    local result = check "nowhere"
    assert.truthy(result.code > 0)
    assert.matches("nowhere%.lua", result.out .. result.err)
  end)

  it("only compiles a plain script", function()
    for _, text in ipairs { "print 'RAN'", "os.exit(9)", "local t = { print 'RAN' }\nreturn t",
      "print 'RAN'\nreturn 5" } do
      write("plain", text)
      local result = check "plain"
      assert.equal(0, result.code, text .. "\n" .. result.out)
      assert.falsy((result.out .. result.err):find "RAN", text)
    end
  end)

  it("has nothing against a module, which returns a table that is neither job nor flow", function()
    write("rules", "return { limit = 5 }")
    local result = check "rules"
    assert.equal(0, result.code, result.out)
  end)

  it("says file and line of a syntax error", function()
    write("plain", "local a = 1\nlocal b = = 2\n")
    finds(check "plain", "plain", 2, "unexpected symbol")
  end)

  it("runs no job", function()
    edit("filter_inventory", "run = function(night)", "run = function(night) os.exit(9)")
    assert.equal(0, check "filter_inventory".code)
  end)

  it("lists the problems of all scripts and of the settings", function()
    local at = edit("active_products", 'at = "01:00"', 'att = "01:00"')
    local wait = edit("import_variance", 'wait = "1h"', 'wait = "1x"')
    finds(check(table.unpack(ALL)), "import_variance", wait, "'1x' is no duration")
    local keep = edit("settings", "keep_days = 30", "keep_day = 30")
    local stale = edit("settings", "stale_days = 45", 'stale_days = "45"')
    local result = check(table.unpack(ALL))
    finds(result, "settings", keep, "unknown field 'keep_day' (did you mean 'keep_days'?)")
    finds(result, "settings", stale, "oms.stale_days")
    finds(result, "active_products", at, "unknown field 'att' (did you mean 'at'?)")
    assert.equal(1, select(2, result.out:gsub("keep_day'", "")), "told more than once")
  end)
end)

describe("a job", function()
  local function mistaken(from, to, text, name)
    name = name or "filter_inventory"
    it(("answers to %s with file and line"):format(to:match "[^\n]+"), function()
      local line = edit(name, from, to)
      finds(check(name), name, line, text)
      local result = tallyman(path_of(name))
      finds(result, name, line, text)
      assert.falsy(result.err:find "traceback")
    end)
  end

  mistaken('latest = "04:00"', 'latset = "04:00"', "'latset' (did you mean 'latest'?)")
  mistaken('at = "01:30"', 'at = "25:30"', "'25:30' is no time of day")
  mistaken('at = "01:30"', 'at = "1:30"', "'1:30' is no time of day")
  mistaken('at = "01:30"', "at = 130", "field 'at' is a number; it must be a string")
  mistaken('after = { "active_products" }', 'after = "active_products"', "must be a table")
  mistaken('after = { "active_products" }', "after = { 7 }", "must be a string")
  mistaken('wait = "1h"', 'wait = "1 hour"', "'1 hour' is no duration", "import_variance")
  mistaken('wait = "1h"', "wait = -1", "-1", "import_variance")

  it("answers to a typo with exactly that line, and 78, when run directly", function()
    local line = edit("filter_inventory", "latest =", "latset =")
    local result = tallyman("scripts/filter_inventory.lua", { cwd = folder:match "^(.*)/" })
    assert.equal(("tallyman: scripts/filter_inventory.lua:%d: unknown field 'latset' "
      .. "(did you mean 'latest'?)\n"):format(line), result.err)
    assert.equal("", result.out)
    assert.equal(78, result.code)
  end)

  it("without run or name is told what is missing", function()
    write("job", "return { name = 'job' }")
    assert.matches("job%.lua:[^\n]*'run' is missing", check "job".out)
    write("job", "return { run = print }")
    assert.matches("job%.lua:[^\n]*'name' is missing", check "job".out)
  end)

  it("that takes no such argument answers 64", function()
    for _, arguments in ipairs { { "--nope" }, { "--json", "x" }, { "x" } } do
      local result = tallyman(path_of "filter_inventory", table.unpack(arguments))
      assert.equal(64, result.code)
      assert.matches("^tallyman: [^\n]*filter_inventory[^\n]*\n$", result.err)
    end
  end)

  it("finds a lease that would switch its own protection off, or be none", function()
    for _, text in ipairs { "0s", "600h", "soon" } do
      write("settings", ('return require "tallyman.settings" { oms = { lease = "%s" } }')
        :format(text))
      local result = check "settings"
      assert.equal(78, result.code, text)
      assert.matches("settings.lua:1: ", result.out)
    end
  end)

  it("without settings beside it answers 78 in one line", function()
    os.remove(path_of "settings")
    local result = tallyman(path_of "filter_inventory")
    assert.equal(78, result.code, result.err)
    assert.matches("^tallyman: [^\n]*settings%.lua[^\n]*\n$", result.err)
  end)
end)

describe("settings", function()
  local function mistaken(from, to, text)
    it(("answer to %s with file and line, whoever asks"):format(to), function()
      local line = edit("settings", from, to)
      finds(check "settings", "settings", line, text)
      finds(check "filter_inventory", "settings", line, text)
      finds(tallyman(path_of "filter_inventory"), "settings", line, text)
      finds(tallyman(path_of "nightly", "check"), "settings", line, text)
    end)
  end

  mistaken("keep_days = 30", "keep_day = 30", "'keep_day' (did you mean 'keep_days'?)")
  mistaken("keep_days = 30", 'keep_days = "30"', "'keep_days' is a string")
  mistaken("keep_days = 30", "keep_days = -1", "keep_days")
  mistaken('settled = "60s"', 'setled = "60s"', "(did you mean 'settled'?)")
  mistaken('settled = "60s"', 'settled = "sixty"', "'sixty' is no duration")
  mistaken('deadline = "3h"', "deadline = true", "'variance.deadline' is a boolean")
  mistaken('method = "exact_qoh"', 'method = "exact"', "'exact' is none of exact_qoh, exact_atp")
  mistaken('contradiction = "reject"', 'contradiction = "first"', "'first' is none of")
  mistaken("Active_STAMP.csv", "Active.csv", "STAMP")
  mistaken("columns = {}", "columns = { availableQyt = 'X' }", "(did you mean 'availableQty'?)")
  mistaken('timezone = "UTC"', 'timezone = "Mars/Olympus"', "Mars/Olympus")
  mistaken('database = "sqlite:', 'database = "mysql:', "mysql:")
  mistaken('exchange = "file:///', 'exchange = "ftp:///', "ftp:")

  it("with several problems list them all, once each", function()
    local lines = { edit("settings", "keep_days = 30", "keep_day = 30"),
      edit("settings", 'settled = "60s"', "settled = true"),
      edit("settings", "stale_days = 45", "stale_day = 45"),
      edit("settings", 'deadline = "3h"', 'deadline = "3x"') }
    local result = check "settings"
    for i, text in ipairs { "'keep_day'", "'inbound.settled'", "'stale_day'", "'3x'" } do
      finds(result, "settings", lines[i], text)
    end
    assert.equal(4, select(2, result.out:gsub("\n", "")), result.out)
  end)

  it("that don't compile say their file and line first, and 78", function()
    write("settings", "return require 'tallyman.settings' {\n  keep_days = = 3 }")
    finds(check "filter_inventory", "settings", 2, "unexpected symbol")
    finds(tallyman(path_of "filter_inventory"), "settings", 2, "unexpected symbol")
  end)

  it("that aren't made by tallyman.settings are told so", function()
    for _, text in ipairs { "return 3", "return { keep_days = 3 }", "" } do
      write("settings", text)
      for _, result in ipairs { check "filter_inventory", tallyman(path_of "filter_inventory") } do
        assert.equal(78, result.code, text .. "\n" .. result.out .. result.err)
        assert.matches("settings%.lua", result.out .. result.err)
        assert.falsy(result.err:find "traceback")
      end
    end
  end)

  it("overridden by a wrong environment name the variable", function()
    local env = { TALLYMAN_RESET_METHOD = "exact" }
    local result = tallyman("check", path_of "settings", { env = env })
    assert.equal(78, result.code)
    assert.matches("TALLYMAN_RESET_METHOD", result.out)
  end)
end)

describe("a flow", function()
  it("checks its own script, its jobs and the settings", function()
    local result = tallyman(path_of "nightly", "check")
    assert.equal(0, result.code, result.out .. result.err)
    local line = edit("import_reset", 'latest = "06:00"', 'lastest = "06:00"')
    finds(tallyman(path_of "nightly", "check"), "import_reset", line, "'lastest'")
  end)

  it("with a mistake of its own says file and line, checked or run", function()
    local line = edit("nightly", "jobs =", "jbos =")
    for _, result in ipairs { check "nightly", tallyman(path_of "nightly", "once"),
      tallyman(path_of "nightly", "check") } do
      finds(result, "nightly", line, "unknown field 'jbos' (did you mean 'jobs'?)")
    end
  end)

  it("finds a job in its list that doesn't exist", function()
    edit("nightly", '"active_products"', '"active_product"')
    local result = tallyman(path_of "nightly", "check")
    assert.equal(78, result.code)
    assert.matches("active_product%f[%W]", result.out)
  end)

  it("finds a job that waits for one that the flow doesn't have", function()
    local line = edit("filter_inventory", '"active_products" }', '"active_product" }')
    local result = tallyman(path_of "nightly", "check")
    finds(result, "filter_inventory", line, "active_product")
    assert.is_nil(result.out:find("nothing wrong", 1, true))
  end)

  it("finds a job that waits for one behind it, or for itself", function()
    local before = "active_products"
    for _, name in ipairs { "import_reset", "filter_inventory" } do
      local line = edit("filter_inventory", ('"%s" }'):format(before), ('"%s" }'):format(name))
      before = name
      finds(tallyman(path_of "nightly", "check"), "filter_inventory", line,
        ("waits for '%s', which must stand before it in the flow 'nightly'"):format(name))
    end
  end)

  it("finds a job that has no days", function()
    local line = edit("filter_inventory", "after =", "days = {}, after =")
    finds(tallyman(path_of "nightly", "check"), "filter_inventory", line,
      "must name at least one day")
  end)

  it("with an unknown verb or too many words answers 64 in one line", function()
    for _, arguments in ipairs { { "onec" }, { "run", "x" }, { "once", "x" },
      { "report", "tomorrow" },
      { "report", "2026-02-30" }, { "check", "x" } } do
      local result = tallyman(path_of "nightly", table.unpack(arguments))
      assert.equal(64, result.code, table.concat(arguments, " "))
      assert.matches("^tallyman: [^\n]+\n$", result.err)
      assert.equal("", result.out)
    end
    assert.matches("run, once[^\n]*report[^\n]*check", tallyman(path_of "nightly", "x").err)
  end)
end)
