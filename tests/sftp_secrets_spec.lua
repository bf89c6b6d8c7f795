--- Where the passphrase of a key and the password come from, and that they go nowhere else: no
--- message, log, JSON or state of a run has them, however it ends.
local logins = require "tests.support.logins"
local misbehaving = require "tests.support.misbehaving"
local process = require "tests.support.process"
local server = require "tests.support.server"
local sys_stat = require "posix.sys.stat"

local at
setup(function()
  if misbehaving.lacks() then return end
  at = misbehaving.start { program = "stopping", methods = "publickey,password" }
  process.keep()
end)
after_each(process.clean)
teardown(function() process.clean(true) end)

--- The two secrets: what each is, and where it may stand.
local SECRETS = {
  passphrase = { right = server.PASSPHRASE, variable = "TALLYMAN_SSH_PASSPHRASE",
    setting = "passphrase_file", credential = "ssh_passphrase" },
  password = { right = server.PASSWORD, variable = "TALLYMAN_SSH_PASSWORD",
    setting = "password_file", credential = "ssh_password" },
}
local WRONG = "hunter2 isn't it"

--- A test for each secret, which is handed over with a home and settings that need it.
local function for_each(name, run)
  for which, secret in pairs(SECRETS) do
    it(("%s: %s"):format(which, name), function()
      if not at then return pending(misbehaving.lacks()) end
      run(secret, logins.home(at), { key = which == "passphrase" and at.keys.locked or nil })
    end)
  end
end

--- Runs with a file that holds the secret.
local function from_file(secret, home, sftp, bytes)
  sftp[secret.setting] = process.write(home.folder .. "/secret", bytes)
  return home:run { sftp = sftp, secrets = { secret.right, WRONG } }
end

--- Runs with systemd's credential that holds the secret.
local function from_credential(secret, home, sftp, bytes)
  local folder = home.folder .. "/credentials"
  process.write(folder .. "/" .. secret.credential, bytes)
  return home:run { sftp = sftp, env = { CREDENTIALS_DIRECTORY = folder },
    secrets = { secret.right, WRONG } }
end

describe("a secret", function()
  for_each("comes from the environment", function(secret, home, sftp)
    logins.is_in(home:run { sftp = sftp, env = { [secret.variable] = secret.right } })
    logins.is_out(home:run { sftp = sftp, env = { [secret.variable] = WRONG },
      secrets = { WRONG } }, 77)
    logins.is_out(home:run { sftp = sftp }, 77)
  end)

  for name, source in pairs { ["a file"] = from_file, ["a credential"] = from_credential } do
    for_each(("comes from %s, without its line end"):format(name), function(secret, home, sftp)
      for _, ending in ipairs { "", "\n", "\r\n" } do
        logins.is_in(source(secret, home, sftp, secret.right .. ending))
      end
    end)

    for_each(("has all else that %s has in it"):format(name), function(secret, home, sftp)
      for _, bytes in ipairs { WRONG, WRONG .. "\n", secret.right .. " ", " " .. secret.right,
        "" } do
        logins.is_out(source(secret, home, sftp, bytes), 77)
      end
      local result = source(secret, home, sftp, secret.right .. "\n\n")
      assert.truthy(result.status == 77 or result.status == 69, result.err) -- the server hangs up
    end)
  end

  for_each("the environment is stronger than a file, and a file than a credential",
    function(secret, home, sftp)
      local folder = home.folder .. "/credentials"
      local env = { CREDENTIALS_DIRECTORY = folder, [secret.variable] = secret.right }
      process.write(folder .. "/" .. secret.credential, WRONG)
      sftp[secret.setting] = process.write(home.folder .. "/secret", WRONG)
      logins.is_in(home:run { sftp = sftp, env = env })
      env[secret.variable] = nil
      process.write(sftp[secret.setting], secret.right)
      logins.is_in(home:run { sftp = sftp, env = env })
    end)

  for_each("a file that can't be read is an error of the settings", function(secret, home, sftp)
    for _, path in ipairs { home.folder .. "/nothing", home.folder } do
      sftp[secret.setting] = path
      logins.is_out(home:run { sftp = sftp }, 78, path)
    end
  end)

  for_each("a file that is closed to us is an error of the settings", function(secret, home, sftp)
    if not process.is_root then
      sftp[secret.setting] = process.write(home.folder .. "/secret", secret.right)
      sys_stat.chmod(sftp[secret.setting], 0)
      return logins.is_out(home:run { sftp = sftp }, 78, sftp[secret.setting])
    end
    home:disarm()
    sftp.key = nil -- it is closed to nobody, too
    sftp[secret.setting] = process.write(home.folder .. "/secret", secret.right)
    sys_stat.chmod(sftp[secret.setting], 384)
    logins.is_out(home:run { sftp = sftp }, 78, sftp[secret.setting], "ermission denied")
  end)

  for_each("a credential that isn't there is none", function(secret, home, sftp)
    for _, folder in ipairs { home.folder, home.folder .. "/nothing" } do
      logins.is_out(home:run { sftp = sftp, env = { CREDENTIALS_DIRECTORY = folder } }, 77)
      logins.is_in(home:run { sftp = { key = at.keys.ed25519 },
        env = { CREDENTIALS_DIRECTORY = folder } })
    end
    assert.truthy(secret)
  end)

  for_each("a credential that can't be read is told", function(secret, home, sftp)
    local folder = home.folder .. "/credentials"
    process.must("mkdir", "-p", folder .. "/" .. secret.credential)
    logins.is_out(home:run { sftp = sftp, env = { CREDENTIALS_DIRECTORY = folder } }, 78,
      secret.credential)
  end)
end)

