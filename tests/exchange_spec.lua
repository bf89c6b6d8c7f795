--- The exchange over a local folder, databases and the run history.
local db = require "tallyman.db"
local failure_of = require "tests.support.failing".of
local store = require "tallyman.store"
local testing = require "tallyman.testing"
local time = require "tallyman.time"
local utime = require "posix.utime"

local world, exchange

before_each(function()
  world = testing.world { now = "2026-11-24 01:30:00" }
  exchange = world.exchange
end)
after_each(function() world:close() end)

describe("writing", function()
  it("appears only when committed", function()
    local target <close> = exchange:write "filtered/a.csv"
    target:write "x"
    assert.same({}, world:names "filtered")
    target:commit()
    assert.same({ "a.csv" }, world:names "filtered")
    assert.equal("x", world:read "filtered/a.csv")
  end)

  it("leaves no trace when it isn't", function()
    do
      local target <close> = exchange:write "filtered/a.csv"
      target:write "x"
    end
    assert.is_nil(os.execute(("ls -A %s/exchange/filtered | grep ."):format(world.folder)))
  end)

  it("takes the same bytes for success and refuses others", function()
    exchange:put("filtered/a.csv", "x")
    exchange:put("filtered/a.csv", "x")
    local err = failure_of(exchange.put, exchange, "filtered/a.csv", "y")
    assert.equal(73, err.code)
    assert.match("filtered/a.csv exists already with other content", err.message)
    assert.equal("x", world:read "filtered/a.csv")
  end)

  it("replaces on order", function()
    exchange:put("filtered/a.csv", "x")
    local target <close> = exchange:write("filtered/a.csv", { replace = true })
    target:write "y"
    target:commit()
    assert.equal("y", world:read "filtered/a.csv")
  end)

  it("with when_any, nothing written means no file", function()
    exchange:put("filtered/a.csv", "x")
    local target <close> = exchange:write("filtered/a.csv", { replace = true, when_any = true })
    target:commit()
    assert.same({}, world:names "filtered")
  end)

  it("removes parts over a day old, and leaves younger ones", function()
    exchange:put("filtered/a.csv", "x")
    for name, age in pairs { old = 86500, young = 86300 } do
      local path = ("%s/exchange/filtered/.b.csv.%s.part"):format(world.folder, name)
      assert(io.open(path, "w")):close()
      utime.utime(path, os.time() - age, os.time() - age)
    end
    exchange:put("filtered/c.csv", "x")
    local listing = io.popen(("ls -A %s/exchange/filtered"):format(world.folder)):read "a"
    assert.equal(".b.csv.young.part\na.csv\nc.csv\n", listing)
  end)

  it("refuses names that would leave the exchange", function()
    for _, path in ipairs { "../a", "filtered/../../a", "/etc/a", "filtered/a\nb" } do
      assert.equal(65, failure_of(exchange.write, exchange, path).code, path)
    end
  end)
end)

describe("the newest inbound file", function()
  local settings
  before_each(function() settings = world.settings end)

  local function upload(name, marker)
    exchange:put("inbound/" .. name, "x")
    if marker then exchange:put("inbound/" .. name .. marker, "") end
  end

  it("is the one with the newest snapshot, not the newest time", function()
    upload("ResetInventory_20261123_220000.csv", ".done")
    upload("ResetInventory_20261122_220000.csv", ".ok")
    assert.equal("ResetInventory_20261123_220000.csv", exchange:newest(settings.inbound).name)
  end)

  it("without a marker, is one that two looks find the same", function()
    upload "ResetInventory_20261123_220000.csv"
    local before = world.time
    assert.equal("ResetInventory_20261123_220000.csv", exchange:newest(settings.inbound).name)
    assert.equal(before + 60, world.time)
  end)

  it("is not one that grows", function()
    upload("ResetInventory_20261122_220000.csv", ".done")
    upload "ResetInventory_20261123_220000.csv"
    local clock = require "tallyman.clock"
    local sleep = clock.sleep
    function clock.sleep(seconds)
      sleep(seconds)
      local path = world.folder .. "/exchange/inbound/ResetInventory_20261123_220000.csv"
      local handle <close> = assert(io.open(path, "a"))
      handle:write "y"
    end
    assert.equal("ResetInventory_20261122_220000.csv", exchange:newest(settings.inbound).name)
  end)

  it("is nil where there is none, an error where there is no folder", function()
    assert.is_nil(exchange:newest(settings.inbound))
    os.remove(world.folder .. "/exchange/inbound")
    local err = failure_of(exchange.newest, exchange, settings.inbound)
    assert.equal(66, err.code)
    assert.match("'inbound' doesn't exist", err.message)
  end)
end)

