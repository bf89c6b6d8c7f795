--- What only PostgreSQL has: a server that goes away, refuses, is silent or says no; isolation;
--- signals; its types. The server is real and its own.
local db = require "tallyman.db"
local environment = require "tests.support.environment"
local file = require "native.file"
local pg = require "native.pg"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local server = require "tests.support.server"
local socket = require "posix.sys.socket"
local unistd = require "posix.unistd"

if postgres.lacks() then
  pending("PostgreSQL " .. postgres.lacks())
  return
end

local PROMPT = 5 -- seconds; everything that hangs here would do so for a minute or more
local SANITIZED = { ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":quarantine_size_mb=1" }

--- What a call raises.
local function failure_of(run, ...)
  local ok, err = pcall(run, ...)
  assert.is_false(ok, "it succeeded")
  return err
end

local house, oms

setup(function()
  house = postgres.start()
  process.keep()
end)
teardown(function() process.clean(true) end)
before_each(function()
  oms = db.open(house.url)
  oms:script "DROP TABLE IF EXISTS stock; CREATE TABLE stock (id integer PRIMARY KEY, n integer)"
end)
after_each(function()
  oms:close()
  process.clean()
end)

--- Ends the backend whose query holds a text, as soon as there is one; by another process, for this
--- one waits for that backend. A literal in the query isn't meant.
local function kill_when(text)
  return process.start(house:psql_command(([[DO $$ BEGIN
    LOOP
      PERFORM pg_stat_clear_snapshot();
      PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active'
        AND query LIKE '%%%s%%' AND pid <> pg_backend_pid();
      EXIT WHEN FOUND;
      PERFORM pg_sleep(0.02);
    END LOOP;
  END $$]]):format(text)))
end

--- How many other backends run a query that holds a text.
local function running(text)
  return tonumber(house:psql(("SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active' "
    .. "AND query LIKE '%%%s%%' AND pid <> pg_backend_pid()"):format(text)))
end

local function count() return tonumber(house:psql "SELECT COUNT(*) FROM stock") end

--- A script that runs the host with the database open as `oms`.
local function start(text, url)
  return process.start { process.host, "-e", ("local db = require 'tallyman.db'\n"
    .. "local oms <close> = db.open %q\n%s"):format(url or house.url, text), env = SANITIZED }
end

