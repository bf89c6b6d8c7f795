--- The private servers and links that other specs run against: each starts, serves, misbehaves as
--- told, and leaves nothing running. Looked at with OpenSSH's own client.
local link = require "tests.support.link"
local misbehaving = require "tests.support.misbehaving"
local process = require "tests.support.process"
local proftpd = require "tests.support.proftpd"
local server = require "tests.support.server"
local sshd = require "tests.support.sshd"
local time = require "posix.time"

local BYTES = ("0123456789abcdef"):rep(65536) -- 1 MiB

local place -- for what clients fetch
before_each(function() place = process.folder() end)
after_each(function() process.clean() end)
teardown(function() process.clean(true) end)

--- A spec that is skipped where something is missing, which `lacks` names.
local function test(name, lacks, run)
  it(name, function()
    local missing = lacks()
    if missing then return pending(missing) end
    run()
  end)
end

--- The client's own status; one whose connection is cut while it writes may end by SIGPIPE.
local function code_of(result) return result.status == 141 and 255 or result.status end

--- The exit status of OpenSSH's client, and what it said.
local function status(of, batch, how)
  local result = of:sftp(batch, how)
  return code_of(result), result.err
end

--- Fetches `/a`; gives its bytes, the exit status, and what the client said.
local function fetch(from, how)
  local result = from:sftp(("get %s/a %s/a"):format(from.path:gsub("/$", ""), place), how)
  return process.read(place .. "/a"), code_of(result), result.err
end

--- Starts to fetch, and doesn't wait for the end.
local function fetching(from, how)
  return process.start(from:sftp_command(("get %s/a %s/a"):format(from.path:gsub("/$", ""), place),
    how))
end

