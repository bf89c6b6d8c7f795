-- The desk at which the days around the snapshot are written: what everything that happens there
-- draws from. It knows when things may happen, and which goods no order has touched yet.

local A_DAY = 86400
local AN_HOUR = 3600

---@class retailer.Desk
---@field book retailer.Book
---@field random retailer.Random
---@field products retailer.Product[]
---@field snapshot integer
---@field now integer
---@field stocked retailer.Pair[]               the pairs that have goods
---@field stores string[]
---@field decks table<string, retailer.Pair[]>  for each store the pairs without an order
local Desk = {}
Desk.__index = Desk

-- Deal the stocked pairs to their stores, shuffled.
local function deal(desk)
  for _, pair in ipairs(desk.random:shuffled(desk.stocked)) do
    local store = pair.facility.id
    if not desk.decks[store] then
      desk.decks[store] = {}
      table.insert(desk.stores, store)
    end
    table.insert(desk.decks[store], pair)
  end
end

---@param book retailer.Book
---@param random retailer.Random
---@param products retailer.Product[]
---@param list retailer.Pair[]
---@param snapshot integer
---@param now integer
---@return retailer.Desk
function Desk.new(book, random, products, list, snapshot, now)
  local desk = setmetatable({
    book = book, random = random, products = products, snapshot = snapshot, now = now,
    stocked = {}, stores = {}, decks = {},
  }, Desk)
  for _, pair in ipairs(list) do
    if #pair.items > 0 and not pair.sold_out then table.insert(desk.stocked, pair) end
  end
  deal(desk)
  return desk
end

---An instant before or after the snapshot; what came after it has happened by now.
---@param when string  "before", "after" or "long ago"
---@return integer
function Desk:instant(when)
  local random, snapshot = self.random, self.snapshot
  if when == "after" then return snapshot + random:between(60, self.now - snapshot - 60) end
  local days = when == "long ago" and 60 or 0
  return snapshot - days * A_DAY - random:between(AN_HOUR, 12 * A_DAY)
end

---When an order that shipped at `shipped` was acknowledged: before or after the snapshot.
---@param when string
---@param shipped integer
---@return integer
function Desk:acknowledged_at(when, shipped)
  if when == "before" then return self.random:between(shipped, self.snapshot) end
  return self.random:between(math.max(shipped, self.snapshot + 1), self.now - 30)
end

---Take pairs of one store that no order has touched yet; nil when no store has so many left.
---@param count integer
---@return retailer.Pair[]?
function Desk:take(count)
  local stores = self.stores
  local first = self.random:between(1, #stores)
  for step = 0, #stores - 1 do
    local deck = self.decks[stores[(first + step) % #stores + 1]]
    if #deck >= count then
      local taken = {}
      for number = 1, count do taken[number] = table.remove(deck) end
      return taken
    end
  end
end

---A product that the order doesn't have yet.
---@param order table
---@return retailer.Product
function Desk:another_product(order)
  local first = self.random:between(1, #self.products)
  for step = 0, #order.lines do
    local product = self.products[(first + step - 1) % #self.products + 1]
    local known = false
    for _, line in ipairs(order.lines) do known = known or line.product == product end
    if not known then return product end
  end
end

return Desk
