--- The model's own picture of the OMS: plain tables, quantities in whole millionths, stamps in
--- milliseconds, null as nil. Changes arrive as operations, which the driver writes to the real
--- database as they stand here.
---
--- Operations:  { "add", TABLE, ROW }   { "set", TABLE, KEY, CHANGES }
---              { "move", ROW }  a ledger row together with the change of the item's totals

---@class model.Oms
local Oms = {}
Oms.__index = Oms

-- Tables that are looked up by a key; all others are lists.
local KEYED = { facility = "id", product = "id", item = "id", order = "id", shipment = "id" }

---@return model.Oms
local function new()
  return setmetatable({
    facility = {}, product = {}, item = {}, order = {}, shipment = {},
    identifier = {}, listing = {}, order_item = {}, shipment_item = {}, issuance = {}, ack = {},
    ledger = {}, physical = {}, variance = {}, reason = {},
  }, Oms)
end

---@param product string
---@param facility string
---@return string
function Oms.pair(product, facility)
  return product .. "@" .. facility
end

-- The operation's own row stays as it was: the database may be told of it later.
local function copy(row)
  local result = {}
  for column, value in pairs(row) do result[column] = value end
  return result
end

--- Does one operation.
---@param op table
function Oms:apply(op)
  local verb, name, row, changes = op[1], op[2], op[3], op[4]
  if verb == "add" then
    local key = KEYED[name]
    if key then self[name][row[key]] = copy(row) else table.insert(self[name], copy(row)) end
  elseif verb == "set" then
    local target = KEYED[name] and self[name][row] or row
    for column, value in pairs(changes) do target[column] = value end
  else
    self:move(name)
  end
end

--- A ledger row, and the totals with it.
---@param row table
function Oms:move(row)
  local item = assert(self.item[row.item], row.item)
  table.insert(self.ledger, row)
  item.qoh = (item.qoh or 0) + (row.qoh or 0)
  item.atp = (item.atp or 0) + (row.atp or 0)
end

-- Ids compare as bytes, whatever the host's locale says.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    if a:byte(i) ~= b:byte(i) then return a:byte(i) < b:byte(i) end
  end
  return #a < #b
end
Oms.before = before

--- The items of a pair, smallest id first.
---@param product string
---@param facility string
---@return table[]
function Oms:items(product, facility)
  local list = {}
  for _, item in pairs(self.item) do
    if item.product == product and item.facility == facility then list[#list + 1] = item end
  end
  table.sort(list, function(a, b) return before(a.id, b.id) end)
  return list
end

---@return integer qoh
---@return integer atp
function Oms:totals(product, facility)
  local qoh, atp = 0, 0
  for _, item in ipairs(self:items(product, facility)) do
    qoh, atp = qoh + (item.qoh or 0), atp + (item.atp or 0)
  end
  return qoh, atp
end

--- The sums of a pair's ledger rows that a test of the row lets through.
---@return integer qoh
---@return integer atp
function Oms:moved(product, facility, counts)
  local qoh, atp = 0, 0
  for _, row in ipairs(self.ledger) do
    local item = self.item[row.item]
    if item.product == product and item.facility == facility and (not counts or counts(row)) then
      qoh, atp = qoh + (row.qoh or 0), atp + (row.atp or 0)
    end
  end
  return qoh, atp
end

--- The products that an identifier names at an instant, as a sorted list without repeats.
---@param kind string
---@param value string
---@param now integer  seconds
---@return string[]
function Oms:named(kind, value, now)
  local seen, list = {}, {}
  for _, row in ipairs(self.identifier) do
    if row.kind == kind and row.value == value and self.valid(row, now) and not seen[row.product]
    then
      seen[row.product] = true
      list[#list + 1] = row.product
    end
  end
  table.sort(list, before)
  return list
end

--- An identifier counts from its first instant up to, not including, its last.
---@return boolean
function Oms.valid(row, now)
  local ms = now * 1000
  return (not row.from or row.from <= ms) and (not row.thru or row.thru > ms)
end

---@return boolean
function Oms:active(product, now)
  local row = self.product[product]
  if not row or row.discontinued and row.discontinued <= now * 1000 then return false end
  for _, listing in ipairs(self.listing) do
    if listing.product == product then return true end
  end
  return false
end

--- The keys of the active product list, as KIND|VALUE.
---@return table<string, boolean>
function Oms:active_keys(now)
  local keys = {}
  for _, row in ipairs(self.identifier) do
    if self.valid(row, now) and self:active(row.product, now) then
      keys[row.kind .. "|" .. row.value] = true
    end
  end
  return keys
end

--- The facility whose code in the POS this is.
---@return string?
function Oms:by_external(code)
  for id, facility in pairs(self.facility) do
    if facility.external == code then return id end
  end
end

return { new = new, before = before }
