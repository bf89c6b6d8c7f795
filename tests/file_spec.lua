--- What the engine reads from and writes to: files, gzip, memory.
local file = require "native.file"
local filtering = require "tests.support.filtering"
local process = require "tests.support.process"
local rng = require "tests.model.rng"
local stat = require "posix.sys.stat"

local HEADER = filtering.HEADER
local keyset, run, run_source = filtering.keyset, filtering.run, filtering.run_source

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
