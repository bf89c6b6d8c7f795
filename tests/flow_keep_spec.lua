--- A flow that is kept, with real processes: a shortened night, seconds apart.
local process = require "tests.support.process"
local store = require "tallyman.store"
local time = require "tallyman.time"

local START = time.read "2026-11-24 01:00:00"
local folder, began

--- Real time since the night began, on the flow's clock.
local function now() return START + os.difftime(os.time(), began) end

local function script(name, text) process.write(folder .. "/" .. name .. ".lua", text) end

--- A job that appends "begin NAME" and "end NAME" to a file, with `body` in between.
local function job(name, fields, body)
  script(name, ([[return { name = "%s", %s run = function(night)
    local function say(word)
      local log <close> = assert(io.open("%s/ran", "a"))
      log:write(word, " %s\n")
    end
    say "begin"
    %s
    say "end"
  end }]]):format(name, fields, folder, name, body or ""))
end

local function night(jobs, more)
  local names = {}
  for i, name in ipairs(jobs) do names[i] = ('"%s"'):format(name) end
  script("night", ("return { flow = 'night', jobs = { %s }, %s }"):format(
    table.concat(names, ", "), more or "retry = { '1s' }"))
end

local function ran() return process.read(folder .. "/ran") or "" end

--- Starts to keep the flow; the clock goes on where it was.
local function keep(...)
  return process.start { process.host, folder .. "/night.lua", ...,
    env = { TALLYMAN_NOW = time.iso(now()) } }
end

local function verb(...)
  return process.tallyman(folder .. "/night.lua", ..., { env = { TALLYMAN_NOW = time.iso(now()) } })
end

local function shows(child, text, seconds)
  assert(process.eventually(function() return child:err():find(text, 1, true) end, seconds or 20),
    child:err())
end

--- State of each job's occurrence tonight, "done" or "failed (2)".
local function states()
  local history <close> = store.open(folder .. "/state")
  local found = {}
  for row in history.db:rows "SELECT * FROM occurrence" do
    found[row.job] = row.attempts == 1 and row.state or ("%s (%d)"):format(row.state, row.attempts)
  end
  return found
end

before_each(function()
  folder, began = process.folder(), os.time()
  script("settings", ([[return require "tallyman.settings" { state = "%s/state",
    exchange = "file://%s", timezone = "UTC", oms = { database = "sqlite:%s/oms.db" } }]])
    :format(folder, folder, folder))
end)
after_each(process.clean)

