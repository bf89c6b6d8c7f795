--- The engine's scan: hand-written cases, and thousands of random files against a slow reader that
--- was written from the rules alone. Block size must never change the answer, so that each file is
--- read at many of them.
local csv = require "native.csv"
local file = require "native.file"
local random_csv = require "tests.support.random_csv"
local slow_csv = require "tests.support.slow_csv"

local BLOCKS = { 1, 2, 3, 5, 7, 64, 0 } -- 0: the default
local SMALL = { 1, 2, 3, 5, 7, 64 }     -- spare the sanitizers a megabyte for each of thousands
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

-- Reads at each of the block sizes and compares with what the slow reader says.
local function compare(what, text, options, blocks)
  local expected = slow_csv.render(slow_csv.read(text, options), text)
  for _, block in ipairs(blocks) do
    local found = slow_csv.render(read(text, { delimiter = options.delimiter, block = block,
      max_record = options.max_record }))
    if found ~= expected then
      error(("%s, block %d, max_record %s, delimiter %q: %q\n-- expected\n%s\n-- found\n%s"):format(
        what, block, options.max_record, options.delimiter or "", text, expected, found), 0)
    end
  end
end

-- The block sizes for the file of a seed.
local function blocks_for(seed) return seed % 8 == 0 and BLOCKS or SMALL end

