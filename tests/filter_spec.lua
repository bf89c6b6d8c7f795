--- The filter against a plain reference that is built on the slow reader.
local csv = require "native.csv"
local environment = require "tests.support.environment"
local file = require "native.file"
local filtering = require "tests.support.filtering"
local process = require "tests.support.process"
local random_csv = require "tests.support.random_csv"
local rng = require "tests.model.rng"
local slow_csv = require "tests.support.slow_csv"

local HEADER, KEY = filtering.HEADER, filtering.KEY
local keyset, run = filtering.keyset, filtering.run

teardown(process.clean)

-- Compares one result with what was expected.
local function check(expected, found, what)
  local failure = expected.failure
  if failure then
    assert.equal(65, found.code, what)
    local place = failure.line and ("^text:%d:%d: "):format(failure.line, failure.column)
      or "^text: file is empty"
    assert.truthy(found.message:find(place), what .. found.message)
    return
  end
  assert.is_nil(found.message, what)
  assert.equal(expected.out, found.out, what)
  assert.equal(expected.rejects, found.rejects, what)
  for name, value in pairs(expected.counts) do
    assert.equal(value, found.counts[name], what .. name)
  end
end

-- The ways in which the filter can go over a file: the fast lane's variant, and threads.
local function find_ways()
  local all = { { TALLYMAN_THREADS = "2" } }
  for _, scan in ipairs { "avx2", "sse2", "neon", "portable" } do
    local way = { TALLYMAN_SCAN = scan, TALLYMAN_THREADS = "1" }
    local usable = pcall(environment.with, way, run, "a,b\n",
      { key = { "a" }, keep = csv.keyset() })
    if usable then table.insert(all, way) end
  end
  return all
end

local WAYS

-- Filters a file in each of the ways, all by default, at each of the block sizes.
local function compare(made, blocks, max_record, what, ways)
  local options = { key = made.key, keep = keyset(made.list), delimiter = made.delimiter,
    max_record = max_record }
  -- A header that was cut off, or misread for another delimiter, may lack a column.
  local header = slow_csv.read(made.bytes, options).header
  if header and #slow_csv.places(header, made.key) ~= #made.key then return end
  local expected = slow_csv.filter(made.bytes, options, made.set)
  for _, block in ipairs(blocks) do
    for _, way in ipairs(ways or WAYS) do
      options.block = block
      local found = environment.with(way, run, made.bytes, options)
      check(expected, found, ("%s, scan %s, threads %s, block %d, delimiter %s: %q "):format(what,
        way.TALLYMAN_SCAN, way.TALLYMAN_THREADS, block, made.delimiter, made.bytes))
    end
  end
end

