-- Trust a server's host key, once its owner has confirmed the fingerprint.
--   tallyman examples/trust.lua HOST[:PORT] [FINGERPRINT]     [HOST]:PORT for an IPv6 address
-- Shows the fingerprint of the key that the server has now and asks; with FINGERPRINT it asks
-- nothing, and only trusts that one. The line goes to $TALLYMAN_KNOWN_HOSTS, or ~/.ssh/known_hosts.
local disk_sftp = require "tallyman.disk_sftp"
local failure = require "tallyman.failure"
local sftp = require "native.sftp"
local stat = require "posix.sys.stat"
local unistd = require "posix.unistd"

local USAGE = "usage: tallyman examples/trust.lua HOST[:PORT] [FINGERPRINT]"

--- Asks the person at the terminal.
local function is_confirmed(fingerprint)
  if not unistd.isatty(0) then
    failure.raise(failure.not_permitted,
      "nobody is there to confirm %s; give it as the second argument", fingerprint)
  end
  io.stderr:write("Is that what the server's owner says? Type yes to trust it: ")
  return io.read "l" == "yes"
end

--- Appends a line to the file, which is made if need be, for its owner only.
local function append(path, line)
  stat.mkdir(path:match "^(.*)/" or ".", 448) -- 0700
  local found = stat.stat(path)
  if found and stat.S_ISREG(found.st_mode) == 0 then
    failure.raise(failure.cant_create, "%s is no file", path)
  end
  local old <close> = io.open(path, "rb")
  local text = old and old:read "a" or ""
  local handle, message = io.open(path, "ab")
  if not handle then failure.raise(failure.cant_create, "%s", message) end
  handle:write(text ~= "" and text:sub(-1) ~= "\n" and "\n" or "", line)
  if not handle:close() then failure.raise(failure.io, "cannot write %s", path) end
  if not old then stat.chmod(path, 384) end -- 0600
end

local host, expected = arg[1], arg[2]
if not host or #arg > 2 then failure.raise(failure.usage, USAGE) end
local options = disk_sftp.options("sftp://" .. host .. "/")
local line, fingerprint, known = sftp.host_key(options)
if not line then failure.raise(known, "%s", fingerprint) end
print(("%s shows the key %s"):format(host, fingerprint))
if expected and expected ~= fingerprint then
  failure.raise(failure.not_permitted, "that is not %s; nothing is trusted", expected)
end
if known then
  print(("it is trusted already; it stands in %s"):format(options.known_hosts))
  return
end
if not expected and not is_confirmed(fingerprint) then
  failure.raise(failure.not_permitted, "nothing is trusted")
end
append(options.known_hosts, line)
print(("trusted; it stands in %s now"):format(options.known_hosts))