describe("connecting", function()
  local function refused(url, options)
    local err = failure_of(db.open, url, options)
    assert.is_nil(tostring(err):find("secret", 1, true), tostring(err))
    return err
  end

  it("fails by what is wrong: login 77, database 78, no server 69", function()
    local wrong = refused(house:address { password = "secret" })
    assert.equal(77, wrong.code)
    assert.matches("28P01: password authentication failed", wrong.message)
    assert.equal(77, refused(house:address { user = "nobody", password = "secret" }).code)
    assert.equal(77, refused(("postgresql://%s@127.0.0.1:%d/oms"):format(postgres.USER,
      house.port)).code)
    local none = refused(house:address { database = "nowhere" })
    assert.equal(78, none.code)
    assert.matches('3D000: database "nowhere" does not exist', none.message)
    assert.equal(69, refused(house:address { port = server.free_port() }).code)
    assert.equal(69, refused("postgresql://clerk:secret@host.invalid/oms").code)
  end)

  it("says 78 to an address that can't be read, and doesn't show it", function()
    for _, url in ipairs { "postgresql://clerk:secret/word@127.0.0.1/oms",
      "postgresql://clerk:a@secret@127.0.0.1/oms", "postgresql://clerk:%zzsecret@h/oms",
      "postgresql://127.0.0.1/oms?secret" } do
      assert.equal(78, refused(url).code)
    end
  end)

  describe("to one that accepts and says nothing", function()
    local listener, port

    before_each(function()
      port = server.free_port()
      listener = assert(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
      assert(socket.bind(listener, { family = socket.AF_INET, addr = "127.0.0.1", port = port }))
      assert(socket.listen(listener, 5))
    end)
    after_each(function() unistd.close(listener) end)

    it("ends in time: 69", function()
      for url, options in pairs { [house:address { port = port }] = { connect_timeout = 1 },
        [house:address { port = port, query = "connect_timeout=1" }] = {} } do
        local err = refused(url, options)
        assert.equal(69, err.code)
        assert.matches("no answer within 1 s", err.message)
      end
    end)

    it("is ended by a signal", function()
      local child = start("", house:address { port = port })
      local from = socket.accept(listener)
      local result = child:kill(process.SIGTERM):wait(PROMPT)
      unistd.close(from)
      assert.equal(143, result.status, result.err)
    end)
  end)

  it("heeds libpq's service file and password file", function()
    local folder = process.folder()
    process.write(folder .. "/service", ("[shop]\nhost=127.0.0.1\nport=%d\ndbname=%s\nuser=%s\n")
      :format(house.port, postgres.DATABASE, postgres.USER))
    process.write(folder .. "/pass", ("127.0.0.1:%d:*:%s:%s\n"):format(house.port, postgres.USER,
      postgres.PASSWORD))
    process.must("chmod", "600", folder .. "/pass")
    environment.with({ PGSERVICEFILE = folder .. "/service", PGPASSFILE = folder .. "/pass" },
      function()
        local by_service <close> = db.open "service=shop"
        assert.equal(postgres.USER, by_service:value "SELECT CAST(current_user AS text)")
      end)
  end)

  it("sets the session up", function()
    assert.equal("tallyman", oms:value "SELECT current_setting('application_name')")
    assert.equal("UTC", oms:value "SELECT current_setting('timezone')")
    assert.equal("UTF8", oms:value "SELECT current_setting('client_encoding')")
    local set <close> = db.open(house.url, { statement_timeout = 1.5, lock_timeout = 2 })
    assert.equal("1500ms", set:value "SELECT current_setting('statement_timeout')")
    assert.equal("2s", set:value "SELECT current_setting('lock_timeout')")
    assert.equal("0", oms:value "SELECT current_setting('statement_timeout')")
  end)

  it("loads libpq no sooner than it is needed", function()
    local text = "require 'native.pg' require 'tallyman.db' %s"
      .. "print(io.open '/proc/self/maps':read 'a':find 'libpq' ~= nil)"
    local function loaded(more)
      return process.must(process.host, "-e", text:format(more))
    end
    assert.equal("false\n", loaded "")
    assert.equal("true\n", loaded("require 'tallyman.db'.open '" .. house.url .. "'"))
  end)
end)

describe("TLS", function()
  local safe, folder

  setup(function()
    safe = postgres.start { tls = true }
    folder = safe.folder
    process.keep()
  end)

  local function open(mode, root)
    return db.open(safe:address { host = "localhost", query = ("sslmode=%s&sslrootcert=%s")
      :format(mode, root) })
  end

  it("is spoken, and the server's certificate checked", function()
    local encrypted <close> = open("verify-full", folder .. "/server.crt")
    assert.is_true(encrypted:value "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    local err = failure_of(open, "verify-full", folder .. "/other.crt")
    assert.equal(77, err.code)
    assert.matches("certificate", err.message)
  end)

  it("is missed where it is asked for and not there", function()
    assert.equal(69, failure_of(db.open, house:address { query = "sslmode=require" }).code)
  end)
end)

describe("a server that goes away", function()
  it("in a query: 69, and so is all that follows", function()
    local killer = kill_when "pg_sleep(60)"
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
        if seen == 0 then kill_when "generate_series":wait() end
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
    local killer = kill_when "COPY"
    local source <close> = file.source(pipe)
    local err = failure_of(oms.copy_in, oms, "stock", { "id", "n" }, source)
    killer:wait()
    assert.equal(69, err.code)
    assert.equal(0, count())
  end)

  it("all at once", function()
    local own = postgres.start()
    local there <close> = db.open(own.url)
    local sleeper = start("io.stdout:write(oms:value 'SELECT pg_sleep(60)')", own.url)
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
    assert.equal(0, count())
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
      killer = kill_when "COMMIT"
    end, { retries = 3 })
    killer:wait()
    assert.equal(69, err.code)
    assert.is_true(err.outcome_unknown)
    assert.matches("whether the transaction was committed is unknown", err.message)
    assert.equal(1, attempts)
    house:psql "DROP FUNCTION wait() CASCADE"
  end)
end)

describe("a transaction", function()
  local other
  before_each(function()
    oms:script "INSERT INTO stock VALUES (1, 0), (2, 0)"
    other = db.open(house.url)
  end)
  after_each(function() other:close() end)

  --- Adds one by reading and writing; the first time, another does so in between.
  local function contend(options)
    local attempts = 0
    return pcall(oms.transaction, oms, function()
      attempts = attempts + 1
      local n = oms:value "SELECT n FROM stock WHERE id = 1"
      if attempts == 1 then other:run "UPDATE stock SET n = n + 10 WHERE id = 1" end
      oms:run("UPDATE stock SET n = :n WHERE id = 1", { n = n + 1 })
      return attempts
    end, options)
  end

  it("that can't be serialized is tried again as a whole", function()
    for _, isolation in ipairs { "serializable", "repeatable read" } do
      oms:run "UPDATE stock SET n = 0"
      local ok, attempts = contend { isolation = isolation, retries = 2 }
      assert.is_true(ok, tostring(attempts))
      assert.equal(2, attempts)
      assert.equal(11, oms:value "SELECT n FROM stock WHERE id = 1")
    end
  end)

  it("is not tried again unless asked: 75", function()
    local ok, err = contend { isolation = "serializable" }
    assert.is_false(ok)
    assert.equal(75, err.code)
    assert.equal("40001", err.sqlstate)
    assert.equal(10, oms:value "SELECT n FROM stock WHERE id = 1")
  end)

  it("loses the other's change where nobody asked for isolation", function()
    assert.is_true(contend())
    assert.equal(1, oms:value "SELECT n FROM stock WHERE id = 1")
  end)

  it("whose failure shows only at COMMIT is tried again, too", function()
    local attempts = 0
    oms:transaction(function()
      attempts = attempts + 1
      local sum = oms:value "SELECT SUM(n) FROM stock"
      oms:run("UPDATE stock SET n = :n WHERE id = 1", { n = sum + 1 })
      if attempts == 1 then
        other:transaction(function()
          other:run("UPDATE stock SET n = :n WHERE id = 2",
            { n = other:value "SELECT SUM(n) FROM stock" + 1 })
        end, { isolation = "serializable" })
      end
    end, { isolation = "serializable", retries = 1 })
    assert.equal(2, attempts)
    assert.equal(3, oms:value "SELECT SUM(n) FROM stock")
  end)

  it("in a deadlock is tried again", function()
    local attempts, rival = 0, nil
    oms:transaction(function()
      attempts = attempts + 1
      oms:run "UPDATE stock SET n = n + 1 WHERE id = 1"
      if attempts == 1 then
        rival = process.start(house:psql_command [[SET deadlock_timeout = '1h'; BEGIN;
          UPDATE stock SET n = n + 10 WHERE id = 2; UPDATE stock SET n = n + 10 WHERE id = 1;
          COMMIT]])
        assert.truthy(process.eventually(function()
          return house:psql "SELECT COUNT(*) FROM pg_locks WHERE NOT granted" ~= "0"
        end, 20), rival:err())
      end
      oms:run "UPDATE stock SET n = n + 1 WHERE id = 2"
    end, { retries = 1 })
    assert.equal(0, rival:wait().status)
    assert.equal(2, attempts)
    assert.equal(22, oms:value "SELECT SUM(n) FROM stock")
  end)

  it("in which a failure was swallowed doesn't pass for committed", function()
    local err = failure_of(oms.transaction, oms, function()
      oms:run "UPDATE stock SET n = 7"
      pcall(oms.run, oms, "INSERT INTO stock (id) VALUES (1)")
    end)
    assert.equal(65, err.code)
    assert.equal("23505", err.sqlstate)
    assert.matches("nothing was committed", err.message)
    assert.equal(0, oms:value "SELECT SUM(n) FROM stock")
    oms:transaction(function() oms:run "UPDATE stock SET n = 1" end)
    assert.equal(2, oms:value "SELECT SUM(n) FROM stock")
  end)

  it("fails by its limits: 75", function()
    local hasty <close> = db.open(house.url, { statement_timeout = 0.05 })
    local impatient <close> = db.open(house.url, { lock_timeout = 0.05 })
    local slow = failure_of(hasty.value, hasty, "SELECT pg_sleep(60)")
    assert.equal(75, slow.code)
    assert.equal("57014", slow.sqlstate)
    oms:transaction(function()
      oms:run "UPDATE stock SET n = 1"
      local locked = failure_of(impatient.run, impatient, "SELECT * FROM stock FOR UPDATE")
      assert.equal(75, locked.code)
      assert.equal("55P03", locked.sqlstate)
    end)
    local denied = failure_of(oms.value, oms, "SELECT pg_read_file('/etc/passwd')")
    assert.equal(77, denied.code)
  end)
end)

describe("a signal", function()
  --- Runs a script until its query runs, sends it the signal and gives how it ended.
  local function stop(text, marker, number)
    local child = start(text)
    assert.truthy(process.eventually(function() return running(marker) > 0 end, 20), child:err())
    local result = child:kill(number):wait(PROMPT)
    assert.truthy(process.eventually(function() return running(marker) == 0 end, PROMPT))
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
    assert.equal(0, count())
  end)

  --- A COMMIT that takes so many seconds gets a signal.
  local function stop_commit(seconds)
    house:psql(([[CREATE OR REPLACE FUNCTION brief() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_sleep(%d); RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER brief AFTER INSERT ON stock DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION brief()]]):format(seconds))
    local child = start("oms:transaction(function()\n"
      .. "oms:run 'INSERT INTO stock (id) VALUES (1)' end)")
    assert.truthy(process.eventually(function() return running "COMMIT" > 0 end, 20), child:err())
    local result = child:kill(process.SIGTERM):wait(3 * PROMPT)
    assert.equal(143, result.status, result.err)
    return result.err
  end

  it("lets a COMMIT under way end", function()
    assert.equal("tallyman: stopped by signal 15\n", stop_commit(1))
    assert.equal(1, count())
  end)

  it("says that nobody knows what came of a COMMIT that takes too long", function()
    assert.matches("stopped by signal 15; whether the transaction was committed is unknown",
      stop_commit(60))
    assert.truthy(process.eventually(function() return running "COMMIT" == 0 end, PROMPT))
  end)
end)

