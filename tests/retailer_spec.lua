-- The retailer to play with, and the worked example: run as a user would run them.

local db = require "tallyman.db"
local lfs = require "lfs"
local stdlib = require "posix.stdlib"
local unistd = require "posix.unistd"

local HOST = unistd.readlink "/proc/self/exe"
local ROOT = debug.getinfo(1, "S").source:match "^@(.*)tests/[^/]*$"
local HEADER =
  "facilityId,locationSeqId,idType,idValue,availableQty,externalFacilityId,productId,comments"
local SNAPSHOT = "2026-11-23 22:00:00"

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function new_folder()
  return stdlib.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/retailer_spec.XXXXXX")
end

-- Run the script: exit code, stdout and stderr.
local function run(dir, options, zone)
  local out, err = os.tmpname(), os.tmpname()
  local command = ("TALLYMAN_TIMEZONE=%s %s %s %s %s >%s 2>%s"):format(zone or "UTC", quote(HOST),
    quote(ROOT .. "examples/retailer.lua"), quote(dir), options, out, err)
  local _, _, code = os.execute(command)
  local result = { code = code, out = read(out), err = read(err) }
  os.remove(out)
  os.remove(err)
  return result
end

local function names(dir)
  local list = {}
  for name in lfs.dir(dir) do
    if name ~= "." and name ~= ".." then table.insert(list, name) end
  end
  table.sort(list)
  return list
end

local function csv_of(dir)
  return read(dir .. "/exchange/inbound/ResetInventory_20261123_220000.csv")
end

-- The records of a CSV text, line breaks in quoted comments included.
local function records(text)
  local list, open = {}, nil
  for line in text:gmatch "([^\n]*)\n" do
    open = open and open .. "\n" .. line or line
    if select(2, open:gsub('"', "")) % 2 == 0 then
      table.insert(list, open)
      open = nil
    end
  end
  return list, open
end

-- The fields that decide something; none of them is ever quoted.
local function fields(record)
  local facility, id_type, id_value, quantity, store =
    record:match "^([^,]*),[^,]*,([^,]*),([^,]*),([^,]*),([^,]*),"
  return { facility = facility, key = id_type .. "|" .. id_value,
    quantity = tonumber(quantity), store = store }
end

local function row_text(row)
  local cells = {}
  for column, value in pairs(row) do table.insert(cells, column .. "=" .. tostring(value)) end
  table.sort(cells)
  return table.concat(cells, "|")
end

-- Everything a database holds, as one text.
local function dump(dir)
  local oms <close> = db.open("sqlite:" .. dir .. "/oms.db")
  local tables, lines = {}, {}
  for row in oms:rows "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name" do
    table.insert(tables, row.name)
  end
  for _, name in ipairs(tables) do
    table.insert(lines, name)
    for row in oms:rows("SELECT * FROM " .. name .. " ORDER BY rowid") do
      table.insert(lines, row_text(row))
    end
  end
  return table.concat(lines, "\n")
end

-- How many items have totals that differ from the sums of their ledgers.
local function wrong_items(oms)
  return tonumber(oms:value [[
    SELECT COUNT(*) FROM inventory_item AS i WHERE EXISTS (
      SELECT 1 FROM inventory_item AS own
      LEFT JOIN inventory_item_detail AS d ON d.inventory_item_id = own.inventory_item_id
      WHERE own.inventory_item_id = i.inventory_item_id
      GROUP BY own.inventory_item_id
      HAVING COALESCE(SUM(d.quantity_on_hand_diff), 0) <> i.quantity_on_hand_total
          OR COALESCE(SUM(d.available_to_promise_diff), 0) <> i.available_to_promise_total)]])
end

-- Product by valid identifier, and facility by id or store code.
local function directory(oms)
  local products, facilities = {}, {}
  for row in oms:rows [[
    SELECT g.good_identification_type_id AS id_type, g.id_value, g.product_id
    FROM good_identification AS g
    JOIN product AS p ON p.product_id = g.product_id
    JOIN shopify_shop_product AS s ON s.product_id = g.product_id
    WHERE g.thru_date IS NULL
      AND (p.sales_discontinuation_date IS NULL
        OR p.sales_discontinuation_date > '2026-11-24 06:30:00')]] do
    products[row.id_type .. "|" .. row.id_value] = row.product_id
  end
  for row in oms:rows "SELECT facility_id, external_id FROM facility" do
    facilities[row.facility_id], facilities[row.external_id] = row.facility_id, row.facility_id
  end
  return products, facilities
end

local ON_HAND = [[
  SELECT product_id || '|' || facility_id AS pair, SUM(quantity_on_hand_total) AS total
  FROM inventory_item GROUP BY 1]]

local SHIPPED = [[
  SELECT i.product_id || '|' || i.facility_id AS pair, SUM(d.quantity_on_hand_diff) AS total
  FROM inventory_item_detail AS d
  JOIN inventory_item AS i ON i.inventory_item_id = d.inventory_item_id
  WHERE d.shipment_id IS NOT NULL
  GROUP BY 1]]

