--- Large files on long links: several sessions side by side, in order, bounded, and no worse than
--- one when they fail.
local file = require "native.file"
local link = require "tests.support.link"
local misbehaving = require "tests.support.misbehaving"
local process = require "tests.support.process"
local sftp = require "native.sftp"
local sshd = require "tests.support.sshd"
local texts = require "tests.support.texts"
local clock = require "posix.time"

local MIB = 1024 * 1024
local SIZE = 72 * MIB -- more than is worth a second session

-- A long link on which one session alone takes seconds for such a file, so that the others come in
-- time on a busy machine, too; with what else it does.
local function long(changes)
  local orders = { delay = 15, rate_down = 20e6, rate_up = 20e6 }
  for name, value in pairs(changes or {}) do orders[name] = value end
  return orders
end

after_each(process.clean)

-- Bytes that are no two pieces the same, in a file; its path and its SHA-256.
local function make_input(folder)
  local path = folder .. "/in"
  local handle = assert(io.open(path, "wb"))
  local block = texts.make(MIB)
  for n = 1, SIZE // MIB do handle:write(("%08d"):format(n), block:sub(9)) end
  handle:close()
  return path, process.run { "sha256sum", path }.out:match "^%x+"
end

local at, input, digest

-- A server with the input, reached by a link; a session through that.
local function open(orders, changes)
  at = sshd.start()
  input, digest = make_input(at.folder)
  local through = link.start(at, long(orders))
  local options = { host = through.host, port = through.port, user = at.user,
    known_hosts = at:known { names = ("[%s]:%d"):format(through.host, through.port) },
    key = at.keys.ed25519, connect_seconds = 5, login_seconds = 5, idle_seconds = 3, attempts = 3 }
  for name, value in pairs(changes or {}) do options[name] = value end
  return assert(sftp.open(options)), through
end

-- Reads all; the SHA-256 of what came, or nil, message, code. `each` is called with the bytes so
-- far.
local function download(session, each)
  local source <close>, message, code = session:source(input, "in", { digest = true })
  if not source then return nil, message, code end
  local done = 0
  while true do
    local bytes
    bytes, message, code = source:read(MIB)
    if message then return nil, message, code end
    if not bytes then return source:sha256() end
    done = done + #bytes
    if each then each(done) end
  end
end

-- Writes the input's bytes to a new file; true, or nil, message, code.
local function upload(session, each)
  local source <close> = assert(file.source(input))
  local sink <close>, message, code = session:sink(at.folder .. "/out", "out")
  if not sink then return nil, message, code end
  local done = 0
  while true do
    local bytes = source:read(MIB)
    if not bytes then return sink:finish() end
    local taken
    taken, message, code = sink:write(bytes)
    if not taken then return nil, message, code end
    done = done + #bytes
    if each then each(done) end
  end
end

-- How often somebody has logged in.
local function logins()
  return select(2, at.child:err():gsub("Accepted publickey", ""))
end

local function uploaded()
  return process.run { "sha256sum", at.folder .. "/out" }.out:match "^%x+"
end

