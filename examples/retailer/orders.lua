-- Online orders in every state that the night must tell apart.

local stock = require "retailer.stock"
local times = require "retailer.times"

local orders = {}

local A_DAY = 86400
local AN_HOUR = 3600

---A kind of order. `share` is how many there are for each thousand pairs. The lines come from one
---store; `parked` adds a line for a product that is out of stock, so that the order stays open.
---@class retailer.Story
---@field share number
---@field lines integer[]           how many lines such an order may have
---@field shipped string?           "before" or "after" the snapshot, or "long ago"
---@field acknowledged string?      "before" or "after" the snapshot
---@field parked boolean?
---@field packed boolean?

---@type retailer.Story[]
local STORIES = {
  -- Partially shipped: the POS learns of it when the last line ships. These make the variance.
  { share = 20, lines = { 2 }, shipped = "before", parked = true },
  { share = 0.5, lines = { 1 }, shipped = "long ago", parked = true },
  -- Shipped whole, and known to the POS when it counted.
  { share = 25, lines = { 1, 2 }, shipped = "before", acknowledged = "before" },
  -- Shipped whole, but the POS heard of it after it had counted.
  { share = 7, lines = { 1, 2 }, shipped = "before", acknowledged = "after" },
  { share = 3, lines = { 1 }, shipped = "after", acknowledged = "after" },
  -- Shipped since the snapshot, still open.
  { share = 5, lines = { 1 }, shipped = "after", parked = true },
  -- On the shelf still: reserved, or in a parcel that nobody has picked up.
  { share = 16, lines = { 1, 2 } },
  { share = 4, lines = { 1 }, packed = true },
}

local function new_order(desk, ordered, status)
  local id = desk.book:next_id "order_header"
  desk.book:add("order_header", {
    order_id = id, order_type_id = "SALES_ORDER", status_id = status,
    order_date = times.sql(ordered), external_id = tostring(5120000000000 + tonumber(id) * 4096),
  })
  return { id = id, ordered = ordered, lines = {} }
end

local function add_line(desk, order, product, quantity, status)
  local line = {
    seq = ("%05d"):format(#order.lines + 1), product = product, quantity = quantity,
  }
  table.insert(order.lines, line)
  desk.book:add("order_item", {
    order_id = order.id, order_item_seq_id = line.seq, product_id = product.id,
    quantity = stock.text(quantity), cancel_quantity = "0", status_id = status,
  })
  return line
end

-- Promise the goods of a line: ATP goes down, QOH stays.
local function reserve(desk, order, line, pair)
  line.item = desk.random:pick(pair.items)
  line.item:enter(order.ordered, 0, -line.quantity, {
    order_id = order.id, order_item_seq_id = line.seq, description = "reserved",
  })
end

local function new_shipment(desk, order, facility, status)
  local id = desk.book:next_id "shipment"
  desk.book:add("shipment", {
    shipment_id = id, status_id = status, origin_facility_id = facility.id,
  })
  for number, line in ipairs(order.lines) do
    line.shipment, line.shipment_seq = id, ("%05d"):format(number)
    desk.book:add("shipment_item", {
      shipment_id = id, shipment_item_seq_id = line.shipment_seq,
      product_id = line.product.id, quantity = stock.text(line.quantity),
    })
  end
end

-- Issue a line to its shipment. Now and then a piece too many was picked and put back.
local function issue(desk, order, line, issued)
  local surplus = desk.random:permille(50) and 1 or 0
  desk.book:add("item_issuance", {
    item_issuance_id = desk.book:next_id "item_issuance",
    order_id = order.id, order_item_seq_id = line.seq, ship_group_seq_id = "00001",
    inventory_item_id = line.item.id, shipment_id = line.shipment,
    shipment_item_seq_id = line.shipment_seq, issued_date_time = times.sql(issued),
    quantity = stock.text(line.quantity + surplus),
    cancel_quantity = surplus > 0 and stock.text(surplus),
  })
end

-- The goods of a line leave the shelf.
local function ship(order, line, shipped)
  line.item:enter(shipped, -line.quantity, 0, {
    order_id = order.id, order_item_seq_id = line.seq, shipment_id = line.shipment,
    shipment_item_seq_id = line.shipment_seq, description = "shipped",
  })
end

-- The POS invoices the order. Its message comes twice at times; the first one counts.
local function acknowledge(desk, order, line, acknowledged)
  for repeated = 0, desk.random:permille(80) and 1 or 0 do
    desk.book:add("order_fulfillment_history", {
      order_id = order.id, order_item_seq_id = line.seq, shipment_id = line.shipment,
      shipment_item_seq_id = line.shipment_seq,
      external_fulfillment_id = "RP" .. order.id .. line.seq,
      comments = repeated == 1 and "repeated",
      created_date = times.sql(math.min(acknowledged + repeated * AN_HOUR, desk.now)),
    })
  end
  if acknowledged <= desk.snapshot then
    line.item.pair.counted = line.item.pair.counted - line.quantity
  end
end

local function ship_order(desk, story, order, shipped)
  local acknowledged = story.acknowledged and desk:acknowledged_at(story.acknowledged, shipped)
  for _, line in ipairs(order.lines) do
    issue(desk, order, line, shipped)
    ship(order, line, shipped)
    if acknowledged then acknowledge(desk, order, line, acknowledged) end
  end
end

-- One order, from the shop's till to the point that its story has reached.
local function tell(desk, story)
  local pairs_taken = desk:take(desk.random:pick(story.lines))
  if not pairs_taken then return end
  local moment = desk:instant(story.shipped or "before")
  local ordered = moment - desk.random:between(AN_HOUR, 2 * A_DAY)
  local done = story.acknowledged ~= nil
  local order = new_order(desk, ordered, done and "ORDER_COMPLETED" or "ORDER_APPROVED")
  local status = story.shipped and "ITEM_COMPLETED" or "ITEM_APPROVED"
  for _, pair in ipairs(pairs_taken) do
    local quantity = stock.quantity(desk.random, pair.product, 1, 3)
    reserve(desk, order, add_line(desk, order, pair.product, quantity, status), pair)
  end
  if story.shipped or story.packed then
    local delivered = done and desk.random:permille(300)
    new_shipment(desk, order, pairs_taken[1].facility, story.packed and "SHIPMENT_PACKED"
      or delivered and "SHIPMENT_DELIVERED" or "SHIPMENT_SHIPPED")
  end
  if story.shipped then
    ship_order(desk, story, order, moment)
  elseif story.packed then
    issue(desk, order, order.lines[1], moment)
  end
  if story.parked then
    add_line(desk, order, desk:another_product(order), 2, "ITEM_APPROVED")
  end
end

---Let customers order, and the stores ship.
---@param desk retailer.Desk
---@param pair_count integer
function orders.make(desk, pair_count)
  for _, story in ipairs(STORIES) do
    for _ = 1, math.ceil(story.share * pair_count / 1000) do tell(desk, story) end
  end
end

return orders
