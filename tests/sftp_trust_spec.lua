--- Trust in host keys, as an operator lives it: a run is refused, the command that it names is run,
--- and the next run goes through. What was trusted once is never replaced in silence.
local logins = require "tests.support.logins"
local process = require "tests.support.process"
local sshd = require "tests.support.sshd"
local sys_stat = require "posix.sys.stat"

after_each(process.clean)

--- A server's fingerprint, as its owner would tell it.
local function fingerprint(at, set, kind)
  return process.must("ssh-keygen", "-lf",
    ("%s/%s/%s.pub"):format(at.place, set or "host", kind or "ed25519")):match "SHA256:%S+"
end

--- How known_hosts calls the server, perhaps by another name.
local function name_of(at, host) return ("[%s]:%d"):format(host or at.host, at.port) end

--- A home whose user has a key to a server and trusts nobody yet; runs and commands use `known`.
local function newcomer(options)
  local home = logins.home(sshd.start(options))
  home.known = home.folder .. "/.ssh/known_hosts"
  home.sftp = { key = home.at.keys.ed25519 }
  home.env = { TALLYMAN_KNOWN_HOSTS = home.known }
  return home
end

--- Runs the job; `host` is another name of the server.
local function try(home, host)
  local env = { TALLYMAN_KNOWN_HOSTS = home.env.TALLYMAN_KNOWN_HOSTS }
  if host then env.TALLYMAN_EXCHANGE = home.at.url:gsub("@[^/]+:", "@" .. host .. ":") end
  return home:run { sftp = home.sftp, env = env }
end

--- Runs a line of shell in which `tallyman` is the host, as an operator would, from the checkout.
local function shell(home, line, stdin)
  local bin = process.folder()
  process.must("ln", "-s", process.host, bin .. "/tallyman")
  local env = { HOME = home.folder, PATH = bin .. ":" .. os.getenv "PATH" }
  for name, value in pairs(home.env) do env[name] = value end
  return process.run { "sh", "-c", line, env = env, cwd = process.root, stdin = stdin }
end

--- Runs trust.lua for the server with a fingerprint.
local function trust(home, shown, host)
  return shell(home, ("tallyman examples/trust.lua '%s' %s"):format(name_of(home.at, host),
    shown or ""))
end

--- The command that a refusal names.
local function command_of(result)
  return result.err:match "confirms that: ([^\n]*tallyman examples/trust%.lua [^\n]+)\n$"
    or error("it names no command: " .. result.err, 2)
end

describe("a host key that is unknown", function()
  if sshd.lacks() then return pending(sshd.lacks()) end

  for _, host in ipairs { "127.0.0.1", "localhost", "::1" } do
    it("is refused, and trusted by the command that the refusal names: " .. host, function()
      local home = newcomer { host = host == "::1" and host or nil }
      local url_host = host == "::1" and "[::1]" or host
      local refused = try(home, url_host)
      logins.is_out(refused, 77, name_of(home.at, host), "unknown", fingerprint(home.at),
        home.known)
      local result = shell(home, command_of(refused) .. " " .. fingerprint(home.at))
      assert.equal(0, result.status, result.err)
      logins.is_in(try(home, url_host))
    end)
  end

  it("is trusted where the settings say which keys are", function()
    local home = newcomer()
    home.env, home.sftp.known_hosts = {}, home.folder .. "/trusted"
    local refused = try(home)
    logins.is_out(refused, 77, home.sftp.known_hosts)
    local result = shell(home, command_of(refused) .. " " .. fingerprint(home.at))
    assert.equal(0, result.status, result.err)
    logins.is_in(try(home))
  end)

  it("is trusted when a person at a terminal says yes, and only then", function()
    local home = newcomer()
    local line = ("script -qec \"tallyman examples/trust.lua '%s'\" /dev/null"):format(
      name_of(home.at))
    if shell(home, "script -qec true /dev/null").status ~= 0 then return pending "needs script" end
    for _, answer in ipairs { "no\n", "\n", "y\n", "YES\n", "yes please\n" } do
      assert.equal(77, shell(home, line, answer).status, answer)
      assert.is_nil(process.read(home.known))
    end
    local result = shell(home, line, "yes\n")
    assert.equal(0, result.status, result.out .. result.err)
    assert.truthy(result.out:find(fingerprint(home.at), 1, true), result.out)
    logins.is_in(try(home))
  end)

  it("is trusted by nobody who isn't there, nor by another fingerprint", function()
    local home = newcomer()
    local result = trust(home)
    assert.equal(77, result.status)
    assert.truthy(result.err:find(fingerprint(home.at), 1, true), result.err)
    for _, wrong in ipairs { fingerprint(home.at, "other"), fingerprint(home.at):lower(), "yes" } do
      result = trust(home, wrong)
      assert.equal(77, result.status)
      assert.truthy(result.err:find(wrong, 1, true), result.err)
    end
    assert.is_nil(process.read(home.known))
  end)

  it("is trusted with a line that ssh takes, behind what stands there, for the owner only",
    function()
      local home = newcomer()
      assert.equal(0, trust(home, fingerprint(home.at)).status)
      assert.equal("700", ("%o"):format(sys_stat.stat(home.folder .. "/.ssh").st_mode & 511))
      assert.equal("600", ("%o"):format(sys_stat.stat(home.known).st_mode & 511))
      assert.equal(0, home.at:sftp("pwd", { known_hosts = home.known }).status)
      for _, before in ipairs { "other ssh-ed25519 AAAA", "# a remark\n", "\n" } do
        process.write(home.known, before)
        assert.equal(0, trust(home, fingerprint(home.at)).status)
        assert.truthy(process.read(home.known):find(before:gsub("\n", "") .. "\n[", 1, true))
        logins.is_in(try(home))
      end
    end)

  it("is shown as its owner tells it, of whichever kind it is", function()
    for _, kind in ipairs { "ed25519", "ecdsa", "rsa" } do
      local home = newcomer { host_key_types = { kind } }
      local shown = fingerprint(home.at, "host", kind)
      logins.is_out(try(home), 77, shown)
      assert.equal(0, trust(home, shown).status)
      logins.is_in(try(home))
    end
  end)

  it("can't be trusted in a file that can't be written, and that is told", function()
    local home = newcomer()
    home.env.TALLYMAN_KNOWN_HOSTS = home.folder .. "/no/such/folder/known_hosts"
    local result = trust(home, fingerprint(home.at))
    assert.equal(73, result.status, result.err)
    assert.truthy(result.err:find(home.env.TALLYMAN_KNOWN_HOSTS, 1, true), result.err)
  end)
end)