describe("a large file on a long link", function()
  if sshd.lacks() or link.lacks() then return pending(sshd.lacks() or link.lacks()) end

  it("is read by several sessions, in order", function()
    local session <close> = open()
    assert.equal(digest, download(session))
    assert.equal(4, logins())
    assert.is_nil(session:notices())
  end)

  it("is written by several sessions", function()
    local session <close> = open()
    assert.is_true(upload(session))
    assert.equal(digest, uploaded())
    assert.equal(4, logins())
  end)

  it("is read and written by no more sessions than are allowed", function()
    local session <close> = open(nil, { sessions = 1 })
    assert.equal(digest, download(session))
    assert.is_true(upload(session))
    assert.equal(1, logins())
  end)

  it("takes one session where the server lets in no others, and says so", function()
    local session <close>, through = open()
    through:order(long { refuse = true })
    assert.equal(digest, download(session))
    assert.equal(1, logins())
    local _, told = session:notices():gsub("going on with reading in without that session", "")
    assert.is_true(told >= 1 and told <= 3, told) -- by those that were asked for at once
  end)

  it("asks for no more sessions where little is left", function()
    local session <close>, through = open()
    process.must("truncate", "-s", tostring(63 * MIB), input)
    through:order(long { refuse = true })
    assert.truthy(download(session))
    local sink <close> = assert(session:sink(at.folder .. "/out", "out"))
    assert(sink:write(("x"):rep(7 * MIB)))
    assert.is_true(sink:finish())
    assert.is_nil(session:notices())
  end)

  it("takes no session's place where little is left", function()
    local session <close>, through = open {
      cut_down = { 1000 * MIB, 6 * MIB, 6 * MIB, 6 * MIB, 1000 * MIB } }
    assert.equal(digest, download(session))
    assert.equal(3, through:cuts())
    assert.equal(4, logins())
  end)

  it("is written by those, too, that take an ended session's place", function()
    local cuts = { 1000 * MIB }
    for n = 2, 13 do cuts[n] = 2 * MIB end
    local session <close>, through = open { cut_up = cuts }
    assert.is_true(upload(session))
    assert.equal(digest, uploaded())
    assert.is_true(through:cuts() > 4, through:cuts())
  end)

  it("has a handle of its own on every session, both ways", function()
    local session <close> = open()
    process.write(at.folder .. "/other", "other")
    local other <close> = assert(session:source(at.folder .. "/other", "other"))
    assert.equal(digest, download(session))
    assert.is_true(upload(session))
    assert.equal(digest, uploaded())
    assert.equal("other", other:read(10))
  end)

  it("survives the end of any of its sessions, both ways", function()
    local session <close>, through = open {
      cut_down = { 60 * MIB, 8 * MIB, 9 * MIB, 10 * MIB, 20 * MIB } }
    assert.equal(digest, download(session))
    assert.truthy(session:notices():find "without that session")
    through:order(long { cut_up = { 60 * MIB, 8 * MIB, 9 * MIB, 10 * MIB, 20 * MIB } })
    assert.is_true(upload(session))
    assert.equal(digest, uploaded())
    assert.is_true(through:cuts() >= 3)
  end)

  it("survives the end of all sessions at once, both ways", function()
    local session <close>, through = open()
    local function cut(done)
      if done == 40 * MIB then through:order(long { cut = true }) end
      if done == 48 * MIB then through:order(long()) end
    end
    assert.equal(digest, download(session, cut))
    assert.truthy(session:notices():find "connected again")
    assert.is_true(upload(session, cut))
    assert.equal(digest, uploaded())
  end)

  it("goes on without a session that falls silent", function()
    local session <close> = open { stall_down = { 1000 * MIB, 6 * MIB } }
    assert.equal(digest, download(session))
    assert.truthy(session:notices():find "no answer in time", 1, true)
  end)

  it("is an error when it isn't the same file on every session", function()
    local session <close> = open()
    local read, _, code = download(session, function(done)
      if done ~= MIB then return end
      process.write(at.folder .. "/new", "another")
      os.rename(at.folder .. "/new", input)
    end)
    assert.same({ nil, 75 }, { read, code })
  end)

  it("is an error when it is as long on another session, but of another time", function()
    local function attempt(n)
      local session <close> = open()
      return select(3, download(session, function(done)
        if done ~= MIB then return end
        process.must("truncate", "-s", tostring(SIZE), at.folder .. "/new")
        process.must("touch", "-d", "@" .. 1000000000 + n, at.folder .. "/new")
        os.rename(at.folder .. "/new", input)
      end))
    end
    local n, code = 0
    repeat -- until another session comes late enough to see the new file
      n = n + 1
      code = attempt(n)
    until code or n == 5
    assert.equal(75, code)
  end)

  it("is let go of at once while sessions are opened that get no answer", function()
    local session <close> = open({ stall_down = { 1000 * MIB, 1, 1, 1 } },
      { connect_seconds = 30, login_seconds = 30, idle_seconds = 30 })
    local source <close> = assert(session:source(input, "in"))
    for _ = 1, 8 do assert(source:read(MIB)) end
    local began = clock.clock_gettime(clock.CLOCK_MONOTONIC).tv_sec
    source:close()
    assert.is_true(clock.clock_gettime(clock.CLOCK_MONOTONIC).tv_sec - began < 10)
    assert.truthy(session:stat(input))
  end)

  it("can be let go of at any moment", function()
    for _, blocks in ipairs { 1, 2, 8, 40 } do
      local session <close> = open()
      local source <close> = assert(session:source(input, "in"))
      for _ = 1, blocks do assert(source:read(MIB)) end
      source:close()
      assert.truthy(session:stat(input)) -- the session is as good as new
      local sink <close> = assert(session:sink(at.folder .. "/left", "left"))
      for _ = 1, blocks do assert(sink:write(("x"):rep(MIB))) end
      sink:close()
      session:remove(at.folder .. "/left")
      assert.is_false(session:stat(at.folder .. "/left"))
      session:close()
      at:stop()
    end
  end)

  it("may not take longer than the limit, both ways", function()
    local session <close> = open({ rate_down = 10e6, rate_up = 10e6 },
      { transfer_seconds = 2 })
    local read, message, code = download(session)
    assert.same({ nil, 75 }, { read, code })
    assert.truthy(message:find("longer than the 2 seconds", 1, true))
    local written
    written, message, code = upload(session)
    assert.same({ nil, 75 }, { written, code })
    assert.truthy(message:find("longer than the 2 seconds", 1, true))
  end)
end)

