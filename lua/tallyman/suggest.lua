--- "Did you mean ...?" for names that people type.

--- The number of edits (insert, delete, replace, swap neighbours) between two words.
---@param a string
---@param b string
---@return integer
local function distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do rows[0][j] = j end
  for i = 1, #a do
    rows[i] = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1,
        rows[i - 1][j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, rows[i - 2][j - 2] + 1)
      end
      rows[i][j] = best
    end
  end
  return rows[#a][#b]
end

--- The known name that is nearest to what was typed.
---@param typed string
---@param known string[]
---@return string hint " (did you mean 'x'?)", or "" where nothing is near
local function suggest(typed, known)
  local nearest, least = nil, math.max(2, #typed // 3) + 1
  for _, name in ipairs(known) do
    local edits = distance(typed:lower(), name:lower())
    if edits < least then nearest, least = name, edits end
  end
  return nearest and (" (did you mean '%s'?)"):format(nearest) or ""
end

return suggest
