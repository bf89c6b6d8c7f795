--- --dry-run: the real figures and the real refusals, and nothing anywhere is changed by a byte.
local databases = require "tests.support.databases"
local dkjson = require "dkjson"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local shops = require "tests.support.shop"

--- A shop of two stores: six products in New York, one of them also in Nashville; 2 shipped.
local function fill(oms)
  local shop = shops.new { oms = oms }
  shop:facility("NY", "101")
  shop:facility("NASH", "202")
  for i = 1, 6 do
    shop:product("P" .. i, "SKU-" .. i)
    shop:item(tostring(10000 + i), "P" .. i, "NY", 10, 10)
  end
  shop:item("10011", "P1", "NASH", 5, 5)
  shop:ship("10001", "2026-11-23 20:00:00", 2)
end

local FILE = "facilityId,idType,idValue,availableQty\nNY,SKU,SKU-1,10\nNY,SKU,SKU-2,0\n"
  .. "NY,SKU,SKU-3,7\nNASH,SKU,SKU-1,6\nNASH,SKU,SKU-2,4\nNY,SKU,SKU-9,1\nNOWHERE,SKU,SKU-1,3\n"

local PRODUCTS = { "active_products", "filter_inventory", "export_variance" }

local made -- databases on PostgreSQL, where that is whose turn it is

--- A site with that shop.
local function new_site()
  if not made then return process.site(fill) end
  local site = process.site()
  site.env.TALLYMAN_OMS = made.fresh()
  local oms <close> = site:oms()
  fill(oms)
  return site
end

--- A site at which these jobs have run.
local function site_after(...)
  local site = new_site()
  site:upload(FILE)
  site:jobs(...)
  return site
end

--- A site at which a reset is applied, and these jobs have run since.
local function site_with_reset(...)
  return site_after("active_products", "filter_inventory", "export_variance", "import_reset", ...)
end

--- Names and bytes of everything below a site: exchange, OMS and state.
local function bytes(site)
  return process.must("sh", "-c", "cd " .. site.folder
    .. " && find . | sort && find . -type f | sort | xargs sha256sum") .. site:dump()
end

--- A dry run: leaves every byte; gives its result.
local function dry(site, code, ...)
  local before = bytes(site)
  local result = site:run(...)
  assert.equal(code, result.status, result.err)
  assert.is_nil(process.difference(before, bytes(site)))
  assert.matches("dry run: nothing is changed", result.err)
  assert.falsy(result.err:find "not archived")
  return result
end

--- What a dry run's output must contain.
local function shows(result, text) assert.truthy(result.out:find(text, 1, true), result.out) end

--- QOH of a store in all.
local function total(site, facility)
  local oms <close> = site:oms()
  return oms:value([[SELECT SUM(quantity_on_hand_total) FROM inventory_item
    WHERE facility_id = :id]], { id = facility })
end

after_each(function() process.clean() end)

local function specs()
  describe("import_reset --dry-run", function()
    it("shows by store, and worst first, what the reset then does", function()
      local site = site_after(table.unpack(PRODUCTS))
      local result = dry(site, 0, "import_reset", "--dry-run")
      shows(result, "NASH: 2 pairs would change, 0 of them to none: QOH 5 -> 10, ATP 5 -> 10 ")
      shows(result, "NY: 3 pairs would change, 1 of them to none: QOH 28 -> 17, ")
      assert.matches("most of all:\n  product P2 at NY: QOH 10 %-> 0, ATP 10 %-> 0\n", result.out)
      assert.matches("would be done: .*covered 5, created 1", result.err)
      site:jobs "import_reset"
      assert.equal(10, total(site, "NASH"))
      assert.equal(28 - 11 + 30, total(site, "NY"))
    end)

    it("gives the same as JSON", function()
      local site = site_after(table.unpack(PRODUCTS))
      local figures = dkjson.decode(dry(site, 0, "import_reset", "--json", "--dry-run").out).figures
      assert.is_true(figures.dry_run)
      assert.same({ facility_id = "NASH", pairs = 2, to_zero = 0, old_qoh = "5", new_qoh = "10",
        old_atp = "5", new_atp = "10" }, figures.preview.facilities[1])
      assert.equal("P2", figures.preview.worst[1].product_id)
    end)

    it("leaves a state folder that isn't there not there", function()
      local site = site_after(table.unpack(PRODUCTS))
      process.must("rm", "-r", site.state)
      dry(site, 0, "import_reset", "--dry-run")
    end)

    it("answers as the run would, where a guard refuses", function()
      local site = site_after(table.unpack(PRODUCTS))
      site.env.TALLYMAN_GUARDS = nil
      site.env.TALLYMAN_NOW = "2026-11-26T02:00:00Z"
      local result = dry(site, 3, "import_reset", "--dry-run")
      assert.matches("guard age refuses", result.err)
      assert.equal("", result.out)
      assert.matches("FORCED", dry(site, 0, "import_reset", "--dry-run", "--force", "why not").err)
      assert.equal(3, site:run("import_reset").status)
    end)

    it("answers as the run would without input, and where the file is applied", function()
      local site = new_site()
      assert.matches("no input", dry(site, 75, "import_reset", "--dry-run").err)
      site:upload(FILE)
      site:jobs("active_products", "filter_inventory", "import_reset")
      assert.matches("nothing to do", dry(site, 0, "import_reset", "--dry-run").err)
    end)

    it("counts in that an open cycle is settled first", function()
      local site = site_with_reset()
      site:upload(FILE, "20261123_230000")
      site:jobs "filter_inventory"
      local result = dry(site, 0, "import_reset", "--dry-run")
      assert.matches("cycle 1 was not settled; settled first", result.err)
      assert.matches("no total would change", result.out)
    end)
  end)

  describe("import_variance --dry-run", function()
    it("shows what would be booked, and leaves the variance file", function()
      local site = site_with_reset()
      local result = dry(site, 0, "import_variance", "--dry-run")
      shows(result, "NY: 1 pairs would change, 0 of them to none: QOH 10 -> 8, ")
      shows(result, "product P1 at NY: QOH 10 -> 8, ATP 10 -> 8")
      site:jobs "import_variance"
      assert.matches("nothing to do", dry(site, 0, "import_variance", "--dry-run").err)
    end)

    it("answers as the run would where it is held", function()
      dry(new_site(), 75, "import_variance", "--dry-run")
      local site = site_after("active_products", "filter_inventory", "import_reset")
      dry(site, 75, "import_variance", "--dry-run")
    end)

    it("settles nothing where the deadline is past", function()
      local site = site_after("active_products", "filter_inventory", "import_reset")
      site.env.TALLYMAN_NOW = "2026-11-24T06:00:00Z"
      shows(dry(site, 0, "import_variance", "--dry-run"), "QOH 10 -> 8")
    end)
  end)

  describe("undo --dry-run", function()
    it("shows what would be taken back", function()
      local site = site_with_reset "import_variance"
      local words = { "undo", "1", "--dry-run", "--reason", "wrong" }
      local result = dry(site, 0, table.unpack(words))
      shows(result, "NASH: 2 pairs would change, 1 of them to none: QOH 10 -> 5, ")
      shows(result, "product P2 at NY: QOH 0 -> 10, ATP 0 -> 10")
      assert.equal(0, site:run("undo", "1", "--reason", "wrong").status)
      assert.matches("nothing to do", dry(site, 0, table.unpack(words)).err)
      words[2] = "7"
      dry(site, 66, table.unpack(words))
    end)
  end)
