--- Rows in Lua: csv.rows over all of a file, `each` over what the filter keeps, and lists of keys.
local csv = require "native.csv"
local environment = require "tests.support.environment"
local failure = require "tallyman.failure"
local file = require "native.file"

local HEADER = "idType,idValue,Qty,comments\n"

-- What a function raises: code and message of a failure.
local function raised(run)
  local ok, err = pcall(run)
  assert.is_false(ok)
  return failure.code(err), tostring(err)
end

describe("csv.rows", function()
  -- Calls `visit` for each row of a text.
  local function each_row(text, visit, options)
    local source <close> = file.text(text)
    for row, line, fault, column in failure.check(csv.rows(source, options)) do
      visit(row, line, fault, column)
    end
  end

  it("gives fields by name, whatever its case, and by number", function()
    local found = {}
    each_row(HEADER .. 'SKU,"A ""1""",5,"two\nlines"\nUPCA,,6,\n', function(row, line)
      table.insert(found, { row.idType, row.IDVALUE, row.qty, row[4], #row, line })
    end)
    assert.same({ { "SKU", 'A "1"', "5", "two\nlines", 4, 2 }, { "UPCA", "", "6", "", 4, 4 } },
      found)
  end)

  it("gives the record as it stands in the file", function()
    local found = {}
    each_row("a;b\r\n1;\"x\"\r\n\r\n2;\"y\nz\"",
      function(row) table.insert(found, tostring(row)) end)
    assert.same({ '1;"x"', '2;"y\nz"' }, found)
  end)

  it("tells faults, and has no fields where there are none", function()
    local found = {}
    each_row("a,b,c\n1,2\n1,2,3,4\n1,\"2\"x,3\n", function(row, line, fault, column)
      table.insert(found, { line, fault, column, #row, row.c or "none", row[0] or "none",
        row[4] or "none", row[1 << 53] or "none" })
    end)
    assert.same({
      { 2, "fewer fields than the header", 4, 2, "none", "none", "none", "none" },
      { 3, "more fields than the header", 7, 3, "3", "none", "none", "none" },
      { 4, "text after a closing quote", 3, 3, "3", "none", "none", "none" },
    }, found)
  end)

  it("raises at a name that the header doesn't have once", function()
    for _, name in ipairs { "d", "a" } do
      local code, message = raised(function()
        each_row("a,b,A\n1,2,3\n", function(row) return row[name] end)
      end)
      assert.equal(65, code)
      assert.truthy(message:find("^text:1:1: header has %a[%a ]* column '" .. name .. "'"), message)
    end
    each_row("a\n1\n", function(row)
      assert.has_error(function() return row[true] end)
      assert.has_error(function() return row[{}] end)
      assert.has_error(function() row.a = "2" end)
    end)
  end)

  it("raises where the file can't be trusted, and doesn't just end", function()
    local rows = 0
    local code, message = raised(function()
      each_row('a,b\n1,2\n3,"4\n', function() rows = rows + 1 end)
    end)
    assert.same({ 65, 1 }, { code, rows })
    assert.truthy(message:find "^text:3:3: quote is never closed")
    assert.same({ nil, "text: file is empty: not even a header line", 65 },
      { csv.rows(file.text "") })
  end)

  it("shows a row only while it is its turn", function()
    local kept
    each_row("a\n1\n2\n", function(row)
      assert.is_true(kept == nil or kept == row)
      kept = row
    end)
    for _, ask in ipairs { function() return kept.a end, function() return #kept end,
      function() return tostring(kept) end } do
      assert.has_error(ask, "a row can be read only while it is its turn")
    end
  end)

  it("is closed when the loop is left, and when its source is", function()
    local source = file.text "a\n1\n2\n3\n"
    local kept
    for row in csv.rows(source) do -- luacheck: ignore 512
      kept = row
      break
    end
    assert.has_error(function() return kept.a end)
    local step = csv.rows(file.text "a\n1\n2\n")
    collectgarbage()
    assert.equal("1", step().a)
    local other = file.text "a\n1\n2\n"
    local again = csv.rows(other)
    assert.equal("1", again().a)
    other:close()
    assert.has_error(again)
    source:close()
  end)

  it("takes the reader's options", function()
    each_row("a|b\n1|2\n", function(row) assert.equal("2", row.b) end, { delimiter = "|" })
    local code = raised(function()
      each_row("a\n" .. ("x"):rep(20) .. "\n", function() end, { max_record = 10 })
    end)
    assert.equal(65, code)
    assert.has_error(function() csv.rows(file.text "a\n", { delimter = "|" }) end)
  end)
end)

describe("the filter's each", function()
  local one = csv.keyset():add("SKU", "A1"):add("SKU", "B")
  local text = HEADER .. 'SKU,A1,1,"x\ny"\nSKU,C,2,\nsku,B,3,z\nSKU,A1\n'

  -- What comes out, and the counts; or message and code.
  local function filter(each, content)
    local source <close> = file.text(content or text)
    local sink <close> = file.memory()
    local rejects <close> = file.memory()
    local counts, message, code = csv.filter(source, sink,
      { key = { "idType", "idValue" }, keep = one, each = each, rejects = rejects })
    if not counts then return message, code end
    return sink:text(), counts
  end

  it("sees the rows that are to be kept, and no others", function()
    local found = {}
    local out, counts = filter(function(row, line)
      table.insert(found, { row.idValue, row.comments, line, tostring(row) })
    end)
    assert.same({ { "A1", "x\ny", 2, 'SKU,A1,1,"x\ny"' }, { "B", "z", 5, "sku,B,3,z" } }, found)
    assert.equal(HEADER .. 'SKU,A1,1,"x\ny"\nsku,B,3,z\n', out)
    assert.same({ 4, 2, 1, 1 }, { counts.read, counts.kept, counts.left_out, counts.rejected })
  end)

  it("leaves a row out by `false`, and by nothing else", function()
    local out, counts = filter(function(row) return row.qty ~= "1" end)
    assert.equal(HEADER .. "sku,B,3,z\n", out)
    assert.same({ 4, 1, 2, 1 }, { counts.read, counts.kept, counts.left_out, counts.rejected })
    for _, value in ipairs { true, 0, "" } do
      assert.equal(2, select(2, filter(function() return value end)).kept)
    end
  end)

  it("passes on what is raised there, and survives what is closed there", function()
    local trouble = { "trouble" }
    assert.same({ false, trouble }, { pcall(filter, function() error(trouble) end) })
    local source, sink = file.text(text), file.memory()
    local counts, message = csv.filter(source, sink,
      { key = { "idValue" }, keep = csv.keyset():add "C", each = function() sink:close() end })
    assert.is_nil(counts)
    assert.truthy(message:find "closed what the filter uses")
  end)

  it("sees the rows in order, on their lines, whatever the threads", function()
    local parts = { HEADER }
    for n = 1, 20000 do
      local form = n % 100 == 0 and 'SKU,A1,%d,"a\n\nb"\n' or "UPCA,B,%d,\n"
      parts[n + 1] = form:format(n)
    end
    local content = table.concat(parts)
    for _, threads in ipairs { "1", "2" } do
      local found = {}
      local source <close> = file.text(content)
      local sink <close> = file.memory()
      environment.with({ TALLYMAN_THREADS = threads }, function()
        assert(csv.filter(source, sink, { key = { "idType", "idValue" }, keep = one, block = 5000,
          each = function(row, line) table.insert(found, { row.qty, line }) end }))
      end)
      assert.equal(200, #found)
      for n, row in ipairs(found) do
        assert.same({ tostring(100 * n), 1 + 100 * n + 2 * (n - 1) }, row)
      end
    end
  end)
end)

describe("csv.list", function()
  local function list(text) return csv.list(file.text(text)) end

  it("is a key a line", function()
    local set <close> = list "\xEF\xBB\xBFA1\r\n\n B \n\r\nA1\nlast"
    assert.same({ 3, true, true, true, false }, { set:count(), set:has "A1", set:has " B ",
      set:has "last", set:has "B" })
    assert.equal(0, list "":count())
    assert.equal(0, list "\n\r\n":count())
  end)

  it("is read whatever its length", function()
    local lines = {}
    for n = 1, 50000 do lines[n] = ("%d-%s"):format(n, ("x"):rep(n % 40)) end
    local set <close> = list(table.concat(lines, "\n"))
    assert.equal(50000, set:count())
    for n = 1, 50000, 7 do assert.is_true(set:has(lines[n])) end
    assert.is_false(set:has "0-")
  end)

  it("has no line that is no key", function()
    local set, message, code = list("A1\n" .. ("x"):rep(300000))
    assert.same({ nil, 65 }, { set, code })
    assert.truthy(message:find "^text:2:1: line is longer")
  end)
end)

describe("the environment", function()
  local function filter()
    return csv.filter(file.text "a,b\n", file.memory(), { key = { "a" }, keep = csv.keyset() })
  end

  it("chooses among the scans that are there, and the number of threads", function()
    local good = { TALLYMAN_SCAN = { "portable" }, TALLYMAN_THREADS = { "1", "16" } }
    for name, values in pairs(good) do
      for _, value in ipairs(values) do
        environment.with({ [name] = value }, function() assert.truthy(filter()) end)
      end
    end
    for name, values in pairs { TALLYMAN_SCAN = { "", "fast" },
      TALLYMAN_THREADS = { "", "0", "-1", "two", "2x" } } do
      for _, value in ipairs(values) do
        environment.with({ [name] = value }, function()
          local code, message = raised(filter)
          assert.equal(78, code)
          assert.truthy(message:find("'" .. value .. "'", 1, true))
        end)
      end
    end
  end)
end)
