-- Print each record of a CSV file as a JSON array of strings, one a line.
--   tallyman examples/csv2json.lua FILE [--delimiter C]
-- FILE may be - for standard input. The delimiter is found from the first record unless given.
local csv = require "native.csv"
local failure = require "tallyman.failure"
local file = require "native.file"
local json = require "dkjson"

local function usage()
  failure.raise(failure.usage, "usage: tallyman examples/csv2json.lua FILE [--delimiter C]")
end

local path, delimiter
local i = 1
while arg[i] do
  if arg[i] == "--delimiter" and (arg[i + 1] or ""):match "^[^\"\r\n]$" then
    delimiter, i = arg[i + 1], i + 1
  elseif path or arg[i]:match "^%-." then
    usage()
  else
    path = arg[i]
  end
  i = i + 1
end
if not path then usage() end

-- Windows-1252 where it differs from Latin-1: 0x80 to 0x9F.
local WINDOWS = { 0x20AC, 0x81, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030,
  0x0160, 0x2039, 0x0152, 0x8D, 0x017D, 0x8F, 0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013,
  0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D, 0x017E, 0x0178 }

-- JSON is UTF-8: a field that isn't is taken for Windows-1252, as Windows hosts export it.
local function to_utf8(text)
  if utf8.len(text) then return text end
  return (text:gsub("[\x80-\xFF]", function(byte)
    return utf8.char(WINDOWS[byte:byte() - 0x7F] or byte:byte())
  end))
end

local function write(fields)
  local texts = {}
  for n, field in ipairs(fields) do texts[n] = json.quotestring(to_utf8(field)) end
  if not io.write("[", table.concat(texts, ","), "]\n") then
    failure.raise(failure.io, "cannot write standard output")
  end
end

local source <close> = failure.check(file.source(path))
local reader <close> = failure.check(csv.reader(source, { delimiter = delimiter }))
write((reader:header()))
while true do
  local fields, line, fault, column = reader:next()
  if not fields then
    failure.check(fields, line, fault)
    break
  end
  if fault then failure.raise(failure.bad_data, "%s:%d:%d: %s", path, line, column, fault) end
  write(fields)
end
