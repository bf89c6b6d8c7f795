--- One face for both databases: the same specs on SQLite and on PostgreSQL.
local db = require "tallyman.db"
local file = require "native.file"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"

--- What a call raises.
local function failure_of(run, ...)
  local ok, err = pcall(run, ...)
  assert.is_false(ok, "it succeeded")
  return err
end

local TABLE = [[
  DROP TABLE IF EXISTS stock;
  CREATE TABLE stock (
    id integer NOT NULL PRIMARY KEY,
    name varchar(60),
    quantity numeric(18, 6),
    ratio double precision,
    picture %s,
    checked timestamp,
    CHECK (quantity >= 0)
  );
]]

--- How each database is opened, and what it calls bytes.
local DATABASES = {
  sqlite = { bytes = "blob", start = function()
    local folder = process.folder()
    return function()
      return "sqlite:" .. folder .. "/spec.db", { create = true, lock_timeout = 1 }
    end
  end },
  postgresql = { bytes = "bytea", lacks = postgres.lacks, start = function()
    local server = postgres.start()
    return function() return server.url, { lock_timeout = 1 } end
  end },
}

teardown(function() process.clean(true) end)

local function specs(name, kind)
  local address, oms

  setup(function()
    address = kind.start()
    process.keep()
  end)
  before_each(function()
    oms = db.open(address())
    oms:script(TABLE:format(kind.bytes))
  end)
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

  describe("a CSV file", function()
    local function load(text, columns, options)
      local source <close> = file.text(text, "stock.csv")
      return oms:copy_in("stock", columns or { "id", "name", "quantity" }, source, options)
    end

    it("is loaded by the names in its header", function()
      assert.equal(3, load('\xEF\xBB\xBFQty;ID;Other;Name\r\n5;1;x;"a;b"\r\n\r\n;2;y;""\r\n'
        .. '7;3;z;c"d,e', { id = "ID", name = "name", quantity = "qty" }))
      assert.same({ { id = 1, name = "a;b", quantity = 5 }, { id = 2, name = "" },
        { id = 3, name = 'c"d,e', quantity = 7 } },
        oms:all "SELECT id, name, quantity FROM stock ORDER BY id")
    end)

    it("keeps whatever a field can hold", function()
      local fields = { "\\.", "\\N", " x ", "a\nb", 'say "x"', "ü", "'", "NULL", "a\rb" }
      local lines = { "id,name,quantity" }
      for i, field in ipairs(fields) do
        lines[#lines + 1] = ('%d,"%s",'):format(i, (field:gsub('"', '""')))
      end
      lines[#lines + 1] = "10,\\.,"
      assert.equal(10, load(table.concat(lines, "\n")))
      for i, field in ipairs(fields) do
        assert.equal(field, oms:value("SELECT name FROM stock WHERE id = :i", { i = i }))
      end
      assert.equal("\\.", oms:value "SELECT name FROM stock WHERE id = 10")
    end)

    it("of one column is loaded to its end, which isn't \\.", function()
      oms:script "CREATE TEMPORARY TABLE single (name varchar(60))"
      local source <close> = file.text 'name\n\\.\n""\n"\\."\nx\n'
      assert.equal(4, oms:copy_in("single", { "name" }, source))
      assert.equal(2, oms:value "SELECT COUNT(*) FROM single WHERE name = '\\.'")
    end)

    it("is loaded whole or not at all", function()
      for what, text in pairs { [":3:4"] = "id,name,quantity\n1,a,1\n2,b\n3,c,3\n",
        ["stock"] = "id,name,quantity\n1,a,1\n1,b,2\n", ["quantity"] = "id,name,qty\n1,a,1\n" } do
        local err = failure_of(load, text)
        assert.equal(65, err.code)
        assert.matches(what, err.message)
        assert.equal(0, oms:value "SELECT COUNT(*) FROM stock")
      end
    end)

    it("is loaded within a transaction", function()
      oms:transaction(function()
        add(9)
        assert.equal(1, load "id,name,quantity\n1,a,1\n")
      end)
      assert.equal(2, oms:value "SELECT COUNT(*) FROM stock")
    end)

    it("is written, and read again", function()
      add(1, 2, 'a "b", c')
      add(2, nil, "")
      add(3, 0, nil)
      local sink <close> = file.memory()
      assert.equal(3, oms:copy_out("SELECT id, name, quantity FROM stock ORDER BY id;", sink))
      oms:run "DELETE FROM stock"
      assert.equal(3, load(sink:text()))
      assert.same({ { id = 1, name = 'a "b", c', quantity = 2 }, { id = 2, name = "" },
        { id = 3, quantity = 0 } }, oms:all "SELECT id, name, quantity FROM stock ORDER BY id")
    end)

    it("can't be written to a sink that fails; the database goes on", function()
      local sink <close> = file.memory()
      sink:finish()
      assert.equal(74, failure_of(oms.copy_out, oms, "SELECT 1 AS one", sink).code)
      assert.matches("no parameters", failure_of(oms.copy_out, oms, "SELECT :one", sink))
      assert.equal(1, oms:value "SELECT 1")
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

for name, kind in pairs(DATABASES) do
  local lacks = kind.lacks and kind.lacks()
  if lacks then
    pending(name .. " " .. lacks)
  else
    describe(name, function() specs(name, kind) end)
  end
end

describe("an address", function()
  it("of no kind that is known is 78, and isn't shown", function()
    for _, url in ipairs { "mysql://u:secret@h/d", "postgress://u:secret@h/d", "oms.db", "" } do
      local err = failure_of(db.open, url)
      assert.equal(78, err.code)
      assert.is_nil(err.message:find("secret", 1, true))
    end
  end)
end)
