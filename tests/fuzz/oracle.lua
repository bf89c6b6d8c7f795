--- Between the fuzzer's harnesses and the slow reader: questions in plain values, answers as texts
--- that a harness can write itself and compare byte for byte. Called with the tests' folder.
local slow_csv = dofile((...) .. "/support/slow_csv.lua")

local oracle = {}

local slow_read = slow_csv.read
local keep = {}

local function place(failure)
  if not failure then return "end" end
  if not failure.line then return failure.kind end
  return ("%s %d %d"):format(failure.kind or "broken", failure.line, failure.column)
end

-- A record's head line and its fields, those of the header's columns: place, size and text.
local function render(out, record, columns)
  out[#out + 1] = ("%d %d %d %s %d\n"):format(record.line, #record.raw, #record.body,
    record.fault or "sound", record.column or 0)
  out[#out + 1] = ("%d fields\n"):format(#record.fields)
  for n = 1, math.min(#record.fields, columns) do
    local text = record.fields[n]
    out[#out + 1] = ("%d %d:"):format(record.starts[n] - record.at, #text)
    out[#out + 1] = text
    out[#out + 1] = "\n"
  end
end

---Everything that a scan of the text should find.
---@param text string
---@param delimiter? string
---@param max_record integer
---@return string
function oracle.scan(text, delimiter, max_record)
  local result = slow_read(text, { delimiter = delimiter, max_record = max_record })
  local out = {}
  if result.header then
    local columns = #result.header.fields
    out[1] = "delimiter " .. result.delimiter .. "\n"
    render(out, result.header, columns)
    for _, record in ipairs(result.records) do render(out, record, columns) end
  end
  out[#out + 1] = place(result.failure)
  return table.concat(out)
end

function oracle.new_keys() keep = {} end

function oracle.add_key(value, type)
  keep[type and type:lower() .. "\0" .. value or value] = true
end

-- Whether the header has each name exactly once.
local function has_once(header, names)
  for _, name in ipairs(names) do
    local found = 0
    for _, field in ipairs(header.fields) do
      if field:lower() == name then found = found + 1 end
    end
    if found ~= 1 then return false end
  end
  return true
end

---What a filter should make of the text with the keys added last: output, rejects, counts and how
---it ends.
---@param text string
---@param name string the key's column, or the one of its type
---@param second? string the one of its value
---@param delimiter? string
---@param max_record integer
---@param rejects boolean false: a broken record ends the run
---@return string, string, string, string
function oracle.filter(text, name, second, delimiter, max_record, rejects)
  local options = { key = { name, second }, delimiter = delimiter, max_record = max_record,
    rejects = rejects }
  local read = slow_read(text, options)
  if read.header and not has_once(read.header, options.key) then
    return "", "", "", ("columns %d 1"):format(read.header.line)
  end
  slow_csv.read = function() return read end -- it is slow: once is enough
  local result = slow_csv.filter(text, options, keep)
  slow_csv.read = slow_read
  local counts, line = result.counts, ""
  if counts then
    line = ("%d read, %d kept, %d left out, %d rejected, %d broken left out, %s, %s"):format(
      counts.read, counts.kept, counts.left_out, counts.rejected, counts.broken_left_out,
      counts.delimiter, counts.last_line_end)
  end
  return result.out or "", result.rejects or "", line, place(result.failure)
end

---Makes the lines of a text the keys.
---@param text string
---@return integer count
function oracle.add_lines(text)
  local count = 0
  keep = {}
  for line in (text:gsub("^\xEF\xBB\xBF", "") .. "\n"):gmatch "([^\n]*)\n" do
    line = line:gsub("\r$", "")
    if line ~= "" and not keep[line] then
      keep[line] = true
      count = count + 1
    end
  end
  return count
end

function oracle.has_value(value) return keep[value] == true end

return oracle
