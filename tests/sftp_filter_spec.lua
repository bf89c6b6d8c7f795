--- examples/filter.lua with servers on either side: the same bytes as between local files, and OUT
--- whole or not at all.
local link = require "tests.support.link"
local logins = require "tests.support.logins"
local process = require "tests.support.process"
local server = require "tests.support.server"
local sshd = require "tests.support.sshd"
local dirent = require "posix.dirent"
local unistd = require "posix.unistd"

after_each(process.clean)

local FILTER = process.root .. "/examples/filter.lua"
local HEADER = "\xEF\xBB\xBFfacilityId,idValue,comments\r\n"

--- A file with rows of every shape, of which every third is kept, and the list that keeps them.
local function inventory(rows)
  local parts, list = { HEADER }, {}
  local shapes = { "%d,K%d,plain\r\n", '%d,K%d,"with, a comma"\n',
    '%d,"K%d","a ""quote"",\n\nlines"\r\n' }
  for n = 1, rows do
    parts[n + 1] = shapes[n % 3 + 1]:format(n, n)
    if n % 3 == 0 or n % 7 == 0 then list[#list + 1] = "K" .. n end
  end
  return table.concat(parts) .. "1,K3,no line end", table.concat(list, "\n") .. "\n"
end

local BYTES, LIST = inventory(20000)

describe("examples/filter.lua", function()
  if sshd.lacks() then return pending(sshd.lacks()) end
  local at, place, env

  before_each(function()
    at, place = sshd.start(), process.folder()
    env = { HOME = place, TALLYMAN_SSH_KEY = at.keys.ed25519,
      TALLYMAN_KNOWN_HOSTS = at.known_hosts }
    process.write(place .. "/list", LIST)
    process.write(place .. "/in", BYTES)
    process.write(at.folder .. "/in", BYTES)
  end)

  --- Runs it; `options` as in process.tallyman.
  local function filter(from, to, options)
    return process.tallyman(FILTER, "--keep", place .. "/list", from, to,
      { env = env, stdin = options and options.stdin })
  end

  --- The names in the server's folder, in order.
  local function names()
    local found = {}
    for name in dirent.files(at.folder) do
      if name ~= "." and name ~= ".." then found[#found + 1] = name end
    end
    table.sort(found)
    return found
  end

  --- What comes of local files.
  local function expected()
    local result = filter(place .. "/in", place .. "/expected")
    assert.equal(0, result.status, result.err)
    return process.read(place .. "/expected")
  end

  --- Asserts that a run failed in one line, and left the server's folder as it was.
  local function fails(result, code, ...)
    assert.equal(code, result.status, result.err)
    assert.matches("^tallyman: [^\n]+\n$", result.err)
    assert.equal("", result.out)
    for _, text in ipairs { ... } do
      assert.truthy(result.err:find(text, 1, true), result.err)
    end
    assert.same({ "in" }, names())
  end

  it("reads from a server, writes to one, or both, as it does locally", function()
    local bytes = expected()
    assert.truthy(#bytes > 100000)
    for n, way in ipairs { { at.url .. "/in", place .. "/out" },
      { place .. "/in", at.url .. "/out2" }, { at.url .. "/in", at.url .. "/out3" },
      { "-", at.url .. "/out4" }, { at.url .. "/in", "-" } } do
      local result = filter(way[1], way[2], { stdin = n == 4 and BYTES or nil })
      assert.equal(0, result.status, result.err)
      assert.matches("read 20001, kept ", result.err)
      local path = way[2]:gsub("^sftp://[^/]*", "")
      assert.truthy((n == 5 and result.out or process.read(path)) == bytes, way[1] .. way[2])
    end
    assert.same({ "in", "out2", "out3", "out4" }, names())
  end)

  it("says what couldn't be made, and nothing of what couldn't be removed then", function()
    fails(filter(at.url .. "/in", at.url .. "/" .. ("n"):rep(251)), 73, "cannot create")
  end)

  it("reads what is compressed there", function()
    local bytes = expected()
    process.must("sh", "-c", ("gzip -c '%s/in' > '%s/in.csv.gz'"):format(place, at.folder))
    assert.equal(0, filter(at.url .. "/in.csv.gz", place .. "/out").status)
    assert.truthy(process.read(place .. "/out") == bytes)
  end)

  it("goes from one server to another", function()
    local bytes, other = expected(), sshd.start()
    env.TALLYMAN_KNOWN_HOSTS = process.write(place .. "/known", process.read(at.known_hosts)
      .. process.read(other.known_hosts))
    local result = filter(at.url .. "/in", other.url .. "/out")
    assert.equal(0, result.status, result.err)
    assert.truthy(process.read(other.folder .. "/out") == bytes)
    assert.same({ "in" }, names())
  end)

  it("goes on where it was when connections are cut", function()
    local bytes = expected()
    local cut = link.start(at, { cut_down = { 90000, 200000 }, cut_up = { 90000, 120000, 90000 } })
    env.TALLYMAN_KNOWN_HOSTS = at:known { names = ("[127.0.0.1]:%d"):format(cut.port) }
    local url = at.url:gsub(":%d+/", (":%d/"):format(cut.port))
    local result = filter(url .. "/in", url .. "/out")
    assert.equal(0, result.status, result.err)
    assert.is_true(cut:cuts() >= 2)
    assert.truthy(process.read(at.folder .. "/out") == bytes)
    assert.same({ "in", "out" }, names())
  end)

  it("writes over no file", function()
    for _, from in ipairs { place .. "/in", at.url .. "/in" } do
      fails(filter(from, at.url .. "/in"), 73, "/in")
      assert.truthy(process.read(at.folder .. "/in") == BYTES)
    end
    process.write(place .. "/out", "old")
    fails(filter(at.url .. "/in", place .. "/out"), 73, place .. "/out")
    assert.equal("old", process.read(place .. "/out"))
  end)

  it("leaves nothing behind when its input is broken", function()
    for name, bytes in pairs { quote = HEADER .. '1,K3,"open', short = HEADER .. "1,K3",
      column = "a,b\n1,2\n", empty = "" } do
      process.write(at.folder .. "/in", bytes)
      fails(filter(at.url .. "/in", at.url .. "/out"), 65)
      fails(filter(at.url .. "/in", place .. "/" .. name), 65)
      assert.is_nil(process.read(place .. "/" .. name))
      assert.falsy(process.must("ls", place):find("part", 1, true))
    end
  end)

  it("tells a file, folder or list that isn't there", function()
    fails(filter(at.url .. "/nothing", place .. "/out"), 66, "/nothing")
    fails(filter(at.url .. "/nothing", at.url .. "/out"), 66, "/nothing")
    fails(filter(at.url .. "/no/folder", place .. "/out"), 66, "/no/folder")
    os.remove(place .. "/list")
    fails(filter(at.url .. "/in", at.url .. "/out"), 66, place .. "/list")
    assert.is_nil(process.read(place .. "/out"))
  end)

  it("tells a folder to write to that isn't there as one that can't be written to", function()
    fails(filter(place .. "/in", place .. "/no/out"), 73, "/no/out")
    fails(filter(place .. "/in", at.url .. "/no/out"), 73, "/no/out")
  end)

  it("tells a server that can't be reached or doesn't let us in", function()
    local nowhere = ("sftp://u@127.0.0.1:%d"):format(server.free_port())
    for _, host in ipairs { "sftp://u@nothing.invalid", nowhere } do
      fails(filter(host .. "/in", place .. "/out"), 69, (host:match "@([^:/]+)"))
      fails(filter(at.url .. "/in", host .. "/out"), 69, (host:match "@([^:/]+)"))
    end
    env.TALLYMAN_SSH_KEY = at.keys.stranger
    fails(filter(at.url .. "/in", place .. "/out"), 77)
    env.TALLYMAN_KNOWN_HOSTS = place .. "/nothing"
    fails(filter(at.url .. "/in", place .. "/out"), 77, "unknown")
    assert.is_nil(process.read(place .. "/out"))
  end)

  --- Starts it with rows without an end, over a narrow link, so that there is always something that
  --- the server hasn't answered yet; its pid, as soon as bytes have come.
  local function start_endless()
    local narrow = link.start(at, { delay = 20, rate_up = 4e6 })
    env.TALLYMAN_KNOWN_HOSTS = at:known { names = ("[127.0.0.1]:%d"):format(narrow.port) }
    local line = "(echo a,idValue; yes 1,K3) | exec '%s' '%s' --keep '%s/list' - '%s/out'"
    local child = process.start { "bash", "-c", line:format(process.host, FILTER, place,
      (at.url:gsub(":%d+/", (":%d/"):format(narrow.port)))), env = env }
    assert(process.eventually(function()
      return #process.must("find", at.folder, "-name", "out*", "-size", "+300k") > 0
    end, 10), child:err())
    for _, pid in ipairs(server.descendants(child)) do
      local exe = unistd.readlink(("/proc/%d/exe"):format(pid))
      if exe == process.host then return pid, child end
    end
  end

  it("leaves nothing behind when a signal ends it", function()
    local pid, child = start_endless()
    process.must("kill", "-TERM", tostring(pid))
    assert.equal(143, child:wait(logins.LIMIT).status)
    process.eventually(function() return #names() == 1 end, 20)
    assert.same({ "in" }, names())
  end)
end)
