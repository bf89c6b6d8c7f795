--- The lease on PostgreSQL: one host at a time, the next as soon as the first is gone or has stood
--- still for too long, and nothing from a host that wakes up late.
local db = require "tallyman.db"
local failure_of = require "tests.support.failing".of
local databases = require "tests.support.databases"
local lease = require "tallyman.lease"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local shops = require "tests.support.shop"
local signal = require "posix.signal"

local FILE = "facilityId,idType,idValue,availableQty\nNY,SKU,A1,10\n"

--- Settings whose guard stops the process, in the middle of its transaction, where a file says so.
local SETTINGS = [[
local signal, unistd = require "posix.signal", require "posix.unistd"
return require "tallyman.settings" {
  oms = { lease = "%s" },
  guards = { line_end = false, rows = false, kept = false, facilities = false, zero = false,
    change = false, age = false, rejects = false, function()
      if os.remove "%s/stop" then signal.kill(unistd.getpid(), signal.SIGSTOP) end
    end },
}
]]

describe("the lease", function()
  if postgres.lacks() then return pending(postgres.lacks()) end
  local server, made, site, url

  setup(function()
    server = postgres.start()
    made = databases.of_oms(server)
    process.keep()
  end)
  before_each(function()
    url = made.fresh()
    site = process.site()
    site.env.TALLYMAN_OMS, site.env.TALLYMAN_GUARDS = url, nil
    local oms <close> = db.open(url)
    local shop = shops.new { oms = oms }
    shop:facility "NY"
    shop:product("A", "A1")
    shop:item("I1", "A", "NY", 10, 10)
    shop:ship("I1", "2026-11-23 20:00:00", 2)
  end)
  after_each(function()
    made.drop(url)
    process.clean()
  end)
  teardown(function()
    made.connect:close()
    postgres.clean()
  end)

  --- Another connection, as another host's.
  local function connect() return db.open(url, { lock_timeout = 0.2 }) end

  local function state_of(child)
    local status <close> = io.open(("/proc/%d/stat"):format(child.pid))
    return status and status:read "a":match "%) (%u)"
  end

  --- Begins a reset, as one host does it, that stops in its transaction.
  local function stopped_reset(seconds, ...)
    site:own_scripts(SETTINGS:format(seconds, site.folder))
    site:upload(FILE)
    site:jobs("active_products", "filter_inventory", "export_variance")
    process.write(site.folder .. "/stop", "")
    local first = process.start(site:command("import_reset", ...))
    assert(process.eventually(function() return state_of(first) == "T" end), first:err())
    return first
  end

  --- The same job on another host.
  local function second_host()
    local env = { TALLYMAN_STATE = site.folder .. "/state2" }
    for name, value in pairs(site.env) do env[name] = env[name] or value end
    local command = site:command "import_reset"
    command.env = env
    return process.start(command)
  end

  local function assert_one_cycle()
    local oms <close> = connect()
    assert.equal(1, oms:value "SELECT COUNT(*) FROM tallyman_cycle")
    assert.equal(10, oms:value "SELECT quantity_on_hand_total FROM inventory_item")
    assert.equal(1, oms:value
      "SELECT COUNT(*) FROM inventory_item_detail WHERE reason_enum_id = 'VAR_EXT_RESET'")
  end

  it("is one's own at a time, and has a higher number for each holder", function()
    local one <close> = connect()
    local other <close> = connect()
    local first = lease.take(one, "spec", 60)
    local child = process.start { process.host, "-e", ([[
      local oms = require "tallyman.db".open(%q, { lock_timeout = 0.2 })
      print(require "tallyman.lease".take(oms, "second", 60).fence)]]):format(url) }
    assert(process.eventually(function()
      return child:err():find("standing by: .+, process %d+ has the lease")
    end))
    first:close()
    assert.equal("2\n", child:wait().out)
    assert.equal(3, lease.take(other, "spec", 60).fence)
  end)

  it("goes over at once from a process that is gone", function()
    local one <close> = connect()
    local other <close> = connect()
    lease.take(one, "spec", 3600)
    one:close()
    assert.equal(2, lease.take(other, "spec", 60).fence)
  end)

  it("goes over from one that has stopped, which can't apply any more", function()
    local one <close> = connect()
    local other <close> = connect()
    local late = lease.take(one, "spec", 0.05)
    lease.take(other, "spec", 60)
    local err = failure_of(one.transaction, one, function() late:hold() end)
    assert.equal(75, err.code)
    assert.match("has taken over the lease meanwhile: nothing was changed", err.message, 1, true)
    late:close() -- doesn't take it from its holder
    assert.is_truthy(other:value "SELECT 1 FROM tallyman_lease WHERE expires_at > now()")
  end)

  it("can't be taken from one that is applying, however long that takes", function()
    local one <close> = connect()
    local other <close> = connect()
    local held <close> = lease.take(one, "spec", 0.3)
    one:transaction(function()
      held:hold()
      for _ = 1, 5 do one:value "SELECT pg_sleep(0.1)" end
      assert.equal("55P03", failure_of(other.run, other,
        "UPDATE tallyman_lease SET fence = fence + 1").sqlstate)
    end)
  end)

  it("goes over from a host that is stopped in its transaction; awake, it applies nothing",
    function()
      local first = stopped_reset "3s"
      local result = second_host():wait()
      assert.equal(0, result.status, result.err)
      assert.match("standing by", result.err)
      assert_one_cycle()
      first:kill(signal.SIGCONT)
      result = first:wait()
      assert.equal(75, result.status, result.err)
      assert.match("stood still for longer than its lease; nothing was changed", result.err)
      assert_one_cycle()
    end)

  it("isn't taken by a dry run, which PostgreSQL ends all the same when it stands still",
    function()
      local first = stopped_reset("2s", "--dry-run")
      local shop <close> = db.open(url, { lock_timeout = 20 })
      shop:run "UPDATE inventory_item SET quantity_on_hand_total = quantity_on_hand_total"
      first:kill(signal.SIGCONT)
      assert.not_equal(0, first:wait().status)
    end)

  it("goes over at once from a host that is killed in its transaction", function()
    local first = stopped_reset "1h"
    local second = second_host()
    assert(process.eventually(function() return second:err():find "standing by" end))
    first:kill():wait()
    local result = second:wait()
    assert.equal(0, result.status, result.err)
    assert_one_cycle()
  end)

  it("is only waited for: a host that goes on keeps it", function()
    local first = stopped_reset "1h"
    local second = second_host()
    assert(process.eventually(function() return second:err():find "standing by" end))
    first:kill(signal.SIGCONT)
    assert.equal(0, first:wait().status)
    local result = second:wait()
    assert.equal(0, result.status, result.err)
    assert.match("nothing to do", result.err)
    assert_one_cycle()
  end)

  it("isn't waited for by one that is told to end", function()
    local first = stopped_reset "1h"
    local second = second_host()
    assert(process.eventually(function() return second:err():find "standing by" end))
    second:kill(signal.SIGTERM)
    assert.equal(143, second:wait().status)
    first:kill():wait()
  end)
end)
