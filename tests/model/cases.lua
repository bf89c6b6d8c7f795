--- The numbers that every release must reproduce, put to the model itself: what judges the jobs
--- must be right first. Times are hours: 22 is the snapshot, 26 the reset, 27 the variance.

local models = require "model.model"
local rules = require "model.rules"

local cases = {}

local DAY = 1790000000 // 86400 * 86400
local UNIT = 1000000

local function instant(hour)
  return DAY + math.floor(hour * 3600 + 0.5)
end

local function stamp(hour)
  return hour and instant(hour) * 1000
end

local Shop = {}
Shop.__index = Shop

local function units(value)
  return value and math.floor(value * UNIT + 0.5)
end

local function shop(method, ...)
  local self = setmetatable({ model = models.new("UTC", method or "exact_qoh"), count = 0 }, Shop)
  self.oms = self.model.oms
  self.oms:apply { "add", "facility", { id = "F" } }
  self.oms:apply { "add", "identifier", { product = "P", kind = "SKU", value = "A" } }
  for i, totals in ipairs { ... } do
    self.oms:apply { "add", "item", { id = "I" .. i, product = "P", facility = "F",
      qoh = units(totals[1]), atp = units(totals[2] or totals[1]) } }
  end
  return self
end

function Shop:move(hour, qoh, atp, reason)
  self.oms:apply { "move", { item = "I1", at = stamp(hour), qoh = units(qoh),
    atp = units(atp or qoh), reason = reason } }
end

-- options: reserved, cancelled, packed, kind
function Shop:ship(hour, quantity, options)
  options = options or {}
  self.count = self.count + 1
  local id, left = "S" .. self.count, units(quantity - (options.cancelled or 0))
  self.oms:apply { "add", "order", { id = id, kind = options.kind or "SALES_ORDER" } }
  self.oms:apply { "add", "shipment", { id = id,
    status = options.packed and "SHIPMENT_PACKED" or "SHIPMENT_SHIPPED" } }
  self.oms:apply { "add", "issuance", { item = "I1", order = id, seq = "1", shipment = id,
    quantity = units(quantity), cancelled = units(options.cancelled) } }
  if not options.packed then
    self.oms:apply { "move", { item = "I1", at = stamp(hour), qoh = -left,
      atp = options.reserved and 0 or -left, shipment = id } }
  end
end

function Shop:ack(hour)
  self.oms:apply { "add", "ack", { order = "S" .. self.count, seq = "1",
    shipment = "S" .. self.count, at = stamp(hour) } }
end

-- A reset of { location, text } rows, or of one text.
function Shop:reset(rows, snapshot, hour)
  if type(rows) ~= "table" then rows = { { "", rows } } end
  local pieces, has = {}, { facilityId = true, locationSeqId = true }
  for i, row in ipairs(rows) do
    pieces[i] = { line = i + 1, row = { facilityId = "F", locationSeqId = row[1], idType = "sku",
      idValue = "A", availableQty = row[2] } }
  end
  local now = instant(hour or 26)
  local plan = rules.import(self.model, { pieces = pieces, has = has }, now, {})
  return self.model:reset(plan.entries, instant(snapshot or 22), now, function() return "I1" end)
end

function Shop:settle(added)
  self.model:settle(self.model:newest(), "file", instant(27), added)
end

function Shop:totals()
  local qoh, atp = self.oms:totals("P", "F")
  return ("%g/%g"):format(qoh / UNIT, atp / UNIT)
end

-- Events, then the reset of a text, then the variance: totals after either.
local function plain(case)
  local s = shop(case.method, table.unpack(case.stock or { { 10 } }))
  if case.before then case.before(s) end
  s:reset(case.file, case.snapshot)
  local reset = s:totals()
  if case.after then case.after(s) end
  s:settle(case.added)
  return reset, s:totals()
end

local TWO = { { 10, 8 } }

