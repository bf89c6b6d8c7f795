--- Whole nights over SFTP: what comes of them is what comes of the same night in a local folder,
--- whatever the connection does meanwhile.
local link = require "tests.support.link"
local misbehaving = require "tests.support.misbehaving"
local process = require "tests.support.process"
local rng = require "tests.model.rng"
local sshd = require "tests.support.sshd"
local tracing = require "tests.support.tracing"

local EXAMPLE = process.root .. "/examples/worked_example/"
local INBOUND = process.read(EXAMPLE .. "ResetInventory_20261123_220000.csv")

after_each(process.clean)

-- The worked example's shop, before its first night, with many rows that nobody sells online.
local function shop(rows)
  local site = process.site(function(oms) oms:script(process.read(EXAMPLE .. "oms.sql")) end)
  local header, rest = INBOUND:match "^([^\n]*\n)(.*)$"
  local columns = select(2, header:gsub(",", ","))
  local parts, random = { header }, rng.new(1)
  for n = 1, rows do
    parts[n + 1] = ("X%d,%d%s\n"):format(n, random:int(1, 1 << 40), (","):rep(columns - 1))
  end
  site:upload(table.concat(parts) .. rest, "20261123_220000")
  site.env.TALLYMAN_NOW = "2026-11-24T06:30:00Z"
  return site
end

-- The files of an exchange but for what bears the time of the run, by name, with their contents.
local function results(site)
  local found = {}
  for _, path in ipairs(site:files(true)) do
    local bytes = process.read(site.exchange .. "/" .. path)
    found[path:gsub("InventoryVariance_%d+T%d+Z", "InventoryVariance")] = bytes
  end
  return found
end

-- What the OMS holds, but for what bears the time of the run.
local function oms_of(site)
  return (site:dump():gsub("InventoryVariance_%d+T%d+Z", "InventoryVariance"))
end

