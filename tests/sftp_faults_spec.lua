--- native.sftp against a server that misbehaves on order: each misbehaviour ends in the right bytes
--- or in one clear error within its timeout, never in a hang, a partial file under a final name, or
--- bytes that were not in the file. The server's own file says what each is.
local misbehaving = require "tests.support.misbehaving"
local process = require "tests.support.process"
local server = require "tests.support.server"
local sftp = require "native.sftp"
local clock = require "posix.time"
local dirent = require "posix.dirent"
local texts = require "tests.support.texts"

local LIMIT = 15 -- seconds that anything may take, the timeouts below being 2

local TEXT = texts.make(1500000)

local at
setup(function()
  if not misbehaving.lacks() then at = misbehaving.start() end
end)
teardown(process.clean)

local function now()
  local time = clock.clock_gettime(clock.CLOCK_MONOTONIC)
  return time.tv_sec + time.tv_nsec / 1e9
end

local function open(changes)
  local options = { host = at.host, port = at.port, user = at.user, known_hosts = at.known_hosts,
    key = at.keys.ed25519, connect_seconds = 2, login_seconds = 2, idle_seconds = 2, attempts = 2 }
  for name, value in pairs(changes or {}) do options[name] = value or nil end
  return sftp.open(options)
end

-- Downloads /in; its bytes, or nil, message, code.
local function download()
  local session <close>, message, code = open()
  if not session then return nil, message, code end
  local source <close>, why, number = session:source("/in", "sftp:/in")
  if not source then return nil, why, number end
  local parts = {}
  while true do
    local bytes, problem, exit = source:read(100000)
    if problem then return nil, problem, exit end
    if not bytes then return table.concat(parts) end
    parts[#parts + 1] = bytes
  end
end

-- Uploads TEXT as /.out.part and renames it to /out; true, or nil, message, code.
local function upload()
  local session <close>, message, code = open()
  if not session then return nil, message, code end
  local sink <close>, why, number = session:sink("/.out.part", "sftp:/.out.part")
  if not sink then return nil, why, number end
  for from = 1, #TEXT, 70000 do
    local done, problem, exit = sink:write(TEXT:sub(from, from + 69999))
    if not done then return nil, problem, exit end
  end
  local done, problem, exit = sink:finish()
  if not done then return nil, problem, exit end
  return session:rename("/.out.part", "/out")
end

local function list()
  local session <close>, message, code = open()
  if not session then return nil, message, code end
  return session:list "/"
end

-- Runs it under the faults, from a clean folder; what it gives, within the limit.
local function under(faults, run)
  for name in dirent.files(at.folder) do os.remove(at.folder .. "/" .. name) end
  process.write(at.folder .. "/in", TEXT)
  at:order(faults)
  local began = now()
  local result, message, code = run()
  local took = now() - began
  at:order {}
  assert.is_true(took < LIMIT, ("took %.1f s"):format(took))
  return result, message, code
end

-- Each of these is a test.
local function right(name, faults, run, expected)
  it(name .. ": right all the same", function()
    if not at then return pending(misbehaving.lacks()) end
    local result, message = under(faults, run)
    assert.is_nil(message)
    assert.is_true(result == (expected == nil and TEXT or expected))
    if run == upload then assert.is_true(process.read(at.folder .. "/out") == TEXT) end
  end)
end
local function wrong(name, faults, run, wanted, words)
  it(name .. (": an error, %d"):format(wanted), function()
    if not at then return pending(misbehaving.lacks()) end
    local result, message, code = under(faults, run)
    assert.is_nil(result)
    assert.equal(wanted, code, message)
    if words then assert.truthy(message:find(words), message) end
    assert.is_nil(process.read(at.folder .. "/out"))
  end)
end

describe("connecting", function()
  wrong("hung up at once", { hang_up = true }, download, 69)
  wrong("no banner", { stall_banner = true }, download, 69, "no answer in time")
  wrong("a banner that is none", { garbage_banner = true }, download, 69)
  wrong("silence in the key exchange", { stall_kex = true }, download, 69, "no answer in time")
  wrong("silence at the login", { stall_login = true }, download, 69, "no answer in time")
  wrong("another host key", { other_host_key = true }, download, 77, "has changed")
  wrong("no SFTP", { no_sftp = true }, download, 69, "SFTP")
end)

describe("reading", function()
  right("new keys in the middle", { rekey = 200000 }, download)
  right("short answers", { short_reads = 1000 }, download)
  right("answers in another order", { reordered = true }, download)
  right("a connection cut in the middle", { cut_down = { value = 600000, times = 2 } }, download)
  right("silence in the middle", { stall_down = { value = 700000, times = 1 } }, download)
  right("a connection cut again and again", { cut_down = 300000 }, download)
  wrong("silence for good", { stall = "read" }, download, 69, "gave up")
  wrong("a connection cut for good", { cut = "read" }, download, 69, "gave up")
  wrong("answers without bytes", { empty_reads = true }, download, 74)
  wrong("more bytes than asked for", { long_reads = 10 }, download, 74)
  wrong("an end before the end", { early_eof = 700000 }, download, 75, "ends before")
  wrong("a size that changes", { size_changes = 100000 }, download, 75, "has changed")
  wrong("a time that changes", { mtime_changes = 100000 }, download, 75, "has changed")
  wrong("a file that shrinks", { shrinks = 500000 }, download, 75)
  wrong("an answer to what was not asked", { wrong_id = 300000 }, download, 74)
  wrong("a packet of two gigabytes", { huge_packet = 300000 }, download, 74)
  wrong("a file without size and time", { bare_attributes = true }, download, 74)
  wrong("a read that is refused", { refuse = "read" }, download, 77, "permission denied")
end)

describe("writing", function()
  right("silence in the middle", { stall_up = { value = 700000, times = 1 } }, upload, true)
  right("no sync", { no_fsync = true }, upload, true)
  right("a connection cut in the middle", { cut_up = { value = 600000, times = 2 } }, upload, true)
  right("a file made, the answer lost", { lose = { value = "open", times = 1 } }, upload, true)
  right("a rename done, the answer lost", { lose = { value = "rename", times = 1 } }, upload, true)
  right("a rename not done, the connection cut", { cut = { value = "rename", times = 1 } }, upload,
    true)
  wrong("no space", { no_space = 500000 }, upload, 74)
  wrong("writes that are lost", { loses_writes = 500000 }, upload, 74, "has %d+ bytes where")
  wrong("silence for good", { stall = "write" }, upload, 69, "gave up")
  wrong("a sync that fails", { fail = "fsync" }, upload, 74)
  wrong("a close that fails", { fail = "close" }, upload, 74)
  wrong("a rename that is refused", { refuse = "rename" }, upload, 77)
  wrong("an answer that never comes", { stall = "rename" }, upload, 69)
end)

describe("listing", function()
  wrong("a folder without an end", { endless_folder = true }, list, 74)
  wrong("names that can't be", { evil_names = true }, list, 74)
  wrong("a folder that is closed to us", { denied = "/" }, list, 77)
end)

describe("another server", function()
  it("isn't trusted after a cut", function()
    if not at then return pending(misbehaving.lacks()) end
    at:stop()
    at = misbehaving.start()
    local result, message, code = under({ cut_down = { value = 500000, times = 1 },
      other_host_key = { after = 1 } }, download)
    assert.same({ nil, 77 }, { result, code })
    assert.truthy(message:find "has changed")
  end)
end)

describe("logging in", function()
  it("takes a password, or prompts for it", function()
    if not at then return pending(misbehaving.lacks()) end
    at:stop()
    for _, method in ipairs { "password", "publickey" } do
      at = misbehaving.start { methods = method }
      local session <close> = assert(open { password = server.PASSWORD })
      assert.truthy(session:stat "/")
      at:stop()
    end
  end)
end)
