--- What the POS counted tonight, or what its export made of it: the rows of a Reset Inventory File.
--- Each pair gets one scenario, so that no two oddities meet whose order the rules leave open.

local records = {}

local COMMENTS = { "", "", "", "counted", "a, b; c\td", 'said "hello"', '5" pipe', "two\nlines",
  'three\r\nlines,\n"quoted"', "Caf\xE9 \x80", "Caf\u{E9} \u{20AC}", "lone\rreturn", "x\n\ny" }
local WRONG = { "n/a", "+5", ".5", "5.", "1e3", "NaN", "1_000", "1234567890", "1.1234567", "--5",
  "5 5", "0x10", "-", "inf", "1,000.5", "5-", "1.2.3" }
local SCENARIOS = {
  { "none", 14 }, { "single", 52 }, { "equal", 7 }, { "contradictory", 4 }, { "places", 7 },
  { "three", 3 }, { "wrong", 5 }, { "empty", 2 }, { "lost", 3 }, { "unknown", 3 },
  { "nowhere", 2 }, { "half", 2 },
}

-- A count near to what the OMS believes, most of the time.
local function count(rng, oms, product, facility)
  local qoh = oms:totals(product, facility)
  local near = rng:weighted { { "same", 25 }, { "near", 45 }, { "zero", 8 }, { "negative", 7 },
    { "decimal", 12 }, { "large", 3 } }
  if near == "same" then return qoh end
  if near == "near" then return qoh + rng:int(-4, 4) * 1000000 end
  if near == "zero" then return 0 end
  if near == "negative" then return -rng:int(1, 9) * 1000000 end
  if near == "decimal" then return rng:int(-2000000, 20000000) end
  return rng:int(100000, 999999999) * 1000000
end