describe("the filter, against a reference,", function()
  setup(function() WAYS = find_ways() end)

  -- The fast lane is taken only where records may be as long as a run of it.
  it("filters random files", function()
    for seed = 1, 4000 do
      compare(random_csv.keyed(seed), { seed % 97 + 1, 64, seed % 8 == 0 and 0 or nil },
        seed % 10 > 0 and 16384 or 4096, "seed " .. seed)
    end
  end)

  -- All there is to get wrong with two columns, at each place around the border between two of the
  -- fast lane's steps of 64 bytes. It begins behind the first record.
  it("filters every text of up to five meaningful bytes", function()
    local before = "a,b\n1,2\n"
    local function grow(text, left)
      for place = 64 - #text, 64 do
        local bytes = before .. ("x"):rep(place - 3) .. ",y\n" .. text .. "\n1,a\n"
        compare({ bytes = bytes, delimiter = ",", key = { "b" }, list = { { "a" }, { "" } },
          set = { a = true, [""] = true } }, { 256 }, 8192, "place " .. place,
          { WAYS[place % #WAYS + 1] })
      end
      if left == 0 then return end
      for byte in ('a,"\r\n'):gmatch "." do grow(text .. byte, left - 1) end
    end
    grow("", 5)
  end)

  -- Where nothing but a line end parts records, a blank line isn't one.
  it("filters files of one column", function()
    for seed = 1, 300 do
      local random, parts = rng.new(seed), { "a\n" }
      for n = 2, random:int(2, 60) do
        parts[n] = random:pick { "1", "2", "", " ", '"1"', '""', '"1\n2"', '1"', '"2"x', "1,2" }
          .. random:pick { "\n", "\n", "\r\n" }
      end
      compare({ bytes = table.concat(parts), delimiter = ",", key = { "a" }, list = { { "1" } },
        set = { ["1"] = true } }, { 0 }, 8192, "seed " .. seed)
    end
  end)

  it("keeps all rows of all keys, however many they are", function()
    local lines, keys = { "a,b\n" }, csv.keyset()
    for n = 1, 20000 do
      lines[n + 1] = ("%s,x\n"):format(("%d"):format(n):rep(n % 3 + 1))
      keys:add(lines[n + 1]:match "^[^,]*")
    end
    local text = table.concat(lines)
    for _, way in ipairs(WAYS) do
      local found = environment.with(way, run, text, { key = { "a" }, keep = keys })
      assert.equal(text, found.out)
    end
  end)

  it("filters random files of many rows", function()
    for seed = 10001, 10300 do
      compare(random_csv.keyed(seed, { rows = 300 }), { seed, 4096, 0 }, 16384, "seed " .. seed)
    end
  end)
end)

describe("the filter", function()
  local one = keyset { { "SKU", "A1" } }

  it("folds the type and takes the value as it is", function()
    local found = run(HEADER .. "sku,A1,1,\nSKU,a1,2,\nSkU,A1,3,\nUPCA,A1,4,\n", { keep = one })
    assert.equal(HEADER .. "sku,A1,1,\nSkU,A1,3,\n", found.out)
  end)

  it("undoes doubled quotes in keys, wherever they stand in long ones", function()
    for size = 55, 75 do
      local value = ("x"):rep(size) .. '"y'
      local keep = keyset { { "SKU", value }, { "SKU", value .. "z" } }
      local row = ('sku,"%s",1,\n'):format(value:gsub('"', '""'))
      assert.equal(HEADER .. row:rep(3), run(HEADER .. row:rep(3), { keep = keep }).out)
    end
  end)

  it("undoes doubled quotes in keys", function()
    local keep = keyset { { "SKU", '12" nail' }, { '"S"', '"V"' } }
    local rows = 'sku,"12"" nail",1,"""x"""\n"""s""","""V""",1,\n'
    assert.equal(HEADER .. rows, run(HEADER .. rows .. 'sku,12"" nail,1,\n', { keep = keep }).out)
  end)

  it("finds its columns wherever they stand and however they are written", function()
    local text = 'comments,IDVALUE,x,"idtype"\n1,A1,2,SKU\n1,SKU,2,A1\n'
    assert.equal('comments,IDVALUE,x,"idtype"\n1,A1,2,SKU\n', run(text, { keep = one }).out)
  end)

  it("needs each column once", function()
    for _, header in ipairs { "idType,qty\n", "idType,idValue,IDVALUE\n", "idTypes,idValue\n" } do
      local found = run(header, { keep = one })
      assert.equal(65, found.code)
      assert.truthy(found.message:find "^text:1:1: header has %a[%a ]* column 'id%a+': ")
    end
  end)

  it("keeps byte order mark, CR LF and a missing last line end", function()
    local text = "\xEF\xBB\xBFidType;idValue\r\nSKU;A1\r\nSKU;B\r\n\"SKU\";A1"
    local found = run(text, { keep = one })
    assert.equal("\xEF\xBB\xBFidType;idValue\r\nSKU;A1\r\n\"SKU\";A1", found.out)
    assert.is_false(found.counts.last_line_end)
    assert.equal(";", found.counts.delimiter)
  end)

  it("tells the rejects: line, column, reason, and the record with its quotes doubled", function()
    local text = HEADER .. 'SKU,"B",1,"two\nlines",x\nSKU,A1,1,"a\nb",y\nSKU,A1\r\nSKU,"A1"z,1,\n'
    local found = run(text, { keep = one })
    assert.equal('line,column,reason,record\n'
      .. '4,4,"more fields than the header","SKU,A1,1,""a\nb"",y"\n'
      .. '6,7,"fewer fields than the header","SKU,A1"\n'
      .. '7,5,"text after a closing quote","SKU,""A1""z,1,"\n', found.rejects)
    assert.same({ 4, 0, 1, 3, 1 }, { found.counts.read, found.counts.kept, found.counts.left_out,
      found.counts.rejected, found.counts.broken_left_out })
    assert.equal("", run(HEADER .. "SKU,A1,1,\nSKU,B\n", { keep = one }).rejects)
  end)

  it("takes no key for read that has text behind its quote, whatever broke before it", function()
    local found = run('comments,idType,idValue\n"a"x,SKU,"A1"y\n"a"x,SKU,A2\n', { keep = one })
    assert.same({ 1, 1 }, { found.counts.rejected, found.counts.left_out })
  end)

  it("fails at a broken record when nobody takes the rejects", function()
    local found = run(HEADER .. "SKU,B\nSKU,A1\n", { keep = one, rejects = false })
    assert.same({ 65, "text:3:7: fewer fields than the header" }, { found.code, found.message })
  end)

  it("counts every byte that it read, those of blank lines too", function()
    local text = "\xEF\xBB\xBF\n" .. HEADER .. "\r\nSKU,A1,1,\n\n"
    assert.equal(#text, run(text, { keep = one }).counts.bytes)
  end)

  it("allows records up to max_record", function()
    local text = "idType,idValue\nSKU,5678901234\nSKU,56789012345\n"
    assert.is_nil(run(text, { keep = one, max_record = 15 }).message)
    local found = run(text, { keep = one, max_record = 14 })
    assert.same({ 65, "text:3:1" }, { found.code, found.message:match "^text:3:1" })
  end)

  it("tells how far it is, and passes on what is raised there", function()
    local text = HEADER .. ("SKU,B,1,\n"):rep(1000)
    local told, trouble = {}, { "trouble" }
    run(text, { keep = one, block = 1000,
      progress = function(done, total) table.insert(told, done .. " of " .. total) end })
    assert.equal(("%d of %d"):format(#text, #text), told[#told])
    assert.equal(#text // 1000 + 1, #told)
    local function raise() error(trouble) end
    assert.same({ false, trouble }, { pcall(run, text, { keep = one, progress = raise }) })
  end)

  -- In a process of its own, for a mistake here is a use of freed memory.
  it("survives that its handles are closed under it", function()
    local code = [[
      local csv, file = require "native.csv", require "native.file"
      local h = { source = file.text("a\n" .. ("x\ny,z\n"):rep(5000)), sink = file.memory(),
        rejects = file.memory(), keep = csv.keyset():add("y") }
      local done, counts = pcall(csv.filter, h.source, h.sink, { key = { "a" }, keep = h.keep,
        rejects = h.rejects, block = 1000, progress = function() h.NAME:close() end })
      print(done and counts and "went on" or "failed")]]
    for _, name in ipairs { "source", "sink", "keep", "rejects" } do
      local script = process.write(process.folder() .. "/script.lua", (code:gsub("NAME", name)))
      local pipe <close> = assert(io.popen(("timeout 10 %s %s 2>/dev/null"):format(process.host,
        script)))
      assert.equal("failed\n", pipe:read "a", name)
    end
  end)

  it("raises at options that can't be meant", function()
    local source <close> = file.text(HEADER)
    local sink <close> = file.memory()
    local gone = csv.keyset()
    gone:close()
    for what, change in pairs {
      ["no key"] = { key = false }, ["a key of nothing"] = { key = {} },
      ["a key that is a number"] = { key = { 1 } },
      ["a key of three"] = { key = { "a", "b", "c" } }, ["no set"] = { keep = false },
      ["a list for a set"] = { keep = {} }, ["a closed set"] = { keep = gone },
      ["a path for a sink"] = { rejects = "rejects.csv" },
      ["a source for a sink"] = { rejects = source },
      ["no function"] = { progress = 1 }, ["no such option"] = { colum = "x" },
      ["a negative block"] = { block = -1 }, ["a huge block"] = { block = 1 << 40 },
      ["half a byte"] = { max_record = 0.5 }, ["a long delimiter"] = { delimiter = ";;" },
    } do
      local options = { key = KEY, keep = one }
      for name, value in pairs(change) do options[name] = value or nil end
      assert.is_false(pcall(csv.filter, source, sink, options), what)
    end
    assert.has_error(function() csv.filter(source, sink) end)
    assert.has_error(function() csv.filter(sink, source, { key = KEY, keep = one }) end)
  end)
end)

describe("a key set", function()
  it("knows keys of one part from keys of two", function()
    local set = csv.keyset():add("A1"):add("sku", "A1"):add("SKU", "A1"):add("", "B")
    assert.equal(3, set:count())
    assert.same({ true, true, false, false, true, false }, { set:has "A1", set:has("Sku", "A1"),
      set:has("sku", "a1"), set:has "a1", set:has("", "B"), set:has "B" })
  end)

  it("is read from a CSV file, not from a broken one", function()
    local set <close> = csv.keys(file.text 'x;idValue;idType\n1;"A""1";sku\n2;B;Y\n3;B;y\n', KEY)
    assert.same({ 2, true }, { set:count(), set:has("SKU", 'A"1') })
    local header = "idType,idValue\n"
    for _, text in ipairs { header .. "SKU\n", "idType\n", "", header .. 'SKU,"a"b\n' } do
      assert.equal(65, (select(3, csv.keys(file.text(text), KEY))))
    end
  end)
end)
