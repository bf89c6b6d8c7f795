--- Shipments from the first box to the last acknowledgement: those events of `model.events` that
--- follow one another.

local shipments = { make = {} }

local make = shipments.make

--- The operation that adds a row.
---@return table op
function shipments.add(name, row) return { "add", name, row } end

--- The operation that writes a ledger row, and moves the totals with it.
---@return table op
function shipments.move(row) return { "move", row } end

local add, move = shipments.add, shipments.move

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
  local ops = { acknowledge(issuance, not rng:chance(4) and e:stamp(45) or nil) }
  if rng:chance(20) then ops[2] = acknowledge(issuance, e:stamp(), { shipment_seq = "00009" }) end
  return ops
end

-- Rows that acknowledge something else: another shipment of the order, another item of it.
function make.other_ack(e)
  if #e.oms.issuance == 0 then return {} end
  local change = e.rng:pick { { shipment = "S0" }, { seq = "00007" }, { order = "O0" } }
  return { acknowledge(e.rng:pick(e.oms.issuance), e:stamp(), change) }
end

return shipments
