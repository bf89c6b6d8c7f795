--- A day's life in the OMS: sales, reservations, shipments, acknowledgements. Each event is a list
--- of operations, as OFBiz would write them: a ledger row, and the totals with it.

local bytes = require "model.oms"
local shipments = require "model.shipments"
local shops = require "model.shop"

---@class model.Events
local Events = {}
Events.__index = Events

---@param rng model.Rng
---@param oms model.Oms
---@param shop table
---@return model.Events
local function new(rng, oms, shop)
  return setmetatable({ rng = rng, oms = oms, shop = shop, specials = {}, now = 0 }, Events)
end

local add, move = shipments.add, shipments.move

function Events:id(prefix)
  self.shop.count = self.shop.count + 1
  return prefix .. self.shop.count
end

-- Mostly now; at times committed late, under an older stamp; at times on the snapshot or beside it.
function Events:stamp(percent)
  local rng, now = self.rng, self.now * 1000
  local special = #self.specials > 0 and rng:chance(percent or 20)
  local at = now - (rng:chance(20) and rng:int(0, 5 * 3600) * 1000 or 0)
  if special then
    return math.min(now, self:special() * 1000 + rng:pick { 0, 0, 1, -1, 1000, -1000 })
  end
  if rng:chance(20) then at = at - rng:int(1, 999) end
  return math.min(at, now)
end

-- A snapshot, mostly the newest.
function Events:special()
  local list = self.specials
  return self.rng:chance(70) and list[#list] or self.rng:pick(list)
end

function Events:quantity()
  local rng = self.rng
  return rng:chance(85) and rng:int(1, 3) * 1000000 or rng:pick { 200000, 500000, 1, 1250000 }
end

-- Any item, in an order that is the same on every host.
function Events:items()
  local list = {}
  for _, item in pairs(self.oms.item) do list[#list + 1] = item end
  table.sort(list, function(a, b) return bytes.before(a.id, b.id) end)
  return list
end

function Events:item()
  local list = self:items()
  return #list > 0 and self.rng:pick(list) or nil
end

local make = {}

function make.sale(e, item)
  local q = e:quantity()
  return { move { item = item.id, at = e:stamp(), qoh = -q, atp = -q, reason = "POS_SALE" } }
end

-- The shipment of a receipt: at times one that went to a customer, but of another item.
function Events:receipt(item)
  local rng, list = self.rng, self.oms.issuance
  if rng:chance(50) then return false end
  local shipment = #list > 0 and rng:chance(60) and rng:pick(list).shipment or self:id "R"
  for _, issuance in ipairs(list) do
    if issuance.shipment == shipment and issuance.item == item.id then return self:id "R" end
  end
  return shipment
end

function make.back(e, item)
  local q = e:quantity()
  local reason, shipment = e.rng:pick { "RETURN", false }, e:receipt(item)
  return { move { item = item.id, at = e:stamp(), qoh = q, atp = q, reason = reason or nil,
    shipment = shipment or nil } }
end

-- A movement without a stamp is long ago.
function make.undated(e, item)
  return { move { item = item.id, qoh = -e:quantity(), atp = -e:quantity() } }
end

-- A variance of the OMS's own, or of another program that calls itself a reset.
function make.variance(e, item)
  local q, id = e:quantity() * e.rng:pick { 1, -1 }, e:id "E"
  local reason = e.rng:pick { "VAR_DAMAGED", "VAR_FOUND", "VAR_EXT_RESET", "UNACK_SHIPMENT" }
  return {
    add("physical", { id = id }),
    add("variance", { item = item.id, physical = id, reason = reason, qoh = q, atp = q }),
    move { item = item.id, at = e:stamp(), qoh = q, atp = q, reason = reason, physical = id },
  }
end

function make.reserve(e, item)
  local nothing = e.rng:pick { 0, false } or nil
  local q = e:quantity() * e.rng:pick { -1, -1, 1 }
  return { move { item = item.id, at = e:stamp(), qoh = nothing, atp = q, order = e:id "O" } }
end

function make.item(e)
  local rng = e.rng
  local id = shops.item_id(rng, e.shop)
  local ops = { add("item", { id = id, product = rng:pick(e.shop.products),
    facility = rng:pick(e.shop.facilities), qoh = 0, atp = 0 }) }
  if rng:chance(60) then
    local q = e:quantity()
    ops[2] = move { item = id, at = e:stamp(), qoh = q, atp = q, reason = "RECEIPT" }
  end
  return ops
end

local WEIGHTS = { { "sale", 18 }, { "back", 9 }, { "undated", 1 }, { "variance", 7 },
  { "reserve", 12 }, { "item", 3 }, { "ship", 26 }, { "stale", 3 }, { "confirm", 8 },
  { "cancel", 5 }, { "ack", 20 }, { "other_ack", 4 } }

--- The operations of one random event at an instant (seconds).
---@param now integer
---@return table[] ops
function Events:next(now)
  self.now = now
  local name, item = self.rng:weighted(WEIGHTS), self:item()
  if not item and name ~= "item" then return {} end
  return (make[name] or shipments.make[name])(self, item)
end

return { new = new }
