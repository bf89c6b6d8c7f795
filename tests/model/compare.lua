--- Compares the database with the model. Every query here reads plain rows; what is to be proven is
--- never computed in SQL.

local clock = require "model.clock"
local files = require "model.compare_files"

local compare = {}

local OMS = { "facility", "product", "good_identification", "shopify_shop_product",
  "inventory_item", "inventory_item_detail", "physical_inventory", "variance_reason",
  "inventory_item_variance", "sequence_value_item", "order_header", "order_item", "shipment",
  "shipment_item", "item_issuance", "order_fulfillment_history" }
local OURS = { "tallyman_cycle", "tallyman_coverage" }

-- A query that gives all rows of a table as one text.
local function whole(oms, name)
  if oms.dialect == "postgresql" then
    if not oms:value("SELECT to_regclass(:name)", { name = name }) then return nil end
    return ("SELECT string_agg(r, chr(10) ORDER BY r) FROM (SELECT CAST(t.* AS text) AS r "
      .. "FROM %s t) rows"):format(name)
  end
  local columns = {}
  for row in oms:rows("SELECT name FROM pragma_table_info(:name)", { name = name }) do
    columns[#columns + 1] = ("quote(%s)"):format(row.name)
  end
  if #columns == 0 then return nil end
  return ("SELECT group_concat(r, char(10)) FROM (SELECT %s AS r FROM %s ORDER BY 1)"):format(
    table.concat(columns, " || '|' || "), name)
end

--- All rows of the OMS and of the cycles, as text by table.
---@param driver model.Driver
---@return table<string, string>
function compare.dump(driver)
  local dump = {}
  driver.dumps = driver.dumps or {}
  for _, list in ipairs { OMS, OURS } do
    for _, name in ipairs(list) do
      driver.dumps[name] = driver.dumps[name] or whole(driver.oms, name)
      local sql = driver.dumps[name]
      dump[name] = sql and driver.oms:value(sql) or ""
    end
  end
  return dump
end

-- Millionths of whatever the database gives for a quantity.
local function millionths(value)
  return value and math.floor(tonumber(value) * 1e6 + 0.5) or 0
end

local Problems = {}
Problems.__index = Problems

function Problems:add(text, ...)
  self[#self + 1] = text:format(...)
end

function Problems:same(what, real, expected)
  if real ~= expected then
    self:add("%s: is %s, should be %s", what, tostring(real), tostring(expected))
  end
end

-- Two lists of texts, in any order.
function Problems:same_list(what, real, expected)
  local counts = {}
  for _, text in ipairs(expected) do counts[text] = (counts[text] or 0) + 1 end
  for _, text in ipairs(real) do counts[text] = (counts[text] or 0) - 1 end
  for text, count in pairs(counts) do
    if count ~= 0 then self:add("%s: %s %+d", what, text, -count) end
  end
end

local function unchanged(driver, problems)
  for name, text in pairs(compare.dump(driver)) do
    if text ~= driver.before[name] then problems:add("%s changed", name) end
  end
end

local function items(driver, problems)
  local count, known = 0, driver.run.model.oms.item
  for row in driver.oms:rows "SELECT * FROM inventory_item" do
    local id, item = row.inventory_item_id, known[row.inventory_item_id]
    count = count + 1
    if not item then
      problems:add("item %s of %s at %s shouldn't be", id, row.product_id, row.facility_id)
    else
      local what = ("%s of %s at %s"):format(id, row.product_id, row.facility_id)
      problems:same("QOH of " .. what, millionths(row.quantity_on_hand_total), item.qoh or 0)
      problems:same("ATP of " .. what, millionths(row.available_to_promise_total), item.atp or 0)
      if item.made then
        problems:same("location of " .. what, row.location_seq_id or "", item.location or "")
        problems:same("type of " .. what, row.inventory_item_type_id, "NON_SERIAL_INV_ITEM")
      end
    end
  end
  for _ in pairs(known) do count = count - 1 end
  problems:same("items too many", count, 0)
end

local function entry(item, reason, qoh, atp)
  return ("%s %s %d/%d"):format(item, reason or "-", qoh or 0, atp or 0)
end

-- The rows of the ledger or of the variances, as texts; of one physical inventory, or all.
local function rows_of(driver, sql, params)
  local list = {}
  for row in driver.oms:rows(sql, params) do
    list[#list + 1] = entry(row.item, row.reason, millionths(row.qoh), millionths(row.atp))
  end
  return list
end

local LEDGER = [[SELECT inventory_item_id AS item, reason_enum_id AS reason,
  quantity_on_hand_diff AS qoh, available_to_promise_diff AS atp FROM inventory_item_detail]]
local VARIANCES = [[SELECT inventory_item_id AS item, variance_reason_id AS reason,
  quantity_on_hand_var AS qoh, available_to_promise_var AS atp FROM inventory_item_variance]]
local NUMBERING = [[SELECT inventory_item_id FROM inventory_item_detail GROUP BY inventory_item_id
  HAVING COUNT(*) <> MAX(CAST(inventory_item_detail_seq_id AS INTEGER))
    OR MAX(LENGTH(inventory_item_detail_seq_id)) <> 5]]

local function texts(list, counts)
  local result = {}
  for _, row in ipairs(list) do
    if not counts or counts(row) then
      result[#result + 1] = entry(row.item, row.reason, row.qoh, row.atp)
    end
  end
  return result
end

local function books(driver, problems)
  local oms = driver.run.model.oms
  problems:same_list("ledger", rows_of(driver, LEDGER), texts(oms.ledger))
  problems:same_list("variances", rows_of(driver, VARIANCES), texts(oms.variance))
  problems:same("physical inventories",
    driver.oms:value "SELECT COUNT(*) FROM physical_inventory", #oms.physical)
  problems:same("item whose ledger is misnumbered", driver.oms:value(NUMBERING), nil)
end

-- The rows that carry a cycle's physical inventory are that cycle's, and no others.
local function own(driver, problems, cycle, part, physical)
  local expected = texts(driver.run.model.oms.ledger, function(row)
    return row.own == part and row.cycle == cycle.number
  end)
  local where = " WHERE physical_inventory_id = :id"
  problems:same_list("ledger of the " .. part, rows_of(driver, LEDGER .. where,
    { id = physical or "" }), expected)
  problems:same_list("variances of the " .. part, rows_of(driver, VARIANCES .. where,
    { id = physical or "" }), expected)
  problems:same("physical inventory of the " .. part, driver.oms:value(
    "SELECT COUNT(*) FROM physical_inventory WHERE physical_inventory_id = :id",
    { id = physical or "" }), 1)
end

local function cycle_row(driver, problems, cycle, row)
  local what = ("cycle %d's "):format(cycle.number)
  problems:same(what .. "snapshot", clock.parse(row.snapshot), cycle.snapshot)
  problems:same(what .. "business date", row.business_date, cycle.night)
  problems:same(what .. "method", row.method, driver.run.model.method)
  problems:same(what .. "file", row.file_name, cycle.name)
  if not (cycle.past and row.settled_by == "file") then
    problems:same(what .. "settlement", row.settled_by, cycle.settled)
  end
  problems:same(what .. "settled time", row.settled_at ~= nil, cycle.settled ~= nil)
  problems:same(what .. "variance", row.variance_id ~= nil, cycle.settled ~= nil)
  own(driver, problems, cycle, "reset", row.reset_id)
  if cycle.settled then own(driver, problems, cycle, "variance", row.variance_id) end
end

local function cycles(driver, problems)
  local number = 0
  for row in driver.oms:rows "SELECT * FROM tallyman_cycle ORDER BY cycle_id" do
    number = number + 1
    local cycle = driver.run.model.cycles[number]
    if not cycle then return problems:add "a cycle too many" end
    cycle.id = row.cycle_id
    cycle_row(driver, problems, cycle, row)
  end
  problems:same("cycles", number, #driver.run.model.cycles)
end

local function covered(cover)
  return ("%s at %s: quantity %d, before %d/%d, delta %d, deduction %d, ledger %d/%d"):format(
    cover.product, cover.facility, cover.quantity, cover.qoh, cover.atp, cover.delta,
    cover.deduction, cover.ledger_qoh, cover.ledger_atp)
end

local function coverage(driver, problems, cycle)
  local real, expected, lines, m = {}, {}, {}, millionths
  for _, cover in ipairs(cycle.coverage) do
    expected[#expected + 1] = covered(cover)
    local known = {}
    for _, line in ipairs(cover.lines) do known[line] = true end
    lines[cover.product .. "@" .. cover.facility] = known
  end
  for row in driver.oms:rows("SELECT * FROM tallyman_coverage WHERE cycle_id = :id",
    { id = cycle.id }) do
    real[#real + 1] = covered { product = row.product_id, facility = row.facility_id,
      quantity = m(row.quantity), qoh = m(row.qoh_before), atp = m(row.atp_before),
      delta = m(row.delta), deduction = m(row.deduction), ledger_qoh = m(row.ledger_qoh),
      ledger_atp = m(row.ledger_atp) }
    local known = lines[row.product_id .. "@" .. row.facility_id]
    if known and not known[row.line] then
      problems:add("%s at %s: line %s isn't its", row.product_id, row.facility_id, row.line)
    end
  end
  problems:same_list("coverage", real, expected)
end

--- Compares everything that a job may have touched; raises with all the differences.
---@param driver model.Driver
---@param name string
---@param real integer  exit code
---@param expected integer
---@param cycle table?  the cycle that the model says it changed
function compare.job(driver, name, real, expected, cycle)
  local problems = setmetatable({}, Problems)
  problems:same("exit code", real, expected)
  if cycle then
    items(driver, problems)
    books(driver, problems)
    cycles(driver, problems)
    if name == "import_reset" then coverage(driver, problems, cycle) end
  else
    unchanged(driver, problems)
  end
  if real == expected then files.check(driver, problems, name, cycle) end
  if #problems > 0 then
    error(("%s:\n  %s\n%s"):format(name, table.concat(problems, "\n  "), driver:output()), 0)
  end
end

return compare