local UNKNOWN_TO_THE_POS = [[
  SELECT i.product_id || '|' || i.facility_id AS pair,
    SUM(s.quantity - COALESCE(s.cancel_quantity, 0)) AS total
  FROM item_issuance AS s
  JOIN inventory_item AS i ON i.inventory_item_id = s.inventory_item_id
  JOIN shipment AS h ON h.shipment_id = s.shipment_id
  WHERE h.status_id IN ('SHIPMENT_SHIPPED', 'SHIPMENT_DELIVERED') AND NOT EXISTS (
    SELECT 1 FROM order_fulfillment_history AS f
    WHERE f.order_id = s.order_id AND f.order_item_seq_id = s.order_item_seq_id
      AND f.shipment_id = s.shipment_id AND f.created_date <= :snapshot)
  GROUP BY 1]]

local ACKNOWLEDGED_SINCE = [[
  SELECT i.product_id || '|' || i.facility_id AS pair, COUNT(*) AS total
  FROM item_issuance AS s
  JOIN inventory_item AS i ON i.inventory_item_id = s.inventory_item_id
  JOIN order_fulfillment_history AS f
    ON f.order_id = s.order_id AND f.order_item_seq_id = s.order_item_seq_id
  GROUP BY 1 HAVING MIN(f.created_date) > :snapshot]]

local MOVED_SINCE = [[
  SELECT i.product_id || '|' || i.facility_id AS pair, SUM(d.quantity_on_hand_diff) AS total
  FROM inventory_item_detail AS d
  JOIN inventory_item AS i ON i.inventory_item_id = d.inventory_item_id
  WHERE d.effective_date > :snapshot AND d.shipment_id IS NULL
  GROUP BY 1]]

-- Sums by pair.
local function by_pair(oms, sql, parameters)
  local sums = {}
  for row in oms:rows(sql, parameters) do sums[row.pair] = tonumber(row.total) end
  return sums
end