describe("rows", function()
  it("of a query without end may be left early, outside a transaction", function()
    for row in oms:rows "SELECT generate_series(1, 100000000000) AS n" do
      if row.n == 3 then break end
    end
    assert.equal(1, oms:one "SELECT generate_series(1, 100000000000) AS n".n)
    assert.equal(1, oms:value "SELECT generate_series(1, 100000000000)")
    assert.equal(5, oms:value "SELECT 5")
  end)

  it("may be left early in a transaction, which goes on", function()
    oms:transaction(function()
      oms:run "INSERT INTO stock (id) VALUES (1)"
      for row in oms:rows "SELECT generate_series(1, 500000) AS n, repeat('x', 100)" do
        if row.n == 3 then break end
      end
      oms:run "INSERT INTO stock (id) VALUES (2)"
    end)
    assert.equal(2, count())
  end)

  it("that a statement wrote are written, even when nobody looks at them all", function()
    local returned = oms:one [[INSERT INTO stock SELECT generate_series(1, 50000)
      RETURNING id, repeat('x', 1000)]]
    assert.equal(1, returned.id)
    assert.equal(50000, count())
  end)

  it("that fail half-way say so, after those before", function()
    local seen = 0
    local err = failure_of(function()
      for row in oms:rows "SELECT 1 / (3 - generate_series(1, 5)) AS n" do
        seen = seen + 1
        assert.equal("integer", math.type(row.n))
        assert.equal(9, oms:value "SELECT 9") -- the failure is fetched ahead, and waits
      end
    end)
    assert.equal(2, seen)
    assert.equal(65, err.code)
    assert.equal("22012", err.sqlstate)
  end)

  --- Runs a script that prints by how many KiB the process has grown at most.
  local function growth(text)
    local result = start([[
      local function peak() return tonumber(io.open "/proc/self/status":read "a":match
        "VmHWM:%s*(%d+)") end
      local sink = require "native.file".sink "/dev/stderr"
      oms:value "SELECT 1"
      for _ in oms:rows "SELECT generate_series(1, 100) AS n" do end
      local before = peak()
      ]] .. text .. "\nprint(peak() - before)"):wait()
    assert.equal(0, result.status, result.err:sub(1, 500))
    return tonumber(result.out)
  end

  it("come a million without growing", function()
    assert.truthy(growth [[local sum = 0
      for row in oms:rows "SELECT generate_series(1, 1000000) AS n, repeat('x', 50) AS x" do
        sum = sum + row.n
      end
      assert(sum == 500000500000)]] < 8192)
  end)

  it("are copied out and in, half a million, without growing", function()
    local path = process.folder() .. "/rows.csv"
    local handle <close> = file.sink(path)
    assert.equal(500000, oms:copy_out("SELECT generate_series(1, 500000) AS id, 7 AS n", handle))
    handle:finish()
    local grown = growth(([[local source = require "native.file".source %q
      assert(oms:copy_in("stock", { "n", "id" }, source) == 500000)
      local sink = require "native.file".sink "/dev/stderr"
      assert(oms:copy_out("SELECT * FROM stock", sink) == 500000) sink:finish()]]):format(path))
    assert.truthy(grown < 8192, grown)
    assert.equal("3500000", house:psql "SELECT SUM(n) FROM stock")
  end)

  it("wait in their source for a server that is slow to take them", function()
    house:psql [[CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN IF NEW.id = 1 THEN PERFORM pg_sleep(1); END IF; RETURN NEW; END $$;
      CREATE TRIGGER slow BEFORE INSERT ON stock FOR EACH ROW EXECUTE FUNCTION slow()]]
    local path, row = process.folder() .. "/rows.csv", (" "):rep(1000) .. "\n"
    local out <close> = assert(io.open(path, "wb"))
    out:write "id,n,comments\n"
    for id = 1, 50000 do out:write(id, ",7,", row) end
    out:close()
    assert.truthy(growth(([[local source = require "native.file".source %q
      local handle <close> = require "native.pg".open(%q)
      assert(handle:script "CREATE TEMPORARY TABLE wide (id integer, n integer, c text)")
      assert(handle:script "CREATE TRIGGER slow BEFORE INSERT ON wide FOR EACH ROW \
        EXECUTE FUNCTION slow()")
      assert(handle:copy_in("COPY wide FROM STDIN (FORMAT csv, HEADER)", source))]])
      :format(path, house.url)) < 16384)
  end)
end)

