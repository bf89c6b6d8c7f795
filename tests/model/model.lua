--- The arithmetic of resets and variances, written down once more from the rules alone: loops over
--- plain tables, no SQL, nothing of the library.

local oms = require "model.oms"
local clock = require "model.clock"

local SHIPPED = { SHIPMENT_SHIPPED = true, SHIPMENT_DELIVERED = true }
local KINDS = { "SKU", "UPCA" }
local LONG_AGO = math.mininteger

---@class model.Model
---@field oms model.Oms
---@field cycles table[]
---@field zone string
---@field method string
local Model = {}
Model.__index = Model

---@param zone string
---@param method string
---@return model.Model
local function new(zone, method)
  return setmetatable({ oms = oms.new(), cycles = {}, zone = zone, method = method }, Model)
end

-- A shipment that left the shelf for a customer, as opposed to a transfer or a packed box.
function Model:shipped(issuance)
  local order, shipment = self.oms.order[issuance.order], self.oms.shipment[issuance.shipment]
  return order ~= nil and order.kind == "SALES_ORDER" and SHIPPED[shipment.status] == true
end

-- When the POS first acknowledged an issuance; nil while it hasn't.
function Model:acknowledged(issuance)
  local first
  for _, ack in ipairs(self.oms.ack) do
    if ack.order == issuance.order and ack.seq == issuance.seq
      and ack.shipment == issuance.shipment then
      first = math.min(first or math.maxinteger, ack.at or LONG_AGO)
    end
  end
  return first
end

-- The goods of a pair that shipped, of which `unknown` says (by the time of acknowledgement) that
-- the POS hasn't taken them off.
function Model:missing(product, facility, unknown)
  local sum = 0
  for _, issuance in ipairs(self.oms.issuance) do
    local item = self.oms.item[issuance.item]
    if item.product == product and item.facility == facility and self:shipped(issuance)
      and unknown(self:acknowledged(issuance)) then
      sum = sum + issuance.quantity - (issuance.cancelled or 0)
    end
  end
  return sum
end

-- Item and shipment of everything that counts as shipped.
function Model:issued()
  local set = {}
  for _, issuance in ipairs(self.oms.issuance) do
    if self:shipped(issuance) then set[issuance.item .. "|" .. issuance.shipment] = true end
  end
  return set
end

--- What a reset to a count of `snapshot` (seconds) would take off wrongly: D.
---@param issued table  the set of Model:issued
---@return integer
function Model:deduction(product, facility, snapshot, issued)
  local since = snapshot * 1000
  local function moved(row)
    return row.at ~= nil and row.at > since and not row.own
  end
  if self.method == "exact_atp" then
    local _, atp = self.oms:moved(product, facility, moved)
    return -atp
  end
  local qoh = self.oms:moved(product, facility, function(row)
    return moved(row) and not (row.shipment and issued[row.item .. "|" .. row.shipment])
  end)
  return self:missing(product, facility, function(at) return not at or at > since end) - qoh
end

--- What the variance file must say: each pair's sum of unacknowledged shipments.
---@return table[] rows  product, facility, quantity (positive)
function Model:unacknowledged()
  local rows, seen = {}, {}
  for _, issuance in ipairs(self.oms.issuance) do
    local item = self.oms.item[issuance.item]
    local pair = self.oms.pair(item.product, item.facility)
    if not seen[pair] then
      seen[pair] = true
      local sum = self:missing(item.product, item.facility, function(at) return not at end)
      if sum ~= 0 then
        rows[#rows + 1] = { product = item.product, facility = item.facility, quantity = sum }
      end
    end
  end
  return rows
end

--- The identifiers by which a variance file may name a product, as a set of KIND|VALUE.
---@return table<string, boolean>
function Model:names(product, now)
  for _, kind in ipairs(KINDS) do
    local set = {}
    for _, row in ipairs(self.oms.identifier) do
      if row.product == product and row.kind == kind and self.oms.valid(row, now)
        and #self.oms:named(kind, row.value, now) == 1 then
        set[kind .. "|" .. row.value] = true
      end
    end
    if next(set) then return set end
  end
  return { ["PRODUCT_ID|" .. product] = true }
end

-- One row of ours in ledger and variances, unless there is nothing to write.
function Model:book(item, delta, reason, now, mark)
  if delta == 0 then return end
  local row = { item = item.id, at = now * 1000, qoh = delta, atp = delta, reason = reason }
  for key, value in pairs(mark) do row[key] = value end
  self.oms:move(row)
  table.insert(self.oms.variance, { item = item.id, reason = reason, qoh = delta, atp = delta })
end

---@return table? cycle
function Model:newest()
  return self.cycles[#self.cycles]
end

--- Books a cycle's variance: exactly -D a pair, and what was added by hand.
---@param by string  file, deadline or next reset
---@param added? table[]  hand-added rows: product, facility, delta, reason
function Model:settle(cycle, by, now, added)
  cycle.settled = by
  table.insert(self.oms.physical, "variance")
  for _, cover in ipairs(cycle.coverage) do
    local item = self.oms:items(cover.product, cover.facility)[1]
    self:book(item, -cover.deduction, "UNACK_SHIPMENT", now,
      { own = "variance", cycle = cycle.number })
  end
  for _, row in ipairs(added or {}) do
    table.insert(self.oms.physical, "added")
    self:book(self.oms:items(row.product, row.facility)[1], row.delta, row.reason, now, {})
  end
end

-- Quantities before anything of this cycle is written, and D.
function Model:cover(entry, snapshot, issued)
  local product, facility = entry.product, entry.facility
  local qoh, atp = self.oms:totals(product, facility)
  local cover = { product = product, facility = facility, lines = entry.lines,
    quantity = entry.quantity, qoh = qoh, atp = atp, location = entry.location }
  cover.delta = entry.quantity - (self.method == "exact_atp" and atp or qoh)
  cover.ledger_qoh, cover.ledger_atp = self.oms:moved(product, facility)
  cover.deduction = self:deduction(product, facility, snapshot, issued)
  return cover
end

--- Applies a reset: a new cycle. `item_of(cover)` says which id a pair without item was given.
---@param entries table[]  product, facility, quantity, lines, location
---@param snapshot integer
---@param now integer
---@return table cycle
function Model:reset(entries, snapshot, now, item_of)
  local last = self:newest()
  if last and not last.settled then self:settle(last, "next reset", now) end
  local cycle = { number = #self.cycles + 1, snapshot = snapshot, at = now, coverage = {},
    night = clock.night(self.zone, now) }
  local issued = self:issued()
  for _, entry in ipairs(entries) do
    table.insert(cycle.coverage, self:cover(entry, snapshot, issued))
  end
  table.insert(self.cycles, cycle)
  table.insert(self.oms.physical, "reset")
  for _, cover in ipairs(cycle.coverage) do self:write(cycle, cover, now, item_of) end
  return cycle
end

function Model:write(cycle, cover, now, item_of)
  local item = self.oms:items(cover.product, cover.facility)[1]
  if not item then
    item = { id = item_of(cover), product = cover.product, facility = cover.facility,
      location = cover.location ~= "" and cover.location or nil, qoh = 0, atp = 0, made = true }
    self.oms.item[item.id] = item
  end
  self:book(item, cover.delta, "VAR_EXT_RESET", now, { own = "reset", cycle = cycle.number })
end

return { new = new }