describe("a flow that is kept", function()
  it("goes through the night by itself, and stops when it is asked to", function()
    job("a", "at = '01:00:01',")
    job("b", "after = { 'a' }, wait = '1s',")
    job("c", "at = '01:00:01', latest = '01:00:04',", [[night:hold "no file yet"]])
    night { "a", "b", "c" }
    local flow = keep()
    shows(flow, "night: c: held: no file yet\n")
    shows(flow, "night: b: done\n")
    assert.same({ a = "done", b = "done" }, { a = states().a, b = states().b })
    assert.match("^held", states().c)
    flow:kill(process.SIGTERM)
    local result = flow:wait()
    assert.equal(0, result.status, result.err)
    assert.match("night: stopped\n$", result.err)
    assert.equal("begin a\nend a\n", ran():sub(1, 14))
    assert.match("kept by nobody", verb "status".out)
  end)

  it("says what it does", function()
    job("a", "at = '01:00:01',", [[os.execute "sleep 3"]])
    job("b", "after = { 'a' }, wait = '1h',")
    night { "a", "b" }
    local plan = verb "plan".out
    assert.match("\n  a +01:00:01 +until 12:00:00\n", plan)
    assert.match("\n  b +%- +until 12:00:00 +after a, 1h later\n", plan)
    assert.match("a +%- +not looked at yet", verb "status".out)
    local flow = keep "run"
    assert.is_true(process.eventually(function() return ran() ~= "" end))
    local text = verb "status".out
    assert.match("kept by process " .. flow.pid, text, 1, true)
    assert.match("a +running +since 01:00:0%d, process %d+ on ", text)
    shows(flow, "night: a: done")
    assert.match("a +done +01:00:0%d; ", verb "status".out)
  end)

  it("isn't kept twice", function()
    job("a", "at = '05:00',")
    night { "a" }
    local flow = keep()
    shows(flow, "kept from now on")
    local second = keep():wait()
    assert.equal(75, second.status)
    assert.match("flow night: process " .. flow.pid .. " on %S+ keeps it already", second.err)
    flow:kill(process.SIGKILL)
    flow:wait()
    shows(keep(), "kept from now on")
  end)

  it("asks its jobs to end when it is stopped, and tries them again when it is back", function()
    job("a", "at = '01:00:01', latest = '01:05',", [[
      local again = io.open("]] .. folder .. [[/second")
      if not again then
        assert(io.open("]] .. folder .. [[/second", "w")):close()
        require "tallyman.clock".sleep(60)
      end]])
    night { "a" }
    local flow = keep()
    assert.is_true(process.eventually(function() return ran() ~= "" end))
    flow:kill(process.SIGTERM)
    assert.equal(0, flow:wait(10).status)
    assert.equal("begin a\n", ran())
    shows(keep(), "night: a: done")
    assert.same({ a = "done (2)" }, states())
  end)

  it("takes a changed timetable over, and keeps the old one when the new one is wrong", function()
    job("a", "at = '05:00',")
    night { "a" }
    local flow = keep()
    shows(flow, "kept from now on")
    script("a", "return { name = 'a', att = '01:00:01', run = print }")
    shows(flow, "the scripts have changed, and are wrong: the old timetable is kept")
    assert.match("unknown field 'att'", flow:err(), 1, true)
    job("a", "at = '01:00:01',")
    shows(flow, "the new ones are used from now on")
    shows(flow, "night: a: done")
  end)

  it("loads the scripts again on SIGHUP", function()
    job("a", "at = '05:00',")
    night { "a" }
    local flow = keep()
    shows(flow, "kept from now on")
    flow:kill(1)
    shows(flow, "the new ones are used from now on")
  end)

  it("does nothing while nothing is due, in little memory", function()
    job("a", "at = '05:00',")
    night { "a" }
    local flow = keep()
    shows(flow, "kept from now on")
    local function of(name)
      return tonumber(process.read(("/proc/%d/status"):format(flow.pid)):match(name .. ":%s*(%d+)"))
    end
    os.execute "sleep 0.5"
    local before = of "voluntary_ctxt_switches"
    os.execute "sleep 2"
    assert.equal(before, of "voluntary_ctxt_switches")
    if not os.getenv "ASAN_OPTIONS" then assert.is_true(of "RssAnon" < 4096, of "RssAnon") end
  end)

  it("lets a job have no more memory than it may", function()
    if os.getenv "ASAN_OPTIONS" then return end -- no limit there
    job("a", "at = '01:00:01', memory_limit = '50m',", [[local text = ("x"):rep(100000000)]])
    night { "a" }
    shows(keep(), "not enough memory")
  end)

  it("runs each job to its end exactly once, however often it is killed", function()
    for _, name in ipairs { "a", "b", "c", "d" } do
      job(name, name == "a" and "at = '01:00:01'," or "after = { 'a' }, wait = '1s',",
        [[require "tallyman.clock".sleep(0.7)]])
    end
    night { "a", "b", "c", "d" }
    math.randomseed(tonumber(os.getenv "TALLYMAN_KEEP_SEED") or 1)
    for _ = 1, tonumber(os.getenv "TALLYMAN_KEEP_KILLS") or 10 do
      local flow = keep()
      os.execute(("sleep %.3f"):format(math.random() * 0.6))
      flow:kill(process.SIGKILL)
      flow:wait()
    end
    local flow = keep()
    assert(process.eventually(function()
      local found = states()
      return found.a and found.b and found.c and found.d and not flow:poll()
        and (found.a .. found.b .. found.c .. found.d):gsub(" %(%d+%)", "") == "donedonedonedone"
    end, 40), flow:err())
    for _, name in ipairs { "a", "b", "c", "d" } do
      assert.equal(1, select(2, ran():gsub("begin " .. name .. "\n", "")), name)
      assert.equal(1, select(2, ran():gsub("end " .. name .. "\n", "")), name)
    end
  end)
end)