end

--- A rehearsal: leaves every byte, and none of the copies that it made.
local function rehearse(site, code)
  local before = bytes(site)
  site.env.TMPDIR = process.folder()
  local result = site:run("nightly", "once", "--dry-run")
  assert.equal(code, result.status, result.err)
  assert.is_nil(process.difference(before, bytes(site)))
  assert.equal("", process.must("ls", "-A", site.env.TMPDIR))
  assert.matches("rehearsal: nothing is changed", result.err)
  return result
end

--- What a report says of the jobs and the proof, but for its times.
local function said(out)
  return (out:match "(night of .*)$":gsub("%d%d:%d%d:%d%d", "HH:MM:SS")
    :gsub("%(%d+%.%d+ s%)", "(s)"):gsub("InventoryVariance_%w+", "InventoryVariance"))
end

local function rehearsals()
  it("comes to what the night then comes to", function()
    local site = new_site()
    site:upload(FILE)
    local result = rehearse(site, 0)
    shows(result, "would write ")
    assert.matches("would move [^\n]*/inbound/ResetInventory_%S+ to [^\n]*/archive/2026%-11%-24/",
      result.out)
    shows(result, "NASH: 2 pairs would change, 0 of them to none: QOH 5 -> 10, ATP 5 -> 10 ")
    assert.matches("import_variance: would be done: booked 1", result.err)
    assert.matches("proof: 5 covered pairs and %d+ items checked, 0 fail", result.out)
    local night = site:run("nightly", "once")
    assert.equal(0, night.status, night.err)
    assert.equal(said(night.out), said(result.out))
  end)

  it("has nothing to do where the night is over", function()
    local site = new_site()
    site:upload(FILE)
    assert.equal(0, site:run("nightly", "once").status)
    assert.matches("import_reset: would be done: nothing to do", rehearse(site, 0).err)
  end)

  it("shows what a guard would refuse", function()
    local site = new_site()
    site:upload(FILE)
    site:run("nightly", "once")
    site.env.TALLYMAN_GUARDS, site.env.TALLYMAN_NOW = nil, "2026-11-25T02:00:00Z"
    site:upload("facilityId,idType,idValue,availableQty\nNY,SKU,SKU-1,10\n", "20261124_220000")
    local result = rehearse(site, 3)
    assert.matches("import_reset: would be refused: ", result.err)
    assert.matches("import_reset +refused ", result.out)
  end)

  it("says so where there is no input", function()
    assert.matches("filter_inventory: would be held: no input", rehearse(new_site(), 75).err)
  end)
end

describe("on SQLite", function()
  specs()
  describe("a rehearsal", rehearsals)
end)

describe("on PostgreSQL", function()
  if postgres.lacks() then return pending(postgres.lacks()) end
  setup(function()
    made = databases.of_oms(postgres.start())
    process.keep()
  end)
  teardown(function()
    made.connect:close()
    made = nil
    postgres.clean()
  end)
  specs()
  describe("a rehearsal", rehearsals)
end)
