--- Random CSV files by seed, nasty on purpose: whatever an export can get wrong, often enough to
--- meet everything else that an export can get wrong.
local rng = require "tests.model.rng"

local random_csv = {}

---@class random_csv.Shape what a caller may fix
---@field names? string[] the header's names; others are made up
---@field words? string[] what plain fields say; others are made up
---@field rows? integer at most this many rows; 8 by default

---@class random_csv.File
---@field bytes string
---@field delimiter? string the one to ask for; nil: it can be found from the header

local WORDS = {
  "a", "b7", "SKU", "1.5", "-3", " x ", "caf\xC3\xA9", "\xE2\x82\xAC5", "\xF0\x9F\x91\x9F",
  "Gr\xF6\xDFe", "\xC3", "\xE2\x82", "\xEF\xBB\xBF", "\0", "a\0b", "~", "=1+1", "'",
}
local STRAY = { 'a"b', 'a"', '12" x', '5""', 'b"c"d', '\r', 'a\rb', 'c\r', ' "x"', '\r"' }
local QUOTED = {
  "", "a", '""', '""""', 'say ""hi""', "\n", "\r\n", "\r", "two\nlines", "two\r\nlines", "a\n\nb",
  "caf\xC3\xA9\n\xC3\xA9", "\xE4\n", ",", ";", "\t", "a,b;c\td", '""\n""', "\0", "\n\n\n",
}
local BEHIND = { "x", " ", '"x"', "\r", 'b"c', "\0", " ,", "\xC3\xA9" }

local FIELDS = {
  { "word", 50 }, { "empty", 12 }, { "quoted", 22 }, { "quoted word", 8 }, { "stray", 6 },
  { "other delimiter", 2 }, { "behind", 1 },
}
local ROWS = {
  { "whole", 80 }, { "short", 4 }, { "long", 4 }, { "blank", 6 }, { "one", 2 },
  { "far too long", 1 },
}
local DELIMITERS = { { ",", 55 }, { ";", 20 }, { "\t", 15 }, { "|", 4 }, { " ", 2 }, { "\xA7", 1 } }

-- One field; `file` says what the file is like.
local function field(random, file, words)
  local kind = random:weighted(FIELDS)
  if kind == "word" then return random:pick(words) end
  if kind == "empty" then return "" end
  if kind == "quoted" then return '"' .. random:pick(QUOTED) .. '"' end
  if kind == "quoted word" then return '"' .. random:pick(words):gsub('"', '""') .. '"' end
  if not file.nasty then return random:pick(words) end
  if kind == "stray" then return random:pick(STRAY) end
  if kind == "other delimiter" then return random:pick { "a,b", "a;b", "a\tb", "," } end
  return '"' .. random:pick(QUOTED) .. '"' .. random:pick(BEHIND)
end

local function line_end(random, file)
  if file.line_end ~= "mixed" then return file.line_end end
  return random:chance(50) and "\n" or "\r\n"
end

-- How many fields a row of that kind has.
local function size_of(random, kind, columns)
  if kind == "short" then return random:int(1, math.max(1, columns - 1)) end
  if kind == "long" then return columns + random:int(1, 3) end
  if kind == "far too long" then return columns + random:int(30, 90) end
  return kind == "one" and 1 or columns
end

local function row(random, file, words)
  local kind = random:weighted(ROWS)
  if kind == "blank" then return line_end(random, file) end
  local fields = {}
  for n = 1, size_of(random, kind, file.columns) do fields[n] = field(random, file, words) end
  return table.concat(fields, file.delimiter) .. line_end(random, file)
end

-- A name of the header: any case, sometimes quoted.
local function cased(random, name)
  if random:chance(50) then name = random:pick { name:upper(), name:lower() } end
  return random:chance(15) and '"' .. name .. '"' or name
end

