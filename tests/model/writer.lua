--- Writes the model's operations into a real OMS database, as an OMS would.

local clock = require "model.clock"

---@class model.Writer
local Writer = {}
Writer.__index = Writer

-- The real tables and columns, by the model's names.
local TABLES = {
  facility = { "facility", id = "facility_id", external = "external_id" },
  product = { "product", id = "product_id", discontinued = "sales_discontinuation_date" },
  listing = { "shopify_shop_product", shop = "shop_id", product = "product_id" },
  identifier = { "good_identification", kind = "good_identification_type_id",
    product = "product_id", value = "id_value", from = "from_date", thru = "thru_date" },
  item = { "inventory_item", id = "inventory_item_id", product = "product_id",
    facility = "facility_id", location = "location_seq_id", qoh = "quantity_on_hand_total",
    atp = "available_to_promise_total" },
  order = { "order_header", id = "order_id", kind = "order_type_id" },
  order_item = { "order_item", order = "order_id", seq = "order_item_seq_id",
    product = "product_id", quantity = "quantity" },
  shipment = { "shipment", id = "shipment_id", status = "status_id",
    facility = "origin_facility_id" },
  shipment_item = { "shipment_item", shipment = "shipment_id", seq = "shipment_item_seq_id",
    product = "product_id", quantity = "quantity" },
  issuance = { "item_issuance", id = "item_issuance_id", order = "order_id",
    seq = "order_item_seq_id", item = "inventory_item_id", shipment = "shipment_id",
    at = "issued_date_time", quantity = "quantity", cancelled = "cancel_quantity" },
  ack = { "order_fulfillment_history", order = "order_id", seq = "order_item_seq_id",
    shipment = "shipment_id", shipment_seq = "shipment_item_seq_id", at = "created_date" },
  ledger = { "inventory_item_detail", item = "inventory_item_id", at = "effective_date",
    number = "inventory_item_detail_seq_id", qoh = "quantity_on_hand_diff",
    atp = "available_to_promise_diff", reason = "reason_enum_id", order = "order_id",
    seq = "order_item_seq_id", shipment = "shipment_id", shipment_seq = "shipment_item_seq_id",
    physical = "physical_inventory_id" },
  physical = { "physical_inventory", id = "physical_inventory_id" },
  variance = { "inventory_item_variance", item = "inventory_item_id",
    physical = "physical_inventory_id", reason = "variance_reason_id",
    qoh = "quantity_on_hand_var", atp = "available_to_promise_var" },
  reason = { "variance_reason", id = "variance_reason_id" },
}
local STAMPS = { at = true, from = true, thru = true, discontinued = true }
local NUMBERS = { qoh = true, atp = true, quantity = true, cancelled = true }

---@param oms table  an open handle of tallyman.db
---@return model.Writer
local function new(oms)
  return setmetatable({ oms = oms, sql = {}, numbers = {} }, Writer)
end

-- Milliseconds as text, with a fraction only where there is one; at times with an empty one.
local function stamp(ms)
  local text, rest = clock.sql(ms // 1000), ms % 1000
  if rest ~= 0 then return ("%s.%03d"):format(text, rest) end
  return ms // 1000 % 7 == 0 and text .. ".000" or text
end

local function decimal(value)
  local size = math.abs(value)
  return ("%s%d.%06d"):format(value < 0 and "-" or "", size // 1000000, size % 1000000)
end

-- What the model calls `key`, as the database holds it.
local function bound(key, value)
  if STAMPS[key] then return stamp(value) end
  if NUMBERS[key] then return decimal(value) end
  return value
end

-- The columns of a row that its table has; the model keeps notes of its own in rows, too.
local function known(map, row)
  local keys = {}
  for key in pairs(map) do
    if key ~= 1 and row[key] ~= nil then keys[#keys + 1] = key end
  end
  table.sort(keys)
  return keys
end

local function insertion(map, keys)
  local columns, values = {}, {}
  for i, key in ipairs(keys) do
    columns[i] = map[key]
    values[i] = NUMBERS[key] and ("CAST(:%s AS NUMERIC)"):format(map[key]) or ":" .. map[key]
  end
  return ("INSERT INTO %s (%s) VALUES (%s)"):format(map[1], table.concat(columns, ", "),
    table.concat(values, ", "))
end

function Writer:insert(name, row)
  local map = TABLES[name]
  local keys, params = known(map, row), {}
  for _, key in ipairs(keys) do params[map[key]] = bound(key, row[key]) end
  local shape = name .. ":" .. table.concat(keys, ",")
  self.sql[shape] = self.sql[shape] or insertion(map, keys)
  self.oms:run(self.sql[shape], params)
end

function Writer:update(name, row, changes)
  local map, params, sets = TABLES[name], {}, {}
  params.key = type(row) == "table" and row.id or row
  for _, key in ipairs(known(map, changes)) do
    sets[#sets + 1] = ("%s = :%s"):format(map[key], map[key])
    params[map[key]] = bound(key, changes[key])
  end
  local sql = "UPDATE %s SET %s WHERE %s = :key"
  self.oms:run(sql:format(map[1], table.concat(sets, ", "), map.id), params)
end

local NEXT = [[
  SELECT COALESCE(MAX(CAST(inventory_item_detail_seq_id AS INTEGER)), 0) + 1
  FROM inventory_item_detail WHERE inventory_item_id = :item]]

-- The totals change by the database's own arithmetic, with whatever noise SQLite's leaves behind.
local TOTALS = [[
  UPDATE inventory_item SET
    quantity_on_hand_total = COALESCE(quantity_on_hand_total, 0) + CAST(:qoh AS NUMERIC),
    available_to_promise_total = COALESCE(available_to_promise_total, 0) + CAST(:atp AS NUMERIC)
  WHERE inventory_item_id = :item]]

function Writer:move(row)
  row.number = ("%05d"):format(self.oms:value(NEXT, { item = row.item }))
  self:insert("ledger", row)
  self.oms:run(TOTALS, { item = row.item, qoh = decimal(row.qoh or 0),
    atp = decimal(row.atp or 0) })
end

--- Does a list of operations in one transaction.
---@param ops table[]
function Writer:apply(ops)
  if #ops == 0 then return end
  self.oms:transaction(function()
    for _, op in ipairs(ops) do
      if op[1] == "add" then
        self:insert(op[2], op[3])
      elseif op[1] == "set" then
        self:update(op[2], op[3], op[4])
      else
        self:move(op[2])
      end
    end
  end)
end

return { new = new }
