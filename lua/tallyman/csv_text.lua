--- Writing CSV lines (RFC 4180).

--- One line with its line end; fields that need quotes get them.
---@param fields (string|number)[]
---@param delimiter? string a comma by default
---@return string
local function line(fields, delimiter)
  local texts = {}
  for i, field in ipairs(fields) do
    local text = tostring(field)
    texts[i] = text:find('[",;\t\r\n]') and '"' .. text:gsub('"', '""') .. '"' or text
  end
  return table.concat(texts, delimiter or ",") .. "\n"
end

return { line = line }
