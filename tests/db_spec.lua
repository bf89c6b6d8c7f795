--- One face for both databases: the same specs on SQLite and on PostgreSQL.
local databases = require "tests.support.databases"
local db = require "tallyman.db"
local failure_of = require "tests.support.failing".of
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"

teardown(function() postgres.clean() end)

local function specs(name, kind)
  local address, oms

  setup(function()
    address = kind.start()
    process.keep()
  end)
  before_each(function() oms = databases.open(name, address) end)
  after_each(function() oms:close() end)

  local function add(id, quantity, text)
    return oms:run("INSERT INTO stock (id, quantity, name) VALUES (:id, :quantity, :name)",
      { id = id, quantity = quantity or db.null, name = text or db.null })
  end

  it("says which it is", function() assert.equal(name, oms.dialect) end)

  describe("values", function()
    it("come back as what they were", function()
      local bytes = "\0\1\\x41'\"\xFF"
      oms:run([[INSERT INTO stock (id, name, quantity, ratio, picture, checked)
        VALUES (:id, :name, :quantity, :ratio, :picture, :checked)]], { id = 1, name = "ü's \\ x",
        quantity = 12, ratio = 0.1, picture = bytes, checked = "2026-11-24 01:00:00" })
      local row = oms:one "SELECT * FROM stock"
      assert.same({ id = 1, name = "ü's \\ x", quantity = 12, ratio = 0.1, picture = bytes,
        checked = "2026-11-24 01:00:00" }, row)
      assert.equal("integer", math.type(row.quantity))
      assert.equal("float", math.type(row.ratio))
    end)

    it("of numeric columns are integers or text, of boolean ones booleans", function()
      for id, quantity in ipairs { 2.5, "0.000001", 7, "8.000000" } do
        oms:run("INSERT INTO stock (id, quantity, sold) VALUES (:id, :quantity, :sold)",
          { id = id, quantity = quantity, sold = id > 2 })
      end
      local rows = oms:all "SELECT quantity, sold FROM stock ORDER BY id"
      for i, expected in ipairs { "2.5", "0.000001", 7, 8 } do
        local quantity = rows[i].quantity
        assert.equal(math.type(expected), math.type(quantity))
        assert.equal(expected, math.type(quantity) and quantity or quantity:gsub("0+$", ""))
        assert.equal(i > 2, rows[i].sold)
      end
    end)

    it("are exact at the ends of their ranges", function()
      for _, value in ipairs { math.maxinteger, math.mininteger, 0, -1, 2 ^ 53, 1e-300, 0.1 + 0.2,
        1 / 3 } do
        local type = math.type(value) == "integer" and "bigint" or "double precision"
        assert.equal(value, oms:value(("SELECT CAST(:value AS %s)"):format(type),
          { value = value }))
      end
    end)

    it("of NULL are absent, and the columns' names tell", function()
      add(1)
      local row, columns = oms:one "SELECT id, name, quantity FROM stock"
      assert.same({ id = 1 }, row)
      assert.same({ "id", "name", "quantity" }, columns)
      for each, names in oms:rows "SELECT name AS empty FROM stock" do
        assert.same({}, each)
        assert.same({ "empty" }, names)
      end
      assert.is_nil(oms:value "SELECT name FROM stock")
    end)

    it("are never taken for SQL", function()
      local text = "'; DROP TABLE stock; --"
      add(1, 1, text)
      assert.equal(text, oms:value("SELECT name FROM stock WHERE name = :name", { name = text }))
    end)

    it("of booleans fit where numbers are", function()
      assert.equal(1, add(1, true))
      assert.equal(1, oms:value "SELECT quantity FROM stock")
    end)
  end)

  describe("parameters", function()
    it("may occur several times, and be lists", function()
      for id = 1, 5 do add(id, id) end
      assert.equal(3, oms:value([[SELECT COUNT(*) FROM stock
        WHERE id IN :ids AND (:least = 0 OR id >= :least)]],
        { ids = { 1, 3, 4, 5, 9 }, least = 3 }))
      assert.equal(0, oms:value("SELECT COUNT(*) FROM stock WHERE id IN :ids", { ids = {} }))
    end)

    it("are not looked for in strings, names and comments", function()
      assert.same({ ["a:b"] = ":ids", two = 2 }, oms:one([[SELECT ':ids' AS "a:b", -- :ids isn't
        /* nor :ids */ CAST(:two AS integer) AS two WHERE 2 IN :ids]], { two = 2, ids = { 2 } }))
    end)

    it("that are missing are the caller's mistake", function()
      assert.matches(":id has no value", failure_of(oms.run, oms,
        "DELETE FROM stock WHERE id = :id", { ID = 1 }))
      assert.matches("is no SQL value", failure_of(oms.run, oms,
        "DELETE FROM stock WHERE id = :id", { id = print }))
    end)
  end)

  describe("rows", function()
    it("changed are counted", function()
      for id = 1, 3 do assert.equal(1, add(id, id)) end
      assert.equal(2, oms:run "UPDATE stock SET quantity = 0 WHERE id > 1")
      assert.equal(0, oms:run "SELECT * FROM stock")
      assert.equal(0, oms:run "CREATE TEMPORARY TABLE other (id integer)")
      assert.equal(3, oms:run "DELETE FROM stock")
    end)

    it("may be left early, and others asked for between them", function()
      for id = 1, 2000 do add(id, id) end
      for row in oms:rows "SELECT id FROM stock ORDER BY id" do
        if row.id == 2 then break end
      end
      local seen = 0
      for row in oms:rows "SELECT id FROM stock ORDER BY id" do
        seen = seen + 1
        assert.equal(seen, row.id)
        if seen <= 3 then
          assert.equal(seen, oms:value("SELECT quantity FROM stock WHERE id = :id", row))
          assert.equal(1, oms:one "SELECT id FROM stock ORDER BY id".id)
        end
      end
      assert.equal(2000, seen)
      assert.equal(2000, #oms:all "SELECT id FROM stock")
    end)

    it("that nobody finds are nil", function()
      assert.is_nil(oms:one "SELECT * FROM stock")
      assert.is_nil(oms:value "SELECT id FROM stock")
      assert.same({}, oms:all "SELECT * FROM stock")
    end)
  end)

  describe("a failure", function()
    it("of the data is 65, and the database goes on", function()
      add(1)
      for _, run in ipairs { function() add(1) end, function() add(2, -1) end } do
        local err = failure_of(run)
        assert.equal(65, err.code)
        assert.equal(1, oms:value "SELECT COUNT(*) FROM stock")
      end
    end)

    it("of the SQL names its beginning, or what is wrong", function()
      local err = failure_of(oms.value, oms, "SELECT * FROM nowhere")
      assert.matches("nowhere", err.message)
      assert.equal(70, err.code)
      assert.matches("nowhere", failure_of(oms.script, oms, "SELECT * FROM nowhere").message)
    end)

    it("of an option says which", function()
      assert.matches("unknown option 'timeout'", failure_of(db.open, address(), { timeout = 1 }))
    end)
  end)

  describe("a transaction", function()
    it("commits, and gives what its function gave", function()
      assert.equal("done", oms:transaction(function(tx)
        assert.equal(oms, tx)
        add(1)
        return "done"
      end))
      assert.equal(1, oms:value "SELECT COUNT(*) FROM stock")
    end)

    it("rolls back on any error, and goes on", function()
      local mark = {}
      assert.equal(mark, failure_of(oms.transaction, oms, function()
        add(1)
        error(mark)
      end))
      assert.matches("db_spec.lua:%d+: no", failure_of(oms.transaction, oms, function()
        add(1)
        error "no"
      end))
      assert.equal(65, failure_of(oms.transaction, oms, function()
        add(1)
        add(1)
      end).code)
      for row in oms:rows "SELECT COUNT(*) AS count FROM stock" do assert.equal(0, row.count) end
      oms:transaction(function() add(1) end)
      assert.equal(1, oms:value "SELECT COUNT(*) FROM stock")
    end)

    it("rolls back while its rows are read", function()
      for id = 1, 10 do add(id) end
      failure_of(oms.transaction, oms, function()
        for row in oms:rows "SELECT id FROM stock" do
          oms:run("DELETE FROM stock WHERE id = :id", row)
          error "no"
        end
      end)
      assert.equal(10, oms:value "SELECT COUNT(*) FROM stock")
    end)

    it("doesn't nest", function()
      local err = failure_of(oms.transaction, oms, function()
        add(1)
        oms:transaction(function() end)
      end)
      assert.matches("db_spec.lua:%d+: a transaction runs already", err)
      assert.equal(0, oms:value "SELECT COUNT(*) FROM stock")
    end)

    it("takes the isolation levels there are, and no other option", function()
      for _, isolation in ipairs { "serializable", "repeatable read", "read committed" } do
        oms:transaction(function() add(#isolation) end, { isolation = isolation, retries = 2 })
      end
      assert.equal(3, oms:value "SELECT COUNT(*) FROM stock")
      assert.matches("isolation is", failure_of(oms.transaction, oms, print, { isolation = "x" }))
      assert.matches("unknown option 'retry'", failure_of(oms.transaction, oms, print,
        { retry = 1 }))
    end)

    it("waits for another's lock, and then says 75", function()
      local other <close> = db.open(address())
      add(1, 1)
      local lost
      oms:transaction(function()
        oms:run "UPDATE stock SET quantity = 2"
        lost = failure_of(other.transaction, other, function()
          other:run "UPDATE stock SET quantity = 3"
        end)
      end)
      assert.equal(75, lost.code)
      assert.equal(2, other:value "SELECT quantity FROM stock")
    end)
  end)

  describe("what differs is written the same", function()
    it("millionths", function()
      oms:run("INSERT INTO stock (id, quantity) VALUES (1, {amount CAST(:units AS integer)})",
        { units = 1500000 })
      assert.equal(1500000, oms:value "SELECT {units quantity} FROM stock")
      assert.equal(0, oms:value "SELECT {units NULL}")
      assert.equal("1.5", oms:value "SELECT {decimal 1500000}")
      assert.equal("-2", oms:value "SELECT {decimal -2000000}")
      assert.equal("0", oms:value "SELECT {decimal 0}")
    end)

    it("times", function()
      assert.equal("2026-11-24 01:00:00.500", oms:value "SELECT {stamp '2026-11-24 01:00:00.5'}")
      oms:run("INSERT INTO stock (id, checked) VALUES (1, :at)", { at = "2026-11-24 01:00:00" })
      assert.equal(1, oms:value("SELECT COUNT(*) FROM stock WHERE {stamp checked} = :at",
        { at = "2026-11-24 01:00:00.000" }))
    end)

    it("times beyond all years, and none", function()
      if oms.dialect == "postgresql" then
        assert.equal("9999-12-31 00:00:00.000", oms:value "SELECT {stamp 'infinity'::timestamp}")
        assert.equal("0001-01-01 00:00:00.000", oms:value "SELECT {stamp '-infinity'::timestamp}")
        assert.equal("9999-12-31 00:00:00.000",
          oms:value "SELECT {stamp '12026-01-01'::timestamp}")
      end
      assert.is_nil(oms:value "SELECT {stamp NULL}")
    end)

    it("sequence ids", function()
      assert.equal("00042", oms:value "SELECT {seq 42}")
      assert.equal("123456", oms:value "SELECT {seq 123456}")
    end)
  end)

  it("remarks nothing unasked", function() assert.same({}, oms:notices()) end)

  it("keeps a bounded number of statements", function()
    for i = 1, 250 do assert.equal(i, oms:value("SELECT " .. i)) end
    assert.truthy(oms.idle_count <= 100)
    assert.equal(7, oms:value "SELECT 7")
  end)

  it("that only reads refuses to write: 77", function()
    add(1)
    local url, options = address()
    options.create, options.readonly = nil, true
    local reader <close> = db.open(url, options)
    assert.equal(1, reader:value "SELECT COUNT(*) FROM stock")
    assert.equal(77, failure_of(reader.run, reader, "DELETE FROM stock").code)
  end)
end

databases.each(specs, describe, pending)


describe("an address", function()
  it("of no kind that is known is 78, and isn't shown", function()
    for _, url in ipairs { "mysql://u:secret@h/d", "postgress://u:secret@h/d", "oms.db", "" } do
      local err = failure_of(db.open, url)
      assert.equal(78, err.code)
      assert.is_nil(err.message:find("secret", 1, true))
    end
  end)
end)