describe("the retailer", function()
  local root, made, dir, oms
  local made_so_far = 0

  local function make(options, zone)
    made_so_far = made_so_far + 1
    local folder = root .. "/" .. made_so_far
    return run(folder, options, zone), folder
  end

  setup(function()
    root = new_folder()
    made, dir = make "--seed 7 --rows 5000 --products 150"
    oms = db.open("sqlite:" .. dir .. "/oms.db")
  end)

  teardown(function()
    oms:close()
    os.execute("rm -rf " .. quote(root))
  end)

  -- The rows of products that are sold online, with their pair.
  local function survivors()
    local products, facilities = directory(oms)
    local list = {}
    for _, record in ipairs(records(csv_of(dir))) do
      local row = fields(record)
      if products[row.key] then
        local facility = facilities[row.facility ~= "" and row.facility or row.store]
        row.pair = products[row.key] .. "|" .. facility
        table.insert(list, row)
      end
    end
    return list
  end

  it("says on stderr what it made, in one line", function()
    assert.equal(0, made.code)
    assert.equal("", made.out)
    local rows, bytes, products =
      made.err:match "^retailer: (%d+) rows, (%d+) bytes, (%d+) active products, [^\n]*\n$"
    assert.same({ "5000", tostring(#csv_of(dir)), "150" }, { rows, bytes, products })
  end)

  it("makes the exchange's folders and the marker", function()
    local exchange = dir .. "/exchange/"
    assert.same({ "ResetInventory_20261123_220000.csv", "ResetInventory_20261123_220000.csv.done" },
      names(exchange .. "inbound"))
    assert.equal("", read(exchange .. "inbound/ResetInventory_20261123_220000.csv.done"))
    for _, name in ipairs { "filtered", "variance", "archive" } do
      assert.same({}, names(exchange .. name))
    end
  end)

  it("writes the header, and exactly so many rows", function()
    local list, open = records(csv_of(dir))
    assert.is_nil(open)
    assert.equal(HEADER, list[1])
    assert.equal(5000, #list - 1)
  end)

  it("writes as many rows of active products as it says, each pair once", function()
    local list, seen = survivors(), {}
    assert.equal(made.err:match ", (%d+) rows expected to survive", tostring(#list))
    for _, row in ipairs(list) do
      assert.is_nil(seen[row.pair])
      seen[row.pair] = true
    end
  end)

  it("keeps a ledger that adds up to the totals", function()
    assert.is_true(tonumber(oms:value "SELECT COUNT(*) FROM inventory_item") > 150)
    assert.equal(0, wrong_items(oms))
  end)

  -- Looked at group by group: a mistake about some event shows in the pairs that it touched, while
  -- the POS's real differences are few everywhere.
  it("lets the POS count what the OMS has and what it shipped unnoticed, but for a few", function()
    local at = { snapshot = SNAPSHOT }
    local on_hand, shipped = by_pair(oms, ON_HAND), by_pair(oms, SHIPPED)
    local unknown, moved = by_pair(oms, UNKNOWN_TO_THE_POS, at), by_pair(oms, MOVED_SINCE, at)
    local late = by_pair(oms, ACKNOWLEDGED_SINCE, at)
    local right, all, total_right = {}, {}, 0
    for _, row in ipairs(survivors()) do
      local group = late[row.pair] and "late" or shipped[row.pair] and "shipped"
        or moved[row.pair] and "moved" or "quiet"
      local deduction = (unknown[row.pair] or 0) - (moved[row.pair] or 0)
      local fits = row.quantity - deduction == on_hand[row.pair] and 1 or 0
      all[group], right[group] = (all[group] or 0) + 1, (right[group] or 0) + fits
      total_right = total_right + fits
    end
    for _, group in ipairs { "late", "shipped", "moved", "quiet" } do
      assert.is_true(right[group] >= 0.75 * all[group], group)
    end
    assert.is_true(total_right < all.late + all.shipped + all.moved + all.quiet)
  end)

  it("strews in rows of identifiers that have expired", function()
    local expired, found = {}, 0
    for row in oms:rows "SELECT id_value FROM good_identification WHERE thru_date IS NOT NULL" do
      expired["SKU|" .. row.id_value] = true
    end
    for _, record in ipairs(records(csv_of(dir))) do
      if expired[fields(record).key] then found = found + 1 end
    end
    assert.is_true(found > 0)
  end)

  it("makes the same retailer from the same seed, and another from another", function()
    local _, same = make "--seed 7 --rows 5000 --products 150"
    assert.is_true(csv_of(same) == csv_of(dir))
    assert.is_true(dump(same) == dump(dir))
    local _, other = make "--seed 8 --rows 5000 --products 150"
    assert.is_false(csv_of(other) == csv_of(dir))
    assert.is_false(dump(other) == dump(dir))
  end)

  it("has the same OMS behind a longer file", function()
    local _, longer = make "--seed 7 --rows 9000 --products 150"
    assert.is_true(dump(longer) == dump(dir))
  end)

  it("takes the counts at 22:00 of the retailer's own evening", function()
    local _, folder =
      make("--rows 500 --products 10 --now 2026-11-24T02:00:00Z", "America/New_York")
    assert.equal("ResetInventory_20261122_220000.csv", names(folder .. "/exchange/inbound")[1])
  end)

  it("leaves a retailer alone that is there already", function()
    local before = dump(dir)
    local again = run(dir, "--seed 9 --rows 500 --products 10")
    assert.equal(73, again.code)
    assert.matches("oms.db exists", again.err, 1, true)
    assert.is_true(dump(dir) == before)
  end)

  it("refuses options that make no sense", function()
    for _, options in ipairs { "--rows many", "--seed", "--colour red", "--rows 20 --products 50",
      "--snapshot 20261124_063000", "--now yesterday" } do
      local refused, folder = make(options)
      assert.equal(64, refused.code, options)
      assert.is_nil(lfs.attributes(folder))
    end
  end)
end)

describe("the worked example", function()
  local EXAMPLE = ROOT .. "examples/worked_example/"

  local function totals(oms)
    local list = {}
    for row in oms:rows "SELECT * FROM inventory_item ORDER BY inventory_item_id" do
      assert.equal(tonumber(row.quantity_on_hand_total), tonumber(row.available_to_promise_total))
      table.insert(list, tonumber(row.quantity_on_hand_total))
    end
    return list
  end

  local function counts(stamp)
    local list = {}
    for number, record in ipairs(records(read(EXAMPLE .. "ResetInventory_" .. stamp .. ".csv"))) do
      if number == 1 then assert.equal(HEADER, record)
      else table.insert(list, fields(record).quantity) end
    end
    return list
  end

  it("starts with the counts after the partial shipment, and ships the rest", function()
    local oms <close> = db.open "sqlite::memory:"
    oms:script(read(ROOT .. "examples/oms/schema.sql"))
    oms:script(read(EXAMPLE .. "oms.sql"))
    assert.same({ 8, 8, 0, 10, 10, 0 }, totals(oms))
    assert.equal(0, wrong_items(oms))
    oms:script(read(EXAMPLE .. "acknowledged.sql"))
    assert.same({ 8, 8, -2, 10, 10, 0 }, totals(oms))
    assert.equal(0, wrong_items(oms))
  end)

  it("has Retail Pro's three files", function()
    assert.same({ 10, 10, 5, 10, 10, 5 }, counts "20261123_220000")
    assert.same({ 10, 10, 5, 10, 10, 5 }, counts "20261124_220000")
    assert.same({ 8, 8, 3, 10, 10, 5 }, counts "20261125_220000")
  end)
end)
