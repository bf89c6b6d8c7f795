-- The Reset Inventory File as the POS sends it: the few rows of products that are sold online,
-- strewn over millions of rows of products of the past.

local catalog = require "retailer.catalog"
local stock = require "retailer.stock"

local inventory_file = {}

local HEADER =
  "facilityId,locationSeqId,idType,idValue,availableQty,externalFacilityId,productId,comments\n"

-- Rows that are put together before they are written.
local CHUNK = 4096

-- The rows of the past take quantities and comments from these pools in turn. The sizes have no
-- common divisor, so that it takes half a million rows until a combination comes again.
local QUANTITIES, COMMENTS = 1021, 509
local SHELVES = 24

local PHRASES = {
  "winter clearance 2014", "moved to the outlet", "discontinued by the vendor",
  "counted in the spring stocktake", "label reprinted", "last piece kept for display",
  "returned to the vendor, see the credit note", "shelf B, top row, behind the till",
  "season closed", "price tag missing", "old vendor code, do not reorder",
  "bin 14 in the back room", "carried over from the old till",
  "counted twice, both counts agree",
}
local QUOTED = {
  'sold as "second choice"', '12" hanger', 'tag says "NOS", check', "two lines:\nsecond line",
  'clerk wrote "recount"\nand signed, J.', "box 3, shelf 7, row 2",
}

-- A field as RFC 4180 wants it.
local function field(text)
  if not text:find '[,"\n]' then return text end
  return '"' .. text:gsub('"', '""') .. '"'
end

local function comment(random)
  local draw = random:between(1, 100)
  if draw <= 8 then return "" end
  if draw <= 14 then return field(random:pick(QUOTED)) end
  return field(random:pick(PHRASES))
end

-- Most products of the past are gone; some are still about, and some were sold once too often.
local function past_quantity(random)
  local draw = random:between(1, 100)
  if draw <= 70 then return "0" end
  if draw <= 94 then return tostring(random:between(1, 180)) end
  if draw <= 97 then return tostring(-random:between(1, 9)) end
  return ("%d.%d"):format(random:between(0, 60), random:between(1, 9))
end

local function pool(size, make)
  local list = {}
  for number = 1, size do list[number] = make() end
  return list
end

-- What the rows of a store begin with.
local function head(facility, location)
  return (facility.known and facility.id or "") .. "," .. location .. ","
end

-- For each store the beginnings of its rows, one for each shelf, and their middles: a quantity
-- from the pool, the store code, and what comes before the number of the product.
local function store_parts(facilities, shelves, quantities)
  local heads, middles = {}, {}
  for place, facility in ipairs(facilities) do
    heads[place], middles[place] = {}, {}
    for number, shelf in ipairs(shelves) do heads[place][number] = head(facility, shelf) end
    for number, quantity in ipairs(quantities) do
      middles[place][number] = "," .. quantity .. "," .. facility.store .. ",P"
    end
  end
  return heads, middles
end

---Make a source of rows of the past: each call puts the next `count` of them into `out`. A row is
---one concatenation of parts made beforehand, for there are millions.
---@param random retailer.Random
---@param facilities retailer.Facility[]
---@return fun(out: string[], count: integer)
local function past_rows(random, facilities)
  local quantities = pool(QUANTITIES, function() return past_quantity(random) end)
  local comments = pool(COMMENTS, function() return "," .. comment(random) .. "\n" end)
  local shelves = pool(SHELVES, function()
    return ("TLTLTLLL%02d"):format(random:between(1, 24))
  end)
  local heads, middles = store_parts(facilities, shelves, quantities)

  local stores, product, place = #facilities, 0, #facilities
  local quantity, remark = 0, 0
  local key, number, shelf
  return function(out, count)
    for row = 1, count do
      if place == stores then
        place, product = 0, product + 1
        local id_type, id_value = catalog.past_identifier(product)
        key, number = id_type .. "," .. id_value, tostring(1000000 + product)
        shelf = product % SHELVES + 1
      end
      place = place + 1
      quantity, remark = quantity % QUANTITIES + 1, remark % COMMENTS + 1
      out[row] = heads[place][shelf] .. key .. middles[place][quantity] .. number
        .. comments[remark]
    end
  end
end

-- One row of a product that is sold online; `remark` is quoted where it must be.
local function present_row(pair, key, quantity, remark)
  return table.concat({
    head(pair.facility, pair.location) .. key, stock.text(quantity), pair.facility.store,
    "P" .. pair.product.id, remark,
  }, ",") .. "\n"
end

---The rows of the products that are sold online.
---@class retailer.Goods
---@field blocks string[][]   the rows of each product
---@field rows integer        how many there are
---@field survivors integer   how many of them the filter keeps: all but the expired identifiers'

---Put together the rows of the products that are sold online.
---@param random retailer.Random
---@param list retailer.Pair[]
---@return retailer.Goods
function inventory_file.goods(random, list)
  local goods, block, product = { blocks = {}, rows = 0, survivors = 0 }, nil, nil
  local function add(...)
    table.insert(block, present_row(...))
    goods.rows = goods.rows + 1
  end
  for _, pair in ipairs(list) do
    if pair.listed then
      if pair.product ~= product then
        block, product = {}, pair.product
        table.insert(goods.blocks, block)
      end
      if product.former then add(pair, product.former, 0, "old number") end
      add(pair, product.key, pair.counted, comment(random))
      goods.survivors = goods.survivors + 1
    end
  end
  return goods
end

-- Write `count` rows of the past, a chunk at a time.
local function write_past(file, past, out, count)
  while count > 0 do
    local size = math.min(count, CHUNK)
    past(out, size)
    assert(file:write(table.concat(out, "", 1, size)))
    count = count - size
  end
end

---Write the file: `rows` rows, of which `goods` are some.
---@param path string
---@param random retailer.Random
---@param facilities retailer.Facility[]
---@param goods retailer.Goods
---@param rows integer
---@return integer bytes
function inventory_file.write(path, random, facilities, goods, rows)
  local file <close> = assert(io.open(path, "wb"))
  file:setvbuf("full", 1 << 20)
  assert(file:write(HEADER))
  local past, out = past_rows(random, facilities), {}
  local rest, blocks = rows - goods.rows, goods.blocks
  for number, block in ipairs(blocks) do
    write_past(file, past, out, rest * number // #blocks - rest * (number - 1) // #blocks)
    assert(file:write(table.concat(block)))
  end
  assert(file:flush())
  return file:seek "end"
end

return inventory_file
