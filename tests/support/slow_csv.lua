--- A slow and obvious reader of CSV to hold the engine against: RFC 4180 and the project's own
--- rules, one character after the other over the whole text. It was written from those rules alone.

local slow_csv = {}

local BYTE_ORDER_MARK = "\xEF\xBB\xBF"
local MAX_RECORD = 1024 * 1024

---@class slow_csv.Record
---@field fields string[] what each field says, without its quotes
---@field starts integer[] where in the text each field begins
---@field line integer the physical line on which the record begins
---@field raw string the record as it stands in the text
---@field body string the same without its line end
---@field fault? string what breaks this record by itself
---@field column? integer the character column of the fault
---@field at integer where in the text the record begins
---@field stray? integer the first field with text behind its closing quote
---@field unreadable table<integer, true> all such fields

---@class slow_csv.Failure what makes the whole file unusable
---@field kind "empty"|"utf16"|"too_long"|"quote"|"cut_off"|"header"
---@field line? integer
---@field column? integer

---@class slow_csv.Result
---@field delimiter? string
---@field header? slow_csv.Record
---@field records slow_csv.Record[]
---@field failure? slow_csv.Failure

-- The first character: a whole UTF-8 sequence where there is one, else a byte.
local function first_character(text)
  for size = 2, 4 do
    local bytes = text:sub(1, size)
    if #bytes == size and utf8.len(bytes) == 1 then return bytes end
  end
  return text:sub(1, 1)
end

