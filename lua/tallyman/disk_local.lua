--- This machine's disk, as an exchange wants it.
local failure = require "tallyman.failure"
local file = require "native.file"
local dirent = require "posix.dirent"
local errno = require "posix.errno"
local stat = require "posix.sys.stat"
local log = require "tallyman.log"
local unistd = require "posix.unistd"

---@class tallyman.LocalDisk: tallyman.Disk
local LocalDisk = {}
LocalDisk.__index = LocalDisk

--- Raises what a posix call said, with `code` unless permission was missing.
local function posix_check(result, message, number, code)
  if result == nil then
    local forbidden = number == errno.EACCES or number == errno.EPERM
    failure.raise(forbidden and failure.not_permitted or code, "%s", message)
  end
  return result
end

function LocalDisk:stat(path)
  local status = stat.stat(path)
  return status and { name = path:match "[^/]*$", size = status.st_size, mtime = status.st_mtime,
    folder = stat.S_ISDIR(status.st_mode) ~= 0 }
end

--- What is neither a file nor a folder isn't there.
function LocalDisk:list(path)
  local readable, message, number = unistd.access(path, "rx")
  posix_check(readable, ("exchange folder %s"):format(message), number, failure.no_input)
  local entries = {}
  for _, name in ipairs(dirent.dir(path)) do
    local status = name ~= "." and name ~= ".." and stat.stat(path .. "/" .. name)
    local folder = status and stat.S_ISDIR(status.st_mode) ~= 0
    if status and (folder or stat.S_ISREG(status.st_mode) ~= 0) then
      entries[#entries + 1] = { name = name, size = status.st_size, mtime = status.st_mtime,
        folder = folder }
    end
  end
  return entries
end

function LocalDisk:make_folder(path)
  local made, message, number = stat.mkdir(path)
  if not made and number ~= errno.EEXIST then
    posix_check(nil, "cannot create " .. message, number, failure.cant_create)
  end
end

function LocalDisk:remove_folder(path)
  local removed, message, number = unistd.rmdir(path)
  if not removed and number ~= errno.ENOENT and number ~= errno.ENOTEMPTY then
    posix_check(nil, message, number, failure.io)
  end
end

function LocalDisk:discard(path)
  local removed, message, number = unistd.unlink(path)
  if not removed and number ~= errno.ENOENT then
    log.warn("exchange", ("%s is left there: %s"):format(path, message))
  end
end

function LocalDisk:remove(path)
  local removed, message, number = unistd.unlink(path)
  if not removed and number ~= errno.ENOENT then
    posix_check(nil, message, number, failure.io)
  end
end

function LocalDisk:publish(from, to, replace) return file.publish(from, to, replace) end
function LocalDisk:source(path, options) return failure.check(file.source(path, options)) end
function LocalDisk:sink(path, mode) return failure.check(file.sink(path, mode)) end
function LocalDisk:close() end
LocalDisk.__close = LocalDisk.close

return setmetatable({}, LocalDisk)
