-- Tables of text, printed line by line as the numbers come.
local tables = {}

---A column: its head, and its width; negative: to the left.
---@class bench.Column
---@field [1] string
---@field [2] integer

---Prints a title and the heads; returns what prints a line of texts below them.
---@param title string
---@param columns bench.Column[]
---@return fun(...: string)
function tables.start(title, columns)
  local formats, heads = {}, {}
  for n, column in ipairs(columns) do
    heads[n], formats[n] = column[1], ("%%%ds"):format(column[2])
  end
  local line = table.concat(formats, " ")
  local function put(...)
    print((line:format(...):gsub(" +$", "")))
  end
  print("\n" .. title .. "\n")
  put(table.unpack(heads))
  return put
end

---A number as text.
function tables.number(decimals, value)
  return ("%." .. decimals .. "f"):format(value)
end

return tables
