--- Reaching a server: IPv6, names with several addresses, and servers that stop answering, hang up
--- or talk nonsense at each stage on the way in. Such a server costs no more than the timeouts.
local logins = require "tests.support.logins"
local misbehaving = require "tests.support.misbehaving"
local process = require "tests.support.process"
local server = require "tests.support.server"
local sshd = require "tests.support.sshd"
local fcntl = require "posix.fcntl"
local socket = require "posix.sys.socket"
local unistd = require "posix.unistd"

after_each(process.clean)

-- ---- a server that stops on the way ----

describe("a server that", function()
  local lacks = misbehaving.lacks()
  if lacks then return pending(lacks) end
  local at, home
  setup(function()
    at = misbehaving.start { program = "stopping", methods = "publickey,keyboard-interactive" }
    process.keep()
  end)
  before_each(function() home = logins.home(at) end)
  teardown(function() process.clean(true) end)

  --- Starts a run that meets this order, by a key or, for prompts, a password.
  local function start(how, stage)
    at:order { [how] = stage }
    local before = at:happened "connection"
    local sftp, env = { connect_seconds = 1, login_seconds = 1, idle_seconds = 1 }, {}
    if stage == "prompts" then
      env.TALLYMAN_SSH_PASSWORD = server.PASSWORD
    else
      sftp.key = at.keys.ed25519
    end
    local child = home:start { sftp = sftp, env = env }
    assert(process.eventually(function() return at:happened "connection" > before end, 10))
    return child
  end

  --- Runs under each order, all at the same time; hands over each result with its stage.
  local function each(how, stages, look)
    local children, before = {}, at:happened(how)
    for _, stage in ipairs(stages) do children[stage] = start(how, stage) end
    for _, stage in ipairs(stages) do look(children[stage]:wait(logins.LIMIT), stage) end
    assert.equal(#stages, at:happened(how) - before)
  end

  local place
  before_each(function() place = ("%s:%d"):format(at.host, at.port) end)

  it("serves, where nothing else is ordered", function()
    at:order {}
    logins.is_in(home:run { sftp = { key = at.keys.ed25519 } })
    logins.is_in(home:run { env = { TALLYMAN_SSH_PASSWORD = server.PASSWORD } })
  end)

  local ALL = { "version", "kex", "service", "login", "try", "prompts", "channel", "subsystem",
    "hello" }

  it("is silent from some stage on is given up in time", function()
    each("silent", { "halfway", table.unpack(ALL) }, function(result, stage)
      logins.is_out(result, 69, place, "no answer in time")
      assert.is_true(result.seconds > 0.9 and result.seconds < 6, stage)
    end)
  end)

  for _, stage in ipairs { "halfway", table.unpack(ALL) } do
    it("hangs up instead of an answer is told at once: " .. stage, function()
      each("closes", { stage }, function(result)
        logins.is_out(result, 69, place)
        assert.falsy(result.err:find("no answer in time", 1, true), result.err)
      end)
    end)
  end

  it("talks nonsense from some stage on is given up in time", function()
    for _, stage in ipairs(ALL) do
      each("garbage", { stage }, function(result)
        logins.is_out(result, 69, place)
        assert.is_true(result.seconds < 4, stage)
      end)
    end
  end)

  it("says something now and then, but never the answer, is given up in time", function()
    each("trickles", { "version", "login", "try", "channel" }, function(result, stage)
      logins.is_out(result, 69, place, "no answer in time")
      assert.is_true(result.seconds > 0.9 and result.seconds < 6, stage)
    end)
  end)

  for _, stage in ipairs { "version", "kex", "login", "try", "channel", "hello" } do
    it("says things without an end is given up in time: " .. stage, function()
      local child = start("floods", stage)
      local result = process.eventually(function() return child:poll() end, logins.LIMIT)
      child:kill()
      assert.truthy(result, "it reads for ever")
      logins.is_out(result, 69, place)
    end)
  end

  it("says things without an end can be left by a signal", function()
    local before = at:happened "floods"
    local child = start("floods", "version")
    assert(process.eventually(function() return at:happened "floods" > before end, 10))
    child:kill(process.SIGTERM)
    local result = process.eventually(function() return child:poll() end, logins.LIMIT)
    child:kill()
    assert.truthy(result, "it reads for ever")
    assert.equal(143, result.status)
  end)

  it("isn't there is told at once, and what is no port or host, too", function()
    local closed = server.free_port()
    local function try(url)
      return home:run { env = { TALLYMAN_EXCHANGE = url } }
    end
    logins.is_out(try(("sftp://u@127.0.0.1:%d/"):format(closed)), 69, "127.0.0.1:" .. closed,
      "refused")
    logins.is_out(try "sftp://u@nothing.invalid/", 69, "nothing.invalid")
    for _, port in ipairs { "0", "65536", "70000", "99999999", "99999999999999999999" } do
      logins.is_out(try(("sftp://u@127.0.0.1:%s/"):format(port)), 78, port)
    end
  end)
end)

-- ---- addresses ----

--- Why there is no IPv6 here; nil when there is.
local function lacks_ipv6()
  local fd = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 0)
  local bound = fd and socket.bind(fd, { family = socket.AF_INET6, addr = "::1", port = 0 })
  if fd then unistd.close(fd) end
  return not bound and "needs ::1" or nil
