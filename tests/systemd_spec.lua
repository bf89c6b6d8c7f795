--- The flow as systemd's service: what systemd says of the unit, and what it is told.
local flows = require "tests.support.flows"
local process = require "tests.support.process"
local server = require "tests.support.server"
local socket = require "posix.sys.socket"
local unistd = require "posix.unistd"

after_each(process.clean)

describe("the unit", function()
  if not server.program "systemd-analyze" then return pending "needs systemd-analyze" end

  --- The unit with this build in place of an installed one, and a user that there is.
  local function unit()
    local text = process.read(process.root .. "/examples/systemd/tallyman.service")
      :gsub("/usr/local/bin/tallyman", process.host):gsub("User=tallyman", "User=daemon")
    return process.write(process.folder() .. "/tallyman.service", text)
  end

  it("is a right one", function()
    local result = process.run { "systemd-analyze", "--man=no", "verify", unit() }
    assert.equal(0, result.status, result.err)
    assert.falsy(result.err:find "tallyman.service", result.err)
  end)

  it("is exposed little", function()
    local result = process.run { "systemd-analyze", "security", "--offline=true",
      "--threshold=20", unit() }
    assert.equal(0, result.status, result.out)
  end)

  it("leaves the flow the calls that it needs", function()
    local text = process.read(unit())
    assert.falsy(text:find("~[^\n]*@resources")) -- setrlimit, for the jobs' memory
    assert.truthy(text:find("RestrictAddressFamilies=[^\n]*AF_UNIX")) -- to notify
  end)
end)

describe("systemd", function()
  --- A socket to notify, and what comes by it.
  local function listen(path)
    local handle = assert(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0))
    assert(socket.bind(handle, { family = socket.AF_UNIX, path = path }))
    socket.setsockopt(handle, socket.SOL_SOCKET, socket.SO_RCVTIMEO, 5, 0)
    return handle
  end

  it("is told that the flow is ready, lives, sleeps and stops", function()
    local made = flows.new()
    local handle = listen(made.folder .. "/notify")
    made.job("a", "at = '05:00',")
    made.night { "a" }
    local flow = made.keep { NOTIFY_SOCKET = made.folder .. "/notify", WATCHDOG_USEC = "1000000" }
    assert.equal("READY=1", socket.recv(handle, 1000))
    local lives = 0
    for _ = 1, 3 do
      local text = socket.recv(handle, 1000)
      assert.match("^WATCHDOG=1\nSTATUS=sleeping until 2026%-11%-24 05:00:00$", text)
      lives = lives + 1
    end
    assert.equal(3, lives)
    flow:kill(process.SIGTERM)
    local last
    repeat last = socket.recv(handle, 1000) until not last or last == "STOPPING=1"
    assert.equal("STOPPING=1", last)
    assert.equal(0, flow:wait().status)
    unistd.close(handle)
  end)
end)
