--- Rows to bytes, in every manner that exports come in. What is laid out keeps each record's raw
--- bytes, so that the model can say what filtering must leave of it, byte for byte.

local encode = {}

local COLUMNS = { "facilityId", "locationSeqId", "idType", "idValue", "availableQty",
  "externalFacilityId", "productId", "comments" }
local OPTIONAL = { "locationSeqId", "externalFacilityId", "productId", "comments" }
local KEY = { idType = true, idValue = true }
local BOM = "\xEF\xBB\xBF"

local function drop(list, name)
  for i, column in ipairs(list) do
    if column == name then table.remove(list, i) end
  end
end

-- Which columns, in which order.
local function columns(rng)
  local list = table.move(COLUMNS, 1, #COLUMNS, 1, {})
  if rng:chance(25) then drop(list, rng:pick(OPTIONAL)) end
  if rng:chance(15) then drop(list, rng:pick(OPTIONAL)) end
  if rng:chance(6) and table.concat(list, ","):find("externalFacilityId", 1, true) then
    drop(list, "facilityId")
  end
  if rng:chance(20) then list[#list + 1] = "storeRegion" end
  if rng:chance(40) then rng:shuffle(list) end
  return list
end

--- How a file is written.
---@param rng model.Rng
---@return table style
function encode.style(rng)
  local style = {
    columns = columns(rng), has = {},
    delimiter = rng:weighted { { ",", 55 }, { ";", 25 }, { "\t", 20 } },
    eol = rng:chance(40) and "\r\n" or "\n",
    bom = rng:chance(25) and BOM or "",
    open_end = rng:chance(20),
    gzip = rng:chance(25),
    letters = rng:weighted { { "same", 60 }, { "lower", 15 }, { "upper", 15 }, { "mixed", 10 } },
    quoting = rng:weighted { { 0, 50 }, { 20, 30 }, { 100, 20 } },
  }
  style.comma = style.delimiter ~= ","
  for _, name in ipairs(style.columns) do style.has[name] = true end
  return style
end

local function title(rng, style, name)
  if style.letters == "lower" then return name:lower() end
  if style.letters == "upper" then return name:upper() end
  if style.letters == "same" then return name end
  return (name:gsub(".", function(c) return rng:chance(50) and c:upper() or c:lower() end))
end

-- A field that must be quoted is; any other may be.
local function field(rng, style, text)
  local must = text:find(style.delimiter, 1, true) or text:find "^\"" or text:find "\n"
  if not must and not rng:chance(style.quoting) then return text end
  return '"' .. text:gsub('"', '""') .. '"'
end

local function fields(rng, style, row)
  local list = {}
  for i, name in ipairs(style.columns) do list[i] = field(rng, style, row[name] or "") end
  return list
end

local function last_key(style)
  local at = 0
  for i, name in ipairs(style.columns) do if KEY[name] then at = i end end
  return at
end

-- Text after a closing quote, in a column behind the key; nil where there is no such column.
local function after_quote(style, list)
  local at = last_key(style) + 1
  if not list[at] then return nil end
  list[at] = '"a"b'
  return list, true
end

-- The fields of a record with a broken structure, and whether its key can still be read.
local function broken(rng, style, list, how)
  if how == "quote" then
    local changed, readable = after_quote(style, list)
    if changed then return changed, readable end
  elseif how == "short" then
    local count = rng:int(1, #list - 1)
    local cut = table.move(list, 1, count, 1, {})
    if count > 1 or cut[1] ~= "" then return cut, count >= last_key(style) end
  elseif how == "junk" then
    return { "-- end of page 1 --" }, false
  end
  list[#list + 1] = "surplus"
  return list, true
end

-- Where each column starts, in characters; nil where bytes aren't characters, or lines break.
local function starts(style, list)
  local at, map = 1, {}
  for i, text in ipairs(list) do
    map[style.columns[i] or i] = at
    if text:find "[\128-\255\r\n]" then break end
    at = at + #text + 1
  end
  return map
end

local function piece(rng, style, row)
  if row.blank then return { raw = style.eol, blank = true } end
  local list, readable = fields(rng, style, row), true
  if row.broken then list, readable = broken(rng, style, list, row.broken) end
  local key = readable and row.idType:upper() .. "|" .. row.idValue or nil
  return { raw = table.concat(list, style.delimiter) .. style.eol, row = row, key = key,
    broken = row.broken ~= nil, starts = starts(style, list) }
end

--- Numbers the lines and joins the bytes of a file.
---@param header string
---@param pieces table[]
---@return table[] pieces
---@return string bytes
function encode.number(header, pieces)
  local line, numbered, raw = 2, {}, { header }
  for i, old in ipairs(pieces) do
    local copy = {}
    for key, value in pairs(old) do copy[key] = value end
    copy.line = line
    numbered[i], raw[i + 1] = copy, old.raw
    local _, breaks = old.raw:gsub("\n", "")
    line = line + breaks
  end
  return numbered, table.concat(raw)
end

local FATAL = {
  quote = function(style) return '"never closed' .. style.delimiter .. "x" .. style.eol end,
  cut = function() return "NYC" end,
}

--- Lays out rows in a style.
---@param rng model.Rng
---@param style table
---@param rows table[]
---@param fatal? string  quote or cut: how the file breaks off
---@return table file  header, pieces, bytes, has, comma
function encode.file(rng, style, rows, fatal)
  local names, pieces = {}, {}
  for i, name in ipairs(style.columns) do
    names[i] = field(rng, style, title(rng, style, name))
  end
  local header = style.bom .. table.concat(names, style.delimiter) .. style.eol
  for i, row in ipairs(rows) do pieces[i] = piece(rng, style, row) end
  local last = pieces[#pieces]
  if fatal then
    pieces[#pieces + 1] = { raw = FATAL[fatal](style), broken = true }
  elseif style.open_end and last and not last.broken and not last.blank then
    last.raw = last.raw:sub(1, -1 - #style.eol)
  end
  local file = { header = header, has = style.has, comma = style.comma, fatal = fatal,
    gzip = style.gzip }
  file.pieces, file.bytes = encode.number(header, pieces)
  return file
end

--- A file again, with one more record in front that names nothing sold online.
---@param file table
---@return table
function encode.with_stranger(rng, style, file)
  local row = { facilityId = "NYC", idType = "SKU", idValue = "Z99", availableQty = "1" }
  local pieces = table.move(file.pieces, 1, #file.pieces, 2, { piece(rng, style, row) })
  local result = {}
  for key, value in pairs(file) do result[key] = value end
  result.pieces, result.bytes = encode.number(file.header, pieces)
  return result
end

--- The file that holds only some pieces of another.
---@param file table
---@param kept table[]
---@return table
function encode.filtered(file, kept)
  local result = { header = file.header, has = file.has, comma = file.comma }
  result.pieces, result.bytes = encode.number(file.header, kept)
  return result
end

return encode
