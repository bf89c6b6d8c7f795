--- Reaching a server: by IPv6, by names with several addresses, of which some lead nowhere, and
--- what is said when there is none. A hosts file of the run's own says where names lead.
local logins = require "tests.support.logins"
local process = require "tests.support.process"
local server = require "tests.support.server"
local sshd = require "tests.support.sshd"
local fcntl = require "posix.fcntl"
local socket = require "posix.sys.socket"
local unistd = require "posix.unistd"

after_each(process.clean)

--- A login by a URL where nobody is known.
local function try(home, url)
  return home:run { env = { TALLYMAN_EXCHANGE = url, TALLYMAN_KNOWN_HOSTS = "/dev/null" } }
end

describe("a server", function()
  it("is told at once where it isn't there", function()
    local home = logins.home { url = "" }
    local closed = server.free_port()
    logins.is_out(try(home, ("sftp://u@127.0.0.1:%d/"):format(closed)), 69, "127.0.0.1:" .. closed,
      "refused")
    logins.is_out(try(home, "sftp://u@nothing.invalid/"), 69, "nothing.invalid")
  end)

  for _, port in ipairs { "0", "65536", "70000", "99999999", "99999999999999999999" } do
    it("has a port from 1 to 65535, and no other is tried: " .. port, function()
      local home = logins.home { url = "" }
      logins.is_out(try(home, ("sftp://u@127.0.0.1:%s/"):format(port)), 78, port)
    end)
  end
end)

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
    assert.is_true(result.seconds < 10)
    assert.truthy(hole)
  end)
end)

describe("a name server that never answers", function()
  it("takes no longer than connecting may", function()
    local command = within("-m", 'mount --bind "$1" /etc/resolv.conf', process.write(
      process.folder() .. "/resolv.conf", "nameserver 127.0.0.99\n"))
    local fd <const> = assert(socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 0))
    local bound = socket.bind(fd, { family = socket.AF_INET, addr = "127.0.0.99", port = 53 })
    local result = command and bound and logins.home { url = "sftp://u@nothing.example/" }:start {
      within = command, env = { TALLYMAN_KNOWN_HOSTS = "/dev/null" } }:wait()
    unistd.close(fd)
    if not result then return pending "needs mount namespaces and port 53" end
    logins.is_out(result, 69, "nothing.example")
    assert.is_true(result.seconds < 6, ("%.1f s"):format(result.seconds))
  end)
end)
