--- CSV files into tables and out of queries, the same on SQLite and on PostgreSQL.
local databases = require "tests.support.databases"
local db = require "tallyman.db"
local failure_of = require "tests.support.failing".of
local file = require "native.file"
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
end

databases.each(specs, describe, pending)