--- Ends a server in the middle of a session; nothing of it goes on.
local function leaves_nothing(of)
  local client = process.start(of:sftp_command "!sleep 60")
  local pids
  process.eventually(function()
    pids = server.descendants(of.child)
    return #pids > 0
  end, 10)
  pids[#pids + 1] = of.child.pid
  of:stop()
  for _, pid in ipairs(pids) do assert.is_true(server.is_gone(pid)) end
  assert.is_nil(server.greeting(of.host, of.port, 0.1))
  client:kill():wait()
end

describe("OpenSSH's server", function()
  test("takes the user's keys and no others", sshd.lacks, function()
    local own, clients = sshd.start(), {}
    for name, key in pairs(own.keys) do
      local how = { key = key, answers = name == "locked" and { passphrase = server.PASSPHRASE } }
      clients[name] = process.start(own:sftp_command("pwd", how))
    end
    for name, client in pairs(clients) do
      assert.equal(name == "stranger" and 255 or 0, client:wait().status, name)
    end
  end)

  test("has other host keys when told, at the same port", sshd.lacks, function()
    local own = sshd.start()
    own:restart { host_keys = "other" }
    assert.equal(255, (status(own, "pwd")))
    assert.equal(0, (status(own, "pwd", { known_hosts = own:known { set = "other" } })))
    own:restart { host_keys = "host", host_key_types = { "rsa" } }
    local known = own:known { types = { "rsa" }, hashed = true }
    assert.is_nil(process.read(known):find("127.0.0.1", 1, true))
    assert.equal(0, (status(own, "pwd", { known_hosts = known })))
    known = own:known { marker = "@revoked" }
    assert.equal(255, (status(own, "pwd", { known_hosts = known })))
  end)

  test("serves at ::1, under settings of its own", sshd.lacks, function()
    local config = { Ciphers = "aes128-ctr", RekeyLimit = "600K" }
    local own = sshd.start { host = "::1", config = config }
    process.write(own.folder .. "/a", BYTES)
    assert.truthy(fetch(own) == BYTES)
    assert.equal(255, (status(own, "pwd", { options = { "Ciphers=aes256-ctr" } })))
  end)

  test("shows a chroot, or what an ordinary user may see", sshd.lacks, function()
    if not process.is_root then return pending "needs root" end
    local own = sshd.start { chroot = true }
    process.write(own.folder .. "/a", "x")
    assert.equal("x", (fetch(own)))
    local other = sshd.start { user = "nobody" }
    process.write(other.folder .. "/a", "x")
    process.must("chmod", "0", other.folder .. "/a")
    assert.matches("Permission denied", select(3, fetch(other)))
    assert.equal(0, (status(sshd.start { as = 1 }, "mkdir here")))
  end)

  test("cuts its sessions, and leaves nothing", sshd.lacks, function()
    local own = sshd.start()
    local gone = place .. "/gone"
    local client = process.start(own:sftp_command(
      ("!until [ -e %s ]; do sleep 0.1; done\npwd"):format(gone)))
    assert.truthy(process.eventually(function() return own:log():find "Starting session" end, 10))
    own:cut()
    process.write(gone, "")
    assert.equal(255, code_of(client:wait()))
    assert.equal(0, (status(own, "pwd")))
    leaves_nothing(own)
  end)
end)

describe("ProFTPD", function()
  test("takes keys and passwords, and leaves nothing", proftpd.lacks, function()
    local own = proftpd.start()
    process.write(own.folder .. "/a", BYTES)
    assert.truthy(fetch(own) == BYTES)
    own:restart { methods = "password", host_keys = "other" }
    local known = own:known { set = "other" }
    for answer, code in pairs { [own.password] = 0, wrong = 255 } do
      local how = { answers = { password = answer }, known_hosts = known }
      assert.equal(code, (status(own, "pwd", how)))
    end
    leaves_nothing(own)
  end)
end)

for name, module in pairs { ["OpenSSH's server"] = sshd, ProFTPD = proftpd } do
  test(name .. " replaces a file by posix-rename only", module.lacks, function()
    local own = module.start()
    local folder = own.folder
    local a, b = process.write(folder .. "/a", "a"), process.write(folder .. "/b", "b")
    assert.equal(1, (status(own, ("rename -l %s %s"):format(a, b))))
    assert.equal("b", process.read(b))
    assert.equal(0, (status(own, ("rename %s %s"):format(a, b))))
    assert.equal("a", process.read(b))
  end)
end

describe("the misbehaving server", function()
  local own
  setup(function()
    if misbehaving.lacks() then return end
    own = misbehaving.start()
    process.write(own.folder .. "/a", BYTES)
    process.keep()
  end)

  --- A fault of a download: how many bytes arrive (`true`: all), and the client's exit status.
  local function fault(name, value, bytes, code)
    test(name, misbehaving.lacks, function()
      own:order { [name] = value }
      local got, ended, said = fetch(own)
      if bytes == true then assert.truthy(got == BYTES, said) end
      if type(bytes) == "number" then assert.equal(bytes, got and #got or 0) end
      assert.equal(code, ended, said)
    end)
  end
  fault("rekey", 100000, true, 0)
  fault("short_reads", 5000, true, 0)
  fault("reordered", true, true, 0)
  fault("long_reads", 10, nil, 255)
  fault("early_eof", 500000, 500000, 0) -- OpenSSH's client doesn't mind
  fault("wrong_id", 500000, nil, 255)
  fault("cut_down", 500000, nil, 255)
  fault("hang_up", true, 0, 255)
  fault("garbage_banner", true, 0, 255)
  fault("no_sftp", true, 0, 255)
  fault("other_host_key", true, 0, 255)
  fault("refuse", "open", 0, 1)

  test("does it as often as ordered", misbehaving.lacks, function()
    own:order { hang_up = { times = 1, after = 1 } }
    assert.equal(0, (status(own, "pwd")))
    assert.equal(255, (status(own, "pwd")))
    assert.equal(0, (status(own, "pwd")))
  end)

  test("is silent when told", misbehaving.lacks, function()
    local clients = {}
    for _, order in ipairs { { "stall_banner" }, { "stall_kex" }, { "stall_login" },
      { "stall_down", 500000 }, { "stall", "open" } } do
      local name = order[1]
      local before = own:happened(name)
      own:order { [name] = order[2] or true }
      clients[name] = fetching(own)
      assert.truthy(process.eventually(function() return own:happened(name) > before end, 10))
    end
    for name, client in pairs(clients) do assert.is_nil(client:poll(), name) end
  end)

  test("loses a rename's answer, and what it should write", misbehaving.lacks, function()
    local up = process.write(place .. "/up", BYTES)
    own:order { lose = "posix_rename", loses_writes = 500000 }
    assert.equal(0, (status(own, ("put %s /.b.part"):format(up))))
    assert.truthy(#process.read(own.folder .. "/.b.part") < 500001)
    assert.equal(255, (status(own, "rename /.b.part /b")))
    assert.truthy(process.read(own.folder .. "/b"))
    own:order { fail = "close" }
    assert.equal(1, (status(own, ("put %s /b"):format(up))))
  end)

  test("asks twice, and leaves nothing", misbehaving.lacks, function()
    local other = misbehaving.start { methods = "keyboard-interactive" }
    assert.equal(0, (status(other, "pwd", { answers = other.answers })))
    other:stop()
    assert.is_true(server.is_gone(other.child.pid))
  end)
end)

describe("links", function()
  local function lacks() return sshd.lacks() or link.lacks() end
  local function tun_lacks() return sshd.lacks() or link.tun_lacks() end

  --- Milliseconds until a server greets.
  local function distance(to)
    local function now()
      local at = time.clock_gettime(time.CLOCK_MONOTONIC)
      return at.tv_sec * 1e3 + at.tv_nsec / 1e6
    end
    local before = now()
    assert.truthy(server.greeting(to.host, to.port, 5))
    return now() - before
  end

  local own
  setup(function()
    if sshd.lacks() then return end
    own = sshd.start()
    process.write(own.folder .. "/a", BYTES)
    process.keep()
  end)

  test("are as long and as narrow as ordered", lacks, function()
    local proxy = link.start(own, { delay = 30 })
    assert.truthy(distance(proxy) >= 120) -- connecting is a round trip, the greeting another
    proxy:order { rate_down = 2e6 }
    local before = time.clock_gettime(time.CLOCK_MONOTONIC).tv_sec
    assert.truthy(fetch(own, { port = proxy.port }) == BYTES)
    assert.truthy(time.clock_gettime(time.CLOCK_MONOTONIC).tv_sec <= before + 5)
    proxy:stop()
    assert.is_true(server.is_gone(proxy.child.pid))
  end)

  test("are cut where ordered", lacks, function()
    local proxy = link.start(own, { cut_down = { 500000, 700000 } })
    for cuts = 1, 2 do
      assert.equal(255, (select(2, fetch(own, { port = proxy.port }))))
      assert.equal(cuts, proxy:cuts())
    end
    assert.truthy(fetch(own, { port = proxy.port }) == BYTES)
    proxy:order { refuse = true }
    assert.equal(255, (select(2, fetch(own, { port = proxy.port }))))
  end)

  test("are silent as long as ordered", lacks, function()
    local proxy = link.start(own, { stall_down = 500000 })
    local silent = fetching(own, { port = proxy.port })
    process.eventually(function() return #(process.read(place .. "/a") or "") > 200000 end, 10)
    proxy:order { stall = true }
    local late = fetching(own, { port = proxy.port })
    assert.is_nil(process.eventually(function() return silent:poll() or late:poll() end, 0.3))
    silent:kill():wait()
    proxy:order {}
    assert.equal(0, late:wait().status)
  end)

  test("through a tun device lose frames, and TCP makes up for it", tun_lacks, function()
    local tun = link.tun { delay = 10, loss = 0.01 }
    local far = sshd.start { host = tun.host, within = tun.within, folder = own.folder }
    assert.truthy(distance(far) >= 40)
    assert.truthy(fetch(far) == BYTES)
    tun:plug()
    assert.is_nil(server.greeting(far.host, far.port, 0.2))
    far:stop() -- a session that never hears of its client's end, too
  end)
end)