describe("values", function()
  local function value(sql, params) return oms:value("SELECT " .. sql, params) end

  it("of numeric are integers where they are whole and fit, and else the server's text", function()
    for sql, expected in pairs { ["12.000000"] = 12, ["-5.0"] = -5, ["0.000"] = 0,
      ["9223372036854775807.0"] = math.maxinteger, ["9223372036854775808"] = "9223372036854775808",
      ["-9223372036854775808.00"] = math.mininteger, ["0.1"] = "0.1", ["2.50"] = "2.50",
      ["'NaN'"] = "NaN", ["123456789012345678901234567890"] = "123456789012345678901234567890",
      ["-0.000001"] = "-0.000001" } do
      local got = value(("CAST(%s AS numeric)"):format(sql))
      assert.equal(expected, got, sql)
      assert.equal(math.type(expected), math.type(got))
    end
  end)

  it("of the other types", function()
    assert.is_true(value "true")
    assert.is_false(value "1 = 2")
    assert.equal(math.huge, value "CAST('Infinity' AS float8)")
    assert.equal(0.1, value "CAST(0.1 AS float4)")
    assert.equal(-7, value "CAST(-7 AS smallint)")
    assert.equal("2026-11-24 01:00:00.25", value "CAST('2026-11-24 01:00:00.25' AS timestamp)")
    assert.equal("2026-11-24 00:00:00+00", value "CAST('2026-11-24 01:00:00+01' AS timestamptz)")
    assert.equal("2026-11-24", value "CAST('2026-11-24' AS date)")
    assert.equal("{1,2}", value "ARRAY[1, 2]")
    assert.equal("", value "CAST('' AS bytea)")
    assert.same({ a = true, b = "x" }, oms:one("SELECT CAST(:a AS boolean) AS a, :b AS b",
      { a = true, b = "x" }))
  end)

  it("that aren't UTF-8, or hold a zero byte, are bad data, unless they are bytes", function()
    for _, bytes in ipairs { "caf\xE9", "a\0b" } do
      local err = failure_of(value, "CAST(:x AS text)", { x = bytes })
      assert.equal(65, err.code)
      assert.is_nil(err.message:find("caf", 1, true))
      assert.equal(bytes, value("CAST(:x AS bytea)", { x = bytes }))
    end
    oms:script "CREATE TEMPORARY TABLE names (name text)"
    local source <close> = file.text "name\ncaf\xE9\n"
    assert.equal(65, failure_of(oms.copy_in, oms, "names", { "name" }, source).code)
  end)

  it("never stand in a message", function()
    oms:script "CREATE TEMPORARY TABLE names (name varchar(60) UNIQUE, at timestamp, n integer)"
    local insert = "INSERT INTO names (name, at, n) VALUES (:name, :at, :n)"
    local good = { name = "secret", at = "2026-11-24", n = 1 }
    oms:run(insert, good)
    for name, bad in pairs { name = "secret", at = "secret", n = "secret\"x" } do
      local params = setmetatable({ [name] = bad }, { __index = { name = "y", at = "2026-11-24",
        n = 1 } })
      local err = failure_of(oms.run, oms, insert, params)
      assert.equal(65, err.code)
      assert.is_nil(err.message:find("secret", 1, true), err.message)
      assert.matches("INSERT INTO names", err.message)
    end
  end)
end)