describe("a file written by several sessions of a server that misbehaves", function()
  local lacks = misbehaving.lacks() or link.lacks()
  if lacks then return pending(lacks) end

  local WRITTEN = 32 * MIB

  -- Writes a file by a long link to a server with such faults; true, or nil, message, code; the
  -- session's notices, and how many connections there were.
  local function write(faults, refuse)
    at = misbehaving.start { faults = faults }
    local through = link.start(at, long())
    local known = process.write(process.folder() .. "/known",
      (process.read(at.known_hosts):gsub("%]:%d+", "]:" .. through.port)))
    local session <close> = assert(sftp.open { host = through.host, port = through.port,
      user = at.user, known_hosts = known, key = at.keys.ed25519, attempts = 3 })
    if refuse then through:order(long { refuse = true }) end
    local sink <close> = assert(session:sink("/out", "out"))
    for _ = 1, WRITTEN // MIB do assert(sink:write(("x"):rep(MIB))) end
    local done, message, code = sink:finish()
    return { done = done, message = message, code = code, notices = session:notices(),
      sessions = at:happened "connection" }
  end

  it("isn't whole when one of them couldn't be closed", function()
    local written = write { fail = { value = "close", times = 1 } }
    assert.is_true(written.sessions > 1)
    assert.same({ nil, 74 }, { written.done, written.code }, written.message)
  end)

  it("is whole when one of them ends instead of being closed", function()
    local written = write { cut = { value = "close", times = 1 } }
    assert.is_true(written.sessions > 1)
    assert.is_true(written.done, written.message)
    assert.equal(("x"):rep(WRITTEN), process.read(at.folder .. "/out"))
  end)

  it("is written by one where the server can't sync", function()
    local written = write({ no_fsync = true }, true)
    assert.is_true(written.done, written.message)
    assert.is_nil(written.notices)
  end)
end)

describe("a large file on a short link", function()
  if sshd.lacks() then return pending(sshd.lacks()) end

  it("is read and written by one session", function()
    at = sshd.start()
    input, digest = make_input(at.folder)
    local session <close> = assert(sftp.open { host = at.host, port = at.port, user = at.user,
      known_hosts = at:known(), key = at.keys.ed25519 })
    assert.equal(digest, download(session))
    assert.is_true(upload(session))
    assert.equal(1, logins())
  end)
end)

describe("a question", function()
  it("may not take longer than the limit", function()
    if sshd.lacks() or link.lacks() then return pending(sshd.lacks() or link.lacks()) end
    local session <close>, through = open(nil, { transfer_seconds = 1, idle_seconds = 60 })
    through:order(long { stall = true })
    local found, message, code = session:stat(input)
    assert.same({ nil, 75 }, { found, code })
    assert.truthy(message:find("within the 1 seconds", 1, true), message)
  end)
end)

