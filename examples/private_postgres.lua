-- A private PostgreSQL for demos: a cluster of its own in a temporary folder, on a Unix socket
-- there and a free port of 127.0.0.1. A small shell script in a session of its own looks after it:
-- as soon as whoever started it lets go of a pipe, by `close` or by its end, however that came, the
-- script ends the server and removes the folder.
--   local server <close> = require "private_postgres".start "nightly"   server.url, .owner_url, ...
local clock = require "tallyman.clock"
local db = require "tallyman.db"
local dirent = require "posix.dirent"
local failure = require "tallyman.failure"
local fcntl = require "posix.fcntl"
local pwd = require "posix.pwd"
local socket = require "posix.sys.socket"
local stat = require "posix.sys.stat"
local stdlib = require "posix.stdlib"
local sys_wait = require "posix.sys.wait"
local unistd = require "posix.unistd"

local VERSIONS = "/usr/lib/postgresql" -- Debian keeps the server's programs out of PATH
local LONGEST = 80 -- characters of the folder's name: that of a socket in it may have 107
local PATIENCE = 60 -- seconds until the server answers

--- $1 the folder, $2 that of the programs; then what makes a command run as the server's user.
local LOOK_AFTER = [[
folder=$1 programs=$2
shift 2
exec >"$folder/log" 2>&1
cd /
"$@" "$programs/initdb" -D "$folder/data" -U owner -A trust --encoding=UTF8 --locale=C --no-sync &&
  cp "$folder/postgresql.conf" "$folder/pg_hba.conf" "$folder/data" &&
  { "$@" "$programs/postgres" -D "$folder/data" </dev/null & server=$!; } || touch "$folder/failed"
read -r _
[ -z "$server" ] || { kill -INT "$server"; wait "$server"; }
rm -rf "$folder"
]]

local CONFIG = [[
port = %d
listen_addresses = '127.0.0.1'
unix_socket_directories = '%s'
max_connections = 30
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
password_encryption = 'scram-sha-256'
]]

--- The socket's folder is closed to other users; the port isn't.
local ACCESS = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"

--- The folder of the newest version's programs.
local function programs()
  local newest = 0
  for _, version in ipairs(stat.stat(VERSIONS) and dirent.dir(VERSIONS) or {}) do
    local there = stat.stat(("%s/%s/bin/postgres"):format(VERSIONS, version))
    newest = there and math.max(newest, tonumber(version) or 0) or newest
  end
  if newest == 0 then
    failure.raise(failure.unavailable, "there is no PostgreSQL below %s; install postgresql",
      VERSIONS)
  end
  return ("%s/%d/bin"):format(VERSIONS, newest)
end

--- The user that the server runs as, which can't be root; nil when that is whoever runs this.
local function server_user()
  if unistd.geteuid() ~= 0 then return nil end
  return pwd.getpwnam "postgres" or pwd.getpwnam "nobody"
end

--- A temporary folder of the server's user. Root's TMPDIR may be closed to that user.
local function make_folder(user)
  local below = os.getenv "TMPDIR"
  if user or not below or #below > LONGEST then below = "/tmp" end
  local folder, message = stdlib.mkdtemp(below .. "/tallyman-postgres.XXXXXX")
  if not folder then
    failure.raise(failure.cant_create, "cannot make a folder below %s: %s", below, message)
  end
  if user then assert(unistd.chown(folder, user.pw_uid, user.pw_gid)) end
  return folder
end

local function random_bytes(count)
  local handle <close> = assert(io.open("/dev/urandom", "rb"))
  return handle:read(count)
end

