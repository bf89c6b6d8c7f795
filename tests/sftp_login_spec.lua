--- The ways to log in to a server: keys, ssh-agent, passwords and prompts; and what is said when
--- none of them works. Each is a job's run.
local logins = require "tests.support.logins"
local misbehaving = require "tests.support.misbehaving"
local process = require "tests.support.process"
local server = require "tests.support.server"
local sshd = require "tests.support.sshd"
local poll = require "posix.poll"
local sys_stat = require "posix.sys.stat"
local unistd = require "posix.unistd"

after_each(process.clean)

local KINDS = { "ed25519", "ecdsa", "rsa" }

--- The user's key of a kind in another form, by ssh-keygen.
local function changed(home, kind, ...)
  local path = process.write(("%s/%s-changed"):format(home.folder, kind),
    process.read(home.at.keys[kind]))
  sys_stat.chmod(path, 384)
  process.must("ssh-keygen", "-q", "-p", "-P", "", "-f", path, ...)
  return path
end

describe("a key", function()
  if sshd.lacks() then return pending(sshd.lacks()) end
  local home
  before_each(function() home = logins.home(sshd.start()) end)

  for _, kind in ipairs(KINDS) do
    it(("of the kind %s lets the user in, with a passphrase or without"):format(kind), function()
      logins.is_in(home:run { sftp = { key = home.at.keys[kind] } })
      local locked = changed(home, kind, "-N", server.PASSPHRASE)
      local secrets = { server.PASSPHRASE }
      logins.is_in(home:run { sftp = { key = locked }, secrets = secrets,
        env = { TALLYMAN_SSH_PASSPHRASE = server.PASSPHRASE } })
    end)

    it(("of the kind %s with a wrong passphrase is told by its name"):format(kind), function()
      local locked = changed(home, kind, "-N", server.PASSPHRASE)
      for _, passphrase in ipairs { "so not this one", "" } do
        logins.is_out(home:run { sftp = { key = locked }, secrets = { "so not this one" },
          env = { TALLYMAN_SSH_PASSPHRASE = passphrase } }, 77, locked, "passphrase")
      end
      logins.is_out(home:run { sftp = { key = locked } }, 77, locked, "passphrase")
    end)
  end

  it("in the older PEM form lets the user in", function()
    for _, kind in ipairs { "ecdsa", "rsa" } do
      logins.is_in(home:run { sftp = { key = changed(home, kind, "-N", "", "-m", "PEM") } })
    end
    logins.is_in(home:run { env = { TALLYMAN_SSH_PASSPHRASE = server.PASSPHRASE },
      sftp = { key = changed(home, "rsa", "-N", server.PASSPHRASE, "-m", "PEM") } })
  end)

  it("is the one in the user's home where nobody says another", function()
    for name, kind in pairs { id_rsa = "rsa", id_ecdsa = "ecdsa", id_ed25519 = "ed25519" } do
      process.write(home.folder .. "/.ssh/" .. name, process.read(home.at.keys[kind]))
      logins.is_in(home:run())
      os.remove(home.folder .. "/.ssh/" .. name)
    end
    logins.is_out(home:run(), 77)
  end)

  it("given by the environment is stronger than the settings'", function()
    local keys = home.at.keys
    logins.is_in(home:run { sftp = { key = keys.stranger },
      env = { TALLYMAN_SSH_KEY = keys.ed25519 } })
    logins.is_out(home:run { sftp = { key = keys.ed25519 },
      env = { TALLYMAN_SSH_KEY = keys.stranger } }, 77)
    logins.is_in(home:run { sftp = { key = keys.ed25519 }, env = { TALLYMAN_SSH_KEY = "" } })
  end)

  it("that isn't there, or is none, is told by its name", function()
    local folder = home.folder
    local no_key = process.write(folder .. "/no_key", "no key\n")
    local empty = process.write(folder .. "/empty", "")
    local cut = process.write(folder .. "/cut", process.read(home.at.keys.rsa):sub(1, 900))
    for path, words in pairs { [folder .. "/nothing"] = "open", [no_key] = "format",
      [empty] = "format", [cut] = "format", [home.at.keys.rsa .. ".pub"] = "format",
      [folder] = "" } do
      logins.is_out(home:run { sftp = { key = path } }, 77, path, words)
    end
  end)

  it("that the server doesn't know is told with what the server takes", function()
    local result = home:run { sftp = { key = home.at.keys.stranger } }
    logins.is_out(result, 77, ("%s:%d"):format(home.at.host, home.at.port), home.at.user,
      "takes publickey", home.at.keys.stranger)
  end)

  it("is no way in where the server takes passwords only", function()
    if misbehaving.lacks() then return pending(misbehaving.lacks()) end
    local other = logins.home(misbehaving.start { methods = "password" })
    logins.is_out(other:run { sftp = { key = other.at.keys.ed25519 } }, 77, "takes password",
      "nothing to try")
  end)
end)

