--- A flow that is kept, with real processes: a shortened night, seconds apart.
local db = require "tallyman.db"
local process = require "tests.support.process"
local flows = require "tests.support.flows"
local server = require "tests.support.server"

local made

before_each(function() made = flows.new() end)
after_each(process.clean)

--- A flow that is kept, and has nothing to do for hours.
local function keep_idle(more)
  made.job("a", "at = '05:00',")
  made.night { "a" }
  local flow = made.keep(more)
  flows.shows(flow, "kept from now on")
  return flow
end

--- A job's body that lasts until there is a file `go`.
local function until_told()
  return ([[while not io.open "%s/go" do require "tallyman.clock".sleep(0.1) end]])
    :format(made.folder)
end

describe("a flow that is kept", function()
  it("goes through the night by itself, and stops when it is asked to", function()
    made.job("a", "at = '01:00:01',")
    made.job("b", "after = { 'a' }, wait = '1s',")
    made.job("c", "at = '01:00:01', latest = '01:00:10',", [[night:hold "no file yet"]])
    made.job("d", "at = '01:00:01',", [[error("of two\nlines", 0)]])
    made.night { "a", "b", "c", "d" }
    local flow = made.keep()
    flows.shows(flow, "night: c: held: no file yet\n")
    flows.shows(flow, "night: b: done\n")
    assert.same({ a = "done", b = "done" }, { a = made.states().a, b = made.states().b })
    assert.match("^held", made.states().c)
    flow:kill(process.SIGTERM)
    local result = flow:wait()
    assert.equal(0, result.status, result.err)
    assert.match("night: stopped\n$", result.err)
    assert.match("begin a\nend a\n", (made.ran():gsub("begin [cd]\n", "")))
    assert.match("kept by nobody", made.verb "status".out)
    assert.match("\n  d +failed +01:00:0%d; of two lines\n", made.verb "status".out)
  end)

  it("says what it does", function()
    made.job("a", "at = '01:00:01',", until_told())
    made.job("b", "after = { 'a' }, wait = '1h',")
    made.night { "a", "b" }
    local plan = made.verb "plan".out
    assert.match("\n  a +01:00:01 +until 12:00:00\n", plan)
    assert.match("\n  b +%- +until 12:00:00 +after a, 1h later\n", plan)
    assert.match("a +%- +not looked at yet", made.verb "status".out)
    local flow = made.keep()
    assert.is_true(process.eventually(function() return made.ran() ~= "" end))
    local text = made.verb "status".out
    assert.match("kept by process " .. flow.pid, text, 1, true)
    assert.match("a +running +since 01:0%d:%d%d, process %d+ on [^\n,]+\n", text)
    assert.match("b +waiting +after a, 1h later\n", text)
    process.write(made.folder .. "/go", "")
    flows.shows(flow, "night: a: done")
    assert.match("a +done +01:0%d:%d%d; ", made.verb "status".out)
  end)

  it("isn't kept twice", function()
    local flow = keep_idle()
    local second = made.keep():wait()
    assert.equal(75, second.status)
    assert.match("flow night: process " .. flow.pid .. " on %S+ keeps it already", second.err)
    flow:kill(process.SIGKILL)
    flow:wait()
    flows.shows(made.keep(), "kept from now on")
  end)

  it("knows its processes when the host is called otherwise by then", function()
    made.job("a", "at = '01:00:01',", until_told())
    made.night { "a" }
    local flow = made.keep()
    assert.truthy(process.eventually(function() return made.ran() ~= "" end))
    assert.equal(75, made.keep(nil, "renamed"):wait().status)
    flow:kill(process.SIGKILL)
    flow:wait()
    flow = made.keep(nil, "renamed")
    flows.shows(flow, "kept from now on")
    process.write(made.folder .. "/go", "")
    flows.shows(flow, "night: a: done")
    assert.same({ a = "done" }, made.states())
    assert.equal("begin a\nend a\n", made.ran())
  end)

  it("asks its jobs to end when it is stopped, and tries them again when it is back", function()
    made.job("a", "at = '01:00:01', latest = '01:05',", [[
      local again = io.open("]] .. made.folder .. [[/second")
      if not again then
        assert(io.open("]] .. made.folder .. [[/second", "w")):close()
        require "tallyman.clock".sleep(60)
      end]])
    made.night { "a" }
    local flow = made.keep()
    assert.is_true(process.eventually(function() return made.ran() ~= "" end))
    flow:kill(process.SIGTERM)
    assert.equal(0, flow:wait(10).status)
    assert.equal("begin a\n", made.ran())
    flows.shows(made.keep(), "night: a: done")
    assert.same({ a = "done (2)" }, made.states())
  end)

  it("is stopped with a job that doesn't want to end", function()
    made.job("a", "at = '01:00:01',", [[
      require "posix.signal".signal(15, "SIG_IGN")
      say "hear nothing in"
      while true do require "tallyman.clock".sleep(60) end]])
    made.night { "a" }
    local flow = made.keep()
    assert.truthy(process.eventually(function() return made.ran():find "hear nothing" end))
    local job = server.descendants(flow)
    flow:kill(process.SIGTERM)
    local result = flow:wait(60)
    assert.equal(0, result.status, result.err)
    assert.match("night: warning: 1 didn't end when asked to, and were killed\n", result.err)
    assert.equal(1, #job)
    assert.is_true(server.is_gone(job[1]))
    assert.match("a +running +since [^\n]+ process %d+ on %S+, which is gone\n$",
      made.verb "status".out)
  end)

  it("takes a changed timetable over, and keeps the old one when the new one is wrong", function()
    local flow = keep_idle()
    made.script("a", "return { name = 'a', att = '01:00:01', run = print }")
    flows.shows(flow, "the scripts have changed, and are wrong: the old timetable is kept")
    assert.match("unknown field 'att'", flow:err(), 1, true)
    made.job("a", "at = '01:00:01',")
    flows.shows(flow, "the new ones are used from now on")
    flows.shows(flow, "night: a: done")
  end)

  it("loads what its scripts require anew, too", function()
    made.script("times", "return { a = '05:00' }")
    made.job("a", "at = require 'times'.a,")
    made.night { "a" }
    local flow = made.keep()
    flows.shows(flow, "kept from now on")
    made.script("times", "return { a = '01:00:01' }")
    flows.shows(flow, "night: a: done")
  end)

  it("follows scripts whose folder was swapped for another, once it is told by SIGHUP", function()
    local flow = keep_idle { TALLYMAN_STATE = process.folder() .. "/state" }
    process.must("sh", "-ec", [[mkdir "$0.new"; cp "$0"/*.lua "$0.new"
      mv "$0" "$0.old"; mv "$0.new" "$0"; rm -r "$0.old"]], made.folder)
    flow:kill(1)
    flows.shows(flow, "the new ones are used from now on")
    made.job("a", "at = '01:00:01',")
    flows.shows(flow, "night: a: done")
  end)

  it("keeps the old timetable when the new one doesn't end to load", function()
    local flow = keep_idle()
    made.script("a", "while true do end")
    flows.shows(flow, "loading the scripts takes longer than 20 s: it is ended")
    flows.shows(flow, "the scripts have changed, and are wrong: the old timetable is kept")
    made.job("a", "at = '01:00:01',")
    flows.shows(flow, "night: a: done")
  end)

  it("loads the scripts again on SIGHUP", function()
    local flow = keep_idle()
    flow:kill(1)
    flows.shows(flow, "the new ones are used from now on")
  end)

  it("does nothing while nothing is due, in little memory", function()
    local flow = keep_idle()
    local function of(name)
      return tonumber(process.read(("/proc/%d/status"):format(flow.pid)):match(name .. ":%s*(%d+)"))
    end
    assert.is_true(process.eventually(function() -- once it has begun
      local before = of "voluntary_ctxt_switches"
      os.execute "sleep 2"
      return before == of "voluntary_ctxt_switches"
    end, 30))
    if not os.getenv "ASAN_OPTIONS" then assert.is_true(of "RssAnon" < 4096, of "RssAnon") end
  end)

  it("lets a job run another by a process of its own", function()
    made.job("b", "at = '05:00',")
    made.job("a", "at = '01:00:01',", ("assert(os.execute '%s %s/b.lua')"):format(process.host,
      made.folder))
    made.night { "a" }
    flows.shows(made.keep(), "night: a: done")
    assert.equal("begin a\nbegin b\nend b\nend a\n", made.ran())
  end)

  it("lets a job have no more memory than it may", function()
    if os.getenv "ASAN_OPTIONS" then return end -- no limit there
    made.job("a", "at = '01:00:01', memory_limit = '50m',", [[local text = ("x"):rep(100000000)]])
    made.night { "a" }
    flows.shows(made.keep(), "not enough memory")
  end)

  it("waits while its store is locked, says so once, and goes on", function()
    made.job("a", "at = '01:00:04',")
    made.night { "a" }
    local flow = made.keep()
    flows.shows(flow, "kept from now on")
    process.eventually(function() return false end, 0.5)
    do
      local history <close> = db.open("sqlite:" .. made.folder .. "/state/history.db")
      history:script "BEGIN EXCLUSIVE"
      flows.shows(flow, "nothing is begun until that is mended")
      assert.falsy(flow:err():find "a: done")
    end
    flows.shows(flow, "night: that is mended")
    flows.shows(flow, "night: a: done")
    assert.equal(1, select(2, flow:err():gsub("until that is mended", "")))
  end)

  it("waits while its zone's rules can't be read, says so once, and goes on", function()
    made.job("a", "every = '1s',")
    made.night({ "a" }, "timezone = 'Made/Up'")
    local zones = made.folder .. "/zones"
    process.must("mkdir", "-p", zones .. "/Made")
    process.must("cp", "/usr/share/zoneinfo/Asia/Tokyo", zones .. "/Made/Up")
    local flow = made.keep { TZDIR = zones }
    flows.shows(flow, "10:00:01 night: a: done")
    os.rename(zones .. "/Made", zones .. "/gone")
    flows.shows(flow, "UTC night: time zone 'Made/Up' is unknown")
    os.rename(zones .. "/gone", zones .. "/Made")
    flows.shows(flow, "night: that is mended")
    assert.equal(1, select(2, flow:err():gsub("is begun until that", "")))
  end)

  it("ends with one clear line when its store is removed", function()
    made.job("a", "every = '1s',")
    made.night { "a" }
    local flow = made.keep()
    flows.shows(flow, "night: a: done")
    os.rename(made.folder .. "/state/history.db", made.folder .. "/state/gone.db")
    local result = flow:wait()
    assert.equal(70, result.status)
    assert.match("\ntallyman: [^\n]*history.db was removed or replaced while it was in use[^\n]*\n",
      result.err)
  end)

  it("ends with one clear line where a newer release has changed its store", function()
    made.night {}
    made.verb "once"
    local history <close> = db.open("sqlite:" .. made.folder .. "/state/history.db")
    history:script "PRAGMA user_version = 99"
    for _, result in ipairs { made.keep():wait(), made.verb "status" } do
      assert.equal(78, result.status)
      assert.match("^tallyman: [^\n]*history.db is of version 99, this program knows %d: a newer "
        .. "release has changed it\n$", result.err)
    end
  end)

  it("ends with one clear line where its store is no database", function()
    made.job("a", "at = '01:00:04',")
    made.night { "a" }
    process.write(made.folder .. "/state/history.db", ("no database "):rep(1000))
    local result = made.keep():wait()
    assert.not_equal(0, result.status)
    assert.match("^tallyman: [^\n]*history.db[^\n]*not a database[^\n]*\n$", result.err)
  end)

  it("runs each job to its end exactly once, however often it is killed", function()
    for _, name in ipairs { "a", "b", "c", "d" } do
      made.job(name, name == "a" and "at = '01:00:01'," or "after = { 'a' }, wait = '1s',",
        [[require "tallyman.clock".sleep(0.7)]])
    end
    made.night { "a", "b", "c", "d" }
    math.randomseed(tonumber(os.getenv "TALLYMAN_KEEP_SEED") or 1)
    for _ = 1, tonumber(os.getenv "TALLYMAN_KEEP_KILLS") or 10 do
      local flow = made.keep()
      os.execute(("sleep %.3f"):format(math.random() * 0.6))
      flow:kill(process.SIGKILL)
      flow:wait()
    end
    local flow = made.keep()
    assert(process.eventually(function()
      local found = made.states()
      return found.a and found.b and found.c and found.d and not flow:poll()
        and (found.a .. found.b .. found.c .. found.d):gsub(" %(%d+%)", "") == "donedonedonedone"
    end, 40), flow:err())
    for _, name in ipairs { "a", "b", "c", "d" } do
      assert.equal(1, select(2, made.ran():gsub("begin " .. name .. "\n", "")), name)
      assert.equal(1, select(2, made.ran():gsub("end " .. name .. "\n", "")), name)
    end
  end)
end)
