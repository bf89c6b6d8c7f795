--- A day's life in the OMS: sales, reservations, shipments, acknowledgements. Each event is a list
--- of operations, as OFBiz would write them: a ledger row, and the totals with it.

local bytes = require "model.oms"
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

local function add(name, row) return { "add", name, row } end
local function move(row) return { "move", row } end

function Events:id(prefix)
  self.shop.count = self.shop.count + 1
  return prefix .. self.shop.count
end

-- Mostly now; at times committed late, under an older stamp; at times on the snapshot or beside it.
function Events:stamp()
  local rng, now = self.rng, self.now * 1000
  local special = #self.specials > 0 and rng:chance(20)
  local at = now - (rng:chance(20) and rng:int(0, 5 * 3600) * 1000 or 0)
  if special then at = rng:pick(self.specials) * 1000 + rng:pick { 0, 0, 1, -1, 1000, -1000 } end
  if rng:chance(20) then at = at - rng:int(1, 999) end
  return math.min(at, now)
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

function make.back(e, item)
  local q = e:quantity()
  return { move { item = item.id, at = e:stamp(), qoh = q, atp = q,
    reason = e.rng:pick { "RETURN", false } or nil, shipment = e.rng:chance(30) and e:id "R" or nil }
  }
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

local STATUSES = { { "SHIPMENT_SHIPPED", 62 }, { "SHIPMENT_DELIVERED", 10 },
  { "SHIPMENT_PACKED", 20 }, { "SHIPMENT_INPUT", 8 } }
local KINDS = { { "SALES_ORDER", 78 }, { "TRANSFER_ORDER", 12 }, { "PURCHASE_ORDER", 10 } }

