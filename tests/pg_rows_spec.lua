--- PostgreSQL's transactions, which may fail and be tried again, and its rows, which come one at a
--- time.
local db = require "tallyman.db"
local failure_of = require "tests.support.failing".of
local file = require "native.file"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"

if postgres.lacks() then
  pending("PostgreSQL " .. postgres.lacks())
  return
end

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
    end, { retries = 9 }) -- a rival that doesn't wake up in time loses the row to us once more
    assert.equal(0, rival:wait().status)
    assert.is_true(attempts >= 2)
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
    assert.equal(2, house:count())
  end)

  it("that a statement wrote are written, even when nobody looks at them all", function()
    local returned = oms:one [[INSERT INTO stock SELECT generate_series(1, 50000)
      RETURNING id, repeat('x', 1000)]]
    assert.equal(1, returned.id)
    assert.equal(50000, house:count())
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

  it("come a million without growing", function()
    assert.truthy(house:growth [[local sum = 0
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
    local grown = house:growth(([[local source = require "native.file".source %q
      assert(oms:copy_in("stock", { "n", "id" }, source) == 500000)
      local sink = require "native.file".sink "/dev/stderr"
      assert(oms:copy_out("SELECT * FROM stock", sink) == 500000) sink:finish()]]):format(path))
    assert.truthy(grown < 8192, grown)
    assert.equal("3500000", house:psql "SELECT SUM(n) FROM stock")
  end)

  it("that COPY refuses are told by their line, without what stands in it", function()
    for text, line in pairs { ["id,n\n1,2\n2,secret\n"] = 3, ["id,n\n1,2\n2,3\n1,4\n"] = 4 } do
      local source <close> = file.text(text)
      local err = failure_of(oms.copy_in, oms, "stock", { "id", "n" }, source)
      assert.equal(65, err.code)
      assert.matches("%(line " .. line .. "%)$", err.message)
      assert.is_nil(err.message:find("secret", 1, true))
    end
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
    assert.truthy(house:growth(([[local source = require "native.file".source %q
      local handle <close> = require "native.pg".open(%q)
      assert(handle:script "CREATE TEMPORARY TABLE wide (id integer, n integer, c text)")
      assert(handle:script "CREATE TRIGGER slow BEFORE INSERT ON wide FOR EACH ROW \
        EXECUTE FUNCTION slow()")
      assert(handle:copy_in("COPY wide FROM STDIN (FORMAT csv, HEADER)", source))]])
      :format(path, house.url)) < 16384)
  end)
end)
