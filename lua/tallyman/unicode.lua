--- Text that others must be able to read: databases, and whoever takes JSON. A file's odd bytes,
--- quoted in a message, are no UTF-8.
local json = require "dkjson"

local unicode = {}

local UNKNOWN = "\u{FFFD}"

--- A text in UTF-8 without zero bytes: what isn't is replaced, byte by byte, by U+FFFD.
---@param text string
---@return string
function unicode.clean(text)
  text = text:gsub("\0", UNKNOWN)
  local parts, from = {}, 1
  while true do
    local length, at = utf8.len(text, from)
    if length then break end
    parts[#parts + 1] = text:sub(from, at - 1)
    from = at + 1
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts, UNKNOWN)
end

--- A value as JSON, in UTF-8 whatever its texts hold. Raises what dkjson raises: functions, cycles.
---@param value any
---@param options? table dkjson's
---@return string
function unicode.json(value, options)
  return unicode.clean(json.encode(value, options))
end

return unicode