describe("the server", function()
  it("remarks what is collected, and not printed", function()
    local result = start([[oms:script "DO $x$ BEGIN RAISE NOTICE 'hello'; END $x$"
      oms:script "ROLLBACK"
      print(table.concat(oms:notices(), "\n"), #oms:notices())]]):wait()
    assert.equal("NOTICE: hello\nWARNING: there is no transaction in progress\t0\n", result.out)
    assert.equal("", result.err)
  end)

  it("keeps no more statements than we do", function()
    for i = 1, 300 do oms:value("SELECT " .. i) end
    assert.truthy(oms:value "SELECT COUNT(*) FROM pg_prepared_statements" < 130)
  end)

  it("plans a statement anew when a script changed its table", function()
    oms:run "INSERT INTO stock VALUES (1, 2)"
    assert.same({ id = 1, n = 2 }, oms:one "SELECT * FROM stock")
    oms:script "ALTER TABLE stock ADD COLUMN more integer DEFAULT 3"
    assert.same({ id = 1, n = 2, more = 3 }, oms:one "SELECT * FROM stock")
  end)

  it("gets no COPY but by copy_in and copy_out", function()
    oms:script "INSERT INTO stock VALUES (1, 2)"
    assert.matches("copy_in", failure_of(oms.run, oms, "COPY stock TO STDOUT").message)
    assert.matches("copy_in", failure_of(oms.run, oms, "COPY stock FROM STDIN").message)
    assert.matches("nothing feeds", failure_of(oms.script, oms, "COPY stock FROM STDIN").message)
    oms:script "COPY stock TO STDOUT"
    assert.equal(1, count())
    local handle <close> = pg.open(house.url)
    local source <close> = file.text "2\t3\n3\t\\N\n"
    assert.equal(2, handle:copy_in("COPY stock FROM STDIN", source))
    local sink <close> = file.memory()
    assert.equal(3, handle:copy_out("COPY (SELECT * FROM stock ORDER BY id) TO STDOUT", sink))
    assert.equal("1\t2\n2\t3\n3\t\\N\n", sink:text())
    assert.is_nil(handle:copy_out("SELECT 1", sink))
    assert.equal(3, count())
  end)

  it("is left by closing, and what belongs to it says so", function()
    local handle = pg.open(house.url)
    local statement = handle:prepare "SELECT generate_series(1, 10)"
    statement:start()
    statement:next()
    handle:close()
    assert.matches("closed", failure_of(statement.next, statement))
    assert.matches("closed", failure_of(handle.script, handle, "SELECT 1"))
    statement:close()
    statement:close()
  end)
end)