describe("the archive", function()
  it("takes file and markers", function()
    exchange:put("inbound/ResetInventory.csv", "x")
    exchange:put("inbound/ResetInventory.csv.done", "")
    exchange:archive(world.settings, exchange:list "inbound" [1], "2026-11-24")
    assert.same({}, world:names "inbound")
    assert.same({ "ResetInventory.csv" }, world:names "archive/2026-11-24")
  end)

  it("keeps both of two files of one name, and one of two that are the same", function()
    for _, bytes in ipairs { "x", "y", "x" } do
      exchange:put("inbound/ResetInventory.csv", bytes)
      exchange:archive(world.settings, exchange:list "inbound" [1], "2026-11-24")
    end
    assert.same({ "ResetInventory.csv", "ResetInventory.csv.2" }, world:names "archive/2026-11-24")
  end)

  it("is pruned of dates before the one given, and of nothing else", function()
    for _, folder in ipairs { "2026-10-23", "2026-10-24", "2026-10-25", "notes" } do
      exchange:put("archive/" .. folder .. "/a.csv", "x")
    end
    assert.equal(1, exchange:prune(world.settings, "2026-10-24"))
    assert.same({ "2026-10-24", "2026-10-25", "notes" }, exchange:folders "archive")
  end)
end)

describe("a database", function()
  it("binds names, lists and NULL, and wants every name", function()
    world.oms:run("INSERT INTO facility (facility_id, external_id) VALUES (:id, :code)",
      { id = "NY", code = db.null })
    world.oms:run("INSERT INTO facility (facility_id, external_id) VALUES (:id, :code)",
      { id = "NV", code = "'; DROP TABLE facility; --" })
    assert.equal(2, world.oms:value("SELECT COUNT(*) FROM facility WHERE facility_id IN :ids",
      { ids = { "NY", "NV", "LA" } }))
    assert.equal(0, world.oms:value("SELECT COUNT(*) FROM facility WHERE facility_id IN :ids",
      { ids = {} }))
    assert.same({ facility_id = "NY" }, world.oms:one(
      "SELECT facility_id, external_id FROM facility WHERE facility_id = :id", { id = "NY" }))
    assert.match(":id has no value", failure_of(world.oms.run, world.oms,
      "DELETE FROM facility WHERE facility_id = :id", { ID = "NY" }))
  end)

  it("rolls back what an error interrupts, and goes on", function()
    local err = failure_of(world.oms.transaction, world.oms, function()
      world.oms:run "INSERT INTO facility (facility_id) VALUES ('NY')"
      error "no"
    end)
    assert.match("no", err)
    assert.equal(0, world.oms:value "SELECT COUNT(*) FROM facility")
    world.oms:transaction(function()
      world.oms:run "INSERT INTO facility (facility_id) VALUES ('NY')"
    end)
    assert.equal(1, world.oms:value "SELECT COUNT(*) FROM facility")
  end)

  it("compares times with and without fractions as times", function()
    assert.equal(1, world.oms:value
      "SELECT {stamp '2026-11-24 01:00:00'} = {stamp '2026-11-24 01:00:00.000'}")
    assert.equal(1, world.oms:value
      "SELECT {stamp '2026-11-24 01:00:00.5'} > {stamp '2026-11-24 01:00:00'}")
  end)

  it("says clearly what isn't there", function()
    local err = failure_of(db.open, "postgresql://user:secret@127.0.0.1:1/oms")
    assert.equal(69, err.code)
    assert.is_nil(err.message:find("secret", 1, true))
    assert.equal(69, failure_of(db.open, "sqlite:" .. world.folder .. "/none.db").code)
  end)
end)

describe("the store", function()
  it("remembers runs by job and night, and forgets old nights", function()
    local history <close> = store.open(world.settings.state)
    local first = history:begin("job", "2026-11-23")
    history:finish(first, "failed", 65, "bad", {})
    local second = history:begin("job", "2026-11-24")
    history:finish(second, "done", 0, nil, { kept = 5 })
    assert.equal("done", history:last "job".state)
    assert.equal(5, history:last "job".figures.kept)
    assert.equal("failed", history:last("job", "2026-11-23").state)
    assert.is_nil(history:last("job", "2026-11-22"))
    history:prune "2026-11-24"
    assert.is_nil(history:last("job", "2026-11-23"))
    assert.equal("2026-11-24 01:30:00", history:last "job".started_at)
    assert.equal(time.stamp(world.time), first:match "^[^-]+")
  end)
end)

it("a file that changes while it is read is not taken", function()
  exchange:put("inbound/ResetInventory.csv", "x")
  local entry = exchange:list "inbound" [1]
  exchange:check_unchanged(entry)
  local path = world.folder .. "/exchange/inbound/ResetInventory.csv"
  local handle <close> = assert(io.open(path, "a"))
  handle:write "y"
  handle:flush()
  assert.equal(75, failure_of(exchange.check_unchanged, exchange, entry).code)
end)

it("passwords in addresses aren't shown", function()
  local hide = require "tallyman.secrets".hide
  assert.equal("sftp://...@host/x", hide "sftp://pos:secret@host/x")
  assert.equal("sftp://pos@host/x", hide "sftp://pos@host/x")
  assert.equal("postgresql:///oms?user=x&password=...&sslpassword=...",
    hide "postgresql:///oms?user=x&password=a%26b&sslpassword=c")
end)
