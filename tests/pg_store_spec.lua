--- The store on PostgreSQL: the very specs of the timetable that hold on SQLite, once more; its
--- tables; and who keeps a flow that several hosts could keep.
local clock = require "native.clock"
local db = require "tallyman.db"
local databases = require "tests.support.databases"
local failing = require "tests.support.failing"
local flows = require "tests.support.flows"
local keeping = require "tests.support.keeping"
local occurrences = require "tallyman.occurrences"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local signal = require "posix.signal"
local store = require "tallyman.store"
local turn = require "tallyman.turn"

describe("a store on PostgreSQL", function()
  if postgres.lacks() then return pending(postgres.lacks()) end
  local made

  setup(function()
    made = databases.of_oms(postgres.start())
    process.keep()
    keeping.use(made)
  end)
  teardown(function()
    keeping.use(nil)
    made.connect:close()
    postgres.clean()
  end)

  describe("timetable:", assert(loadfile(process.root .. "/tests/keeper_spec.lua", "t", _ENV)))

  local flow

  before_each(function() flow = flows.new(made.fresh()) end)
  after_each(process.clean)

  --- A flow with one job, "a", that is due after two seconds.
  local function one_job(fields, body)
    flow.job("a", "at = '01:00:02', " .. (fields or ""), body)
    flow.night { "a" }
  end

  describe("and its rights", function()
    local function run(path, url, user)
      return process.tallyman(path, { env = {
        TALLYMAN_STORE = url:gsub("user=[^&]*", "user=" .. user) } })
    end

    it("are granted ahead where the user may make nothing, and the doctor says what is lacking",
      function()
        local url = flow.store_url
        made.connect:script "DROP ROLE IF EXISTS watchman; CREATE ROLE watchman LOGIN"
        local job = flow.folder .. "/a.lua"
        one_job()
        local result = run(job, url, "watchman")
        assert.equal(77, result.status, result.err)
        assert.match("denied.*run the SQL that 'tables.lua store USER' prints", result.err)
        local doctor = process.root .. "/examples/doctor.lua"
        assert.match("\nstore +NOT OK: [^\n]*scripts/tables.lua store USER",
          run(doctor, url, "watchman").out)
        local sql = process.tallyman(process.root .. "/scripts/tables.lua", "store", "watchman").out
        local owner <close> = db.open(url)
        owner:script(sql)
        assert.match("\nstore +ok: its tables are there\n", run(doctor, url, "watchman").out)
        result = run(job, url, "watchman")
        assert.equal(0, result.status, result.err)
        assert.equal("done", owner:value "SELECT state FROM tallyman.run")
        owner:script "REVOKE DELETE ON tallyman.event FROM watchman"
        assert.match("\nstore +NOT OK: this user lacks DELETE on tallyman.event\n",
          run(doctor, url, "watchman").out)
        owner:script "INSERT INTO tallyman.version (version) VALUES (99)"
        result = run(job, url, "watchman")
        assert.equal(78, result.status)
        assert.match("is of version 99, this program knows 1: a newer release has changed it",
          result.err)
        assert.match("\nstore +NOT OK: it is of version 99", run(doctor, url, "watchman").out)
      end)
  end)

  it("takes what a file's odd bytes make of a message", function()
    one_job(nil, [[night:warn("row 3: '%s' is no quantity", "f\xFCnf\0")]])
    flow.job("b", "at = '01:00:01',", [[error("caf\xE9", 0)]])
    flow.night { "a", "b" }
    local kept = flow.keep()
    flows.shows(kept, "night: a: done")
    flows.shows(kept, "night: b: failed: caf\u{FFFD}")
    assert.match("row 3: 'f\u{FFFD}nf", flow.verb("report", "2026-11-24").out, 1, true)
  end)

  describe("and whose turn it is", function()
    --- A store, with a turn of so many seconds.
    local function with_turn(lease)
      local one = store.open(flow.folder .. "/state", flow.store_url)
      one.turn = turn.new(one, "night", lease)
      return one
    end

    it("lets a change through only while it is ours", function()
      local first <close> = with_turn(0.3)
      local second <close> = with_turn(60)
      assert.is_nil(first.turn:take())
      assert.is_truthy(second.turn:take())
      assert.equal("written", first:change(function() return "written" end))
      clock.sleep(0.5)
      assert.is_nil(second.turn:take())
      local err = failing.of(first.change, first, function()
        occurrences.add(first, { flow = "night", night = "2026-11-24", job = "a", turn = 0,
          due_at = 0, deadline = 1 })
      end)
      assert.equal(75, err.code)
      assert.is_true(first.turn.lost)
      assert.equal(0, second.db:value "SELECT COUNT(*) FROM occurrence")
      assert.is_truthy(first.turn:take())
    end)

    it("is kept over another connection", function()
      local first <close> = with_turn(60)
      local second <close> = with_turn(60)
      assert.is_nil(first.turn:take())
      first:reconnect()
      assert.is_nil(first.turn:take())
      assert(process.eventually(function() -- the first connection's end takes a moment
        return second.db:value [[SELECT COUNT(*) FROM pg_stat_activity
          WHERE datname = current_database()]] == 2
      end))
      assert.is_truthy(second.turn:take())
    end)
  end)

  describe("that hosts share", function()
    it("lets one of them keep a flow while another stands by, until the first is gone", function()
      one_job()
      local first = flow.keep(nil, "one")
      flows.shows(first, "kept from now on")
      local second = flow.keep(nil, "two")
      flows.shows(second, ("standing by: process %d on one keeps it"):format(first.pid))
      assert.match(("kept by process %d on one"):format(first.pid), flow.verb "status".out)
      flows.shows(first, "night: a: done")
      first:kill(process.SIGKILL):wait()
      flows.shows(second, "kept from now on")
      first = flow.keep(nil, "one")
      flows.shows(first, ("standing by: process %d on two keeps it"):format(second.pid))
      second:kill(process.SIGTERM):wait()
      flows.shows(first, "kept from now on")
      assert.same({ a = "done" }, flow.states())
      assert.equal("begin a\nend a\n", flow.ran())
    end)

    it("isn't kept twice on one host", function()
      one_job()
      local first = flow.keep(nil, "one")
      flows.shows(first, "kept from now on")
      local result = flow.keep(nil, "one"):wait()
      assert.equal(75, result.status)
      assert.match(("flow night: process %d on one keeps it already"):format(first.pid), result.err)
    end)

    it("lets a run of a host whose flow was killed go on, and runs it no second time", function()
      one_job(nil, [[require "tallyman.clock".sleep(5)]])
      local first = flow.keep(nil, "one")
      local second = flow.keep(nil, "two")
      assert(process.eventually(function() return flow.ran() ~= "" end, 30), first:err())
      local keeper, other = first, second
      if second:err():find("kept from", 1, true) then keeper, other = second, first end
      keeper:kill(process.SIGKILL):wait()
      flows.shows(other, "kept from now on")
      flows.shows(other, "night: a: done")
      assert.same({ a = "done" }, flow.states())
      assert.equal("begin a\nend a\n", flow.ran())
    end)

    it("lets a host that stood still for longer than the lease write nothing any more", function()
      one_job("latest = '01:01',", [[require "tallyman.clock".sleep(6)]])
      local first = flow.keep(nil, "one")
      flows.shows(first, "kept from now on")
      assert(process.eventually(function() return flow.ran() ~= "" end, 30), first:err())
      first:kill(signal.SIGSTOP)
      local second = flow.keep(nil, "two")
      flows.shows(second, "kept from now on")
      first:kill(signal.SIGCONT)
      flows.shows(first, ("standing by: process %d on two keeps it"):format(second.pid))
      flows.shows(second, "night: a: done")
      assert.same({ a = "done" }, flow.states())
      assert.falsy(first:err():find("night: a: done", 1, true))
      assert.falsy(first:err():find("keeps it: nothing is begun", 1, true), first:err())
    end)

    it("cuts off a run of another host that takes too long", function()
      one_job("latest = '01:00:08',", [[require "tallyman.clock".sleep(30)]])
      local first = flow.keep(nil, "one")
      assert(process.eventually(function() return flow.ran() ~= "" end, 30), first:err())
      first:kill(process.SIGKILL):wait()
      local second = flow.keep(nil, "two")
      flows.shows(second, "night: a: failed: not done by its deadline")
      assert.equal("begin a\n", flow.ran())
    end)

    it("is copied for a rehearsal, which leaves no trace in it", function()
      one_job()
      local kept = flow.keep()
      flows.shows(kept, "night: a: done")
      kept:kill(process.SIGTERM):wait()
      local before = flow.states()
      local result = flow.verb("once", "--dry-run")
      assert.equal(0, result.status, result.err)
      assert.match("a: would be done", result.err)
      assert.same(before, flow.states())
      local history <close> = db.open(flow.store_url)
      assert.equal(1, history:value "SELECT COUNT(*) FROM tallyman.run")
    end)

    it("outlives its server, and so does what a job has to say", function()
      local own = postgres.start()
      flow = flows.new(own.url)
      one_job(nil, [[require "tallyman.clock".sleep(6)]])
      local kept = flow.keep()
      assert(process.eventually(function() return flow.ran() ~= "" end, 30), kept:err())
      own:stop()
      flows.shows(kept, "nothing is begun until that is mended")
      own:start()
      flows.shows(kept, "night: that is mended")
      flows.shows(kept, "night: a: done")
      assert.same({ a = "done" }, flow.states())
      own:stop_immediately()
    end)
  end)
end)