cases.list = {
  { 1, file = "10", want = "10/10 8/8", before = function(s) s:ship(20, 2) end },
  { 2, file = "8", want = "8/8 8/8", before = function(s) s:ship(20, 2) s:ack(21) end },
  { 3, file = "10", want = "10/10 8/8", before = function(s) s:ship(20, 2) s:ack(22.5) end },
  { 4, file = "10", want = "10/10 8/8", before = function(s) s:ship(25.75, 2) end },
  { 5, file = "8", want = "8/8 8/8", snapshot = 25.8,
    before = function(s) s:ship(20, 2) s:ack(25.6) end },
  { 6, file = "10", want = "10/10 8/8", after = function(s) s:ship(26.5, 2) end },
  { 7, file = "10", want = "10/10 9/9", before = function(s) s:move(23, -1) end },
  { 8, file = "9", want = "9/9 9/9", before = function(s) s:move(21, -1) end },
  { 9, file = "9", want = "9/9 9/9", before = function(s) s:move(22, -1) end },
  { 10, file = "10", want = "10/10 9/9", after = function(s) s:move(26.5, -1) end },
  { 11, file = "10", want = "10/10 11/11", before = function(s) s:move(23, 1) end },
  { 12, file = "10", want = "10/10 7/7",
    before = function(s) s:move(23, -1, -1, "VAR_DAMAGED") s:ship(23.5, 2) end },
  { 13, file = "10", want = "10/8 10/8", before = function(s) s:move(20, 0, -2) end },
  { 14, file = "10", want = "10/10 8/8", stock = TWO,
    before = function(s) s:ship(20, 2, { reserved = true }) end },
  { 15, file = "10", want = "10/10 10/10",
    before = function(s) s:ship(20, 2, { packed = true }) end },
  { 17, file = "10", want = "10/10 8/8",
    before = function(s) s:ship(20, 3, { cancelled = 1 }) end },
  { 18, file = "8", want = "8/8 8/8",
    before = function(s) s:ship(20, 2) s:ack(23) s:ack(21) end },
  { 20, file = "n/a", want = "8/8 8/8", before = function(s) s:ship(20, 2) end },
  { 21, file = "0", want = "0/0 0/0", stock = {} },
  { 22, file = "7", want = "7/7 7/7", stock = {} },
  { 23, file = { { "LOC1", "5" }, { "LOC1", "5.0" } }, want = "5/5 5/5" },
  { 24, file = { { "LOC1", "5" }, { "LOC1", "6" } }, want = "10/10 10/10" },
  { 25, file = { { "LOC1", "5" }, { "LOC2", "5" } }, want = "10/10 10/10" },
  { 26, file = "7", want = "7/7 7/7", stock = { { 4 }, { 6 } } },
  { 27, file = "-3", want = "-3/-3 -3/-3" },
  { 28, file = "0.3", want = "0.3/0.3 0.1/0.1", stock = { { 1.1 } },
    before = function(s) s:move(23, -0.2) end },
  { 34, file = "10", want = "10/10 9/9", before = function(s) s:ship(20, 2) end,
    added = { { product = "P", facility = "F", delta = UNIT, reason = "VAR_FOUND" } } },
  { 36, file = "8", want = "8/8 8/8", method = "exact_atp",
    before = function(s) s:move(20, 0, -2) s:ship(20.5, 2, { reserved = true }) end },
  { 37, file = "10", want = "12/10 10/8", method = "exact_atp",
    before = function(s) s:move(23, 0, -2) end },
  { 38, file = "8", want = "8/8 10/10", method = "exact_atp", stock = TWO,
    before = function(s) s:move(23, 0, 2) end },
  { 41, file = "8", want = "8/8 8/8", before = function(s) s:ship(20, 2) s:ack(22) end },
  { 42, file = "8", want = "8/8 6/6", before = function(s) s:ship(20, 2) end },
  { 29, file = "10", want = "10/10 8/8", before = function(s) s:ship(20, 2) end,
    after = function(s) s:reset("10", 23, 26.3) end },
  { 43, file = "4", want = "4/4 10/10", after = function(s) s:reset("10", 23, 26.3) end },
}

--- What the model makes of a case, in the form of its `want`.
---@param case table
---@return string
function cases.result(case)
  local reset, variance = plain(case)
  return reset .. " " .. variance
end

return cases