describe("a night over SFTP", function()
  if sshd.lacks() then return pending(sshd.lacks()) end

  it("comes out as one in a local folder", function()
    local site = shop(1000)
    local twin = site:copy()
    site:go_over(sshd.start())
    for _, one in ipairs { site, twin } do
      local result = one:run("nightly", "once")
      assert.equal(0, result.status, result.err .. result.out)
      assert.matches("proof: 6 covered pairs[^\n]* 0 fail", result.out)
    end
    assert.same(results(twin), results(site))
    assert.equal(oms_of(twin), oms_of(site))
  end)

  it("can be rehearsed, and nothing changes on the server", function()
    local site = shop(1000)
    site:go_over(sshd.start())
    local before = site:everything()
    local result = site:run("nightly", "once", "--dry-run")
    assert.equal(0, result.status, result.err .. result.out)
    assert.matches("would write [^\n]*/filtered/ResetInventoryActive_", result.out)
    assert.matches("proof: 6 covered pairs[^\n]* 0 fail", result.out)
    assert.equal(before, site:everything())
  end)

  it("survives ten cuts, and tells each", function()
    local site = shop(200000)
    local twin = site:copy()
    local random, cuts = rng.new(7), {}
    for n = 1, 14 do cuts[n] = random:int(2000, 900000) end
    local at = sshd.start()
    local through = link.start(at, { cut_down = cuts })
    site:go_over(at, through)
    local result = site:run("nightly", "once")
    assert.equal(0, result.status, result.err .. result.out)
    assert.is_true(through:cuts() >= 10, ("%d cuts"):format(through:cuts()))
    local told = select(2, result.err:gsub("sftp: warning: [^\n]*connected again", "%0"))
    assert.is_true(told >= 9, result.err)
    assert.equal(0, twin:run("nightly", "once").status)
    assert.same(results(twin), results(site))
    assert.equal(oms_of(twin), oms_of(site))
  end)

  it("is looked into by the doctor beforehand", function()
    local site = shop(10)
    site:go_over(sshd.start())
    local doctor = { process.host, process.root .. "/examples/doctor.lua", env = site.env }
    local before = site:everything()
    local result = process.run(doctor)
    assert.equal(0, result.status, result.out .. result.err)
    for _, line in ipairs { "host key and login +ok", "sync of what was written +ok: by the server",
      "replacing a file +ok: in one step", "rename onto another file +ok: refused",
      "inbound, to read +ok: 2 files", "variance, to write +ok", "speed and clock +ok: %d+ MB/s",
      "tables and columns +ok: 1%d tables" } do
      assert.matches(line, result.out)
    end
    assert.is_nil(process.difference(before, site:everything()))
    site.env.TALLYMAN_OMS = "sqlite:" .. site.folder .. "/nothing.db"
    result = process.run(doctor)
    assert.is_true(result.status > 0)
    assert.matches("database +NOT OK", result.out)
  end)

  it("has its server's bad habits found out by the doctor", function()
    if misbehaving.lacks() then return pending(misbehaving.lacks()) end
    local site = shop(10)
    local at = misbehaving.start { folder = site.exchange,
      faults = { rename_overwrites = true, clock_skew = 7200, no_fsync = true } }
    site.env.TALLYMAN_EXCHANGE = ("sftp://%s@%s:%d/"):format(at.user, at.host, at.port)
    site.env.TALLYMAN_SSH_KEY, site.env.TALLYMAN_KNOWN_HOSTS = at.keys.ed25519, at.known_hosts
    local result = process.run { process.host, process.root .. "/examples/doctor.lua",
      env = site.env }
    assert.equal(78, result.status, result.out .. result.err)
    assert.matches("rename onto another file +NOT OK: the server overwrites", result.out)
    assert.matches("speed and clock +NOT OK: the exchange's clock is 7[12]%d%d seconds ahead",
      result.out)
    assert.matches("sync of what was written +ok: not offered", result.out)
  end)

  -- Each message to the server is a moment: before it, all that it asks for is undone.
  it("may be killed at any moment: nothing or a whole file, and again, it ends", function()
    if tracing.lacks() then return pending(tracing.lacks()) end
    local kills = tonumber(os.getenv "TALLYMAN_KILLS") or 12
    local at = sshd.start()
    local site = shop(50000)
    site:jobs "active_products"
    local function trace(one, ...)
      one:go_over(at)
      local killed, log = tracing.run(one:command "filter_inventory", one.folder, "sendto", ...)
      return killed, select(2, log:gsub("sendto%(", "%0"))
    end
    local clean = site:copy()
    local result, sends = trace(clean)
    assert.equal(0, result.status, result.err)
    local path = "/filtered/ResetInventoryActive_20261123T220000Z.csv"
    local whole = process.read(clean.exchange .. path)
    for n = 1, sends do
      if n * kills % sends < kills then
        local twin = site:copy()
        local killed = trace(twin, "-e", "inject=sendto:signal=KILL:when=" .. n)
        -- How many messages there are depends on how requests and answers meet.
        local over = n > sends // 2 and killed.status == 0
        assert.truthy(over or killed.signal == process.SIGKILL, killed.err)
        local found = process.read(twin.exchange .. path)
        assert.truthy(found == nil or found == whole, ("message %d of %d"):format(n, sends))
        twin:jobs "filter_inventory"
        assert.truthy(process.read(twin.exchange .. path) == whole)
        assert.same(clean:files(), twin:files())
      end
    end
  end)

  it("isn't begun over a server that isn't trusted", function()
    local site = shop(10)
    site:go_over(sshd.start())
    site.env.TALLYMAN_KNOWN_HOSTS = process.write(site.folder .. "/known", "")
    local before = site:everything()
    local result = site:run "filter_inventory"
    assert.equal(77, result.status)
    assert.matches("host key of %[127.0.0.1%]:%d+ is unknown", result.err)
    assert.is_nil(process.difference(before, site:everything()))
  end)
end)
