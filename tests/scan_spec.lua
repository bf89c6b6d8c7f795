--- The engine's scan: hand-written cases, and thousands of random files against a slow reader that
--- was written from the rules alone. Block size must never change the answer, so that each file is
--- read at many of them.
local csv = require "native.csv"
local file = require "native.file"
local random_csv = require "tests.support.random_csv"
local slow_csv = require "tests.support.slow_csv"

local BLOCKS = { 1, 2, 3, 5, 7, 64, 0 }    -- 0: the default
local BOM = "\xEF\xBB\xBF"

local KINDS = {
  { "UTF%-16", "utf16" }, { "is longer than", "too_long" }, { "never closed", "quote" },
  { "file is cut off", "cut_off" }, { "header is broken", "header" },
}

-- A failure in the slow reader's terms.
local function understand(message, code)
  assert.equal(65, code)
  if message:find "file is empty" then return { kind = "empty" } end
  local line, column, text = message:match "^text:(%d+):(%d+): (.*)$"
  for _, kind in ipairs(KINDS) do
    if text:find(kind[1]) then
      return { kind = kind[2], line = tonumber(line), column = tonumber(column) }
    end
  end
  error("unknown message: " .. message)
end

-- The columns at which the fields of the reader's record stand, as far as the header goes.
local function columns_of(reader, fields)
  local columns = {}
  for n = 1, #fields do columns[n] = reader:column(n) end
  return columns
end

-- What the engine makes of a text, in the slow reader's terms.
local function read(text, options)
  local source <close> = file.text(text)
  local reader <close>, message, code = csv.reader(source, options)
  local result = { records = {} }
  if not reader then
    result.failure = understand(message, code)
    return result
  end
  local names, header_line = reader:header()
  result.delimiter, result.header = reader:delimiter(), { fields = names, line = header_line }
  while true do
    local fields, line, fault, column = reader:next()
    if not fields then
      if line then result.failure = understand(line, fault) end
      return result
    end
    table.insert(result.records, { fields = fields, line = line, fault = fault, column = column,
      columns = columns_of(reader, fields) })
  end
end