describe("ssh-agent", function()
  local lacks = sshd.lacks() or logins.lacks_agent()
  if lacks then return pending(lacks) end
  local home
  before_each(function() home = logins.home(sshd.start()) end)

  it("lets the user in by each kind of key, without a key file", function()
    for _, kind in ipairs(KINDS) do
      local agent = logins.agent(home.at.keys[kind])
      logins.is_in(home:run { env = { SSH_AUTH_SOCK = agent } })
    end
  end)

  it("lets the user in by the one of its keys that fits", function()
    local keys = home.at.keys
    logins.is_in(home:run { env = { SSH_AUTH_SOCK = logins.agent(keys.stranger, keys.rsa) } })
    logins.is_in(home:run { sftp = { key = keys.stranger },
      env = { SSH_AUTH_SOCK = logins.agent(keys.ed25519) } })
  end)

  it("without a key that fits is told", function()
    for _, agent in ipairs { logins.agent(), logins.agent(home.at.keys.stranger) } do
      logins.is_out(home:run { env = { SSH_AUTH_SOCK = agent } }, 77, "takes publickey",
        "ssh-agent")
    end
  end)

  it("that isn't there is no way in, and isn't said to have been tried", function()
    local runs = { home:run(), home:run { env = { SSH_AUTH_SOCK = home.folder .. "/nothing" } },
      home:run { env = { SSH_AUTH_SOCK = "" } } }
    for n, result in ipairs(runs) do
      logins.is_out(result, 77)
      assert.is_nil(result.err:match "tried: ssh%-agent$", n)
    end
    assert.matches("nothing to try", runs[1].err)
  end)

  it("that never answers takes no longer than a login may", function()
    local path, fd = logins.dumb_agent()
    local child = home:start { env = { SSH_AUTH_SOCK = path } }
    local result = process.eventually(function() return child:poll() end, logins.LIMIT)
    unistd.close(fd)
    assert.truthy(result, "it waits for ever")
    assert.is_true(result.status == 69 or result.status == 77, result.err)
  end)

  it("that never answers lets a signal end the wait", function()
    local path, fd = logins.dumb_agent()
    local child = home:start { sftp = { login_seconds = 60 }, env = { SSH_AUTH_SOCK = path } }
    assert.equal(1, poll.rpoll(fd, 10000))
    child:kill(process.SIGTERM)
    local result = process.eventually(function() return child:poll() end, 20)
    unistd.close(fd)
    assert.truthy(result, "it doesn't end")
    assert.equal(143, result.status)
  end)
end)

describe("a password", function()
  if misbehaving.lacks() then return pending(misbehaving.lacks()) end
  local PASSWORD = server.PASSWORD

  --- A home before a server that takes these methods.
  local function home(methods, faults)
    return logins.home(misbehaving.start { program = "stopping", methods = methods,
      faults = faults })
  end

  --- A run with this password.
  local function try(from, password)
    return from:run { env = { TALLYMAN_SSH_PASSWORD = password }, secrets = { password } }
  end

  it("lets the user in", function() logins.is_in(try(home "password", PASSWORD)) end)

  it("answers all prompts, in one round or several, empty rounds among them", function()
    local from = home "keyboard-interactive"
    for _, rounds in ipairs { "1", "2", "1,1", "2,1", "1,0", "0,1", "1,3,0,1" } do
      from.at:order { prompts = rounds }
      logins.is_in(try(from, PASSWORD))
    end
  end)

  it("lets the user in where the server takes it either way", function()
    local from = home "password,keyboard-interactive"
    logins.is_in(try(from, PASSWORD))
    logins.is_out(try(from, "not that one"), 77, "tester", "password", "tried: the password",
      "prompts")
  end)

  it("that is wrong is told as what was tried", function()
    logins.is_out(try(home "password", "not that one"), 77, "tester", "takes password",
      "tried: the password")
    local from = home "keyboard-interactive"
    for _, rounds in ipairs { "1", "2,1", "0,1" } do
      from.at:order { prompts = rounds }
      logins.is_out(try(from, "not that one"), 77, "takes keyboard-interactive", "tried: prompts")
    end
  end)

  it("lets the user in after a key that didn't", function()
    local from = home "publickey,password"
    logins.is_in(from:run { sftp = { key = from.at.keys.stranger },
      env = { TALLYMAN_SSH_PASSWORD = PASSWORD } })
  end)

  it("that nobody gives is no way in", function()
    logins.is_out(home "password,keyboard-interactive":run(), 77, "nothing to try")
  end)
end)