--- A port that nobody listens at, of those that the kernel doesn't give to outgoing connections:
--- the server takes it only when its cluster is made. Demos that start at once choose apart.
local function free_port()
  for _ = 1, 100 do
    local port = 20000 + string.unpack("I2", random_bytes(2)) % 12000
    local fd = assert(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
    local bound = socket.bind(fd, { family = socket.AF_INET, addr = "127.0.0.1", port = port })
    unistd.close(fd)
    if bound then return port end
  end
  failure.raise(failure.unavailable, "there is no free port at 127.0.0.1")
end

--- Writes a file that others may read, or that nobody else may.
local function write(path, text, secret)
  local handle <close> = assert(io.open(path, "w"))
  assert(stat.chmod(path, secret and 384 or 420))
  handle:write(text)
end

local function read(path)
  local handle <close> = io.open(path)
  return handle and handle:read "a" or ""
end

--- A password that nobody guesses.
local function new_password()
  return (random_bytes(16):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

--- Starts the script that looks after the server; gives its process and our end of the pipe.
local function look_after(folder, user)
  local command = { "-c", LOOK_AFTER, "sh", folder, programs() }
  if user then
    for _, word in ipairs { "setpriv", "--reuid=" .. user.pw_uid, "--regid=" .. user.pw_gid,
      "--clear-groups" } do
      command[#command + 1] = word
    end
  end
  local theirs, ours = assert(unistd.pipe())
  assert(fcntl.fcntl(ours, fcntl.F_SETFD, fcntl.FD_CLOEXEC)) -- no other child may hold it
  local pid = assert(unistd.fork())
  if pid == 0 then
    unistd.setpid "s" -- Ctrl-C in a terminal is for the demo, not for its server
    unistd.dup2(theirs, 0)
    unistd.close(theirs)
    unistd.exec("/bin/sh", command)
    unistd._exit(127)
  end
  unistd.close(theirs)
  return pid, ours
end

---@class PrivatePostgres
---@field port integer
---@field folder string
---@field url string the database, for the ordinary user, by TCP; the password isn't in it
---@field passfile string in which the password is, for PGPASSFILE
---@field owner_url string the database, for the superuser, by the socket
local PrivatePostgres = {}
PrivatePostgres.__index = PrivatePostgres

--- Ends the server and removes all that it had.
function PrivatePostgres:close()
  if not self.pipe then return end
  unistd.close(self.pipe)
  self.pipe = nil
  sys_wait.wait(self.pid)
end
PrivatePostgres.__close = PrivatePostgres.close
PrivatePostgres.__gc = PrivatePostgres.close

--- The address of one of its databases, for the superuser.
local function owner_url(self, database)
  return ("postgresql:///%s?host=%s&port=%d&user=owner"):format(database, self.folder, self.port)
end

--- Waits until it answers; the superuser's connection.
local function connect(self)
  local last = os.time() + PATIENCE
  repeat
    local ok, result = failure.catch(db.open, owner_url(self, "postgres"))
    if ok then return result end
    if failure.code(result) ~= failure.unavailable then error(result, 0) end
    clock.sleep(0.05)
  until os.time() > last or stat.stat(self.folder .. "/failed")
  failure.raise(failure.unavailable, "the private PostgreSQL doesn't answer; its log ends by: %s",
    read(self.folder .. "/log"):sub(-500))
end

--- Makes the database and the ordinary user, who owns nothing in it.
local function fill(self, user, password)
  local server <close> = connect(self)
  server:script(("CREATE ROLE %s LOGIN PASSWORD '%s'"):format(user, password))
  server:script "CREATE DATABASE oms"
end

local private_postgres = {}

--- Starts a server, with a database `oms` that is empty.
---@param user string an ordinary user's name, in small letters
---@return PrivatePostgres
function private_postgres.start(user)
  local server_of = server_user()
  local folder, port, password = make_folder(server_of), free_port(), new_password()
  local self <const> = setmetatable({ folder = folder, port = port }, PrivatePostgres)
  write(folder .. "/postgresql.conf", CONFIG:format(port, folder))
  write(folder .. "/pg_hba.conf", ACCESS)
  self.pid, self.pipe = look_after(folder, server_of)
  fill(self, user, password)
  self.passfile = folder .. "/pgpass"
  write(self.passfile, ("127.0.0.1:%d:oms:%s:%s\n"):format(port, user, password), true)
  self.url = ("postgresql://%s@127.0.0.1:%d/oms"):format(user, port)
  self.owner_url = owner_url(self, "oms")
  return self
end

return private_postgres