end

--- A command that runs another in namespaces of its own, after a line of shell that makes them
--- what they should be; nil where that isn't to be had.
local function within(flag, line, argument)
  local command = { "unshare", flag, "sh", "-c", line .. ' && shift && exec "$@"', "sh",
    argument or "" }
  local trial = table.move(command, 1, #command, 1, {})
  trial[#trial + 1] = "true"
  return process.run(trial).status == 0 and command or nil
end

--- A command that runs another where `twohost` has these addresses; nil where that can't be.
local function where_twohost_is(...)
  local hosts = {}
  for n, address in ipairs { ... } do hosts[n] = address .. " twohost\n" end
  local path = process.write(process.folder() .. "/hosts", table.concat(hosts))
  local command = within("-m", 'mount --bind "$1" /etc/hosts', path)
  if not command then return nil end
  local ask = table.move(command, 1, #command, 1, {})
  table.move({ "getent", "ahosts", "twohost" }, 1, 3, #ask + 1, ask)
  local first = process.run(ask).out:match "^%S+"
  return first == ... and command or nil -- in this order, or the spec shows nothing
end

describe("a server at ::1", function()
  local lacks = sshd.lacks() or lacks_ipv6()
  if lacks then return pending(lacks) end

  it("is reached, and known by [::1]:PORT", function()
    local home = logins.home(sshd.start { host = "::1" })
    local at, sftp = home.at, { key = home.at.keys.ed25519 }
    assert.matches("^sftp://[^/]+@%[::1%]:%d+/", at.url)
    assert.matches("^%[::1%]:" .. at.port .. " ", process.read(at.known_hosts))
    logins.is_in(home:run { sftp = sftp })
    for _, names in ipairs { "::1", "[::1]", "[127.0.0.1]:" .. at.port, "[::1]:22" } do
      logins.is_out(home:run { sftp = sftp,
        env = { TALLYMAN_KNOWN_HOSTS = at:known { names = names } } }, 77, "is unknown",
        ("[::1]:%d"):format(at.port))
    end
    logins.is_in(home:run { sftp = sftp,
      env = { TALLYMAN_KNOWN_HOSTS = at:known { hashed = true } } })
  end)

  it("is reached where the machine has IPv4 alone but for ::1", function()
    local alone = within("-n", "ip link set lo up && ip addr add 10.9.9.9/32 dev lo")
    if not alone then return pending "needs network namespaces and iproute2" end
    local home = logins.home { url = "sftp://u@[::1]:9/" }
    logins.is_out(home:run { within = alone, env = { TALLYMAN_KNOWN_HOSTS = "/dev/null" } }, 69,
      "cannot connect to", "refused")
  end)
end)

--- Makes a port at 127.0.0.1 one that takes no connection and refuses none: its queue is full.
local function black_hole(port)
  local place = { family = socket.AF_INET, addr = "127.0.0.1", port = port }
  local fds = { assert(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0)) }
  socket.setsockopt(fds[1], socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  assert(socket.bind(fds[1], place))
  assert(socket.listen(fds[1], 0))
  for n = 2, 4 do
    fds[n] = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    fcntl.fcntl(fds[n], fcntl.F_SETFL, fcntl.O_NONBLOCK)
    socket.connect(fds[n], place)
  end
  return setmetatable(fds, { __close = function()
    for _, fd in ipairs(fds) do unistd.close(fd) end
  end })
end

describe("a name with several addresses", function()
  if sshd.lacks() then return pending(sshd.lacks()) end

  --- A login by the name.
  local function login(at, command)
    local home = logins.home(at)
    return home:run { within = command, sftp = { key = at.keys.ed25519, connect_seconds = 4 },
      env = { TALLYMAN_EXCHANGE = ("sftp://%s@twohost:%d%s"):format(at.user, at.port, at.path),
        TALLYMAN_KNOWN_HOSTS = at:known { names = ("[twohost]:%d"):format(at.port) } } }
  end

  it("is reached at the one that serves, where another refuses", function()
    if lacks_ipv6() then return pending(lacks_ipv6()) end
    local command = where_twohost_is("::1", "127.0.0.1")
    if not command then return pending "needs mount namespaces" end
    logins.is_in(login(sshd.start(), command))
    logins.is_in(login(sshd.start { host = "::1" }, command))
  end)

  it("is reached at the one that serves, where another is silent", function()
    local command = where_twohost_is("127.0.0.1", "127.0.0.2")
    if not command then return pending "needs mount namespaces" end
    local at = sshd.start { host = "127.0.0.2" }
    local hole <close> = black_hole(at.port)
    assert.is_nil(server.greeting("127.0.0.1", at.port, 0.3))
    logins.is_in(login(at, command))
    assert.truthy(hole)
  end)

  it("of which none answers is given up in time, and told", function()
    local command = where_twohost_is("127.0.0.1", "127.0.0.2")
    if not command then return pending "needs mount namespaces" end
    local at = sshd.start { host = "127.0.0.2" }
    at:stop()
    logins.is_out(login(at, command), 69, "twohost:" .. at.port)
    local hole <close> = black_hole(at.port)
    local result = login(at, command)
    logins.is_out(result, 69, "twohost:" .. at.port)
    assert.is_true(result.seconds < 6)
    assert.truthy(hole)
  end)
end)
