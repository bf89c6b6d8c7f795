--- A copy of a value, and of all the tables in it.
---@generic T
---@param value T
---@return T
local function copy(value)
  if type(value) ~= "table" then return value end
  local result = {}
  for key, item in pairs(value) do result[key] = copy(item) end
  return result
end

return copy
