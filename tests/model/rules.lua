--- How the rows of a Reset Inventory File are judged: by the filter, and by the import.
--- A file here is the list of pieces that `model.encode` lays out; nothing is parsed.

local rules = {}

--- The value of a row's column; a column that the file doesn't have is empty.
---@param file table
---@param row table
---@param column string
---@return string
function rules.value(file, row, column)
  return file.has[column] and row[column] or ""
end

--- What the filter makes of an inbound file.
---@param file table
---@param active table<string, boolean>  KIND|VALUE
---@return table result  kept pieces, rejected lines, blocked keys; or fatal
function rules.filter(file, active)
  if file.fatal then return { fatal = true } end
  local result = { kept = {}, rejects = {}, blocked = {} }
  for _, piece in ipairs(file.pieces) do
    local key = piece.key
    if piece.blank or key and not active[key] then goto continue end
    if not piece.broken then
      table.insert(result.kept, piece)
    else
      result.rejects[piece.line] = { why = "structure", piece = piece }
      if key then result.blocked[key] = true end
    end
    ::continue::
  end
  return result
end

--- A quantity in millionths; nil where the text is no number.
---@param text string
---@param comma boolean  whether a decimal comma is understood
---@return integer?
function rules.number(text, comma)
  local sign, whole, rest = text:match "^ *(%-?)(%d+)(.-) *$"
  if not whole or #whole > 9 then return nil end
  local digits = ""
  if rest ~= "" then
    digits = rest:match(comma and "^[.,](%d+)$" or "^%.(%d+)$")
    if not digits or #digits > 6 then return nil end
  end
  local value = tonumber(whole) * 1000000 + tonumber(digits .. ("0"):rep(6 - #digits))
  return sign == "-" and -value or value
end

local function facility_of(model, file, row)
  local id = rules.value(file, row, "facilityId")
  if id ~= "" then
    return model.oms.facility[id] and id or nil
  end
  local code = rules.value(file, row, "externalFacilityId")
  return code ~= "" and model.oms:by_external(code) or nil
end

-- The one column that a row's single fault lies in; nil where two could be named.
local function culprit(row, seen)
  if seen.facility and seen.product then return "availableQty" end
  if seen.facility and seen.quantity then
    return row.idType == "" and "idType" or "idValue"
  end
end

-- Facility, product and quantity of a row, as far as each can be told.
local function judge(model, file, row, now)
  local facility = facility_of(model, file, row)
  local products = model.oms:named(row.idType:upper(), row.idValue, now)
  local product = row.idType ~= "" and row.idValue ~= "" and #products == 1 and products[1] or nil
  local quantity = rules.number(row.availableQty, file.comma)
  local why = not facility and "facility" or not product and "product"
    or not quantity and "quantity" or nil
  local seen = { facility = facility, product = product, quantity = quantity, why = why }
  return seen, why and culprit(row, seen)
end

-- Whether a pair's good rows fit together: the sum of its locations, or nil.
local function sum(rows)
  local at, total = {}, 0
  for _, row in ipairs(rows) do
    local known = at[row.location]
    if known and known ~= row.quantity then return nil end
    if not known then total = total + row.quantity end
    at[row.location] = row.quantity
  end
  return total
end

local function collect(model, file, now, rejects)
  local pairs_of, order = {}, {}
  for _, piece in ipairs(file.pieces) do
    if piece.blank then goto continue end
    local seen, column = judge(model, file, piece.row, now)
    if seen.why then
      rejects[piece.line] = { why = seen.why, piece = piece, column = column }
    end
    if seen.facility and seen.product then
      local name = model.oms.pair(seen.product, seen.facility)
      local pair = pairs_of[name]
      if not pair then
        pair = { product = seen.product, facility = seen.facility, lines = {}, rows = {} }
        pairs_of[name] = pair
        table.insert(order, pair)
      end
      pair.lost = pair.lost or seen.why ~= nil
      table.insert(pair.lines, piece.line)
      table.insert(pair.rows, { quantity = seen.quantity,
        location = rules.value(file, piece.row, "locationSeqId") })
    end
    ::continue::
  end
  return order
end

--- What the import makes of a filtered file: the pairs that it covers, and the lines it rejects.
--- Rows of a product that the filter rejected a record of aren't covered; whether each of them gets
--- a line of its own is open, so those lines are `optional`.
---@param model model.Model
---@param file table
---@param now integer
---@param blocked table<string, boolean>  products
---@return table result
function rules.import(model, file, now, blocked)
  local result, at = { entries = {}, rejects = {}, optional = {} }, {}
  for _, piece in ipairs(file.pieces) do at[piece.line] = piece end
  for _, pair in ipairs(collect(model, file, now, result.rejects)) do
    local total = not pair.lost and sum(pair.rows)
    local target = blocked[pair.product] and result.optional or not total and result.rejects
    for _, line in ipairs(target and pair.lines or {}) do
      if not result.rejects[line] then target[line] = { why = "pair", piece = at[line] } end
    end
    if not target then
      pair.quantity, pair.location = total, pair.rows[1].location
      table.insert(result.entries, pair)
    end
  end
  return result
end

return rules
