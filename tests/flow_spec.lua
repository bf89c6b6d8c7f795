--- Flows and single jobs as an operator sees them: real processes, small scripts of their own.
local db = require "tallyman.db"
local json = require "dkjson"
local process = require "tests.support.process"
local store = require "tallyman.store"

local folder

local function script(name, text) process.write(folder .. "/" .. name .. ".lua", text) end

--- A job that appends its name to a file and ends as `body` says.
local function job(name, body, fields)
  script(name, ([[return { name = "%s", %s run = function(night)
    local log <close> = assert(io.open("%s/ran", "a"))
    log:write("%s\n")
    log:flush()
    %s
  end }]]):format(name, fields or "", folder, name, body or ""))
end

local function run(name, ...)
  return process.tallyman(folder .. "/" .. name .. ".lua", ...)
end

local function ran() return process.read(folder .. "/ran") or "" end

local function last(name)
  local history <close> = store.open(folder .. "/state")
  return history:last(name)
end

before_each(function()
  folder = process.folder()
  script("settings", ([[return require "tallyman.settings" {
    state = "%s/state", exchange = "file://%s", timezone = "UTC",
    oms = { database = "sqlite:%s/oms.db" } }]]):format(folder, folder, folder))
  db.open("sqlite:" .. folder .. "/oms.db", { create = true }):close()
  script("night", [[return { flow = "night", jobs = { "a", "b", "c" } }]])
end)
after_each(process.clean)

describe("once", function()
  it("runs the jobs in order, each in a process of its own", function()
    for _, name in ipairs { "a", "b", "c" } do
      job(name, [[return { pid = require "posix.unistd".getpid() }]])
    end
    local result = run("night", "once")
    assert.equal(0, result.code, result.err)
    assert.equal("a\nb\nc\n", ran())
    assert.not_equal(last "a".figures.pid, last "b".figures.pid)
    assert.match("^night of %d+%-%d+%-%d+, flow night\n", result.out)
  end)

  it("gives the code of the first job that was not 0, and goes on with the others", function()
    job("a", [[night:hold "not there yet"]])
    job("b", "", [[after = { "a" }, ]])
    job("c", [[error "oops"]])
    local result = run("night", "once")
    assert.equal(75, result.code)
    assert.equal("a\nc\n", ran())
    assert.equal("held", last "a".state)
    assert.is_nil(last "b")
    assert.equal("failed", last "c".state)
    assert.match("b not run: a has not succeeded tonight %(held%)", result.err)
    assert.match("not there yet", result.out)
  end)

  it("runs a job that decides by the data anyway", function()
    job("a", [[night:hold "not there yet"]])
    job("b", "", [[after = { "a" }, anyway = true, ]])
    job("c")
    run("night", "once")
    assert.equal("a\nb\nc\n", ran())
  end)

  it("lives on when a job's process dies", function()
    job("a", [[require "posix.signal".raise(9)]])
    job("b")
    job("c")
    local result = run("night", "once")
    assert.equal(128 + 9, result.code)
    assert.equal("a\nb\nc\n", ran())
    assert.equal("running", last "a".state)
  end)

  it("hands its own clock to its children", function()
    for _, name in ipairs { "a", "b", "c" } do job(name, [[return { now = night:now() }]]) end
    local result = process.tallyman(folder .. "/night.lua", "once",
      { env = { TALLYMAN_NOW = "2030-01-01T00:00:00Z" } })
    assert.equal(0, result.code, result.err)
    assert.is_true(last "c".figures.now >= last "a".figures.now)
    assert.equal("2030-01-01", last "c".night)
    assert.match("THE CLOCK IS SET", result.out)
  end)
end)

describe("a job run by hand", function()
  it("ignores at, wait, latest and after", function()
    job("a", "return { kept = 3 }",
      [[at = "01:00", wait = "1h", latest = "01:01", after = { "z" }, ]])
    local result = run "a"
    assert.equal(0, result.code, result.err)
    assert.equal(3, last "a".figures.kept)
    assert.equal("", result.out)
    assert.match("a: done: kept 3", result.err)
  end)

  it("gives one JSON object with --json, and nothing else on standard output", function()
    job("a", [[night:warn("look at %d", 7) return { kept = 3 }]])
    local result = run("a", "--json")
    local object = json.decode(result.out)
    assert.equal("a", object.job)
    assert.equal("done", object.state)
    assert.equal(0, object.exit_code)
    assert.equal(3, object.figures.kept)
    assert.same({ "look at 7" }, object.figures.warnings)
  end)

  it("logs lines of JSON where it is told to", function()
    job("a", [[night:warn("look at %d", 7) return { kept = 3 }]])
    local result = process.tallyman(folder .. "/a.lua", { env = { TALLYMAN_LOG = "json" } })
    local lines = {}
    for line in result.err:gmatch "[^\n]+" do lines[#lines + 1] = json.decode(line) end
    assert.same({ "a", "warning", "look at 7" }, { lines[1].who, lines[1].level, lines[1].text })
    assert.match("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", lines[1].time)
    assert.same({ "info", 2 }, { lines[2].level, #lines })
    assert.match("^done: kept 3", lines[2].text)
  end)

  it("gives JSON for a failure, too", function()
    job("a", [[require "tallyman.failure".raise(65, "bad row %d", 3)]])
    local result = run("a", "--json")
    assert.equal(65, result.code)
    local object = json.decode(result.out)
    assert.same({ "failed", 65, "bad row 3" }, { object.state, object.exit_code, object.message })
  end)

  it("names the script's line when the script is wrong", function()
    job("a", "local x = nil\n    return x.y")
    local result = run "a"
    assert.equal(1, result.code)
    assert.match("a%.lua:6: attempt to index", result.err:match "^[^\n]*")
    assert.match("stack traceback", result.err)
    assert.equal("failed", last "a".state)
  end)

  it("must return figures or nothing", function()
    job("a", "return 5")
    local result = run "a"
    assert.equal(1, result.code)
    assert.match("run must return a table of figures", result.err)
    for _, figures in ipairs { "{ a = print }", "setmetatable({}, { __pairs = error })" } do
      job("a", "return " .. figures)
      result = run "a"
      assert.equal(1, result.code)
      assert.match("a: run must return figures that can be stored as JSON: %S", result.err)
      assert.equal("failed", last "a".state)
    end
  end)

  it("with every name mistyped is told so all the same", function()
    script("a", "return { nmae = 'a', rnu = function() end }")
    local result = run "a"
    assert.equal(78, result.code)
    assert.match("unknown field 'nmae' %(did you mean 'name'%?%)", result.err)
  end)

  it("takes no other arguments", function()
    job("a")
    assert.equal(64, run("a", "--fast").code)
    assert.equal("", ran())
  end)
end)

describe("report", function()
  it("of an OMS that can't be asked fails as that does, and says so loudly", function()
    for _, name in ipairs { "a", "b", "c" } do job(name) end
    os.remove(folder .. "/oms.db")
    local result = run("night", "report")
    assert.equal(69, result.code)
    assert.match("cycle: unknown: ", result.out)
    assert.match("ALERT: the night of [%d-]+ can't be proven", result.err)
  end)

  it("tells of any night, and refuses what is no date", function()
    job("a", "return { kept = 3 }")
    job("b")
    job("c")
    run "a"
    local today = last "a".night
    assert.match("a +done .*kept 3", run("night", "report", today).out)
    assert.match("a +not run", run("night", "report", "2020-01-01").out)
    assert.equal(64, run("night", "report", "tomorrow").code)
  end)
end)
