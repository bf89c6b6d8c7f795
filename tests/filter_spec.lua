--- The filter against a plain reference that is built on the slow reader; and what it reads from
--- and writes to: files, gzip, memory.
local csv = require "native.csv"
local file = require "native.file"
local process = require "tests.support.process"
local random_csv = require "tests.support.random_csv"
local rng = require "tests.model.rng"
local slow_csv = require "tests.support.slow_csv"
local stat = require "posix.sys.stat"
local stdlib = require "posix.stdlib"

local HEADER = "idType,idValue,availableQty,comments\n"
local KEY = { "idType", "idValue" }

local folder, paths = nil, 0

setup(function() folder = process.folder() end)
teardown(process.clean)

-- A path that nothing has yet.
local function new_path()
  paths = paths + 1
  return folder .. "/" .. paths
end

local function write_file(bytes) return process.write(new_path(), bytes) end

-- What a command prints.
local function output(command, ...)
  local pipe <close> = assert(io.popen(command:format(...)))
  return pipe:read "a"
end

local function gzip(text) return output("gzip -c %s", write_file(text)) end
local function sha256sum(path) return output("sha256sum %s", path):sub(1, 64) end

local function keyset(keys)
  local set = csv.keyset()
  for _, key in ipairs(keys) do set:add(table.unpack(key)) end
  return set
end

-- Filters from a source into memory: { out, rejects, counts, sha256 }, or { message, code }.
local function run_source(source, options)
  local sink <close> = file.memory()
  local rejects <close> = file.memory()
  local all = { key = KEY, rejects = rejects }
  for name, value in pairs(options) do all[name] = value end
  if options.rejects == false then all.rejects = nil end
  local counts, message, code = csv.filter(source, sink, all)
  if not counts then return { message = message, code = code } end
  return { out = sink:text(), rejects = rejects:text(), counts = counts, sha256 = sink:sha256() }
end

local function run(text, options)
  local source <close> = file.text(text)
  return run_source(source, options)
end

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
local function ways()
  local all = {}
  for _, scan in ipairs { "avx2", "sse2", "neon", "portable" } do
    stdlib.setenv("TALLYMAN_SCAN", scan)
    local usable = run("a,b\n", { key = { "a" }, keep = csv.keyset() }).counts ~= nil
    if usable then table.insert(all, { scan, "1" }) end
  end
  stdlib.setenv("TALLYMAN_SCAN")
  table.insert(all, { nil, "2" })
  return all
end

local WAYS

-- Filters in one of the ways.
local function run_so(way, bytes, options)
  stdlib.setenv("TALLYMAN_SCAN", way[1])
  stdlib.setenv("TALLYMAN_THREADS", way[2])
  local found = run(bytes, options)
  stdlib.setenv("TALLYMAN_SCAN")
  stdlib.setenv("TALLYMAN_THREADS")
  return found
end

-- Filters a file in every way, at each of the block sizes.
local function compare(made, blocks, max_record, what)
  local options = { key = made.key, keep = keyset(made.list), delimiter = made.delimiter,
    max_record = max_record }
  -- A header that was cut off, or misread for another delimiter, may lack a column.
  local header = slow_csv.read(made.bytes, options).header
  if header and #slow_csv.places(header, made.key) ~= #made.key then return end
  local expected = slow_csv.filter(made.bytes, options, made.set)
  for _, block in ipairs(blocks) do
    for _, way in ipairs(WAYS) do
      options.block = block
      check(expected, run_so(way, made.bytes, options), ("%s, scan %s, threads %s, block %d, "
        .. "delimiter %s: %q "):format(what, way[1], way[2], block, made.delimiter, made.bytes))
    end
  end
end