describe("a password in a URL", function()
  if misbehaving.lacks() then return pending(misbehaving.lacks()) end
  local SECRET = "hunter2"

  -- Ways to write it, among them some that nobody should.
  local function urls()
    local place = ("%s:%d"):format(at.host, at.port)
    return { "sftp://tester:hunter2@" .. place .. "/", "sftp://tester:hunter2@" .. place,
      "sftp://tester:hunter2/x@" .. place .. "/", "sftp://tester:x@hunter2@" .. place .. "/",
      "sftp://tester:hunter2@/", "sftp://:hunter2@" .. place .. "/" }
  end

  --- Asserts that it is refused without being told.
  local function refused(result, codes)
    local told = result.out .. result.err
    assert.falsy(told:find(SECRET, 1, true), told)
    assert.truthy(codes[result.status], ("%d: %s"):format(result.status, told))
    assert.falsy(told:find("traceback", 1, true), told)
  end

  it("is refused and not told by a job", function()
    for _, url in ipairs(urls()) do
      refused(logins.home(at):run { env = { TALLYMAN_EXCHANGE = url }, secrets = { SECRET } },
        { [78] = true })
    end
  end)

  it("is refused and not told by check, filter.lua, trust.lua and doctor.lua", function()
    local folder = process.folder()
    local list = process.write(folder .. "/list", "1\n")
    local examples = process.root .. "/examples/"
    local codes = { [64] = true, [78] = true }
    for n, url in ipairs(urls()) do
      local env = { HOME = folder, TALLYMAN_STATE = folder .. "/state" }
      for _, command in ipairs {
        { examples .. "filter.lua", "--keep", list, url .. "/in", folder .. "/out" .. n },
        { examples .. "filter.lua", "--keep", list, list, url .. "/out" },
        { examples .. "trust.lua", (url:gsub("^sftp://", "")) } } do
        refused(process.tallyman(command[1], table.unpack(command, 2), { env = env }), codes)
      end
      local settings = process.write(folder .. "/settings.lua",
        ('return require "tallyman.settings" { exchange = %q }\n'):format(url))
      process.write(folder .. "/job.lua", 'return { name = "job", run = function() end }\n')
      local checked = process.tallyman("check", folder .. "/job.lua", { env = env })
      assert.falsy((checked.out .. checked.err):find(SECRET, 1, true), checked.out .. checked.err)
      refused(process.tallyman(examples .. "doctor.lua", settings, { env = env }), codes)
    end
  end)

  it("isn't told by what is no URL at all", function()
    for _, text in ipairs { "tester:hunter2@host", "sftp:tester:hunter2@host/",
      "ftp://tester:hunter2@host/", "SFTP://tester:hunter2@host/" } do
      local result = logins.home(at):run { env = { TALLYMAN_EXCHANGE = text },
        secrets = { SECRET } }
      assert.equal(78, result.status)
    end
  end)
end)