describe("a host key that has changed", function()
  if sshd.lacks() then return pending(sshd.lacks()) end

  --- A home that trusts a server which has other keys now; its known_hosts hashed or not.
  local function betrayed(hashed)
    local home = newcomer()
    process.write(home.known, process.read(home.at:known { hashed = hashed,
      types = { "ed25519" } }))
    logins.is_in(try(home))
    home.at:restart { host_keys = "other" }
    return home, fingerprint(home.at), fingerprint(home.at, "other")
  end

  for _, hashed in ipairs { false, true } do
    local how = hashed and "hashed" or "plain"
    it(("is refused with both fingerprints: %s names"):format(how), function()
      local home, old, new = betrayed(hashed)
      logins.is_out(try(home), 77, "changed", name_of(home.at), old, new, home.known)
    end)

    it(("is trusted by the commands that the refusal names: %s names"):format(how), function()
      local home, old, new = betrayed(hashed)
      local refused = try(home).err
      local forget = refused:match "(ssh%-keygen %-R .-), then TALLYMAN"
      assert.truthy(forget, refused)
      local result = shell(home, forget)
      assert.equal(0, result.status, result.err)
      assert.equal(0, shell(home, refused:match "then (TALLYMAN[^\n]+)" .. " " .. new).status)
      logins.is_in(try(home))
      home.at:restart { host_keys = "host" }
      logins.is_out(try(home), 77, "changed", old, new)
    end)

    it(("isn't replaced by trust.lua in silence: %s names"):format(how), function()
      local home, old, new = betrayed(hashed)
      local before = process.read(home.known)
      local result = trust(home, new)
      local told = result.out .. result.err
      assert.truthy(told:find(old, 1, true), "it doesn't tell what was trusted: " .. told)
      assert.equal(77, result.status)
      assert.equal(before, process.read(home.known))
    end)
  end

  it("of one kind is refused although another kind is known", function()
    local home = newcomer { host_key_types = { "ed25519" } }
    process.write(home.known, process.read(home.at:known { types = { "ecdsa", "rsa" } }))
    logins.is_out(try(home), 77, name_of(home.at), fingerprint(home.at))
    assert.truthy(trust(home).err:find(fingerprint(home.at), 1, true))
  end)
end)

describe("a host key that is revoked", function()
  if sshd.lacks() then return pending(sshd.lacks()) end

  it("is refused, and trust.lua doesn't say that it is trusted", function()
    local home = newcomer()
    local shown = fingerprint(home.at)
    local revoked = process.read(home.at:known { marker = "@revoked" })
    for _, lines in ipairs { revoked, revoked .. process.read(home.at.known_hosts) } do
      process.write(home.known, lines)
      logins.is_out(try(home), 77, "revoked", shown, home.known)
      local result = trust(home, shown)
      assert.equal(77, result.status, result.out)
      assert.truthy(result.err:find("revoked", 1, true), result.err)
      logins.is_out(try(home), 77, "revoked")
    end
  end)

  it("under a hashed name, or by another kind of key, is refused as well", function()
    local home = newcomer()
    local known = process.read(home.at.known_hosts)
    local hashed = home.at:known { marker = "@revoked", hashed = true }
    process.write(home.known, process.read(hashed) .. known)
    logins.is_out(try(home), 77, "revoked")
    process.write(home.known, process.read(home.at:known { marker = "@revoked",
      types = { "rsa" } }) .. known)
    logins.is_in(try(home)) -- by ed25519
    home.at:restart { host_key_types = { "rsa" } }
    process.write(home.known, process.read(home.at:known { marker = "@revoked",
      types = { "rsa" } }) .. process.read(home.at:known { types = { "rsa" } }))
    logins.is_out(try(home), 77, "revoked", fingerprint(home.at, "host", "rsa"))
  end)
end)
