--- Quantities are exact: integers of millionths inside, decimals of up to six places outside.
local quantity = {}

--- Reads a number as the files write it: -?[0-9]{1,9}(\.[0-9]{1,6})?, blanks around it dropped.
---@param text string
---@param comma boolean whether a decimal comma is one, too (files with ; or tab)
---@return integer? units nil when it is no number
function quantity.parse(text, comma)
  local bare = text:match "^[ \t]*(.-)[ \t]*$"
  if comma then bare = bare:gsub(",", ".", 1) end
  local sign, whole, fraction = bare:match "^(%-?)(%d+)%.(%d+)$"
  if not whole then
    sign, whole = bare:match "^(%-?)(%d+)$"
    fraction = ""
  end
  if not whole or #whole > 9 or #fraction > 6 then return nil end
  local units = math.tointeger(tonumber(whole .. fraction .. ("0"):rep(6 - #fraction)))
  return sign == "-" and -units or units
end

--- Writes units as a decimal without superfluous zeros.
---@param units integer
---@return string
function quantity.text(units)
  local sign = units < 0 and "-" or ""
  local digits = ("%07d"):format(math.abs(units))
  local fraction = digits:sub(-6):gsub("0+$", "")
  return sign .. digits:sub(1, -7) .. (fraction ~= "" and "." .. fraction or "")
end

return quantity
