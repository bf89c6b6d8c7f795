--- What a run found, in one line for log and report.

local HIDDEN = { seconds = true, snapshot = true, cycle = true, last_line_end = true, size = true,
  mtime = true, fingerprint = true }

--- Numbers that aren't 0, by name, and how long it took.
---@param found table figures of a run
---@return string
local function text(found)
  if found.already then return found.already end
  local parts = {}
  for name, value in pairs(found) do
    if type(value) == "number" and value ~= 0 and not HIDDEN[name] then
      parts[#parts + 1] = ("%s %s"):format(name:gsub("_", " "), value)
    end
  end
  table.sort(parts)
  return ("%s (%.2f s)"):format(#parts > 0 and table.concat(parts, ", ") or "nothing to change",
    found.seconds or 0)
end

return { text = text }
