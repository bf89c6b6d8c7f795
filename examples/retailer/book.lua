-- The OMS's rows, gathered table by table and then written in one transaction.

local file = require "native.file"

---@class retailer.Book
---@field private rows table<string, table[]>
local Book = {}
Book.__index = Book

-- Also the order in which they are written.
local TABLES = {
  "facility", "product", "good_identification", "shopify_shop_product", "inventory_item",
  "inventory_item_detail", "physical_inventory", "variance_reason", "inventory_item_variance",
  "sequence_value_item", "order_header", "order_item", "shipment", "shipment_item",
  "item_issuance", "order_fulfillment_history",
}

local FIRST_ID = 10000

local REASONS = {
  VAR_EXT_RESET = "Reset by an external system", VAR_LOST = "Lost", VAR_FOUND = "Found",
  VAR_DAMAGED = "Damaged", VAR_STOLEN = "Stolen", POS_SALE = "Sold in a store",
  MISMATCH = "Counts differ", NOT_IN_STOCK = "Not in stock",
  UNACK_SHIPMENT = "Shipped, not acknowledged by the POS",
}

---An empty book.
---@return retailer.Book
function Book.new()
  local rows = {}
  for _, name in ipairs(TABLES) do rows[name] = {} end
  return setmetatable({ rows = rows }, Book)
end

---Add a row, keyed by column; a column that is missing (or false) is null.
---@param name string
---@param row table
---@return table row
function Book:add(name, row)
  for column, value in pairs(row) do
    if value == false then row[column] = nil end
  end
  table.insert(self.rows[name], row)
  return row
end

---The id for the next row of a table: numbers without gaps, all of the same length.
---@param name string
---@return string
function Book:next_id(name)
  return tostring(FIRST_ID + #self.rows[name])
end

-- The rows that no single part of the retailer owns: reasons, and where OFBiz takes new ids from.
local function add_housekeeping(book)
  local names = {}
  for name in pairs(REASONS) do table.insert(names, name) end
  table.sort(names)
  for _, name in ipairs(names) do
    book:add("variance_reason", { variance_reason_id = name, description = REASONS[name] })
  end
  for _, name in ipairs { "inventory_item", "physical_inventory" } do
    book:add("sequence_value_item", {
      seq_name = name == "inventory_item" and "InventoryItem" or "PhysicalInventory",
      seq_id = book:next_id(name),
    })
  end
end

-- The columns that any row of a table has.
local function columns_of(rows)
  local columns, seen = {}, {}
  for _, row in ipairs(rows) do
    for column in pairs(row) do
      if not seen[column] then table.insert(columns, column) end
      seen[column] = true
    end
  end
  table.sort(columns)
  return columns
end

-- The rows of a table as CSV; a null is a field that is empty and without quotes.
local function csv_of(rows, columns)
  local lines = { table.concat(columns, ",") }
  for number, row in ipairs(rows) do
    local fields = {}
    for place, column in ipairs(columns) do
      local value = row[column]
      fields[place] = value == nil and "" or '"' .. tostring(value):gsub('"', '""') .. '"'
    end
    lines[number + 1] = table.concat(fields, ",")
  end
  return table.concat(lines, "\n") .. "\n"
end

---Make the tables in a database that has none of them, with every row, or nothing.
---@param oms tallyman.Database
---@param schema string  the text of the schema
function Book:save(oms, schema)
  add_housekeeping(self)
  oms:transaction(function()
    oms:script(schema)
    for _, name in ipairs(TABLES) do
      local columns = columns_of(self.rows[name])
      local source <close> = file.text(csv_of(self.rows[name], columns), name .. ".csv")
      oms:copy_in(name, columns, source)
    end
    -- Nobody else may have told the planner yet what there is.
    if oms.dialect == "postgresql" then oms:script "ANALYZE" end
  end)
end

return Book
