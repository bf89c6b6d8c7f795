--- A PostgreSQL server that goes away in the middle of anything, and signals that end what waits
--- for one.
local db = require "tallyman.db"
local failure_of = require "tests.support.failing".of
local file = require "native.file"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"

if postgres.lacks() then
  pending("PostgreSQL " .. postgres.lacks())
  return
end

local PROMPT = 5 -- seconds; everything that hangs here would do so for a minute or more

local house, oms

setup(function()
  house = postgres.start()
  process.keep()
end)
teardown(function() postgres.clean() end)
before_each(function()
  oms = db.open(house.url)
  oms:script "DROP TABLE IF EXISTS stock; CREATE TABLE stock (id integer PRIMARY KEY, n integer)"
end)
after_each(function()
  oms:close()
  process.clean()
end)

describe("a server that goes away", function()
  it("in a query: 69, and so is all that follows", function()
    local killer = house:kill_when "pg_sleep(60)"
    local err = failure_of(oms.value, oms, "SELECT pg_sleep(60)")
    killer:wait()
    assert.equal(69, err.code)
    assert.equal("57P01", err.sqlstate)
    assert.equal(69, failure_of(oms.value, oms, "SELECT 1").code)
    assert.equal(69, failure_of(oms.transaction, oms, function() end).code)
  end)

  it("between two rows", function()
    local seen = 0
    local err = failure_of(function()
      for _ in oms:rows "SELECT generate_series(1, 1000000) AS n, repeat('x', 100)" do
        if seen == 0 then house:kill_when "generate_series":wait() end
        seen = seen + 1
      end
    end)
    assert.equal(69, err.code)
    assert.truthy(seen > 0 and seen < 1000000)
  end)

  it("in COPY while the source gives rows", function()
    local pipe = process.folder() .. "/pipe"
    process.must("mkfifo", pipe)
    process.start { "sh", "-c", "exec 3>" .. pipe .. "; echo id,n >&3; i=0; while echo $i,1 >&3; "
      .. "do i=$((i+1)); done" }
    local killer = house:kill_when "COPY"
    local source <close> = file.source(pipe)
    local err = failure_of(oms.copy_in, oms, "stock", { "id", "n" }, source)
    killer:wait()
    assert.equal(69, err.code)
    assert.equal(0, house:count())
  end)

  it("all at once", function()
    local own = postgres.start()
    local there <close> = db.open(own.url)
    local sleeper = house:script("io.stdout:write(oms:value 'SELECT pg_sleep(60)')", own.url)
    assert.truthy(process.eventually(function()
      return own:psql "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE '%(60)'" ~= "0"
    end, 20))
    own:stop_immediately()
    assert.equal(69, sleeper:wait(PROMPT).status, sleeper:err())
    assert.equal(69, failure_of(there.value, there, "SELECT 1").code)
    assert.equal(69, failure_of(db.open, own.url).code)
    own:start()
    local again <close> = db.open(own.url)
    assert.equal(1, again:value "SELECT 1")
    own:stop_immediately()
  end)

  it("before COMMIT: nothing was committed, for certain", function()
    local attempts = 0
    local err = failure_of(oms.transaction, oms, function()
      attempts = attempts + 1
      oms:run "INSERT INTO stock (id) VALUES (1)"
      house:psql(("SELECT pg_terminate_backend(%d, 10000)"):format(
        oms:value "SELECT pg_backend_pid()"))
    end, { retries = 3 })
    assert.equal(69, err.code)
    assert.is_nil(err.outcome_unknown)
    assert.matches("nothing was committed", err.message)
    assert.equal(1, attempts)
    assert.equal(0, house:count())
  end)

  it("in COMMIT: nobody knows, and it isn't tried again", function()
    oms:script [[CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON stock DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION wait()]]
    local attempts, killer = 0, nil
    local err = failure_of(oms.transaction, oms, function()
      attempts = attempts + 1
      oms:run "INSERT INTO stock (id) VALUES (1)"
      killer = house:kill_when "COMMIT"
    end, { retries = 3 })
    killer:wait()
    assert.equal(69, err.code)
    assert.is_true(err.outcome_unknown)
    assert.matches("whether the transaction was committed is unknown", err.message)
    assert.equal(1, attempts)
    house:psql "DROP FUNCTION wait() CASCADE"
  end)
end)