describe("the filter, against a reference,", function()
  setup(function() WAYS = ways() end)

  -- The fast lane is taken only where records may be as long as a run of it.
  it("filters random files", function()
    for seed = 1, 4000 do
      compare(random_csv.keyed(seed), { seed % 97 + 1, 64, seed % 8 == 0 and 0 or nil },
        seed % 10 > 0 and 16384 or 4096, "seed " .. seed)
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
      local script = write_file((code:gsub("NAME", name)))
      assert.equal("failed\n", output("timeout 10 %s %s 2>/dev/null", process.host, script), name)
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

describe("gzip", function()
  local one = keyset { { "SKU", "A1" } }
  local text = HEADER .. "SKU,A1,1,first\nSKU,B,2,\nSKU,A1,3,last\n"
  local expected = run(text, { keep = one }).out
  local packed
  setup(function() packed = gzip(text) end)

  -- What the filter makes of a file of these bytes.
  local function filter_file(bytes, options)
    local path = write_file(bytes)
    local source <close> = file.source(path, { digest = true })
    os.remove(path)
    local found = run_source(source, options or { keep = one })
    found.source_sha256 = source:sha256()
    return found
  end

  it("is inflated, whatever is read at once, and its content is what the digest covers", function()
    for block = 1, #text + 1 do
      local found = filter_file(packed, { keep = one, block = block })
      assert.equal(expected, found.out)
      assert.equal(#text, found.counts.bytes)
      assert.equal(sha256sum(write_file(text)), found.source_sha256)
    end
    assert.equal(expected, run(packed, { keep = one }).out)
  end)

  it("may have several members, an empty one too, and zeros behind them", function()
    for at = 1, #text, 7 do
      local members = gzip(text:sub(1, at)) .. gzip "" .. gzip(text:sub(at + 1))
      assert.equal(expected, filter_file(members).out)
      assert.equal(expected, filter_file(members .. ("\0"):rep(512)).out)
    end
  end)

  it("is refused when it was cut off, anywhere", function()
    local two = packed .. gzip "SKU,A1,4,\n"
    for size = 0, #two - 1 do
      if size ~= #packed then
        assert.equal(65, filter_file(two:sub(1, size)).code, "cut off at " .. size)
      end
    end
  end)

  -- Some bits of its head mean nothing; whatever else changes, no other bytes may come out.
  it("is refused when it was damaged, anywhere", function()
    for at = 1, #packed do
      for _, bit in ipairs { 1, 16, 128 } do
        local byte = string.char(packed:byte(at) ~ bit)
        local found = filter_file(packed:sub(1, at - 1) .. byte .. packed:sub(at + 1))
        if found.code ~= 65 then assert.equal(expected, found.out, "damaged at " .. at) end
      end
    end
  end)

  it("is refused when something else follows", function()
    for _, rest in ipairs { "x", "\0x", "\x1f", "\x1f\x8b", HEADER } do
      assert.equal(65, filter_file(packed .. rest).code)
    end
  end)

  it("may be large, and tells how far it is in packed bytes", function()
    local random, rows, last = rng.new(1), { HEADER }, nil
    for n = 1, 30000 do
      rows[n + 1] = ("SKU,%s,%d,\n"):format(n % 1000 == 0 and "A1" or "B", random:bits())
    end
    local long = table.concat(rows)
    local large = gzip(long)
    local function progress(done, total) last = { done, total } end
    local found = filter_file(large, { keep = one, progress = progress })
    assert.equal(run(long, { keep = one }).out, found.out)
    assert.same({ #large, #large }, last)
    assert.same({ 30, #long }, { found.counts.kept, found.counts.bytes })
    assert.equal(sha256sum(write_file(found.out)), found.sha256)
  end)
end)

describe("native.file", function()
  it("reads in pieces, and tells the digest of what was read", function()
    local path = write_file(("0123456789"):rep(1000))
    local source <close> = file.source(path, { digest = true })
    local parts = {}
    for bytes in function() return source:read(777) end do parts[#parts + 1] = bytes end
    assert.equal(process.read(path), table.concat(parts))
    assert.equal(sha256sum(path), source:sha256())
    assert.is_nil(source:read(1))
    for _, size in ipairs { 0, -1, 1 << 21 } do
      assert.has_error(function() source:read(size) end)
    end
    assert.is_nil(file.text("x"):sha256())
    assert.has_error(function() file.source(path, { digets = true }) end)
  end)

  it("can't read a folder or what isn't there", function()
    for _, path in ipairs { folder, folder .. "/nothing", folder .. "/nothing/at/all" } do
      local source, message, code = file.source(path)
      assert.same({ nil, 66 }, { source, code })
      assert.truthy(message:find(path, 1, true))
    end
  end)

  it("writes a new file, with the mode asked for, and knows its digest", function()
    local path, long = new_path(), ("x"):rep(100000)
    local sink <close> = file.sink(path, 384)    -- 0600
    assert.is_true(sink:write("a"):write(""):write(long):write("b"):finish())
    assert.equal("a" .. long .. "b", process.read(path))
    assert.equal(100002, sink:bytes())
    assert.equal(sha256sum(path), sink:sha256())
    assert.equal(384, stat.stat(path).st_mode & 511)
    assert.is_nil(sink:text())
  end)

  it("writes no file that exists, and none in a folder that doesn't", function()
    local path = write_file "mine"
    for _, other in ipairs { path, folder, "/dev/full", folder .. "/nothing/x" } do
      local sink, message, code = file.sink(other)
      assert.same({ nil, 73 }, { sink, code })
      assert.truthy(message:find(other, 1, true))
    end
    assert.equal("mine", process.read(path))
  end)

  it("writes nothing more once it has finished", function()
    local path = new_path()
    local sink <close> = file.sink(path)
    assert.is_true(sink:write("a"):finish())
    local called, written = pcall(sink.write, sink, "b")
    assert.is_falsy(called and written)
  end)

  it("publishes onto a free name, onto a taken one by order only", function()
    local from, to = write_file "new", write_file "old"
    local published, message, code = file.publish(from, to)
    assert.same({ nil, 73 }, { published, code })
    assert.truthy(message:find(to, 1, true))
    assert.same({ "new", "old" }, { process.read(from), process.read(to) })
    assert.is_true(file.publish(from, to, true))
    assert.equal("new", process.read(to))
    assert.is_nil(stat.stat(from))
    assert.is_true(file.publish(to, from))
    assert.equal("new", process.read(from))
    assert.is_nil((file.publish(to, from)))
  end)

  it("keeps what it is told in memory", function()
    local sink <close> = file.memory()
    assert.equal("", sink:text())
    sink:write("a\0"):write(""):write "b"
    assert.same({ "a\0b", 3, true }, { sink:text(), sink:bytes(), sink:finish() })
    assert.equal(output("printf 'a\\000b' | sha256sum"):sub(1, 64), sink:sha256())
  end)

  it("tells that a device is full, when it writes or at the end, and goes on telling", function()
    local code = [[
      local sink = require "native.file".sink "-"
      local function tell(_, _, code) io.stderr:write(code or "-", " ") end
      tell(sink:write(("x"):rep(SIZE))); tell(sink:finish()); tell(sink:finish())]]
    for size, expected in pairs { [10] = "- 74 74 ", [100000] = "74 74 74 " } do
      local script = write_file((code:gsub("SIZE", size)))
      assert.equal(expected, output("%s %s 2>&1 >/dev/full", process.host, script))
    end
  end)
end)