-- The ledger rows of one issuance, reserved before or not.
local function issue(e, ops, issuance, at)
  local left = -(issuance.quantity - (issuance.cancelled or 0))
  local row = { item = issuance.item, at = at, qoh = left, atp = left, order = issuance.order,
    seq = issuance.seq, shipment = issuance.shipment, shipment_seq = issuance.seq }
  if issuance.reserved then row.atp = e.rng:pick { 0, false } or nil end
  ops[#ops + 1] = move(row)
end

local function reserve(e, ops, issuance, at)
  ops[#ops + 1] = move { item = issuance.item, at = at - e.rng:int(0, 5 * 3600) * 1000, qoh = 0,
    atp = -issuance.quantity, order = issuance.order, seq = issuance.seq }
end

-- One line of a shipment. A second line may be the same order item from another stock item.
local function ship_line(e, ops, order, shipment, item, seq, at)
  local rng = e.rng
  local issuance = { id = e:id "X", order = order, seq = seq, shipment = shipment, item = item.id,
    at = not rng:chance(3) and at or nil, quantity = e:quantity(), reserved = rng:chance(45) }
  if rng:chance(20) then issuance.cancelled = rng:pick { 0, issuance.quantity, 1 } end
  ops[#ops + 1] = add("issuance", issuance)
  if issuance.reserved then reserve(e, ops, issuance, at) end
  return issuance
end

-- Another stock item for a second line: of the same pair, or of the same facility.
local function beside(e, item)
  local list = {}
  for _, other in ipairs(e:items()) do
    if other.facility == item.facility then list[#list + 1] = other end
  end
  return e.rng:pick(list)
end

function make.ship(e, item)
  local rng, order, shipment, at = e.rng, e:id "O", e:id "S", e:stamp()
  local status, ops = rng:weighted(STATUSES), {}
  local leaves = status == "SHIPMENT_SHIPPED" or status == "SHIPMENT_DELIVERED" or rng:chance(15)
  ops[1] = add("order", { id = order, kind = rng:weighted(KINDS) })
  ops[2] = add("shipment", { id = shipment, status = status,
    facility = rng:chance(85) and item.facility or rng:pick(e.shop.facilities) })
  for n = 1, rng:chance(30) and 2 or 1 do
    if n == 2 then item = beside(e, item) end
    local seq = ("%05d"):format(n == 2 and rng:chance(70) and 2 or 1)
    ops[#ops + 1] = add("order_item", { order = order, seq = ("%05d"):format(n),
      product = item.product, quantity = 9000000 })
    ops[#ops + 1] = add("shipment_item", { shipment = shipment, seq = ("%05d"):format(n),
      product = item.product, quantity = 1000000 })
    local issuance = ship_line(e, ops, order, shipment, item, seq, at)
    issuance.left = leaves
    if leaves then issue(e, ops, issuance, at) end
  end
  return ops
end

-- A shipment that happened weeks ago and was never acknowledged.
function make.stale(e, item)
  local now = e.now
  e.now = now - e.rng:int(46, 90) * 86400
  local ops = make.ship(e, item)
  e.now = now
  return ops
end

-- A packed box leaves: the status changes, and what hasn't left the ledger does so now.
function make.confirm(e)
  local waiting = {}
  for _, issuance in ipairs(e.oms.issuance) do
    local status = e.oms.shipment[issuance.shipment].status
    if status == "SHIPMENT_PACKED" or status == "SHIPMENT_INPUT" then
      waiting[#waiting + 1] = issuance
    end
  end
  if #waiting == 0 then return {} end
  local shipment = e.rng:pick(waiting).shipment
  local ops = { { "set", "shipment", shipment, { status = "SHIPMENT_SHIPPED" } } }
  local at = e:stamp()
  for _, issuance in ipairs(waiting) do
    if issuance.shipment == shipment and not issuance.left then
      issuance.left = true
      issue(e, ops, issuance, at)
    end
  end
  return ops
end

-- A part of what was issued is taken back.
function make.cancel(e)
  if #e.oms.issuance == 0 then return {} end
  local issuance = e.rng:pick(e.oms.issuance)
  local before = issuance.cancelled or 0
  local more = math.min(e:quantity(), issuance.quantity - before)
  if more <= 0 then return {} end
  local ops = { { "set", "issuance", issuance, { cancelled = before + more } } }
  if issuance.left then
    ops[2] = move { item = issuance.item, at = e:stamp(), qoh = more, atp = more,
      order = issuance.order, seq = issuance.seq, shipment = issuance.shipment }
  end
  return ops
end

local function acknowledge(issuance, at, changes)
  local row = { order = issuance.order, seq = issuance.seq, shipment = issuance.shipment,
    shipment_seq = issuance.seq, at = at }
  for name, value in pairs(changes or {}) do row[name] = value end
  return add("ack", row)
end

function make.ack(e)
  if #e.oms.issuance == 0 then return {} end
  local rng, issuance = e.rng, e.rng:pick(e.oms.issuance)
  local ops = { acknowledge(issuance, not rng:chance(4) and e:stamp() or nil) }
  if rng:chance(20) then ops[2] = acknowledge(issuance, e:stamp(), { shipment_seq = "00009" }) end
  return ops
end

-- Rows that acknowledge something else: another shipment of the order, another item of it.
function make.other_ack(e)
  if #e.oms.issuance == 0 then return {} end
  local change = e.rng:pick { { shipment = "S0" }, { seq = "00007" }, { order = "O0" } }
  return { acknowledge(e.rng:pick(e.oms.issuance), e:stamp(), change) }
end

local WEIGHTS = { { "sale", 18 }, { "back", 9 }, { "undated", 1 }, { "variance", 7 },
  { "reserve", 12 }, { "item", 3 }, { "ship", 26 }, { "stale", 3 }, { "confirm", 8 },
  { "cancel", 5 }, { "ack", 14 }, { "other_ack", 4 } }

--- The operations of one random event at an instant (seconds).
---@param now integer
---@return table[] ops
function Events:next(now)
  self.now = now
  local name, item = self.rng:weighted(WEIGHTS), self:item()
  if not item and name ~= "item" then return {} end
  return make[name](self, item)
end

return { new = new }
