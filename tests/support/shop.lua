--- A shop for specs: facilities, products and what happens to them, written into the OMS the way an
--- OFBiz writes it: a ledger row with every change of a total.
local Shop = {}
Shop.__index = Shop

local function new(world)
  return setmetatable({ world = world, oms = world.oms, count = 0 }, Shop)
end

function Shop:next_id(prefix)
  self.count = self.count + 1
  return prefix .. self.count
end

function Shop:insert(name, row)
  local columns, marks = {}, {}
  for column in pairs(row) do
    columns[#columns + 1] = column
    marks[#marks + 1] = ":" .. column
  end
  self.oms:run(("INSERT INTO %s (%s) VALUES (%s)"):format(name, table.concat(columns, ", "),
    table.concat(marks, ", ")), row)
end

function Shop:facility(id, external)
  self:insert("facility", { facility_id = id, external_id = external or self.oms.null })
end

--- A product sold online with one SKU.
function Shop:product(id, sku)
  self:insert("product", { product_id = id })
  self:insert("shopify_shop_product", { shop_id = "SHOP", product_id = id })
  self:identifier(id, "SKU", sku)
end

function Shop:identifier(product, id_type, value, from, thru)
  self:insert("good_identification", { product_id = product, id_value = value,
    good_identification_type_id = id_type, from_date = from or "2020-01-01 00:00:00",
    thru_date = thru or self.oms.null })
end

--- One ledger row with its change of totals.
function Shop:move(item, at, qoh, atp, fields)
  fields = fields or {}
  fields.inventory_item_id = item
  fields.inventory_item_detail_seq_id = ("%05d"):format(self.oms:value([[SELECT COUNT(*) + 1
    FROM inventory_item_detail WHERE inventory_item_id = :item]], { item = item }))
  fields.effective_date = at
  fields.quantity_on_hand_diff, fields.available_to_promise_diff = qoh, atp
  self:insert("inventory_item_detail", fields)
  self.oms:run([[UPDATE inventory_item SET
      quantity_on_hand_total = ROUND(COALESCE(quantity_on_hand_total, 0) + :qoh, 6),
      available_to_promise_total = ROUND(COALESCE(available_to_promise_total, 0) + :atp, 6)
    WHERE inventory_item_id = :item]], { item = item, qoh = qoh, atp = atp })
end

--- An inventory item that stands at these totals long since.
function Shop:item(id, product, facility, qoh, atp)
  self:insert("inventory_item", { inventory_item_id = id, product_id = product,
    facility_id = facility, inventory_item_type_id = "NON_SERIAL_INV_ITEM",
    quantity_on_hand_total = 0, available_to_promise_total = 0 })
  self:move(id, "2026-11-01 00:00:00", qoh, atp)
end

--- Issues goods for an order. Gives the shipment, for shipping it later or acknowledging it.
function Shop:issue(item, at, quantity, options)
  options = options or {}
  local sale = { order_id = self:next_id "O", order_item_seq_id = "00001",
    shipment_id = self:next_id "S", shipment_item_seq_id = "00001", item = item }
  self:insert("order_header", { order_id = sale.order_id,
    order_type_id = options.order_type or "SALES_ORDER" })
  self:insert("shipment", { shipment_id = sale.shipment_id,
    status_id = options.status or "SHIPMENT_PACKED" })
  self:insert("item_issuance", { item_issuance_id = self:next_id "X", order_id = sale.order_id,
    order_item_seq_id = sale.order_item_seq_id, shipment_id = sale.shipment_id,
    shipment_item_seq_id = sale.shipment_item_seq_id, inventory_item_id = item,
    issued_date_time = at or self.oms.null, quantity = quantity,
    cancel_quantity = options.cancelled or self.oms.null })
  return sale
end

--- The shipment leaves: status and ledger row.
function Shop:leave(sale, at, quantity, reserved)
  self.oms:run("UPDATE shipment SET status_id = 'SHIPMENT_SHIPPED' WHERE shipment_id = :id",
    { id = sale.shipment_id })
  self:move(sale.item, at, -quantity, reserved and 0 or -quantity, { order_id = sale.order_id,
    order_item_seq_id = sale.order_item_seq_id, shipment_id = sale.shipment_id,
    shipment_item_seq_id = sale.shipment_item_seq_id })
end

--- Issued and shipped at once.
function Shop:ship(item, at, quantity, options)
  options = options or {}
  local sale = self:issue(item, at, quantity, options)
  self:leave(sale, at, quantity - (options.cancelled or 0), options.reserved)
  return sale
end

--- The POS acknowledges a shipment.
function Shop:acknowledge(sale, at)
  self:insert("order_fulfillment_history", { order_id = sale.order_id,
    order_item_seq_id = sale.order_item_seq_id, shipment_id = sale.shipment_id,
    shipment_item_seq_id = sale.shipment_item_seq_id, created_date = at or self.oms.null })
end

--- QOH/ATP of an item, or of all items of a pair, as "8/8".
function Shop:totals(where)
  local row = self.oms:one([[SELECT ROUND(COALESCE(SUM(quantity_on_hand_total), 0), 6) AS qoh,
    ROUND(COALESCE(SUM(available_to_promise_total), 0), 6) AS atp FROM inventory_item WHERE ]]
    .. (where or "1 = 1"))
  return ("%g/%g"):format(row.qoh, row.atp)
end

--- A shop at New York with eight products, P1 to P8 (SKU-1 to SKU-8), at 10/10; the last has no
--- item yet.
---@param oms tallyman.Database
---@return table shop
local function of_eight(oms)
  local shop = new { oms = oms }
  shop:facility("NY", "101")
  for i = 1, 8 do
    shop:product("P" .. i, "SKU-" .. i)
    if i < 8 then shop:item(tostring(10000 + i), "P" .. i, "NY", 10, 10) end
  end
  return shop
end

return { new = new, of_eight = of_eight }
