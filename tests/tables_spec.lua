--- Tallyman's own tables: made on first use, by many at once, or ahead by somebody with the rights;
--- and the rights that the nightly user needs.
local db = require "tallyman.db"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local shops = require "tests.support.shop"
local tables = require "tallyman.tables"

local FILE = "facilityId,idType,idValue,availableQty\nNY,SKU,A1,10\nLA,SKU,A1,3\n"

--- A shop with an unacknowledged shipment.
local function fill(oms)
  local shop = shops.new { oms = oms }
  shop:facility "NY"
  shop:facility "LA"
  shop:product("A", "A1")
  shop:item("I1", "A", "NY", 10, 10)
  shop:ship("I1", "2026-11-23 20:00:00", 2)
end

local function printed(...)
  local result = process.tallyman(process.root .. "/scripts/tables.lua", ...)
  assert.equal(0, result.status, result.err)
  return result.out
end

--- Starts a job ten times at once; it must find no cycle each time, and no trouble.
local function ten_at_once(site)
  local children = {}
  for i = 1, 10 do children[i] = process.start(site:command "import_variance") end
  for _, child in ipairs(children) do
    local result = child:wait()
    assert.equal(75, result.status, result.err)
    assert.match("no reset was ever applied", result.err)
  end
end

after_each(function() process.clean() end)

--- A release later, whose tables have one more column: those that are there are changed, once.
local function change(oms)
  local before = tables.changes
  tables.changes = { "ALTER TABLE tallyman_cycle ADD COLUMN later integer;\n" }
  local ok, wrong = pcall(function()
    tables.ensure(oms)
    tables.ensure(oms)
    oms:all "SELECT later FROM tallyman_cycle"
    assert.equal(2, oms:value "SELECT MAX(version) FROM tallyman_version")
  end)
  tables.changes = before
  if not ok then error(wrong, 0) end
  assert.has_error(function() tables.ensure(oms) end) -- the old release knows nothing of it
end

describe("on SQLite, tallyman's tables", function()
  it("are brought up to date by a later release", function()
    local site = process.site(fill)
    local oms <close> = site:oms()
    tables.ensure(oms)
    change(oms)
    local fresh = process.site(fill)
    local other <close> = fresh:oms()
    change(other)
  end)

  it("are made by ten first runs at once", function() ten_at_once(process.site(fill)) end)

  it("can be made ahead by what the script prints, twice", function()
    local site = process.site(fill)
    local oms <close> = site:oms()
    oms:script(printed "sqlite")
    oms:script(printed "sqlite")
    assert.equal(0, oms:value "SELECT COUNT(*) FROM tallyman_version")
    site:jobs("export_variance")
    assert.equal(75, site:run("import_variance").status)
  end)

  it("of another release are left alone", function()
    local site = process.site(fill)
    do
      local oms <close> = site:oms()
      oms:script(printed "sqlite")
      oms:run "INSERT INTO tallyman_version VALUES (99)"
    end
    local result = site:run "import_variance"
    assert.equal(78, result.status)
    assert.match("version 99, this program knows 1", result.err)
  end)

  it("are refused to a user who says neither which database nor who", function()
    for _, arguments in ipairs { {}, { "oracle" }, { "postgresql" }, { "sqlite", "x" } } do
      assert.equal(64, process.tallyman(process.root .. "/scripts/tables.lua",
        table.unpack(arguments)).status)
    end
  end)
end)

describe("on PostgreSQL, tallyman's tables", function()
  if postgres.lacks() then return pending(postgres.lacks()) end
  local server, site

  setup(function()
    server = postgres.start()
    server:psql "CREATE ROLE \"night's \"\"clerk\" LOGIN"
    server:psql "REVOKE ALL ON DATABASE oms FROM PUBLIC; GRANT CONNECT ON DATABASE oms TO PUBLIC"
    server:psql "REVOKE ALL ON SCHEMA public FROM PUBLIC"
    process.keep()
  end)
  before_each(function()
    server:psql "DROP SCHEMA public CASCADE"
    server:psql "CREATE SCHEMA public"
    server:psql(process.read(process.root .. "/examples/oms/schema.sql"))
    site = process.site()
    local oms <close> = db.open(server.boss_url)
    fill(oms)
    site.env.TALLYMAN_OMS = server.boss_url
  end)
  teardown(function() postgres.clean() end)

  it("are made by ten first runs at once", function() ten_at_once(site) end)

  it("are left to whoever makes them at this moment", function()
    local oms <close> = db.open(server.boss_url)
    local child
    oms:transaction(function()
      oms:value(tables.lock)
      oms:script(tables.sql)
      child = process.start(site:command "import_variance")
      server:await_waiting()
    end)
    local result = child:wait()
    assert.equal(75, result.status, result.err)
  end)

  it("are made ahead for a user who may do no more than the night needs", function()
    site.env.TALLYMAN_OMS = ("postgresql:///oms?host=%s&port=%d&user=night%%27s%%20%%22clerk")
      :format(server.folder, server.port)
    local refused = site:run "import_variance"
    assert.equal(77, refused.status)
    assert.match("the script tables.lua", refused.err, 1, true)

    server:psql(printed("postgresql", "night's \"clerk"))
    site:upload(FILE)
    site:jobs("active_products", "filter_inventory", "export_variance", "import_reset",
      "import_variance")
    local totals = server:psql
      "SELECT quantity_on_hand_total FROM inventory_item ORDER BY facility_id"
    assert.equal("3.000000\n8.000000", totals)
    assert.equal(77, process.run { process.host, "-e", ("require 'tallyman.db'.open(%q):run %q")
      :format(site.env.TALLYMAN_OMS, "DELETE FROM inventory_item_detail") }.status)
  end)

  it("can be made ahead twice", function()
    server:psql(printed("postgresql", "night's \"clerk"))
    server:psql(printed("postgresql", "night's \"clerk"))
    assert.equal("0", server:psql "SELECT COUNT(*) FROM tallyman_version")
  end)
end)