describe("a COMMIT that is done, and whose answer is lost", function()
  it("isn't done again", function()
    local own = postgres.start { config = { synchronous_commit = "local",
      synchronous_standby_names = "nobody" } }
    local there <close> = db.open(own.url)
    there:script "CREATE TABLE stock (id integer)"
    local attempts, killer = 0, nil
    local err = failure_of(there.transaction, there, function()
      attempts = attempts + 1
      there:script "SET LOCAL synchronous_commit = on"
      there:run "INSERT INTO stock VALUES (1)"
      killer = own:kill_when "COMMIT"
    end, { retries = 3 })
    killer:wait()
    assert.equal(69, err.code)
    assert.is_true(err.outcome_unknown)
    assert.equal(1, attempts)
    assert.equal(1, own:count())
    own:stop_immediately()
  end)
end)

describe("a signal", function()
  --- Runs a script until its query runs, sends it the signal and gives how it ended.
  local function stop(text, marker, number)
    local child = house:script(text)
    assert.truthy(process.eventually(function() return house:running(marker) > 0 end, 20),
      child:err())
    local result = child:kill(number):wait(PROMPT)
    assert.truthy(process.eventually(function() return house:running(marker) == 0 end, PROMPT))
    return result
  end

  it("ends a query, and the server is told to cancel", function()
    for number, status in pairs { [process.SIGINT] = 130, [process.SIGTERM] = 143 } do
      local _, before = house:log():gsub("canceling statement due to user request", "")
      local result = stop("oms:value 'SELECT pg_sleep(61)'", "pg_sleep(61)", number)
      assert.equal(status, result.status, result.err)
      assert.equal(("tallyman: stopped by signal %d\n"):format(number), result.err)
      local _, after = house:log():gsub("canceling statement due to user request", "")
      assert.equal(before + 1, after)
    end
  end)

  it("ends the wait for a lock, and rolls back", function()
    oms:script "INSERT INTO stock VALUES (1, 0), (2, 0)"
    oms:transaction(function()
      oms:run "UPDATE stock SET n = 1 WHERE id = 2"
      local result = stop([[oms:transaction(function()
        oms:run "UPDATE stock SET n = 5 WHERE id = 1"
        oms:run "UPDATE stock SET n = 5 WHERE id = 2"
      end)]], "id = 2", process.SIGTERM)
      assert.equal(143, result.status, result.err)
    end)
    assert.equal("0,1", house:psql "SELECT string_agg(CAST(n AS text), ',' ORDER BY id) FROM stock")
  end)

  it("ends a COPY whose source is silent", function()
    local pipe = process.folder() .. "/pipe"
    process.must("mkfifo", pipe)
    process.start { "sh", "-c", "exec 3>" .. pipe .. "; echo id,n >&3; exec sleep 60" }
    local result = stop(("local source = require 'native.file'.source %q\n"
      .. "oms:copy_in('stock', { 'id', 'n' }, source)"):format(pipe), "COPY", process.SIGINT)
    assert.equal(130, result.status, result.err)
    assert.equal(0, house:count())
  end)

  --- A COMMIT that takes so many seconds gets a signal.
  local function stop_commit(seconds)
    house:psql(([[CREATE OR REPLACE FUNCTION brief() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_sleep(%d); RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER brief AFTER INSERT ON stock DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION brief()]]):format(seconds))
    local child = house:script("oms:transaction(function()\n"
      .. "oms:run 'INSERT INTO stock (id) VALUES (1)' end)")
    assert.truthy(process.eventually(function() return house:running "COMMIT" > 0 end, 20),
      child:err())
    local result = child:kill(process.SIGTERM):wait(3 * PROMPT)
    assert.equal(143, result.status, result.err)
    return result.err
  end

  it("lets a COMMIT under way end", function()
    assert.equal("tallyman: stopped by signal 15\n", stop_commit(1))
    assert.equal(1, house:count())
  end)

  it("says that nobody knows what came of a COMMIT that takes too long", function()
    assert.matches("stopped by signal 15; whether the transaction was committed is unknown",
      stop_commit(60))
    assert.truthy(process.eventually(function() return house:running "COMMIT" == 0 end, PROMPT))
  end)
end)