-- What the slow reader says, with what the engine doesn't tell left out.
local function read_slowly(text, options)
  local result = slow_csv.read(text, options)
  for _, record in ipairs(result.records) do
    record.columns = {}
    for n = 1, math.min(#record.fields, #result.header.fields) do
      record.columns[n] = slow_csv.column(text, record.at, record.starts[n])
    end
    record.fields = table.move(record.fields, 1, #record.columns, 1, {})
  end
  return result
end

-- A result as one string.
local function render(result)
  local out = {}
  local function put(...)
    out[#out + 1] = string.format(...)
  end
  if result.header then
    put("delimiter %q header %d", result.delimiter, result.header.line)
    for _, name in ipairs(result.header.fields) do put("  %q", name) end
  end
  for _, record in ipairs(result.records) do
    put("record %d %s %s", record.line, record.fault, record.column)
    for n, field in ipairs(record.fields) do put("  %d %q", record.columns[n], field) end
  end
  local failure = result.failure
  put("%s", failure and ("%s %s %s"):format(failure.kind, failure.line, failure.column) or "end")
  return table.concat(out, "\n")
end

-- Reads at each of the block sizes and compares with what the slow reader says.
local function compare(what, text, options, blocks)
  local expected = render(read_slowly(text, options))
  for _, block in ipairs(blocks) do
    local found = render(read(text, { delimiter = options.delimiter, block = block,
      max_record = options.max_record }))
    if found ~= expected then
      error(("%s, block %d, max_record %s, delimiter %q: %q\n-- expected\n%s\n-- found\n%s"):format(
        what, block, options.max_record, options.delimiter or "", text, expected, found), 0)
    end
  end
end

-- Options for the file of a seed: one in five has a narrow limit for records.
local function options_for(seed, made)
  return { delimiter = made.delimiter, max_record = seed % 5 == 0 and seed // 5 % 40 + 1 or nil }
end

describe("the scan, against a slow reader,", function()
  it("reads random files", function()
    for seed = 1, 8000 do
      local made = random_csv.file(seed)
      compare("file " .. seed, made.bytes, options_for(seed, made), BLOCKS)
    end
  end)

  it("reads random bytes", function()
    for seed = 1, 6000 do
      local made = random_csv.soup(seed)
      compare("soup " .. seed, made.bytes, options_for(seed, made), BLOCKS)
    end
  end)

  it("reads small files at every block size", function()
    for seed = 100001, 102500 do
      local made = random_csv.file(seed, { rows = 3 })
      if #made.bytes <= 120 then
        local blocks = {}
        for block = 1, #made.bytes + 1 do blocks[block] = block end
        compare("file " .. seed, made.bytes, options_for(seed, made), blocks)
      end
    end
  end)

  -- All there is to get wrong with two fields: five bytes that mean something, in every order.
  it("reads every text of up to six meaningful bytes", function()
    local function grow(text, left)
      compare("text", "a,b\n" .. text, { delimiter = "," }, { 1, 2, 0 })
      if left == 0 then return end
      for byte in ('a,"\r\n'):gmatch "." do grow(text .. byte, left - 1) end
    end
    grow("", 6)
  end)
end)

-- Calls `visit` with what the engine makes of the text at each block size.
local function at_every_block(text, options, visit)
  options = options or {}
  for _, block in ipairs(BLOCKS) do
    visit(read(text, { block = block, delimiter = options.delimiter,
      max_record = options.max_record }))
  end
end

-- Checks the header's names and the records' fields; all are sound.
local function sound(text, names, records, options)
  at_every_block(text, options, function(result)
    assert.is_nil(result.failure)
    assert.same(names, result.header.fields)
    for n, record in ipairs(result.records) do
      assert.is_nil(record.fault)
      assert.same(records[n], record.fields)
    end
    assert.equal(#records, #result.records)
  end)
end

-- Checks that the file as a whole is refused, there.
local function refused(text, kind, line, column, options)
  at_every_block(text, options, function(result)
    assert.same({ kind = kind, line = line, column = column }, result.failure)
  end)
end

-- Checks that the last record is broken, there, and the file isn't.
local function broken(text, fault, line, column, options)
  at_every_block(text, options, function(result)
    local record = result.records[#result.records]
    assert.same({ fault, line, column }, { record.fault, record.line, record.column })
    assert.is_nil(result.failure)
  end)
end

-- Checks on which lines the records begin.
local function on_lines(text, lines)
  at_every_block(text, nil, function(result)
    local found = {}
    for n, record in ipairs(result.records) do found[n] = record.line end
    assert.same(lines, found)
  end)
end

describe("a field", function()
  it("may be empty", function() sound("a,b,c\n,,\n", { "a", "b", "c" }, { { "", "", "" } }) end)

  it("may be quoted and empty, which is no blank line", function()
    sound('a\n""\n', { "a" }, { { "" } })
  end)

  it("may hold the delimiter in quotes", function()
    sound('a,b\n"1,2",3\n', { "a", "b" }, { { "1,2", "3" } })
  end)

  it("may hold line breaks of any kind in quotes", function()
    sound('a,b\n"1\n2","3\r\n4\r5"\n', { "a", "b" }, { { "1\n2", "3\r\n4\r5" } })
  end)

  it("may hold doubled quotes in quotes", function()
    sound('a,b\n"say ""hi""",""""\n', { "a", "b" }, { { 'say "hi"', '"' } })
  end)

  it("keeps a quote that isn't its first character", function()
    sound('a,b\n12" nail,x""y"\n', { "a", "b" }, { { '12" nail', 'x""y"' } })
  end)

  it("keeps a blank, and a quote behind it", function()
    sound('a,b\n 1 , "2"\n', { "a", "b" }, { { " 1 ", ' "2"' } })
  end)

  it("keeps a lone CR", function()
    sound("a,b\n1\r2,\r\n\r,3\n", { "a", "b" }, { { "1\r2", "" }, { "\r", "3" } })
  end)

  it("keeps NUL and bytes that are no UTF-8", function()
    sound("a,b\n\0\0,\xE4\xFF\n", { "a", "b" }, { { "\0\0", "\xE4\xFF" } })
  end)
end)

describe("a record", function()
  it("ends with LF or CR LF, even in the same file", function()
    sound("a,b\r\n1,2\n3,4\r\n", { "a", "b" }, { { "1", "2" }, { "3", "4" } })
  end)

  it("may be the last one without a line end", function()
    sound("a,b\n1,2", { "a", "b" }, { { "1", "2" } })
    sound('a,b\n1,"2"', { "a", "b" }, { { "1", "2" } })
    sound("a,b\n1,", { "a", "b" }, { { "1", "" } })
  end)

  it("has no fields when it is a blank line, which is left out", function()
    sound("\r\n\na,b\n\n1,2\r\n\r\n\n3,4\n\n", { "a", "b" }, { { "1", "2" }, { "3", "4" } })
  end)

  it("isn't blank when it holds a blank", function() sound("a\n \n", { "a" }, { { " " } }) end)

  it("is known by the physical line on which it starts", function()
    on_lines('a,b\n1,2\n\n"3\n\n4",5\r\n"6","7\r\n"\n8,9', { 2, 4, 7, 9 })
    on_lines('\n"a\nb",c\n1"\n2,3', { 4, 5 })
  end)

  it("is broken when it has too few fields", function()
    broken("a,b,c\n1,2\n", "fewer fields than the header", 2, 4)
    broken('a,b,c\n1,"x\nyz"\r\n', "fewer fields than the header", 2, 4)
  end)

  it("is broken when it has too many fields", function()
    broken("a,b\n1,2,3\n", "more fields than the header", 2, 5)
    broken("a,b\n1,2," .. ("x,"):rep(3000) .. "\n", "more fields than the header", 2, 5)
  end)

  it("is broken when text follows a closing quote", function()
    broken('a,b\n1,"2"x\n', "text after a closing quote", 2, 3)
    broken('a,b\n"1" ,2\n', "text after a closing quote", 2, 1)
    broken('a,b\n1,"2"\r', "text after a closing quote", 2, 3)
  end)

  it("tells its leftmost fault", function()
    broken('a,b\n"1"x,"2"y,3\n', "text after a closing quote", 2, 1)
    broken('a,b\n1,2,3,"4"x\n', "more fields than the header", 2, 5)
  end)

  it("of one column counts as any other", function()
    sound("a\n1\n\n2\n", { "a" }, { { "1" }, { "2" } })
    broken("a\n1,2\n", "more fields than the header", 2, 3)
  end)
end)

describe("a column is counted in characters:", function()
  local function at(text, column, options)
    broken("a,b\n" .. text .. ",2,3\n", "more fields than the header", 2, column, options)
  end

  it("a sequence of UTF-8 is one", function()
    at("caf\xC3\xA9", 8)
    at("\xE2\x82\xAC\xF0\x9F\x91\x9F", 6)
  end)

  it("a byte of Windows-1252 is one", function() at("Gr\xF6\xDFe\x80", 10) end)

  it("the bytes of a cut sequence are one each", function() at("\xE2\x82", 6) end)

  it("bytes that only look like UTF-8 are one each", function()
    at("\xC0\x80", 6)              -- longer than needed
    at("\xE0\x80\x80", 7)          -- the same with three
    at("\xED\xA0\x80", 7)          -- half of a surrogate pair
    at("\xF4\x90\x80\x80", 8)      -- behind the last character
  end)

  it("from the start of the physical line", function() at('"x\ny\n\xC3\xA9"', 6) end)

  it("without the byte order mark", function()
    refused(BOM .. '\xC3\xA9,"b', "quote", 1, 3)
    refused(BOM .. '"a"x,b\n', "header", 1, 1)
  end)
end)

describe("the header", function()
  it("is all that an export of nothing has", function()
    sound("a,b\n", { "a", "b" }, {})
    sound("a,b", { "a", "b" }, {})
  end)

  it("has no byte order mark in its first name", function()
    sound(BOM .. "a,b\n1,2\n", { "a", "b" }, { { "1", "2" } })
    sound(BOM .. '"a",b\n' .. BOM .. "1,2\n", { "a", "b" }, { { BOM .. "1", "2" } })
  end)

  it("may be quoted, line breaks included", function()
    sound('"a ""1""","b\n,"\n1,2\n', { 'a "1"', "b\n," }, { { "1", "2" } })
  end)

  it("must be there", function()
    for _, text in ipairs { "", BOM, "\n\r\n\n", BOM .. "\n" } do refused(text, "empty") end
  end)

  it("must not have text after a closing quote", function()
    refused('\na,"b" ,c\n', "header", 2, 3)
  end)

  it("must not be UTF-16", function()
    refused("\xFF\xFEa\0,\0b\0\n\0", "utf16", 1, 1)
    refused("\xFE\xFF\0a", "utf16", 1, 1)
  end)
end)

describe("the delimiter", function()
  local function found(text, delimiter, max_record)
    at_every_block(text, { max_record = max_record }, function(result)
      assert.equal(delimiter, result.delimiter)
    end)
  end

  it("is a comma where the header has one outside quotes", function()
    found("a;b;c,d\n", ",")
    found("a\tb\tc,d;e\n1;2\n", ",")
    found("a\n1;2\n", ",")
  end)

  it("is else the more frequent of semicolon and tab", function()
    found("a;b;c\td\n", ";")
    found("a\tb\tc;d\n", "\t")
    found('"a,b";"c,d"\n1,2\n', ";")
    found('"a;b;c"\td\n', "\t")
    found('"a""b,c"\t"d,""e"\n', "\t")
  end)

  it("is found behind blank lines, however many", function()
    found("\n\r\na;b\n", ";")
    found(("\n"):rep(30) .. "a;b\n", ";", 8)
  end)

  it("is found beside a quote that is literal text", function()
    found('size 12";b\n1;2\n', ";")
    found('a"\n"1;2"\n3;4\n', ",")
    found('a"b;c\n' .. ("1;2\n"):rep(10) .. '"x";y\n', ";", 8)
  end)

  it("is what it was said to be", function()
    sound("a;b,c\n1;2,3\n", { "a;b", "c" }, { { "1;2", "3" } }, { delimiter = "," })
    sound('a|b\n"1|2"|3\n', { "a", "b" }, { { "1|2", "3" } }, { delimiter = "|" })
    sound("a\xA7b\n1\xA72\n", { "a", "b" }, { { "1", "2" } }, { delimiter = "\xA7" })
  end)

  it("must be one byte, no quote and no line end", function()
    local source <close> = file.text "a\n"
    for _, delimiter in ipairs { "", ",,", '"', "\n", "\r", "\0" } do
      assert.has_error(function() csv.reader(source, { delimiter = delimiter }) end)
    end
  end)
end)

describe("a file that can't be trusted is refused:", function()
  it("a quote that is never closed", function()
    refused('a,b\n1,2\n3,"4\n5,6\n', "quote", 3, 3)
    refused('a,b\n"', "quote", 2, 1)
    refused('a,b\n1,"2""\n', "quote", 2, 3)
    refused('a,"b\n', "quote", 1, 3)
  end)

  it("a last record that is short and has no line end", function()
    refused("a,b,c\n1,2,3\n4,5", "cut_off", 3, 4)
    refused('a,b,c\n"x\ny",5', "cut_off", 2, 5)
    refused("a,b\n1,2\n\r", "cut_off", 3, 2)
  end)

  it("a record that is longer than allowed, by a byte", function()
    for _, line_end in ipairs { "\n", "\r\n", "" } do
      sound("a,b\n123,567" .. line_end, { "a", "b" }, { { "123", "567" } }, { max_record = 7 })
      sound('a,b\n1,"\n\n"' .. line_end, { "a", "b" }, { { "1", "\n\n" } }, { max_record = 6 })
      refused("a,b\n123,5678" .. line_end, "too_long", 2, 1, { max_record = 7 })
      refused('a,b\n1,"\n\n\n"' .. line_end, "too_long", 2, 1, { max_record = 6 })
    end
    refused("a,b\n1,2\n123,5678\n9,9\n", "too_long", 3, 1, { max_record = 7 })
    sound(BOM .. "a,b\r\n", { "a", "b" }, {}, { max_record = 3 })
    refused("aa,b\n1,2\n", "too_long", 1, 1, { max_record = 3 })
  end)

  it("a quote that swallows more than a record may hold", function()
    refused('a,b\n1,2\n3,"' .. ("x\n"):rep(50), "too_long", 3, 1, { max_record = 20 })
  end)

  it("a record over 1 MiB, unless more is allowed", function()
    local long = ("x"):rep(1024 * 1024)
    assert.equal(long, read("a\n" .. long .. "\r\n").records[1].fields[1])
    assert.same({ kind = "too_long", line = 2, column = 1 }, read("a\nx" .. long .. "\n").failure)
    local more = read("a\nx" .. long .. "\n", { max_record = 2 * #long, block = 65536 })
    assert.equal("x" .. long, more.records[1].fields[1])
  end)
end)

describe("a reader", function()
  it("goes on failing once it has failed", function()
    for _, text in ipairs { 'a,b\n1,"', "a,b\n1", "a,b\n12345678,9\n" } do
      local source <close> = file.text(text)
      local reader <close> = csv.reader(source, { max_record = 7 })
      for _ = 1, 3 do
        local fields, _, code = reader:next()
        assert.is_nil(fields)
        assert.equal(65, code)
      end
    end
  end)

  it("has an end that stays the end", function()
    local source <close> = file.text "a\n1\n"
    local reader <close> = csv.reader(source)
    reader:next()
    for _ = 1, 3 do assert.equal(0, select("#", reader:next())) end
  end)

  it("tells the columns of the fields it has, of no others", function()
    local source <close> = file.text("a\nx" .. (",x"):rep(4999) .. "\n")
    local reader <close> = csv.reader(source)
    assert.has_error(function() reader:column(1) end)
    reader:next()
    assert.equal(1, reader:column(1))
    assert.equal(3, reader:column(2))
    for _, n in ipairs { 0, -1, 5001 } do
      assert.has_error(function() reader:column(n) end)
    end
    local known, column = pcall(reader.column, reader, 5000)
    if known then assert.equal(9999, column) end
  end)

  it("refuses options that it doesn't know or can't use", function()
    local source <close> = file.text "a\n"
    for _, options in ipairs { { delimeter = ";" }, { block = -1 }, { max_record = "x" }, { 1 } } do
      assert.has_error(function() csv.reader(source, options) end)
    end
  end)

  it("raises when its source, or it, is closed", function()
    local source = file.text "a\n1\n"
    local reader = csv.reader(source)
    source:close()
    assert.has_error(function() reader:next() end)
    reader:close()
    reader:close()
    assert.has_error(function() reader:header() end)
  end)

  it("keeps a source alive that nobody else holds", function()
    local reader <close> = csv.reader(file.text "a\n1\n")
    collectgarbage()
    assert.same({ "1" }, (reader:next()))
  end)
end)
