--- native.sftp against servers: OpenSSH's, ProFTPD's, and one that misbehaves on order.
local csv = require "native.csv"
local file = require "native.file"
local link = require "tests.support.link"
local process = require "tests.support.process"
local proftpd = require "tests.support.proftpd"
local server = require "tests.support.server"
local sftp = require "native.sftp"
local sshd = require "tests.support.sshd"
local texts = require "tests.support.texts"

after_each(process.clean)

-- Opens a session; short limits, so that what hangs is found out soon.
local function open(at, changes)
  local options = { host = at.host, port = at.port, user = at.user, known_hosts = at.known_hosts,
    key = at.keys and at.keys.ed25519, connect_seconds = 3, login_seconds = 3, idle_seconds = 3,
    attempts = 3 }
  for name, value in pairs(changes or {}) do options[name] = value or nil end
  return sftp.open(options)
end

local TEXT = texts.make(3000000)

-- Reads a source to its end: its bytes, or nil, message, code.
local function read_all(source)
  local parts = {}
  while true do
    local bytes, message, code = source:read(100000)
    if message then return nil, message, code end
    if not bytes then return table.concat(parts) end
    parts[#parts + 1] = bytes
  end
end

-- Downloads a file: its bytes, or nil, message, code.
local function download(session, path)
  local source <close>, message, code = session:source(path, "sftp:" .. path)
  if not source then return nil, message, code end
  return read_all(source)
end

-- Uploads a file: true, or nil, message, code.
local function upload(session, path, text)
  local sink <close>, message, code = session:sink(path, "sftp:" .. path)
  if not sink then return nil, message, code end
  for at = 1, #text, 70000 do
    local done
    done, message, code = sink:write(text:sub(at, at + 69999))
    if not done then return nil, message, code end
  end
  return sink:finish()
end

describe("a session with OpenSSH", function()
  if sshd.lacks() then return pending(sshd.lacks()) end

  it("logs in by every kind of key", function()
    local at = sshd.start()
    for _, kind in ipairs { "ed25519", "ecdsa", "rsa" } do
      local session <close> = assert(open(at, { key = at.keys[kind] }))
      assert.truthy(session:stat(at.path))
    end
    local session <close> = assert(open(at, { key = at.keys.locked,
      passphrase = server.PASSPHRASE }))
    assert.truthy(session:stat(at.path))
  end)

  it("is refused without a key that the server knows, and says what was tried", function()
    local at = sshd.start()
    for _, changes in ipairs { { key = at.keys.stranger }, { key = at.keys.locked },
      { key = "/nothing" }, { key = false } } do
      local session, message, code = open(at, changes)
      assert.same({ nil, 77 }, { session, code })
      assert.truthy(message:find("it takes publickey", 1, true), message)
    end
  end)

  it("trusts no host key but those of known_hosts", function()
    local at = sshd.start()
    local place = process.folder()
    local empty = process.write(place .. "/empty", "")
    local _, message, code = open(at, { known_hosts = empty })
    assert.equal(77, code)
    assert.truthy(message:find "is unknown: .* SHA256:[%w+/]+ .*trust.lua '%[127.0.0.1%]:%d+'$")
    assert.equal(77, (select(3, open(at, { known_hosts = place .. "/nothing" }))))
    at:stop()
    at:start { host_keys = "other" }
    _, message, code = open(at)
    assert.equal(77, code)
    assert.truthy(message:find "has changed: .* knows SHA256:[%w+/]+, .* shows SHA256:[%w+/]+")
  end)

  it("knows hashed names, several keys, revoked ones, and names with their port", function()
    local at = sshd.start()
    local place = process.folder()
    local lines = process.read(at.known_hosts)
    local hashed = process.write(place .. "/hashed", lines)
    process.must("ssh-keygen", "-q", "-H", "-f", hashed)
    assert(open(at, { known_hosts = hashed })):close()
    for line in lines:gmatch "[^\n]+" do
      local one <close> = assert(open(at, { known_hosts = process.write(place .. "/one", line) }))
      assert.truthy(one:stat(at.path))
    end
    local revoked = process.write(place .. "/revoked", lines .. "\n" .. lines:gsub("([^\n]+)",
      "@revoked %1"))
    local _, message, code = open(at, { known_hosts = revoked })
    assert.equal(77, code)
    assert.truthy(message:find "is revoked")
    local bare = process.write(place .. "/bare", (lines:gsub("%[([%d.]+)%]:%d+", "%1")))
    assert.equal(77, (select(3, open(at, { known_hosts = bare }))))
  end)

  it("reads and writes whole files", function()
    local at = sshd.start()
    local session <close> = assert(open(at))
    for _, size in ipairs { 0, 1, 261119, 261120, 261121, #TEXT } do
      local text, path = TEXT:sub(1, size), at.path .. "/" .. size
      assert.is_true(upload(session, path, text))
      assert.equal(text, process.read(at.folder .. "/" .. size))
      assert.equal(text, download(session, path))
      assert.same({ size, false }, { session:stat(path).size, session:stat(path).folder })
    end
    assert.is_nil(session:notices())
  end)

  it("reads several files at once, and goes on after one was left", function()
    local at = sshd.start()
    for n = 1, 3 do process.write(at.folder .. "/" .. n, TEXT .. n) end
    local session <close> = assert(open(at))
    local left = assert(session:source(at.path .. "/1", "1"))
    local kept <close> = assert(session:source(at.path .. "/2", "2"))
    assert.equal(TEXT:sub(1, 10), left:read(10))
    assert.equal(TEXT:sub(1, 10), kept:read(10))
    left:close()
    assert.equal(TEXT:sub(11) .. "2", read_all(kept))
    assert.equal(TEXT .. "3", download(session, at.path .. "/3"))
  end)

  it("closes no other file when it lets go of one that is written", function()
    local at = sshd.start()
    process.write(at.folder .. "/in", TEXT)
    local session <close> = assert(open(at))
    local sink = assert(session:sink(at.path .. "/out", "out"))
    assert(sink:write "x")
    assert(sink:finish())
    local source <close> = assert(session:source(at.path .. "/in", "in"))
    sink:close()
    assert.equal(TEXT, read_all(source))
  end)

  it("writes no file that exists, and renames onto none", function()
    local at = sshd.start()
    process.write(at.folder .. "/old", "old")
    process.write(at.folder .. "/new", "new")
    local session <close> = assert(open(at))
    local old, new = at.path .. "/old", at.path .. "/new"
    assert.is_nil((upload(session, old, "x")))
    assert.same({ nil, 73 }, { session:rename(new, old), (select(3, session:rename(new, old))) })
    assert.equal("old", process.read(at.folder .. "/old"))
    assert.is_true(session:rename(new, at.path .. "/free"))
    assert.is_true(session:replace(at.path .. "/free", old))
    assert.equal("new", process.read(at.folder .. "/old"))
    assert.is_false(session:stat(new))
    assert.equal(66, (select(3, session:rename(new, at.path .. "/other"))))
  end)

  it("lists, makes and removes", function()
    local at = sshd.start()
    local session <close> = assert(open(at))
    assert.is_true(session:make_folder(at.path .. "/below"))
    assert.is_true(session:make_folder(at.path .. "/below"))
    for n = 1, 2500 do process.write(("%s/below/%04d.csv"):format(at.folder, n), "") end
    local entries = assert(session:list(at.path .. "/below"))
    assert.equal(2500, #entries)
    for n = 1, 2500 do assert.is_true(session:remove(("%s/below/%04d.csv"):format(at.path, n))) end
    assert.is_true(session:remove(at.path .. "/below/0001.csv"))
    assert.same({}, session:list(at.path .. "/below"))
    assert.is_true(session:remove_folder(at.path .. "/below"))
    assert.is_true(session:remove_folder(at.path .. "/below"))
    assert.equal(66, (select(3, session:list(at.path .. "/below"))))
    assert.equal(66, (select(3, download(session, at.path .. "/nothing"))))
  end)

  it("goes through the filter as it arrives, and back over the same session", function()
    local at = sshd.start()
    process.write(at.folder .. "/in", "a,b\n" .. TEXT)
    local session <close> = assert(open(at))
    local source <close> = assert(session:source(at.path .. "/in", "in"))
    local sink <close> = assert(session:sink(at.path .. "/out", "out"))
    local keys = csv.keyset()
    for n = 1, 200000, 3 do keys:add(tostring(n)) end
    local text <close> = file.text("a,b\n" .. TEXT)
    local expected <close> = file.memory()
    assert(csv.filter(text, expected, { key = { "a" }, keep = keys }))
    assert(csv.filter(source, sink, { key = { "a" }, keep = keys }))
    assert(sink:finish())
    assert.equal(expected:text(), process.read(at.folder .. "/out"))
  end)

  it("goes on where it was when the connection is cut, however often", function()
    local at = sshd.start()
    process.write(at.folder .. "/in", TEXT)
    local cut = link.start(at, { cut_down = { 200000, 500000, 700000, 40000, 900000, 100 } })
    local known = process.write(process.folder() .. "/known",
      (process.read(at.known_hosts):gsub("%]:%d+", "]:" .. cut.port)))
    local session <close> = assert(open(at, { host = cut.host, port = cut.port,
      known_hosts = known, attempts = 10 }))
    assert.equal(TEXT, download(session, at.path .. "/in"))
    assert.truthy(session:notices():find "connected again %(attempt %d%), going on with reading")
    assert.is_true(cut:cuts() >= 5)
  end)

  it("goes on writing where it was when the connection is cut", function()
    local at = sshd.start()
    local cut = link.start(at, { cut_up = { 300000, 800000, 500000, 900000 } })
    local known = process.write(process.folder() .. "/known",
      (process.read(at.known_hosts):gsub("%]:%d+", "]:" .. cut.port)))
    local session <close> = assert(open(at, { host = cut.host, port = cut.port,
      known_hosts = known, attempts = 10 }))
    assert.is_true(upload(session, at.path .. "/out", TEXT))
    assert.equal(TEXT, process.read(at.folder .. "/out"))
    assert.is_true(cut:cuts() >= 3)
  end)

  it("gives up in the end, and says so", function()
    local at = sshd.start()
    process.write(at.folder .. "/in", TEXT)
    local session <close> = assert(open(at, { attempts = 2 }))
    local source <close> = assert(session:source(at.path .. "/in", "in"))
    assert.truthy(source:read(10))
    at:stop()
    local bytes, message, code = read_all(source)
    assert.same({ nil, 69 }, { bytes, code })
    assert.truthy(message:find "gave up after 2 attempts")
    assert.equal(69, (select(3, open(at))))
  end)
end)

describe("a session with ProFTPD", function()
  if proftpd.lacks() then return pending(proftpd.lacks()) end

  it("logs in by password, reads, writes, and renames onto no file that exists", function()
    local at = proftpd.start()
    local session <close> = assert(open(at, { key = false, password = at.password }))
    assert.is_true(upload(session, at.path .. "/a", TEXT))
    assert.equal(TEXT, download(session, at.path .. "/a"))
    assert.is_true(upload(session, at.path .. "/b", "b"))
    assert.equal(73, (select(3, session:rename(at.path .. "/b", at.path .. "/a"))))
    assert.is_true(session:rename(at.path .. "/b", at.path .. "/c"))
    assert.equal("b", download(session, at.path .. "/c"))
    assert.is_true(session:remove(at.path .. "/c"))
    assert.is_false(session:stat(at.path .. "/c"))
    assert.equal(77, (select(3, open(at, { key = false, password = "wrong" }))))
  end)
end)
