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

  for_each("a file that isn't there is an error of the settings", function(secret, home, sftp)
    sftp[secret.setting] = home.folder .. "/nothing"
    logins.is_out(home:run { sftp = sftp }, 78, home.folder .. "/nothing")
  end)

  for_each("a folder in place of a file is one, too", function(secret, home, sftp)
    sftp[secret.setting] = home.folder
    logins.is_out(home:run { sftp = sftp }, 78, home.folder)
  end)

  for_each("a file or credential that is closed to us is told", function(secret, home)
    local known = process.write(home.folder .. "/known", process.read(at.known_hosts))
    if process.is_root then home:disarm() end
    local folder = home.folder .. "/credentials"
    local paths = { home.folder .. "/secret", folder .. "/" .. secret.credential }
    for _, path in ipairs(paths) do
      process.write(path, secret.right)
      sys_stat.chmod(path, 0)
    end
    logins.is_out(home:run { sftp = { [secret.setting] = paths[1], known_hosts = known } }, 78,
      paths[1], "ermission denied")
    logins.is_out(home:run { sftp = { known_hosts = known },
      env = { CREDENTIALS_DIRECTORY = folder } }, 78, paths[2])
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

describe("a wrong secret", function()
  --- Asserts that it isn't in what was written, nor below a folder.
  local function untold(result, folder)
    local told = result.out .. result.err
    assert.falsy(told:find(WRONG, 1, true), told)
    local found = process.run { "grep", "-rlF", "-e", WRONG, folder }
    assert.equal("", found.out)
  end

  it("is told neither by a night's jobs, their report, nor by the doctor", function()
    if not at then return pending(misbehaving.lacks()) end
    local site = process.site()
    site.env.TALLYMAN_EXCHANGE, site.env.TALLYMAN_KNOWN_HOSTS = at.url, at.known_hosts
    site.env.TALLYMAN_SSH_KEY = at.keys.locked
    site.env.TALLYMAN_SSH_PASSPHRASE, site.env.TALLYMAN_SSH_PASSWORD = WRONG, WRONG
    local night = site:run("nightly", "once")
    assert.equal(77, night.status, night.err)
    assert.matches("filter_inventory: failed", night.err)
    untold(night, site.folder)
    untold(site:run("nightly", "report"), site.folder)
    local doctor = process.run { process.host, process.root .. "/examples/doctor.lua",
      env = site.env }
    assert.equal(77, doctor.status, doctor.err)
    assert.matches("host key and login +NOT OK: [^\n]* does not let tester in", doctor.out)
    untold(doctor, site.folder)
  end)
end)

describe("a password in a URL", function()
  if misbehaving.lacks() then return pending(misbehaving.lacks()) end
  local SECRET = "hunter2"

  -- Ways to write it, among them some that nobody should.
  local URLS = { "sftp://tester:hunter2@PLACE/", "sftp://tester:hunter2@PLACE",
    "sftp://tester:hunter2/x@PLACE/", "sftp://tester:x@hunter2@PLACE/", "sftp://tester:hunter2@/",
    "sftp://:hunter2@PLACE/" }

  --- Asserts that it is refused without being told.
  local function refused(result)
    local told = result.out .. result.err
    assert.falsy(told:find(SECRET, 1, true), told)
    assert.falsy(told:find("traceback", 1, true), told)
    assert.truthy(result.status == 64 or result.status == 78, result.status .. told)
  end

  --- Runs the examples that take URLs, and check, and the doctor.
  local function try_all(url, folder)
    local list = process.write(folder .. "/list", "1\n")
    local settings = process.write(folder .. "/settings.lua",
      ('return require "tallyman.settings" { exchange = %q }\n'):format(url))
    local job = process.write(folder .. "/job.lua",
      'return { name = "job", run = function(night) night:exchange() end }\n')
    local env = { HOME = folder, TALLYMAN_STATE = folder .. "/state" }
    local examples = process.root .. "/examples/"
    for _, words in ipairs { { job }, { job, "--json" }, { examples .. "doctor.lua", settings },
      { examples .. "filter.lua", "--keep", list, url .. "/in", folder .. "/out" },
      { examples .. "filter.lua", "--keep", list, list, url .. "/out" },
      { examples .. "trust.lua", (url:gsub("^sftp://", "")) } } do
      refused(process.run { process.host, env = env, table.unpack(words) })
    end
    local checked = process.tallyman("check", job, { env = env })
    assert.falsy((checked.out .. checked.err):find(SECRET, 1, true), checked.out .. checked.err)
  end

  for _, url in ipairs(URLS) do
    it(("is refused and not told: %s"):format(url), function()
      local whole = url:gsub("PLACE", ("%s:%d"):format(at.host, at.port))
      local home = logins.home(at)
      refused(home:run { env = { TALLYMAN_EXCHANGE = whole }, secrets = { SECRET } })
      try_all(whole, home.folder)
    end)
  end

  for _, text in ipairs { "tester:hunter2@host", "sftp:tester:hunter2@host/",
    "ftp://tester:hunter2@host/", "SFTP://tester:hunter2@host/" } do
    it("isn't told by what is no URL of a server: " .. text, function()
      local result = logins.home(at):run { env = { TALLYMAN_EXCHANGE = text },
        secrets = { SECRET } }
      assert.equal(78, result.status)
    end)
  end
end)
