--- Temporary folders.
local dirent = require "posix.dirent"
local stat = require "posix.sys.stat"
local unistd = require "posix.unistd"

local folders = {}

--- Removes a folder and what is in it.
---@param path string
function folders.remove(path)
  for name in dirent.files(path) do
    local inner = path .. "/" .. name
    local is_folder = stat.S_ISDIR(stat.lstat(inner).st_mode) ~= 0
    if is_folder and name ~= "." and name ~= ".." then folders.remove(inner) end
    if not is_folder then os.remove(inner) end
  end
  unistd.rmdir(path)
end

return folders
