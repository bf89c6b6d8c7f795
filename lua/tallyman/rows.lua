--- The rows of a CSV file by column names. Lua sees only what survived the filter.
local csv = require "native.csv"
local failure = require "tallyman.failure"
local validate = require "tallyman.validate"

---@class tallyman.Row
---@field line integer physical line on which the record starts
---@field fault? string what breaks the record's structure; then fields may be missing
---@field fault_column? integer
---@field [string] string the wanted columns, by our names

---@class tallyman.Rows
---@field reader native.Reader
---@field indexes table<string, integer> our column name -> index
---@field comma boolean whether the delimiter leaves the comma to decimals
local Rows = {}
Rows.__index = Rows

--- The next row; nil at the end. Raises when the file can't be trusted.
---@return tallyman.Row?
function Rows:next()
  local fields, line, fault, fault_column = self.reader:next()
  if fields == nil then
    failure.check(fields, line, fault)
    return nil
  end
  local row = { line = line, fault = fault, fault_column = fault_column }
  for name, index in pairs(self.indexes) do row[name] = fields[index] end
  return row
end

--- Iterates over all rows.
---@return fun(self: tallyman.Rows): tallyman.Row?
function Rows:each() return Rows.next, self end

--- The character column of a field of the current row; for a column that the file doesn't have, of
--- the record.
---@param name string
---@return integer
function Rows:column(name) return self.reader:column(self.indexes[name] or 1) end

local rows = {}

--- Opens the rows of a source.
---@param source native.Source
---@param columns table<string, string> our name -> the file's name of the column
---@param required table<string, boolean> our names that must be there; others may be missing
---@param name string what messages call the file
---@param options? native.ScanOptions
---@return tallyman.Rows
function rows.open(source, columns, required, name, options)
  local reader = failure.check(csv.reader(source, options))
  local header = reader:header()
  local by_name, indexes = {}, {}
  for i, title in ipairs(header) do
    local folded = title:lower()
    by_name[folded] = by_name[folded] and 0 or i
  end
  for _, ours in ipairs(validate.names_of(columns)) do -- in order: the same complaint every time
    local theirs = columns[ours]
    local index = by_name[theirs:lower()]
    if index == 0 then
      failure.raise(failure.bad_data, "%s:1:1: header has more than one column '%s'", name, theirs)
    elseif index then
      indexes[ours] = index
    elseif required[ours] then
      failure.raise(failure.bad_data, "%s:1:1: header has no column '%s': %s", name, theirs,
        table.concat(header, reader:delimiter()):sub(1, 200))
    end
  end
  return setmetatable({ reader = reader, indexes = indexes, header = header,
    delimiter = reader:delimiter(), comma = reader:delimiter() ~= "," }, Rows)
end

return rows