local function header(random, file, names)
  local fields = {}
  for n = 1, file.columns do
    fields[n] = names and cased(random, names[n])
      or random:chance(85) and random:pick { "a", "B", "x y", "caf\xC3\xA9", "n\xE4" }
      or '"' .. random:pick { "q", "q,r", "q;r", "q\tr", "q\nr", 'q""r', "" } .. '"'
  end
  -- A blank line would be no header.
  if file.columns == 1 and fields[1] == "" then fields[1] = "a" end
  return table.concat(fields, file.delimiter) .. line_end(random, file)
end

-- What happens to a file on its way.
local function spoil(random, bytes)
  if random:chance(20) then bytes = bytes:gsub("\r?\n$", "") end
  if random:chance(8) then bytes = bytes:sub(1, random:int(0, #bytes)) end
  if random:chance(4) then
    local at = random:int(1, #bytes + 1)
    bytes = bytes:sub(1, at - 1) .. '"' .. bytes:sub(at)
  end
  return bytes
end

---A file that was meant to be CSV.
---@param seed integer
---@param shape? random_csv.Shape
---@return random_csv.File
function random_csv.file(seed, shape)
  shape = shape or {}
  local random = rng.new(seed)
  local file = {
    delimiter = random:weighted(DELIMITERS), nasty = random:chance(50),
    line_end = random:weighted { { "\n", 50 }, { "\r\n", 30 }, { "mixed", 20 } },
    columns = shape.names and #shape.names or random:int(1, 5),
  }
  local parts = {}
  if random:chance(15) then parts[1] = "\xEF\xBB\xBF" end
  if random:chance(5) then parts[#parts + 1] = line_end(random, file) end
  parts[#parts + 1] = header(random, file, shape.names)
  for _ = 1, random:int(0, shape.rows or 8) do
    parts[#parts + 1] = row(random, file, shape.words or WORDS)
  end
  local guessable = #file.delimiter == 1 and (",;\t"):find(file.delimiter, 1, true)
  return {
    bytes = spoil(random, table.concat(parts)),
    delimiter = (not guessable or random:chance(20)) and file.delimiter or nil,
  }
end

local TYPES = { "SKU", "sku", "Upca" }
local VALUES = { "A1", "a1", 'say "hi"', "", "caf\xC3\xA9", "Gr\xF6\xDFe" }
local MIXED = { "SKU", "sku", "sKu", "UPCA", "A1", "a1", "a1 ", "caf\xC3\xA9", "Gr\xF6\xDFe" }

---@class random_csv.Keyed: random_csv.File
---@field key string[] names of the key's columns
---@field list string[][] keys
---@field set table<string, true> the same, as the slow filter wants them

---An inventory file with a list of keys, some of which it has.
---@param seed integer
---@param shape? random_csv.Shape its rows
---@return random_csv.Keyed
function random_csv.keyed(seed, shape)
  local random = rng.new(-seed)
  local names = random:shuffle { "idType", "idValue", "qty", "comments" }
  local made = random_csv.file(seed,
    { names = names, words = MIXED, rows = shape and shape.rows })
  local two = random:chance(75)
  made.key, made.list, made.set = two and { "idType", "idValue" } or { "idValue" }, {}, {}
  for n = 1, random:int(0, 12) do
    local type, value = random:pick(TYPES), random:pick(VALUES)
    made.list[n] = two and { type, value } or { value }
    made.set[two and type:lower() .. "\0" .. value or value] = true
  end
  return made
end

---Bytes that nobody meant: only those that mean something to CSV, in any order, under a header.
---@param seed integer
---@return random_csv.File
function random_csv.soup(seed)
  local random = rng.new(seed)
  local parts = {
    random:pick { "a,b\n", "a,b\r\n", "a\n", "a;b;c\n", '"a",b\n', "", "\xEF\xBB\xBFa,b\n" },
  }
  for _ = 1, random:int(0, 40) do
    parts[#parts + 1] = random:pick {
      "a", '"', '"', ",", ";", "\n", "\r", "\r\n", '""', "\xC3\xA9",
    }
  end
  return { bytes = table.concat(parts) }
end

return random_csv
