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
  if arg[i] == "--delimiter" and arg[i + 1] and #arg[i + 1] == 1 then
    delimiter, i = arg[i + 1], i + 1
  elseif path or arg[i]:match "^%-." then
    usage()
  else
    path = arg[i]
  end
  i = i + 1
end
if not path then usage() end

local function write(fields)
  local texts = {}
  for n, field in ipairs(fields) do texts[n] = json.quotestring(field) end
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
