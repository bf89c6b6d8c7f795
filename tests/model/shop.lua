--- The shop on the first day: facilities, products with their identifiers, and the stock.

local shops = {}

local FACILITIES = { "NYC", "NASH", "10", "9", "b2" }
local CODES = { "001", "10", "A7", "33" }
local PRODUCTS = { "10001", "P2", "p2", "9", "A-3", "GIFT", "20" }
local DAY = 86400 * 1000

local Builder = {}
Builder.__index = Builder

function Builder:add(name, row)
  self.ops[#self.ops + 1] = { "add", name, row }
end

function Builder:facilities_()
  local rng, codes = self.rng, self.rng:shuffle(table.move(CODES, 1, #CODES, 1, {}))
  local names = rng:shuffle(table.move(FACILITIES, 1, #FACILITIES, 1, {}))
  for i = 1, rng:int(2, 4) do
    table.insert(self.shop.facilities, names[i])
    self:add("facility", { id = names[i], external = rng:chance(65) and codes[i] or nil })
  end
end

-- Valid now, once, or one day; `ms` is about the middle of the first nights.
local PERIODS = {
  expired = function(now) return now - 400 * DAY, now - 30 * DAY end,
  future = function(now) return now + 30 * DAY, nil end,
  ending = function(now, rng) return nil, now + rng:int(-6 * 60, 36 * 60) * 60000 + 17 end,
  starting = function(now, rng) return now + rng:int(-6 * 60, 36 * 60) * 60000 + 17, nil end,
}

function Builder:identifier(product, kind, value, from, thru)
  self:add("identifier", { product = product, kind = kind, value = value, from = from,
    thru = thru })
  return { kind = kind, value = value }
end

-- Values differ by case alone from product to product; some hold all that CSV must quote.
local function sku(number)
  if number == 3 then return 'q"3",x;y\tz' end
  if number == 4 then return "\u{C9}4 \u{20AC}" end
  return number % 2 == 0 and ("ab%d"):format(number // 2) or ("AB%d"):format(number // 2)
end

function Builder:identifiers(number, product)
  local rng, now, ids = self.rng, self.now, { stable = {}, odd = {} }
  local from = rng:chance(50) and now - rng:int(1, 900) * DAY or nil
  local thru = rng:chance(15) and now + 100 * DAY or nil
  if rng:chance(80) then
    ids.stable[1] = self:identifier(product, "SKU", sku(number), from, thru)
  end
  if #ids.stable == 0 or rng:chance(40) then
    local value = ("0"):rep(number) .. "12345"
    table.insert(ids.stable, self:identifier(product, "UPCA", value, from, thru))
  end
  if ids.stable[1].kind == "SKU" and rng:chance(30) then
    table.insert(ids.stable, self:identifier(product, "SHOPIFY_PROD_ID", "77" .. number, from))
  end
  if rng:chance(10) then
    local again = ids.stable[1]
    self:identifier(product, again.kind, again.value, now - 500 * DAY)
  end
  for _, name in ipairs { "expired", "future", "ending", "starting" } do
    if rng:chance(12) then
      local first, last = PERIODS[name](now, rng)
      table.insert(ids.odd, self:identifier(product, "SKU", name .. number, first, last))
    end
  end
  self.shop.ids[product] = ids
end

-- A product that nothing but its own id names without doubt.
function Builder:nameless(number, product)
  self:identifier(product, "SKU", "old" .. number, self.now - 90 * DAY, self.now - 9 * DAY)
  self.shop.ids[product] = { stable = {}, odd = {} }
end

function Builder:products_()
  local rng, now = self.rng, self.now
  local names = rng:shuffle(table.move(PRODUCTS, 1, #PRODUCTS, 1, {}))
  for i = 1, rng:int(3, 7) do
    local product, without = names[i], i > 2 and rng:chance(12)
    table.insert(self.shop.products, product)
    if not without then table.insert(self.shop.named, product) end
    self:add("product", { id = product, discontinued = rng:weighted { { false, 72 },
      { now + 50 * DAY, 10 }, { now - 50 * DAY, 13 },
      { now + rng:int(-6 * 60, 36 * 60) * 60000 + 23, 5 } } or nil })
    for shop = 1, rng:weighted { { 0, 12 }, { 1, 70 }, { 2, 18 } } do
      self:add("listing", { shop = "SHOP" .. shop, product = product })
    end
    if without then self:nameless(i, product) else self:identifiers(i, product) end
  end
end

-- One value for two products; and a value that was another product's once, and no longer is.
function Builder:sharing()
  local rng, shop = self.rng, self.shop
  local a, b = shop.products[1], rng:pick(shop.products)
  if a ~= b and rng:chance(60) then
    local kind = rng:pick { "SKU", "UPCA" }
    local id = self:identifier(a, kind, "000", self.now - 9 * DAY)
    self:identifier(b, kind, "000")
    table.insert(shop.shared, { kind = id.kind, value = id.value, products = { a, b } })
  end
  local id = shop.ids[shop.named[1]].stable[1]
  if rng:chance(30) then
    self:identifier(shop.products[2], id.kind, id.value, nil, self.now - 20 * DAY)
  end
end

--- An id that no item has yet. Bytes decide their order, not numbers.
---@param rng model.Rng
---@param shop table
---@return string
function shops.item_id(rng, shop)
  local id
  repeat
    id = rng:pick { tostring(rng:int(1, 9999)), "I" .. rng:int(1, 99), "i" .. rng:int(1, 99) }
  until not shop.taken[id]
  shop.taken[id] = true
  return id
end

function Builder:quantity()
  local rng = self.rng
  return rng:weighted { { rng:int(0, 20) * 1000000, 75 }, { rng:int(-2000000, 9000000), 18 },
    { -rng:int(1, 3) * 1000000, 4 }, { false, 3 } } or nil
end

function Builder:stock()
  local rng, shop = self.rng, self.shop
  for _, product in ipairs(shop.products) do
    for _, facility in ipairs(shop.facilities) do
      for _ = 1, rng:weighted { { 0, 30 }, { 1, 50 }, { 2, 20 } } do
        local qoh = self:quantity()
        local reserved = rng:chance(25) and rng:int(1, 3) * 1000000 or 0
        self:add("item", { id = shops.item_id(rng, shop), product = product, facility = facility,
          location = rng:pick { false, "LOC1", "LOC2" } or nil,
          qoh = qoh, atp = qoh and qoh - reserved })
      end
    end
  end
end

--- A shop, and the operations that set it up.
---@param rng model.Rng
---@param now integer  seconds, about the middle of the first night
---@return table shop
---@return table[] ops
function shops.build(rng, now)
  local shop = { facilities = {}, products = {}, named = {}, ids = {}, shared = {}, taken = {},
    count = 0 }
  local builder = setmetatable({ rng = rng, now = now * 1000, shop = shop, ops = {} }, Builder)
  builder:facilities_()
  builder:products_()
  builder:sharing()
  builder:stock()
  for _, reason in ipairs { "VAR_LOST", "VAR_FOUND", "VAR_DAMAGED", "VAR_STOLEN", "POS_SALE",
    "MISMATCH" } do
    builder:add("reason", { id = reason })
  end
  if rng:chance(50) then builder:add("reason", { id = "VAR_EXT_RESET" }) end
  if rng:chance(50) then builder:add("reason", { id = "UNACK_SHIPMENT" }) end
  return shop, builder.ops
end

return shops
