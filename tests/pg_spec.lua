--- What only PostgreSQL has: addresses and logins, TLS, its types, its remarks. The server is real
--- and its own.
local db = require "tallyman.db"
local environment = require "tests.support.environment"
local failure_of = require "tests.support.failing".of
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
      local child = house:script("", house:address { port = port })
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

  it("would rather fail than see a part of a table's rows", function()
    oms:script [[INSERT INTO stock VALUES (1, 1);
      ALTER TABLE stock ENABLE ROW LEVEL SECURITY; ALTER TABLE stock FORCE ROW LEVEL SECURITY]]
    local err = failure_of(oms.value, oms, "SELECT COUNT(*) FROM stock")
    assert.equal(77, err.code)
    assert.equal("42501", err.sqlstate)
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
    local result = house:script([[oms:script "DO $x$ BEGIN RAISE NOTICE 'hello'; END $x$"
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
    assert.equal(1, house:count())
    local handle <close> = pg.open(house.url)
    local source <close> = file.text "2\t3\n3\t\\N\n"
    assert.equal(2, handle:copy_in("COPY stock FROM STDIN", source))
    local sink <close> = file.memory()
    assert.equal(3, handle:copy_out("COPY (SELECT * FROM stock ORDER BY id) TO STDOUT", sink))
    assert.equal("1\t2\n2\t3\n3\t\\N\n", sink:text())
    assert.is_nil(handle:copy_out("SELECT 1", sink))
    assert.equal(3, house:count())
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
