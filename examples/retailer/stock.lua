-- What lies where: pairs of a product and a store, the OMS's inventory items for them with their
-- ledger, and, beside it, what the POS counts at its snapshot.

local times = require "retailer.times"

local stock = {}

local A_DAY = 86400

---@class retailer.Item
---@field id string
---@field pair retailer.Pair
---@field qoh number
---@field atp number
---@field row table         its row in the book, whose totals are filled in at the end
---@field entries table[]   the ledger rows
local Item = {}
Item.__index = Item

---@class retailer.Pair
---@field product retailer.Product
---@field facility retailer.Facility
---@field location string
---@field items retailer.Item[]
---@field counted number    what the POS has in its books at the snapshot
---@field listed boolean    the pair has a row in the POS's file
---@field sold_out boolean?

---Write a ledger row that changes both quantities of an item.
---@param time integer
---@param qoh number
---@param atp number
---@param facts table?  further columns of the row
function Item:enter(time, qoh, atp, facts)
  self.qoh, self.atp = self.qoh + qoh, self.atp + atp
  local row = {
    inventory_item_id = self.id,
    effective_date = times.sql(time),
    quantity_on_hand_diff = stock.text(qoh),
    available_to_promise_diff = stock.text(atp),
  }
  for column, value in pairs(facts or {}) do row[column] = value end
  table.insert(self.entries, { time = time, place = #self.entries, row = row })
end

---A movement in the store that the POS knows of: it counts it, unless it came after its snapshot.
---@param time integer
---@param quantity number
---@param snapshot integer
---@param facts table?
function Item:move(time, quantity, snapshot, facts)
  self:enter(time, quantity, quantity, facts)
  if time <= snapshot then self.pair.counted = self.pair.counted + quantity end
end

---A quantity as the file and the database have it: no needless decimals. All are quarters, so
---that sums of them are exact in any arithmetic.
---@param quantity number
---@return string
function stock.text(quantity)
  return ("%.10g"):format(quantity)
end

---A random quantity of a product, of so many pieces or metres.
---@param random retailer.Random
---@param product retailer.Product
---@param low integer
---@param high integer
---@return number
function stock.quantity(random, product, low, high)
  local whole = random:between(low, high)
  if product.step == 1 then return whole end
  return whole + random:between(0, 3) * product.step
end

-- Receive goods long ago, and sell some of them; at least six remain.
local function history(random, item, snapshot)
  local product = item.pair.product
  local received = stock.quantity(random, product, 8, 40)
  item:move(snapshot - random:between(90 * A_DAY, 200 * A_DAY), received, snapshot,
    { description = "received" })
  for _ = 1, random:between(0, 3) do
    local sold = stock.quantity(random, product, 1, 4)
    if item.qoh - sold < 6 then break end
    item:move(snapshot - random:between(20 * A_DAY, 80 * A_DAY), -sold, snapshot,
      { reason_enum_id = "POS_SALE", description = "store sale" })
  end
end

local function new_item(book, random, pair, snapshot)
  local row = book:add("inventory_item", {
    inventory_item_id = book:next_id "inventory_item",
    inventory_item_type_id = "NON_SERIAL_INV_ITEM",
    product_id = pair.product.id, facility_id = pair.facility.id,
    location_seq_id = pair.location ~= "" and pair.location,
  })
  local item = setmetatable({
    id = row.inventory_item_id, row = row, pair = pair, qoh = 0, atp = 0, entries = {},
  }, Item)
  table.insert(pair.items, item)
  history(random, item, snapshot)
end

local function new_pair(random, product, facility)
  local location = ("TLTLTLLL%02d"):format(random:between(1, 24))
  if random:permille(150) then location = "" end
  return {
    product = product, facility = facility, location = location, items = {}, counted = 0,
    listed = true,
  }
end

-- What the OMS has of a pair: in most cases one item, sometimes two, rarely none.
local function fill(book, random, pair, snapshot)
  if random:permille(10) then
    pair.counted = random:between(1, 12)
    return
  end
  new_item(book, random, pair, snapshot)
  if random:permille(12) then new_item(book, random, pair, snapshot) end
  if random:permille(100) and #pair.items == 1 then
    local item = pair.items[1]
    item:move(snapshot - random:between(5 * A_DAY, 15 * A_DAY), -item.qoh, snapshot,
      { reason_enum_id = "POS_SALE", description = "store sale" })
    pair.sold_out = true
  end
end

---Stock the stores: each product in one to three of them, two on average.
---@param book retailer.Book
---@param random retailer.Random
---@param facilities retailer.Facility[]
---@param products retailer.Product[]
---@param snapshot integer
---@return retailer.Pair[]
function stock.make(book, random, facilities, products, snapshot)
  local list = {}
  for _, product in ipairs(products) do
    local stores = random:shuffled(facilities)
    local count = random:between(1, 3)
    for number = 1, count do
      local pair = new_pair(random, product, stores[number])
      fill(book, random, pair, snapshot)
      table.insert(list, pair)
    end
    -- The OMS has it in one store more, which the file doesn't mention: that night's reset
    -- covers the others only.
    if random:permille(20) then
      local pair = new_pair(random, product, stores[count + 1])
      pair.listed = false
      new_item(book, random, pair, snapshot)
      table.insert(list, pair)
    end
  end
  return list
end

---Let the POS's count differ from the OMS's as it does in earnest: goods received and goods gone
---that the OMS never heard of, and shelves sold below zero.
---@param random retailer.Random
---@param list retailer.Pair[]
function stock.differ(random, list)
  local oversold = math.ceil(#list / 300)
  for _, pair in ipairs(random:shuffled(list)) do
    if pair.sold_out and oversold > 0 then
      oversold = oversold - 1
      pair.counted = pair.counted - random:between(1, 3)
    elseif random:permille(40) then
      pair.counted = pair.counted + random:between(6, 24)
    elseif not pair.sold_out and random:permille(30) then
      pair.counted = pair.counted - random:between(1, 2)
    end
  end
end

-- Number an item's ledger by time, as the OMS would have written it.
local function record_ledger(book, item)
  table.sort(item.entries, function(a, b)
    if a.time ~= b.time then return a.time < b.time end
    return a.place < b.place
  end)
  for number, entry in ipairs(item.entries) do
    entry.row.inventory_item_detail_seq_id = ("%05d"):format(number)
    book:add("inventory_item_detail", entry.row)
  end
end

---Enter the items' totals and their ledgers, once everything has happened.
---@param book retailer.Book
---@param list retailer.Pair[]
function stock.record(book, list)
  for _, pair in ipairs(list) do
    for _, item in ipairs(pair.items) do
      item.row.quantity_on_hand_total = stock.text(item.qoh)
      item.row.available_to_promise_total = stock.text(item.atp)
      record_ledger(book, item)
    end
  end
end

return stock