-- Options for the file of a seed: one in five has a narrow limit for records.
local function options_for(seed, made)
  return { delimiter = made.delimiter, max_record = seed % 5 == 0 and seed // 5 % 40 + 1 or 4096 }
end

describe("the scan, against a slow reader,", function()
  it("reads random files", function()
    for seed = 1, 8000 do
      local made = random_csv.file(seed)
      compare("file " .. seed, made.bytes, options_for(seed, made), blocks_for(seed))
    end
  end)

  it("reads random bytes", function()
    for seed = 1, 6000 do
      local made = random_csv.soup(seed)
      compare("soup " .. seed, made.bytes, options_for(seed, made), blocks_for(seed))
    end
  end)

  it("reads small files at every block size", function()
    for seed = 100001, 101500 do
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
      compare("text", "a,b\n" .. text, { delimiter = ",", max_record = 64 }, { 1, 2, 64 })
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
local function is_sound(text, names, records, options)
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
local function is_refused(text, kind, line, column, options)
  at_every_block(text, options, function(result)
    assert.same({ kind = kind, line = line, column = column }, result.failure)
  end)
end

-- Checks that the last record is broken, there, and the file isn't.
local function is_broken(text, fault, line, column)
  at_every_block(text, nil, function(result)
    local record = result.records[#result.records]
    assert.same({ fault, line, column }, { record.fault, record.line, record.column })
    assert.is_nil(result.failure)
  end)
end

-- Each of these is a test.
local function sound(name, text, names, records, options)
  it(name, function() is_sound(text, names, records, options) end)
end
local function refused(name, text, kind, line, column, options)
  it(name, function() is_refused(text, kind, line, column, options) end)
end
local function broken(name, text, fault, line, column)
  it(name, function() is_broken(text, fault, line, column) end)
end

local TOO_FEW, TOO_MANY = "fewer fields than the header", "more fields than the header"
local BEHIND = "text after a closing quote"

describe("a field", function()
  sound("may be empty", "a,b,c\n,,\n", { "a", "b", "c" }, { { "", "", "" } })
  sound("may be quoted and empty, which is no blank line", 'a\n""\n', { "a" }, { { "" } })
  sound("may hold the delimiter in quotes", 'a,b\n"1,2",3\n', { "a", "b" }, { { "1,2", "3" } })
  sound("may hold line breaks of any kind in quotes", 'a,b\n"1\n2","3\r\n4\r5"\n',
    { "a", "b" }, { { "1\n2", "3\r\n4\r5" } })
  sound("may hold doubled quotes in quotes", 'a,b\n"say ""hi""",""""\n',
    { "a", "b" }, { { 'say "hi"', '"' } })
  sound("keeps a quote that isn't its first character", 'a,b\n12" nail,x""y"\n',
    { "a", "b" }, { { '12" nail', 'x""y"' } })
  sound("keeps a blank, and a quote behind it", 'a,b\n 1 , "2"\n',
    { "a", "b" }, { { " 1 ", ' "2"' } })
  sound("keeps a lone CR", "a,b\n1\r2,\r\n\r,3\n", { "a", "b" }, { { "1\r2", "" }, { "\r", "3" } })
  sound("keeps NUL and bytes that are no UTF-8", "a,b\n\0\0,\xE4\xFF\n",
    { "a", "b" }, { { "\0\0", "\xE4\xFF" } })
end)

describe("a record", function()
  sound("ends with LF or CR LF, even in the same file", "a,b\r\n1,2\n3,4\r\n",
    { "a", "b" }, { { "1", "2" }, { "3", "4" } })
  sound("may be the last one without a line end", "a,b\n1,2", { "a", "b" }, { { "1", "2" } })
  sound("may be the last one, its end a quote", 'a,b\n1,"2"', { "a", "b" }, { { "1", "2" } })
  sound("may be the last one, its end a delimiter", "a,b\n1,", { "a", "b" }, { { "1", "" } })
  sound("is no blank line: they are left out", "\r\n\na,b\n\n1,2\r\n\r\n\n3,4\n\n",
    { "a", "b" }, { { "1", "2" }, { "3", "4" } })
  sound("may be a blank, which is no blank line", "a\n \n", { "a" }, { { " " } })
  sound("may have one column", "a\n1\n\n2\n", { "a" }, { { "1" }, { "2" } })

  it("is known by the physical line on which it starts", function()
    local text = '\n"a\nb",c\n1,2"\n\n"3\n\n4",5\r\n"6","7\r\n"\n8,9'
    at_every_block(text, nil, function(result)
      local lines = { result.header.line }
      for _, record in ipairs(result.records) do table.insert(lines, record.line) end
      assert.same({ 2, 4, 6, 9, 11 }, lines)
    end)
  end)

  broken("has too few fields", "a,b,c\n1,2\n", TOO_FEW, 2, 4)
  broken("has too few, the last over two lines", 'a,b,c\n1,"x\nyz"\r\n', TOO_FEW, 2, 4)
  broken("has too many fields", "a,b\n1,2,3\n", TOO_MANY, 2, 5)
  broken("has thousands too many", "a,b\n1,2," .. ("x,"):rep(3000) .. "\n", TOO_MANY, 2, 5)
  broken("has two fields under one column", "a\n1,2\n", TOO_MANY, 2, 3)
  broken("has text behind a closing quote", 'a,b\n1,"2"x\n', BEHIND, 2, 3)
  broken("has a blank behind a closing quote", 'a,b\n"1" ,2\n', BEHIND, 2, 1)
  broken("has a lone CR behind a closing quote", 'a,b\n1,"2"\r', BEHIND, 2, 3)
  broken("has several faults: the leftmost tells", 'a,b\n"1"x,"2"y,3\n', BEHIND, 2, 1)
  broken("has several faults: too many tells", 'a,b\n1,2,3,"4"x\n', TOO_MANY, 2, 5)
end)

describe("a column is counted in characters:", function()
  local function counts(name, text, column)
    broken(name, "a,b\n" .. text .. ",2,3\n", TOO_MANY, 2, column)
  end
  counts("two bytes of UTF-8 are one", "caf\xC3\xA9", 8)
  counts("three and four bytes of UTF-8 are one", "\xE2\x82\xAC\xF0\x9F\x91\x9F", 6)
  counts("a byte of Windows-1252 is one", "Gr\xF6\xDFe\x80", 10)
  counts("bytes of a cut sequence are one each", "\xE2\x82", 6)
  counts("bytes of a sequence too long by one are one each", "\xC0\x80", 6)
  counts("bytes of a sequence too long by two are one each", "\xE0\x80\x80", 7)
  counts("bytes of half a surrogate pair are one each", "\xED\xA0\x80", 7)
  counts("bytes of a number beyond Unicode are one each", "\xF4\x90\x80\x80", 8)
  counts("line breaks begin anew", '"x\ny\n\xC3\xA9"', 6)
  refused("a byte order mark is none", BOM .. '\xC3\xA9,"b', "quote", 1, 3)
end)

describe("the header", function()
  sound("is all that an export of nothing has", "a,b\n", { "a", "b" }, {})
  sound("may lack its line end", "a,b", { "a", "b" }, {})
  sound("has no byte order mark in its first name", BOM .. "a,b\n1,2\n",
    { "a", "b" }, { { "1", "2" } })
  sound("has no byte order mark before a quote", BOM .. '"a",b\n' .. BOM .. "1,2\n",
    { "a", "b" }, { { BOM .. "1", "2" } })
  sound("may be quoted, line breaks included", '"a ""1""","b\n,"\n1,2\n',
    { 'a "1"', "b\n," }, { { "1", "2" } })
  refused("must be there", "", "empty")
  refused("must be there behind a byte order mark", BOM, "empty")
  refused("must be there behind blank lines", BOM .. "\n\r\n\n", "empty")
  refused("has no text behind a closing quote", BOM .. '\n\xC3\xA9,"b" ,c\n', "header", 2, 3)
  refused("is not UTF-16, little end first", "\xFF\xFEa\0,\0b\0\n\0", "utf16", 1, 1)
  refused("is not UTF-16, big end first", "\xFE\xFF\0a", "utf16", 1, 1)
end)

describe("the delimiter", function()
  local function found(name, text, delimiter, max_record)
    it(name, function()
      at_every_block(text, { max_record = max_record }, function(result)
        assert.equal(delimiter, result.delimiter)
      end)
    end)
  end
  found("is a comma where the header has one", "a;b;c,d\n", ",")
  found("is a comma where the header has one, tabs or not", "a\tb\tc,d;e\n1;2\n", ",")
  found("is a comma where the header has one column", "a\n1;2\n", ",")
  found("is else the more frequent: semicolon", "a;b;c\td\n", ";")
  found("is else the more frequent: tab", "a\tb\tc;d\n", "\t")
  found("is a semicolon where there are as many tabs", "a\tb;c\td;e\n", ";")
  found("is no comma in quotes", '"a,b";"c,d"\n1,2\n', ";")
  found("is no semicolon in quotes", '"a;b;c"\td\n', "\t")
  found("is none of those between doubled quotes", '"a""b,c"\t"d,""e"\n', "\t")
  found("is found behind blank lines", "\n\r\na;b\n", ";")
  found("is found behind blank lines, however many", ("\n"):rep(30) .. "a;b\n", ";", 8)
  found("is found behind a quote that is literal text", 'size 12";b\n1;2\n', ";")
  found("is not sought below the header", 'a"\n"1;2"\n3;4";\n', ",")
  found("is found whatever is read at once", 'a"b;c\n' .. ("1;2\n"):rep(9) .. '"x";y\n', ";", 8)
  refused("is not sought beyond what a record may hold", 'a\tb;"c\n12345678901234567890",d\n',
    "too_long", 1, 1, { max_record = 8 })
  sound("is the comma that was asked for", "a;b,c\n1;2,3\n",
    { "a;b", "c" }, { { "1;2", "3" } }, { delimiter = "," })
  sound("is the bar that was asked for", 'a|b\n"1|2"|3\n',
    { "a", "b" }, { { "1|2", "3" } }, { delimiter = "|" })
  sound("may be any byte", "a\xA7b\n1\xA72\n", { "a", "b" }, { { "1", "2" } },
    { delimiter = "\xA7" })

  it("must be one byte, no quote and no line end", function()
    local source <close> = file.text "a\n"
    for _, delimiter in ipairs { "", ",,", '"', "\n", "\r", "\0" } do
      assert.has_error(function() csv.reader(source, { delimiter = delimiter }) end)
    end
  end)
end)

describe("a file that can't be trusted is refused:", function()
  refused("a quote is never closed", 'a,b\n1,2\n3,"4\n5,6\n', "quote", 3, 3)
  refused("a quote is the last byte", 'a,b\n"', "quote", 2, 1)
  refused("the last quote is doubled", 'a,b\n1,"2""\n', "quote", 2, 3)
  refused("a quote of the header is never closed", 'a,"b\n', "quote", 1, 3)
  refused("the last record is short, without a line end", "a,b,c\n1,2,3\n4,5", "cut_off", 3, 4)
  refused("the last record is short over two lines", 'a,b,c\n"x\ny",5', "cut_off", 2, 5)
  refused("a CR is all that follows", "a,b\n1,2\n\r", "cut_off", 3, 2)
  refused("a record is too long", "a,b\n1,2\n123,5678\n9,9\n", "too_long", 3, 1, { max_record = 7 })
  refused("the header is too long", "aa,b\n1,2\n", "too_long", 1, 1, { max_record = 3 })
  refused("a quote swallows more than a record may hold", 'a,b\n1,2\n3,"' .. ("x\n"):rep(50),
    "too_long", 3, 1, { max_record = 20 })

  it("a record is too long, by a byte", function()
    for _, line_end in ipairs { "\n", "\r\n", "" } do
      local plain, quoted = "a,b\n123,567%s" .. line_end, 'a,b\n1,"\n%s"' .. line_end
      is_sound(plain:format "", { "a", "b" }, { { "123", "567" } }, { max_record = 7 })
      is_sound(quoted:format "\n", { "a", "b" }, { { "1", "\n\n" } }, { max_record = 6 })
      is_refused(plain:format "8", "too_long", 2, 1, { max_record = 7 })
      is_refused(quoted:format "\n\n", "too_long", 2, 1, { max_record = 6 })
    end
    is_sound(BOM .. "a,b\r\n", { "a", "b" }, {}, { max_record = 3 })
  end)

  it("a record is over 1 MiB, unless more is allowed", function()
    local long = ("x"):rep(1024 * 1024)
    assert.equal(long, read("a\n" .. long .. "\r\n").records[1].fields[1])
    assert.same({ kind = "too_long", line = 2, column = 1 }, read("a\nx" .. long .. "\n").failure)
    local more = read("a\nx" .. long .. "\n", { max_record = 2 * #long, block = 65536 })
    assert.equal("x" .. long, more.records[1].fields[1])
  end)
end)

describe("a reader", function()
  -- A reader of the text, for the body to use.
  local function with(text, options, body)
    local source <close> = file.text(text)
    local reader <close> = assert(csv.reader(source, options))
    return body(reader, source)
  end

  it("goes on failing once it has failed", function()
    for _, text in ipairs { 'a,b\n1,"', "a,b\n1", "a,b\n12345678,9\n" } do
      with(text, { max_record = 7 }, function(reader)
        for _ = 1, 3 do
          local fields, _, code = reader:next()
          assert.same({ nil, 65 }, { fields, code })
        end
      end)
    end
  end)

  it("has an end that stays the end", function()
    with("a\n1\n", nil, function(reader)
      reader:next()
      for _ = 1, 3 do assert.equal(0, select("#", reader:next())) end
    end)
  end)

  it("tells the columns of the fields it has, of no others", function()
    with("a\nx" .. (",x"):rep(4999) .. "\n", nil, function(reader)
      assert.has_error(function() reader:column(1) end)
      reader:next()
      assert.same({ 1, 3 }, { reader:column(1), reader:column(2) })
      for _, n in ipairs { 0, -1, 5001 } do
        assert.has_error(function() reader:column(n) end)
      end
      local known, column = pcall(reader.column, reader, 5000)
      if known then assert.equal(9999, column) end
    end)
  end)

  it("refuses options that it doesn't know or can't use", function()
    local source <close> = file.text "a\n"
    for _, options in ipairs { { delimeter = ";" }, { block = -1 }, { max_record = "x" }, { 1 } } do
      assert.has_error(function() csv.reader(source, options) end)
    end
  end)

  it("raises when its source, or it, is closed", function()
    with("a\n1\n", nil, function(reader, source)
      source:close()
      assert.has_error(function() reader:next() end)
      reader:close()
      reader:close()
      assert.has_error(function() reader:header() end)
    end)
  end)

  it("keeps a source alive that nobody else holds", function()
    local reader <close> = csv.reader(file.text "a\n1\n")
    collectgarbage()
    assert.same({ "1" }, (reader:next()))
  end)
end)
