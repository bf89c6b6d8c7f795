--- The small example scripts and the worked example, run as a user runs them.
local process = require "tests.support.process"

local EXAMPLES = process.root .. "/examples/"

local folder
before_each(function() folder = process.folder() end)
after_each(process.clean)

local function file(name, text) return process.write(folder .. "/" .. name, text) end

local function assert_line(text, result)
  assert.matches("^tallyman: [^\n]+\n$", result.err)
  assert.truthy(result.err:find(text, 1, true), result.err)
end

describe("examples/csv2json.lua", function()
  local function convert(...) return process.tallyman(EXAMPLES .. "csv2json.lua", ...) end

  local function gives(what, csv, json, ...)
    local options = { ... }
    it("gives " .. what, function()
      local result = convert(file("in.csv", csv), table.unpack(options))
      assert.equal(json, result.out)
      assert.equal("", result.err)
      assert.equal(0, result.code)
    end)
  end

  gives("an array a record", "a,b\n1,2\n3,\n", '["a","b"]\n["1","2"]\n["3",""]\n')
  gives("what is quoted, and CRLF", 'a,b\r\n"x ""y""\r\nz",","\r\n',
    '["a","b"]\n["x \\"y\\"\\r\\nz",","]\n')
  gives("a last record without a line end", "a,b\n1,2", '["a","b"]\n["1","2"]\n')
  gives("semicolons and tabs by themselves", "a;b\n1,5;2\n", '["a","b"]\n["1,5","2"]\n')
  gives("the delimiter that is ordered", "a;b|c\n1;2|3\n", '["a;b","c"]\n["1;2","3"]\n',
    "--delimiter", "|")
  gives("a byte order mark nowhere", "\xEF\xBB\xBFa\n1\n", '["a"]\n["1"]\n')
  gives("UTF-8 as it is", "a\nM\u{FC}ller\n", '["a"]\n["M\u{FC}ller"]\n')
  gives("Windows-1252 as UTF-8", "a\nM\xFCller \x80 \x93x\x94\n",
    '["a"]\n["M\u{FC}ller \u{20AC} \u{201C}x\u{201D}"]\n')
  gives("control characters escaped", "a\n\1\t\0\\\n", '["a"]\n["\\u0001\\t\\u0000\\\\"]\n')

  it("gives nothing but valid JSON for any byte", function()
    local rows = { "a" }
    for byte = 0, 255 do
      rows[#rows + 1] = byte == 34 and '""""' or '"' .. string.char(byte) .. '"'
    end
    local json = require "dkjson"
    local result = convert(file("in.csv", table.concat(rows, "\n") .. "\n"))
    local count = 0
    for line in result.out:gmatch "[^\n]+" do
      local value, after, wrong = json.decode(line)
      assert.truthy(value and after == #line + 1, tostring(wrong) .. line)
      assert.truthy(utf8.len(line), line)
      count = count + 1
    end
    assert.equal(257, count)
  end)

  it("reads standard input for -", function()
    local result = convert("-", { stdin = "a,b\n1,2\n" })
    assert.equal('["a","b"]\n["1","2"]\n', result.out)
    assert.equal('["a","b"]\n', convert("--delimiter", ";", "-", { stdin = "a;b\n" }).out)
  end)

  it("answers 65 with line and column when the input is malformed", function()
    for csv, where in pairs { ["a,b\n1\n2,3\n"] = ":2:2: ", ["a,b\n1,2,3\n"] = ":2:5: ",
      ['a,b\n1,"x"y\n'] = ":2:", ['a,b\n1,2\n3,"x\n'] = ":3:3: ", ["a,b\n\n1,2\n3"] = ":4:2: " } do
      local path = file("in.csv", csv)
      local result = convert(path)
      assert.equal(65, result.code, csv)
      assert_line(path .. where, result)
      assert_line(where, convert("-", { stdin = csv }))
    end
    assert.equal(65, convert(file("in.csv", "")).code)
  end)

  it("answers 66 when there is no such file", function()
    local result = convert(folder .. "/nowhere.csv")
    assert.equal(66, result.code)
    assert_line("nowhere.csv", result)
    assert.equal(66, convert(folder).code)
  end)

  it("answers 64 with its usage when the arguments are wrong", function()
    local path = file("in.csv", "a\n")
    for _, arguments in ipairs { {}, { path, path }, { "--nope", path }, { path, "--delimiter" },
      { path, "--delimiter", "ab" }, { path, "--delimiter", "" }, { path, "--delimiter", '"' },
      { path, "--delimiter", "\n" } } do
      local result = convert(table.unpack(arguments))
      assert.equal(64, result.code, table.concat(arguments, " "))
      assert_line("usage: ", result)
      assert.equal("", result.out)
    end
  end)
end)

describe("examples/filter.lua", function()
  local CSV = 'idType,idValue,q\r\nSKU,A1,"1\n2"\r\nSKU,"B""2",2\r\nSKU,Z9,3\nSKU,C3,4'
  local KEPT = 'idType,idValue,q\r\nSKU,A1,"1\n2"\r\nSKU,"B""2",2\r\nSKU,C3,4'

  local keep, input
  before_each(function()
    keep, input = file("keep.txt", 'A1\r\nB"2\n\nC3'), file("in.csv", CSV)
  end)

  local function filter(...) return process.tallyman(EXAMPLES .. "filter.lua", ...) end

  it("keeps header and rows byte for byte, from path to path", function()
    local result = filter("--keep", keep, input, folder .. "/out.csv")
    assert.equal(0, result.code, result.err)
    assert.equal(KEPT, process.read(folder .. "/out.csv"))
    assert.equal("", result.out)
    assert.matches("read 4, kept 3, left out 1, rejected 0", result.err)
  end)

  it("reads and writes the standard streams for -", function()
    local result = filter("--keep", keep, "-", "-", { stdin = CSV })
    assert.equal(KEPT, result.out)
    assert.equal(0, result.code)
    assert.equal(KEPT, filter("--keep", keep, input, "-").out)
  end)

  it("reads what gzip made smaller", function()
    process.must("gzip", input)
    assert.equal(KEPT, filter("--keep", keep, input .. ".gz", "-").out)
  end)

  it("looks at the column that is named, in any case", function()
    local result = filter("--column", "STORE", "--keep", keep, "-", "-",
      { stdin = "idValue;Store\nA1;x\nx;A1\n" })
    assert.equal("idValue;Store\nx;A1\n", result.out)
    result = filter("--column", "nowhere", "--keep", keep, "-", "-", { stdin = CSV })
    assert.equal(65, result.code)
    assert_line("nowhere", result)
  end)

  it("tells broken records on standard error and goes on", function()
    local result = filter("--keep", keep, "-", folder .. "/out.csv",
      { stdin = 'idValue,q\nA1,1\nA1\nZ9\nC3,"x"y\nC3,2\n' })
    assert.equal(0, result.code)
    assert.equal("idValue,q\nA1,1\nC3,2\n", process.read(folder .. "/out.csv"))
    assert.matches('line,column,reason,record\n3,3,"[^"]+","A1"\n5,%d,"[^"]+","C3,""x""y"\n',
      result.err)
    assert.matches("kept 2, left out 1, rejected 2", result.err)
  end)

  it("answers 66 when a list or an input isn't there", function()
    assert_line("nowhere", filter("--keep", folder .. "/nowhere", input, "-"))
    for _, arguments in ipairs { { folder .. "/nowhere", input }, { keep, folder .. "/nowhere" },
      { folder, input }, { keep, folder } } do
      local result = filter("--keep", arguments[1], arguments[2], folder .. "/out.csv")
      assert.equal(66, result.code, result.err)
      assert_line(folder, result)
      assert.is_nil(process.read(folder .. "/out.csv"))
    end
  end)

  it("answers 73 and leaves a file alone that is there already", function()
    file("out.csv", "mine")
    local result = filter("--keep", keep, input, folder .. "/out.csv")
    assert.equal(73, result.code)
    assert_line("out.csv", result)
    assert.equal("mine", process.read(folder .. "/out.csv"))
  end)

  it("answers 65 and leaves nothing when the input is cut off", function()
    local result = filter("--keep", keep, "-", folder .. "/out.csv",
      { stdin = "q,idValue\n1,A1\n2" })
    assert.equal(65, result.code)
    assert_line(":3:", result)
    assert.equal("in.csv\nkeep.txt\n", process.must("ls", "-A", folder))
  end)

  it("answers 64 with its usage when the arguments are wrong", function()
    for _, arguments in ipairs { {}, { input, "-" }, { "--keep", keep, input }, { "--keep" },
      { "--keep", keep, input, "-", "x" }, { "--nope", "--keep", keep, input, "-" } } do
      local result = filter(table.unpack(arguments))
      assert.equal(64, result.code, table.concat(arguments, " "))
      assert_line("usage: ", result)
    end
  end)
end)

describe("the worked example", function()
  local HERE = EXAMPLES .. "worked_example/"

  local function quantities(site, facility, column)
    local oms <close> = site:oms()
    local found = {}
    for row in oms:rows(([[SELECT SUM(%s) AS total FROM inventory_item
      WHERE facility_id = :facility GROUP BY product_id ORDER BY product_id]]):format(column),
      { facility = facility }) do
      found[#found + 1] = ("%g"):format(row.total)
    end
    return table.concat(found, ", ")
  end

  local function counts(site)
    local found = {}
    for i, facility in ipairs { "NEW_YORK", "NASHVILLE" } do
      found[i] = quantities(site, facility, "quantity_on_hand_total")
      assert.equal(found[i], quantities(site, facility, "available_to_promise_total"))
    end
    return table.concat(found, " / ")
  end

  --- One night: the POS's file of the evening before, and all jobs, in order.
  local function night(site, day)
    local stamp = ("202611%d_220000"):format(day - 1)
    site:upload(process.read(HERE .. ("ResetInventory_%s.csv"):format(stamp)), stamp)
    site.env.TALLYMAN_NOW = ("2026-11-%dT06:30:00Z"):format(day)
    local result = site:run("nightly", "once")
    assert.equal(0, result.status, result.err .. result.out)
    assert.matches("proof: 6 covered pairs[^\n]* 0 fail", result.out)
    return counts(site)
  end

  it("comes out right, three nights in a row", function()
    local site = process.site(function(oms) oms:script(process.read(HERE .. "oms.sql")) end)
    assert.equal("8, 8, 0 / 10, 10, 0", counts(site))
    assert.equal("8, 8, 5 / 10, 10, 5", night(site, 24))
    assert.equal("8, 8, 5 / 10, 10, 5", night(site, 25))
    do
      local oms <close> = site:oms()
      oms:script(process.read(HERE .. "acknowledged.sql"))
    end
    assert.equal("8, 8, 3 / 10, 10, 5", night(site, 26))
    for _, path in ipairs(site:files()) do assert.matches("^archive/2026%-11%-2[456]/", path) end
    local before = site:everything()
    site.env.TALLYMAN_NOW = "2026-11-26T06:31:00Z"
    assert.equal(0, site:run("nightly", "once").status)
    -- Only another variance file, of another moment, which nobody needs any more.
    assert.matches("^%+ archive/2026%-11%-26/InventoryVariance_20261126T06310%dZ%.csv$",
      process.difference(before, site:everything()))
  end)
end)