---The 1-based character column of position `at`, on its physical line, in a record that begins at
---`start`.
---@param text string
---@param start integer
---@param at integer
---@return integer
function slow_csv.column(text, start, at)
  local before = text:sub(start, at - 1):match "[^\n]*$"
  local column = 1
  while before ~= "" do
    before = before:sub(#first_character(before) + 1)
    column = column + 1
  end
  return column
end

-- Whether a field ends at `at`: a delimiter, LF, CR LF or the end of the text. A lone CR is data.
local function ends_at(text, at, delimiter)
  local character = text:sub(at, at)
  return character == "" or character == delimiter or character == "\n"
    or text:sub(at, at + 1) == "\r\n"
end

-- Reads from an opening quote: what stands in the quotes, and the position behind the closing one;
-- nil when there is none.
local function read_quoted(text, at)
  local value = {}
  at = at + 1
  while at <= #text do
    local character = text:sub(at, at)
    if character == '"' then
      if text:sub(at + 1, at + 1) ~= '"' then return table.concat(value), at + 1 end
      at = at + 1
    end
    table.insert(value, character)
    at = at + 1
  end
  return nil
end

-- Reads the field at `at`: what it says, the position of what ends it, and whether text follows
-- its closing quote. A quote that isn't the first character is text like any other.
local function read_field(text, at, delimiter)
  local value, quoted = "", text:sub(at, at) == '"'
  if quoted then
    value, at = read_quoted(text, at)
    if not value then return nil end
  end
  local rest = at
  while not ends_at(text, at, delimiter) do at = at + 1 end
  return value .. text:sub(rest, at - 1), at, quoted and at > rest
end

-- Reads the record at `at`; nil and the position of a quote that is never closed.
local function read_record(text, at, line, delimiter)
  local record = { fields = {}, starts = {}, unreadable = {}, line = line, at = at }
  repeat
    local value, stop, stray = read_field(text, at, delimiter)
    if not value then return nil, at end
    table.insert(record.fields, value)
    table.insert(record.starts, at)
    if stray then
      record.stray = record.stray or #record.fields
      record.unreadable[#record.fields] = true
    end
    local more = text:sub(stop, stop) == delimiter
    at = stop + 1
  until not more
  local stop = at - 1
  local line_end = text:match("^\r?\n", stop) or ""
  record.body = text:sub(record.at, stop - 1)
  record.raw = record.body .. line_end
  return record
end

-- Notes what is wrong with a record that stands under a header of `columns` fields: the leftmost
-- offending field counts.
local function find_fault(text, record, columns)
  local at
  if record.stray and record.stray <= columns + 1 then
    record.fault, at = "text after a closing quote", record.starts[record.stray]
  elseif #record.fields > columns then
    record.fault, at = "more fields than the header", record.starts[columns + 1]
  elseif #record.fields < columns then
    record.fault, at = "fewer fields than the header", record.at + #record.body
  end
  if at then record.column = slow_csv.column(text, record.at, at) end
end

---The delimiter of a text that begins with its header: a comma if there is one outside quotes, else
---the more frequent of semicolon and tab (the semicolon if they are equally many), else a comma.
---Until it is known, each of the three may end a field, so that a quote may open the next.
---@param text string
---@return string
function slow_csv.guess_delimiter(text)
  local seen = { [","] = 0, [";"] = 0, ["\t"] = 0 }
  local value, stop = "", 0
  repeat
    local at = stop + 1
    if text:sub(at, at) == '"' then value, at = read_quoted(text, at) end
    if not value then break end
    stop = text:find("[,;\t\n]", at) or #text + 1
    local found = text:sub(stop, stop)
    if seen[found] then seen[found] = seen[found] + 1 end
  until not seen[found]
  if seen[","] > 0 then return "," end
  if seen["\t"] > seen[";"] then return "\t" end
  return seen[";"] > 0 and ";" or ","
end

-- Reads records until one is no blank line: record, position behind it and the line there. Without
-- a record: nil and, where the file is unusable, why.
local function next_record(text, at, line, delimiter, max_record)
  while at <= #text do
    local record, quote = read_record(text, at, line, delimiter)
    if not record then
      -- One byte more than allowed is forgiven: it could have been the CR of a line end.
      if #text - at + 1 > max_record + 1 then
        return nil, { kind = "too_long", line = line, column = 1 }
      end
      return nil, { kind = "quote", line = line, column = slow_csv.column(text, at, quote) }
    end
    if #record.body > max_record then
      return nil, { kind = "too_long", line = line, column = 1 }
    end
    at = at + #record.raw
    line = line + select(2, record.raw:gsub("\n", ""))
    if record.body ~= "" then return record, at, line end
  end
  return nil, nil
end

-- The position behind the blank lines at `at`.
local function skip_blank(text, at)
  while true do
    local behind = text:match("^\r?\n()", at)
    if not behind then return at end
    at = behind
  end
end

-- Everything that comes before the first record: the header, position and line behind it.
local function read_header(text, result, options, max_record)
  if text:find "^\xFF\xFE" or text:find "^\xFE\xFF" then
    return nil, { kind = "utf16", line = 1, column = 1 }
  end
  local at = text:sub(1, 3) == BYTE_ORDER_MARK and 4 or 1
  local first = skip_blank(text, at)
  result.delimiter = options.delimiter
    or slow_csv.guess_delimiter(text:sub(first, first + max_record)) -- a header is no longer
  local header, stop, line = next_record(text, at, 1, result.delimiter, max_record)
  if not header then return nil, stop or { kind = "empty" } end
  if not header.stray then return header, stop, line end
  local column = slow_csv.column(text, header.at, header.starts[header.stray])
  return nil, { kind = "header", line = header.line, column = column }
end

---Reads a whole text.
---@param text string
---@param options? { delimiter?: string, max_record?: integer }
---@return slow_csv.Result
function slow_csv.read(text, options)
  options = options or {}
  local max_record = options.max_record or MAX_RECORD
  local result = { records = {} }
  local header, at, line = read_header(text, result, options, max_record)
  if not header then
    result.failure = at
    return result
  end
  result.header = header
  while true do
    local record, stop, next_line = next_record(text, at, line, result.delimiter, max_record)
    if not record then
      result.failure = stop
      return result
    end
    if record.raw == record.body and #record.fields < #header.fields then
      local column = slow_csv.column(text, record.at, record.at + #record.body)
      result.failure = { kind = "cut_off", line = record.line, column = column }
      return result
    end
    find_fault(text, record, #header.fields)
    table.insert(result.records, record)
    at, line = stop, next_line
  end
end

---A result as one string, to compare: the engine's (whose records have `columns` instead of
---`starts`) as well as ours. What lies beyond the header's columns is left out.
---@param result table
---@param text? string what was read; for our own results
---@return string
function slow_csv.render(result, text)
  local out = {}
  local function put(...)
    out[#out + 1] = string.format(...)
  end
  if result.header then
    put("delimiter %q header %d", result.delimiter, result.header.line)
    for _, name in ipairs(result.header.fields) do put("  %q", name) end
  end
  for _, record in ipairs(result.records) do
    put("record %d %s %s", record.line, record.fault, record.column)
    for n = 1, math.min(#record.fields, #result.header.fields) do
      local column = record.columns and record.columns[n]
        or slow_csv.column(text, record.at, record.starts[n])
      put("  %d %q", column, record.fields[n])
    end
  end
  local failure = result.failure
  put("%s", failure and ("%s %s %s"):format(failure.kind, failure.line, failure.column) or "end")
  return table.concat(out, "\n")
end

local function quoted(text) return '"' .. text:gsub('"', '""') .. '"' end

---The places of columns in the header, whatever the case of their names.
---@param header slow_csv.Record
---@param names string[]
---@return integer[]
function slow_csv.places(header, names)
  local found = {}
  for n, name in ipairs(names) do
    for place, field in ipairs(header.fields) do
      if field:lower() == name:lower() then found[n] = place end
    end
  end
  return found
end

-- The record's key as one string; nil when it can't be read.
local function key_of(record, where)
  local parts = {}
  for n, place in ipairs(where) do
    if not record.fields[place] or record.unreadable[place] then return nil end
    parts[n] = record.fields[place]
  end
  if #parts == 2 then parts[1] = parts[1]:lower() end
  return table.concat(parts, "\0")
end

---What a filter should make of the text.
---@param text string
---@param options { key: string[], delimiter?: string, rejects?: false }
---@param keep table<string, true> values, or folded type, NUL and value
---@return { out?: string, rejects?: string, counts?: table, failure?: slow_csv.Failure }
function slow_csv.filter(text, options, keep)
  local result = slow_csv.read(text, options)
  if not result.header then return { failure = result.failure } end
  local bom = text:match "^\xEF\xBB\xBF" or ""
  local where = slow_csv.places(result.header, options.key)
  local out, rejects = { bom, result.header.raw }, {}
  local counts = { read = 0, kept = 0, left_out = 0, rejected = 0, broken_left_out = 0,
    delimiter = result.delimiter, last_line_end = result.header.raw ~= result.header.body }
  local function count(name) counts[name] = counts[name] + 1 end
  for _, record in ipairs(result.records) do
    local key = key_of(record, where)
    count "read"
    counts.last_line_end = record.raw ~= record.body
    if key and not keep[key] then
      count "left_out"
      if record.fault then count "broken_left_out" end
    elseif not record.fault then
      count "kept"
      table.insert(out, record.raw)
    elseif options.rejects == false then
      return { failure = { line = record.line, column = record.column } }
    else
      count "rejected"
      table.insert(rejects, ("%d,%d,%s,%s\n"):format(record.line, record.column,
        quoted(record.fault), quoted(record.body)))
    end
  end
  if #rejects > 0 then table.insert(rejects, 1, "line,column,reason,record\n") end
  return { out = table.concat(out), rejects = table.concat(rejects), counts = counts,
    failure = result.failure }
end

return slow_csv
