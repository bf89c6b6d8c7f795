-- What the retailer sells and sold: its stores, the products that are sold online today, and the
-- long row of products of the past that the POS never forgets.

local times = require "retailer.times"

local catalog = {}

local A_DAY = 86400

---@class retailer.Facility
---@field id string         the OMS's facility id
---@field name string
---@field store string      the POS's store code
---@field known boolean     the POS knows the OMS's id and writes it into its file

---@class retailer.Identifier
---@field type string
---@field value string
---@field from integer
---@field thru integer?     when it expired

---@class retailer.Product
---@field id string
---@field name string
---@field step number              the smallest quantity that is sold: a piece, or a quarter metre
---@field identifiers retailer.Identifier[]
---@field key string               the identifier that the POS sends, as `idType,idValue`
---@field former string?           an expired identifier that still stands in the file
---@field shopify string?          its id in the shop
---@field discontinued integer?

local CITIES = {
  "New York", "Nashville", "Chicago", "Boston", "Austin", "Denver",
  "Seattle", "Portland", "Atlanta", "Miami", "Philadelphia", "San Diego",
}
-- Two tills were never told the OMS's ids; their rows carry the store code alone.
local UNTOLD = { Denver = true, Miami = true }

local GARMENTS = {
  { "SHI", "Oxford Shirt" }, { "POL", "Pique Polo" }, { "DRS", "Wrap Dress" },
  { "JKT", "Field Jacket" }, { "CHN", "Slim Chino" }, { "KNT", "Merino Jumper" },
  { "SKT", "Pleated Skirt" }, { "TEE", "Pocket Tee" }, { "COT", "Wool Coat" },
}
local COLOURS = {
  { "NVY", "Navy" }, { "BLK", "Black" }, { "WHT", "White" }, { "OLV", "Olive" },
  { "RST", "Rust" }, { "SKY", "Sky" }, { "ECR", "Ecru" },
}
local SIZES = { "XS", "S", "M", "L", "XL", "XXL" }

local PAST_UPC = 84700000000
local PRESENT_UPC = 19450000000
local SHOPIFY_ID = 7190000000000

-- Eleven digits and the check digit that makes them a UPC-A.
local function upc(digits)
  local odd, even = 0, 0
  local rest = digits
  for place = 11, 1, -1 do
    if place % 2 == 1 then odd = odd + rest % 10 else even = even + rest % 10 end
    rest = rest // 10
  end
  return ("%011d%d"):format(digits, -(3 * odd + even) % 10)
end

---The stores, in the order in which the POS lists them.
---@return retailer.Facility[]
function catalog.facilities()
  local list = {}
  for number, city in ipairs(CITIES) do
    list[number] = {
      id = city:upper():gsub(" ", "_"),
      name = city,
      store = ("S%03d"):format(number),
      known = not UNTOLD[city],
    }
  end
  return list
end

---Type and value of the identifier of the past product with this number (1, 2, 3, ...).
---@param number integer
---@return string id_type
---@return string id_value
function catalog.past_identifier(number)
  if number % 4 == 0 then return "UPCA", upc(PAST_UPC + number) end
  return "SKU", ("%d-%s"):format(1000000 + number, SIZES[number % #SIZES + 1])
end

-- Which of its identifiers the POS sends for a product: most often the SKU.
local function sent_identifier(random, identifiers)
  local draw = random:between(1, 10)
  local chosen = identifiers[draw <= 7 and 1 or draw <= 9 and 2 or 3]
  return chosen.type .. "," .. chosen.value
end

-- A product that is sold online: three valid identifiers, and sometimes an expired one.
local function active_product(random, number, start)
  local garment, colour = random:pick(GARMENTS), random:pick(COLOURS)
  local size = random:pick(SIZES)
  local by_the_metre = random:permille(20)
  local from = start - random:between(100, 900) * A_DAY
  local product = {
    id = tostring(100000 + number),
    name = ("%s, %s, %s"):format(garment[2], colour[2], size),
    step = 1,
    shopify = tostring(SHOPIFY_ID + number * 32768),
  }
  if by_the_metre then
    product.name, product.step = ("Shirting by the metre, %s"):format(colour[2]), 0.25
  end
  local sku = ("%s-%04d-%s-%s"):format(garment[1], number, colour[1], size)
  product.identifiers = {
    { type = "SKU", value = sku, from = from },
    { type = "UPCA", value = upc(PRESENT_UPC + number * 37), from = from },
    { type = "SHOPIFY_PROD_ID", value = product.shopify, from = from },
  }
  product.key = sent_identifier(random, product.identifiers)
  if random:permille(25) then
    local former = ("%d-%s"):format(9000000 + number, size)
    product.former = "SKU," .. former
    table.insert(product.identifiers, {
      type = "SKU", value = former, from = from - 300 * A_DAY, thru = from,
    })
  end
  -- Already decided, but not yet due: still active.
  if random:permille(10) then product.discontinued = start + random:between(30, 90) * A_DAY end
  return product
end

---The products that are sold online.
---@param random retailer.Random
---@param count integer
---@param start integer  the instant that counts as the present
---@return retailer.Product[]
function catalog.active_products(random, count, start)
  local list = {}
  for number = 1, count do list[number] = active_product(random, number, start) end
  return list
end

---Products of the past that the OMS still remembers. Some are listed in the shop to this day, but
---discontinued; the others never were in it.
---@param random retailer.Random
---@param count integer
---@param start integer
---@return retailer.Product[]
function catalog.inactive_products(random, count, start)
  local list = {}
  for number = 1, count do
    local id_type, id_value = catalog.past_identifier(number)
    local age = random:between(400, 3000)
    local product = {
      id = tostring(200000 + number),
      name = random:pick(GARMENTS)[2] .. ", discontinued",
      step = 1,
      identifiers = { { type = id_type, value = id_value, from = start - age * A_DAY } },
      key = id_type .. "," .. id_value,
    }
    if random:permille(100) then
      product.shopify = tostring(SHOPIFY_ID - number * 32768)
      product.discontinued = start - random:between(10, age - 300) * A_DAY
    end
    list[number] = product
  end
  return list
end

---Enter stores and products into the OMS's tables.
---@param book retailer.Book
---@param facilities retailer.Facility[]
---@param products retailer.Product[]
function catalog.record(book, facilities, products)
  for _, facility in ipairs(facilities) do
    book:add("facility", {
      facility_id = facility.id, facility_type_id = "RETAIL_STORE",
      facility_name = facility.name, external_id = facility.store,
    })
  end
  for _, product in ipairs(products) do
    local ended = product.discontinued
    book:add("product", {
      product_id = product.id, internal_name = product.name,
      sales_discontinuation_date = ended and times.sql(ended),
    })
    for _, identifier in ipairs(product.identifiers) do
      book:add("good_identification", {
        product_id = product.id, good_identification_type_id = identifier.type,
        id_value = identifier.value, from_date = times.sql(identifier.from),
        thru_date = identifier.thru and times.sql(identifier.thru),
      })
    end
    if product.shopify then
      book:add("shopify_shop_product", {
        shop_id = "10000", product_id = product.id, shopify_product_id = product.shopify,
      })
    end
  end
end

return catalog
