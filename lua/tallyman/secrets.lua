--- Secrets: where they come from, and how URLs are shown that may hold one.
local failure = require "tallyman.failure"

local secrets = {}

--- A URL without what may be a secret: all before the last @, except for a plain user's name, and
--- any password among its options.
---@param url string
---@return string
function secrets.hide(url)
  url = url:gsub("([?&])([^=&#]*)=([^&#]*)", function(mark, name, value)
    local plain = name:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
    return plain:lower():find "password" and ("%s%s=..."):format(mark, name)
      or ("%s%s=%s"):format(mark, name, value)
  end):gsub("(password%s*=%s*)[^%s&]+", "%1...")
  local scheme, rest = url:match "^(%a[%w+.-]*://)(.*)$"
  scheme, rest = scheme or "", rest or url
  local before, after = rest:match "^(.*)@(.-)$"
  if not before or before:match "^[%w._-]+$" then return url end
  return scheme .. "...@" .. after
end

--- Reads a file that holds a secret; nil where it isn't there.
local function read(path)
  local handle, message, number = io.open(path, "rb")
  if not handle and number == 2 then return nil, message end -- ENOENT
  local text = handle and handle:read "a"
  if handle then handle:close() end
  if text then return (text:gsub("\r?\n$", "")) end
  failure.raise(failure.configuration, "cannot read a secret from %s: %s", path,
    message or "it is no file")
end

--- A secret: from the environment, a file that the settings name, or one of systemd's credentials.
--- A line end behind it is no part of it.
---@param variable string of the environment
---@param path? string file
---@param credential string name
---@return string?
function secrets.find(variable, path, credential)
  local value = os.getenv(variable)
  if value then return value end
  if path then
    local text, message = read(path)
    if not text then
      failure.raise(failure.configuration, "cannot read a secret: %s", message)
    end
    return text
  end
  local folder = os.getenv "CREDENTIALS_DIRECTORY"
  return folder and (read(folder .. "/" .. credential)) or nil
end

return secrets
