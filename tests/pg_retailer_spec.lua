--- The retailer's night on both databases: the same OMS, the same file, and in the end the same
--- ledger, row for row.
local databases = require "tests.support.databases"
local db = require "tallyman.db"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"

local OMS = { "facility", "product", "good_identification", "shopify_shop_product",
  "inventory_item", "inventory_item_detail", "physical_inventory", "variance_reason",
  "inventory_item_variance", "sequence_value_item", "order_header", "order_item", "shipment",
  "shipment_item", "item_issuance", "order_fulfillment_history" }
local RESULT = { "inventory_item", "inventory_item_detail", "physical_inventory",
  "variance_reason", "inventory_item_variance", "sequence_value_item", "tallyman_cycle",
  "tallyman_coverage", "tallyman_coverage_item" }
local WHEN = { effective_date = true, physical_inventory_date = true, reset_at = true,
  settled_at = true }
local JOBS = { "active_products", "filter_inventory", "export_variance", "import_reset",
  "import_variance" }

--- Copies all rows of the OMS from one database to the other.
local function copy(from, to)
  to:transaction(function()
    for _, name in ipairs(OMS) do
      for row in from:rows("SELECT * FROM " .. name) do
        local columns = {}
        for column in pairs(row) do columns[#columns + 1] = column end
        table.sort(columns)
        to:run(("INSERT INTO %s (%s) VALUES (:%s)"):format(name, table.concat(columns, ", "),
          table.concat(columns, ", :")), row)
      end
    end
  end)
end

--- A value as either database gives it: a quantity may be a number, or text with zeros at its end.
local function plain(column, value)
  local number = column:find "quantity" or column:find "_diff" or column:find "_var$"
    or column:find "_total" or column:find "before" or column:find "ledger_"
    or column == "delta" or column == "deduction"
  return number and ("%.6f"):format(value) or tostring(value)
end

--- The rows of a table but for when they were written, sorted.
local function rows_of(oms, name)
  local lines = {}
  for row in oms:rows("SELECT * FROM " .. name) do
    local parts = {}
    for column, value in pairs(row) do
      if not WHEN[column] then parts[#parts + 1] = column .. "=" .. plain(column, value) end
    end
    table.sort(parts)
    lines[#lines + 1] = table.concat(parts, " ")
  end
  table.sort(lines)
  return table.concat(lines, "\n"), #lines
end

describe("the retailer's night", function()
  if postgres.lacks() then return pending(postgres.lacks()) end
  local made, folder, sites

  --- One of the two, below the retailer's folder.
  local function site_of(url)
    local site = process.site()
    process.must("cp", "-a", folder .. "/exchange/.", site.exchange)
    site.env.TALLYMAN_OMS = url
    site.env.TALLYMAN_NOW, site.env.TALLYMAN_TIMEZONE = "2026-11-24T06:30:00Z", "America/New_York"
    return site
  end

  setup(function()
    made = databases.of_oms(postgres.start())
    folder = process.folder() .. "/retailer"
    process.must { process.host, process.root .. "/examples/retailer.lua", folder, "--seed", "5",
      "--rows", "6000", "--products", "200", "--now", "2026-11-24T06:30:00Z",
      env = { TALLYMAN_TIMEZONE = "America/New_York" } }
    sites = { site_of("sqlite:" .. folder .. "/oms.db"), site_of(made.fresh()) }
    local from <close> = db.open(sites[1].env.TALLYMAN_OMS)
    local to <close> = db.open(sites[2].env.TALLYMAN_OMS)
    copy(from, to)
    for _, site in ipairs(sites) do site:jobs(table.unpack(JOBS)) end
  end)
  teardown(function()
    made.connect:close()
    postgres.clean()
  end)

  it("ends in the same ledger, row for row", function()
    local one <close> = db.open(sites[1].env.TALLYMAN_OMS)
    local other <close> = db.open(sites[2].env.TALLYMAN_OMS)
    for _, name in ipairs(RESULT) do
      local here, count = rows_of(one, name)
      assert.is_nil(process.difference(here, (rows_of(other, name))), name)
      assert.is_true(count > 0, name)
    end
    assert.equal(one:value "SELECT COUNT(*) FROM tallyman_coverage WHERE deduction <> 0",
      other:value [[SELECT COUNT(*) FROM inventory_item_variance v
        JOIN tallyman_cycle c ON c.variance_id = v.physical_inventory_id]])
  end)

  it("writes the same files", function()
    local function bytes(site, pattern)
      local found = {}
      for _, name in ipairs(site:files()) do
        local path = name:find(pattern) and site.exchange .. "/" .. name
        if path then found[#found + 1] = process.read(path) end
      end
      return table.concat(found)
    end
    for _, pattern in ipairs { "ResetInventoryActive", "InventoryVariance", "Rejects" } do
      assert.equal(bytes(sites[1], pattern), bytes(sites[2], pattern))
    end
    assert.equal(process.read(sites[1].state .. "/keys/active_products.csv"),
      process.read(sites[2].state .. "/keys/active_products.csv"))
  end)

  it("is proven by the report on either", function()
    for _, site in ipairs(sites) do
      local result = site:run("nightly", "report")
      assert.equal(0, result.status, result.err)
      assert.match("proof: %d+ covered pairs and %d+ items checked, 0 fail", result.out)
    end
  end)
end)
