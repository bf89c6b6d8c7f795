--- CSV as the jobs write it, read back by the simplest reader that is right.

local csv = {}

--- The records of a text, each a list of fields, with the line it starts on.
---@param text string
---@param delimiter? string
---@return table[]
function csv.read(text, delimiter)
  local records, record, field, at, line = {}, { line = 1 }, "", 1, 1
  local comma = delimiter or ","
  local function close(eol)
    record[#record + 1], field = field, ""
    if eol then
      records[#records + 1], record = record, { line = line }
    end
  end
  while at <= #text do
    local c = text:sub(at, at)
    if c == '"' then
      local stop = at
      repeat
        stop = assert(text:find('"', stop + 1, true), "unclosed quote")
        local twice = text:sub(stop + 1, stop + 1) == '"'
        if twice then stop = stop + 1 end
      until not twice
      local inner = text:sub(at + 1, stop - 1)
      line = line + select(2, inner:gsub("\n", ""))
      field, at = field .. inner:gsub('""', '"'), stop
    elseif c == comma then
      close(false)
    elseif c == "\n" then
      line = line + 1
      field = field:gsub("\r$", "")
      close(true)
    else
      field = field .. c
    end
    at = at + 1
  end
  if #record > 0 or field ~= "" then close(true) end
  return records
end

--- The records below the header, as tables by column name.
---@param text string
---@param delimiter? string
---@return table[] rows
---@return string[] header
function csv.rows(text, delimiter)
  local records, rows = csv.read(text, delimiter), {}
  for i = 2, #records do
    local row = { line = records[i].line }
    for n, name in ipairs(records[1]) do row[name] = records[i][n] end
    rows[#rows + 1] = row
  end
  return rows, records[1]
end

return csv