-- One of the ways to write a number.
local function text(rng, style, value)
  local size = math.abs(value)
  local digits = ("%06d"):format(size % 1000000)
  local least = #digits:gsub("0+$", "")
  local rest = digits:sub(1, rng:chance(60) and least or rng:int(least, 6))
  local mark = style.comma and rng:chance(50) and "," or "."
  local whole = tostring(size // 1000000)
  if #whole < 9 and rng:chance(5) then whole = "0" .. whole end
  local sign = (value < 0 or value == 0 and rng:chance(10)) and "-" or ""
  local number = sign .. whole .. (rest ~= "" and mark .. rest or "")
  return rng:chance(8) and "  " .. number .. " " or number
end

local function letters(rng, kind)
  return rng:weighted { { kind, 80 }, { kind:lower(), 14 }, { kind:sub(1, 1) ..
    kind:sub(2):lower(), 6 } }
end

-- The facility of a row: by its id, by the POS's code, or both, of which the id counts.
local function place(rng, oms, style, row, facility)
  local code = oms.facility[facility].external
  row.facilityId = facility
  if code and style.has.externalFacilityId and (not style.has.facilityId or rng:chance(25)) then
    row.facilityId, row.externalFacilityId = "", code
  elseif rng:chance(30) then
    row.externalFacilityId = rng:pick { code or "999", "999" }
  end
end

local Maker = {}
Maker.__index = Maker

-- A good row; `stable`: by an identifier that will still be the product's at the import.
function Maker:row(product, facility, value, location, stable)
  local rng = self.rng
  local ids = self.shop.ids[product]
  local id = not stable and rng:chance(15) and #ids.odd > 0 and rng:pick(ids.odd)
    or rng:pick(ids.stable)
  local row = { idType = letters(rng, id.kind), idValue = id.value,
    availableQty = text(rng, self.style, value), locationSeqId = location or "",
    productId = rng:chance(50) and product or "", comments = rng:pick(COMMENTS),
    storeRegion = "east" }
  place(rng, self.oms, self.style, row, facility)
  return row
end

-- A row with some columns changed.
local function with(row, changes)
  for name, value in pairs(changes) do row[name] = value end
  return row
end

local make = {}

function make.none() end

function make.single(m, p, f, n)
  local location = m.rng:pick { "", "", "LOC1", "TLTLTLLL01" }
  m:add(m:row(p, f, n, location))
end

function make.equal(m, p, f, n)
  for _ = 1, m.rng:int(2, 3) do m:add(m:row(p, f, n, "LOC1", true)) end
end

function make.contradictory(m, p, f, n)
  m:add(m:row(p, f, n, "LOC1", true))
  m:add(m:row(p, f, n + m.rng:pick { 1000000, 1 }, "LOC1", true))
  if m.rng:chance(40) then m:add(m:row(p, f, n, "LOC2", true)) end
end

function make.places(m, p, f, n)
  local first = m.rng:pick { "LOC1", "" }
  m:add(m:row(p, f, n // 2, first, true))
  m:add(m:row(p, f, n - n // 2, m.rng:pick { "LOC2", "loc1" }, true))
end

function make.three(m, p, f, n)
  make.places(m, p, f, n)
  m:add(m:row(p, f, 1500000, "LOC3", true))
  m:add(m:row(p, f, 1500000, "LOC3", true))
end

local function wrong(m)
  if m.style.comma then return m.rng:pick(WRONG) end
  return m.rng:chance(15) and "3,5" or m.rng:pick(WRONG)
end

function make.wrong(m, p, f, n)
  m:add(with(m:row(p, f, n, "", true), { availableQty = wrong(m) }))
end

function make.empty(m, p, f, n)
  m:add(with(m:row(p, f, n, "", true), { availableQty = m.rng:pick { "", " " } }))
end

function make.lost(m, p, f, n)
  m:add(m:row(p, f, n, "LOC1", true))
  m:add(with(m:row(p, f, n, m.rng:pick { "LOC1", "LOC2" }, true), { availableQty = wrong(m) }))
end

function make.unknown(m, p, f, n)
  local code = m.oms.facility[f].external
  m:add(with(m:row(p, f, n, "", true),
    { facilityId = f:lower() ~= f and f:lower() or "XX", externalFacilityId = code or "" }))
end

function make.nowhere(m, p, f, n)
  m:add(with(m:row(p, f, n, "", true), { facilityId = "", externalFacilityId = "" }))
end

function make.half(m, p, f, n)
  m:add(with(m:row(p, f, n, "", true), { facilityId = "", externalFacilityId = "998" }))
end

function Maker:add(row)
  table.insert(self.rows, row)
end

-- Rows of identifiers that two products share: no other row may speak of either at that facility.
function Maker:shared(taken)
  for _, id in ipairs(self.shop.shared) do
    for _, facility in ipairs(self.shop.facilities) do
      if self.rng:chance(25) then
        for _, product in ipairs(id.products) do taken[product .. "@" .. facility] = true end
        self:add(with(self:row(id.products[1], facility, 3000000, "", true),
          { idType = id.kind, idValue = id.value }))
      end
    end
  end
end

-- Rows that name nothing that is sold online.
function Maker:strangers()
  local rng = self.rng
  for i = 1, rng:int(0, 6) do
    local facility = rng:pick(self.shop.facilities)
    local row = self:row(rng:pick(self.shop.named), facility, i * 1000000, "", true)
    self:add(with(row, rng:pick { { idValue = "Z" .. i }, { idValue = "" }, { idType = "" },
      { idType = "EAN" }, { idType = "PRODUCT_ID", idValue = rng:pick(self.shop.products) } }))
  end
end

-- Records whose structure is broken, and blank lines. The last row stays a good one.
function Maker:damage()
  local rng = self.rng
  for _ = 1, rng:chance(28) and rng:int(1, 3) or 0 do
    local row = self:row(rng:pick(self.shop.named), rng:pick(self.shop.facilities), 0, "", true)
    row.broken = rng:pick { "extra", "short", "quote", "junk" }
    if rng:chance(30) then row.idValue = "Z0" end
    table.insert(self.rows, rng:int(1, #self.rows), row)
  end
end

--- The rows of one file.
---@param rng model.Rng
---@param oms model.Oms
---@param shop table
---@param style table
---@param options { damage: boolean? }
---@return table[]
function records.rows(rng, oms, shop, style, options)
  local maker = setmetatable({ rng = rng, oms = oms, shop = shop, style = style, rows = {} }, Maker)
  local taken = {}
  maker:shared(taken)
  for _, product in ipairs(shop.named) do
    for _, facility in ipairs(shop.facilities) do
      local scenario = taken[product .. "@" .. facility] and "none" or rng:weighted(SCENARIOS)
      make[scenario](maker, product, facility, count(rng, oms, product, facility))
    end
  end
  maker:strangers()
  rng:shuffle(maker.rows)
  if options.damage and #maker.rows > 0 then maker:damage() end
  for _ = 1, rng:chance(20) and #maker.rows > 0 and rng:int(1, 2) or 0 do
    table.insert(maker.rows, rng:int(1, #maker.rows), { blank = true })
  end
  return maker.rows
end

return records
