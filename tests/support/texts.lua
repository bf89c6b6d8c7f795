--- Texts for specs that move bytes about.
local texts = {}

--- A text of so many bytes that is no repetition of itself.
---@param size integer
---@return string
function texts.make(size)
  local parts, n, made = {}, 0, 0
  while made < size do
    n = n + 1
    parts[n] = ("%d,%d\n"):format(n, n * 7919 % 1000003)
    made = made + #parts[n]
  end
  return table.concat(parts):sub(1, size)
end

return texts
