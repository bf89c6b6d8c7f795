-- The OMS's rows, gathered table by table and then written in one transaction.

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

-- INSERT for exactly the columns that a row has.
local function insert(oms, name, row)
  local columns = {}
  for column in pairs(row) do table.insert(columns, column) end
  table.sort(columns)
  local sql = ("INSERT INTO %s (%s) VALUES (:%s)"):format(
    name, table.concat(columns, ", "), table.concat(columns, ", :"))
  oms:run(sql, row)
end

---Make the database at `path`: the schema and every row, or nothing.
---@param path string
---@param schema string  the text of the schema
function Book:save(path, schema)
  local db = require "tallyman.db"
  add_housekeeping(self)
  local oms <close> = db.open("sqlite:" .. path, { create = true })
  oms:transaction(function()
    oms:script(schema)
    for _, name in ipairs(TABLES) do
      for _, row in ipairs(self.rows[name]) do insert(oms, name, row) end
    end
  end)
end

return Book
