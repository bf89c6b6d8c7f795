--- A private PostgreSQL for specs: a cluster of its own in a temporary folder, on a Unix socket and
--- a free TCP port. The server doesn't run as root: as nobody then.
local process = require "tests.support.process"
local server = require "tests.support.server"
local dirent = require "posix.dirent"
local pwd = require "posix.pwd"
local signal = require "posix.signal"
local sys_stat = require "posix.sys.stat"

local postgres = {}

postgres.SUPERUSER, postgres.USER, postgres.PASSWORD = "boss", "clerk", "correct horse"
postgres.DATABASE = "oms"

---@class test.Postgres
---@field host string
---@field port integer
---@field folder string of the cluster and of the socket
---@field url string of the database, for the ordinary user, by TCP
---@field boss_url string for the superuser, by the Unix socket
---@field child test.Child
---@field options test.PostgresOptions
local Postgres = {}
Postgres.__index = Postgres

local started = {} -- servers

---@class test.PostgresOptions
---@field config? table<string, string|number> lines of postgresql.conf
---@field tls? boolean it speaks TLS, by server.crt in its folder; other.crt there isn't its own
---@field fsync? boolean off by default: what counts here is what the server says, not its disk

--- The folder of the server's programs, which Debian keeps out of PATH; the newest version counts.
local function programs()
  local newest, number = nil, 0
  for _, version in ipairs(sys_stat.stat "/usr/lib/postgresql" and
    dirent.dir "/usr/lib/postgresql" or {}) do
    if (tonumber(version) or 0) > number then newest, number = version, tonumber(version) end
  end
  return newest and ("/usr/lib/postgresql/%s/bin/"):format(newest)
end

--- Why there can be no server here; nil when there can.
---@return string?
function postgres.lacks()
  return not programs() and "needs postgresql" or nil
end

--- The user that the server runs as; nil when that is whoever runs the spec.
local function server_user() return process.is_root and pwd.getpwnam "nobody".pw_uid or nil end

local function config_text(self)
  local lines = { ("port = %d"):format(self.port), "listen_addresses = '127.0.0.1'",
    ("unix_socket_directories = '%s'"):format(self.folder), "max_connections = 60",
    "shared_buffers = 16MB", "dynamic_shared_memory_type = mmap",
    "log_min_messages = warning", "lc_messages = 'C'",
    ("fsync = %s"):format(self.options.fsync and "on" or "off"), "autovacuum = off" }
  for name, value in pairs(self.options.config or {}) do
    lines[#lines + 1] = ("%s = '%s'"):format(name, value)
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Starts the server, or starts it anew at the same port.
function Postgres:start()
  process.write(self.data .. "/postgresql.auto.conf", config_text(self))
  self.child = process.start { programs() .. "postgres", "-D", self.data, as = self.as }
  local ready = process.eventually(function()
    if self.child:poll() then return "ended" end
    return self:psql("SELECT 1", true).status == 0 and "ready"
  end, 30)
  if ready ~= "ready" then error("postgres doesn't start: " .. self.child:err(), 2) end
end

--- The command that runs SQL by PostgreSQL's own client, as the superuser.
---@param sql string
---@return test.Command
function Postgres:psql_command(sql)
  return { programs() .. "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, "-d",
    ("host=%s port=%d user=%s dbname=%s"):format(self.folder, self.port, postgres.SUPERUSER,
      self.database or "postgres") }
end

--- Runs SQL by that client; what it printed, a row a line.
---@param sql string
---@param anyway? boolean give the result of the process, even a bad one
---@return string|test.Result
function Postgres:psql(sql, anyway)
  local result = process.run(self:psql_command(sql))
  if anyway then return result end
  if result.status ~= 0 then error(result.err, 2) end
  return (result.out:gsub("\n$", ""))
end

--- Ends it as `systemctl stop` does: connections are cut.
function Postgres:stop()
  self.child:kill(signal.SIGINT):wait()
end

--- Ends it at once, as a crash does: nothing is told to anybody, and it recovers at the next start.
function Postgres:stop_immediately()
  self.child:kill(signal.SIGQUIT):wait()
end

--- Makes certificates for localhost.
local function make_certificates(self)
  for _, name in ipairs { "server", "other" } do
    process.must("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
      "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-addext",
      "subjectAltName=DNS:localhost", "-days", "2", "-keyout", self.folder .. "/" .. name .. ".key",
      "-out", self.folder .. "/" .. name .. ".crt")
  end
  process.must("chmod", "600", self.folder .. "/server.key")
  self.options.config = { ssl = "on", ssl_cert_file = self.folder .. "/server.crt",
    ssl_key_file = self.folder .. "/server.key" }
end

-- ---- what specs do to it ----

--- Ends the backend whose query holds a text, as soon as there is one: by another process, for the
--- spec's own waits for that backend.
---@param text string
---@return test.Child
function Postgres:kill_when(text)
  return process.start(self:psql_command(([[DO $$ BEGIN
    LOOP
      PERFORM pg_stat_clear_snapshot();
      PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active'
        AND query LIKE '%%%s%%' AND pid <> pg_backend_pid();
      EXIT WHEN FOUND;
      PERFORM pg_sleep(0.02);
    END LOOP;
  END $$]]):format(text)))
end

--- Waits until a backend waits for a lock.
function Postgres:await_waiting()
  local waiting = process.eventually(function()
    return self:psql "SELECT COUNT(*) FROM pg_locks WHERE NOT granted" ~= "0"
  end, 30)
  if not waiting then error("nobody waits for a lock", 2) end
end

--- How many backends run a query that holds a text.
---@param text string
---@return integer
function Postgres:running(text)
  return math.tointeger(self:psql(("SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active' "
    .. "AND query LIKE '%%%s%%' AND pid <> pg_backend_pid()"):format(text)))
end

--- The number of rows of the table stock.
---@return integer
function Postgres:count() return math.tointeger(self:psql "SELECT COUNT(*) FROM stock") end

--- Starts the host with a script, the database being open as `oms`.
---@param text string
---@param url? string
---@return test.Child
function Postgres:script(text, url)
  local whole = ("local db = require 'tallyman.db'\nlocal oms <close> = db.open %q\n%s")
    :format(url or self.url, text)
  local sanitizer = (os.getenv "ASAN_OPTIONS" or "") .. ":quarantine_size_mb=1"
  return process.start { process.host, "-e", whole, env = { ASAN_OPTIONS = sanitizer } }
end

--- Runs such a script to its end: by how many KiB the process has grown at most.
---@param text string
---@return integer
function Postgres:growth(text)
  local result = self:script([[
    local function peak()
      return tonumber(io.open "/proc/self/status":read "a":match "VmHWM:%s*(%d+)")
    end
    oms:value "SELECT 1"
    for _ in oms:rows "SELECT generate_series(1, 100) AS n" do end
    local before = peak()
    ]] .. text .. "\nprint(peak() - before)"):wait()
  if result.status ~= 0 then error(result.err:sub(1, 500), 2) end
  return math.tointeger(tonumber(result.out:match "(%d+)\n$"))
end

--- What it wrote to its log.
---@return string
function Postgres:log() return self.child:err() end

--- Makes the database and the ordinary user.
local function fill(self)
  self:psql(("CREATE ROLE %s LOGIN PASSWORD '%s'"):format(postgres.USER, postgres.PASSWORD))
  self:psql(("CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING 'UTF8'")
    :format(postgres.DATABASE, postgres.USER))
  self.database = postgres.DATABASE
end

---@class test.PostgresAddress
---@field user? string
---@field password? string
---@field host? string
---@field port? integer
---@field database? string
---@field query? string what stands behind the question mark

--- An address of the database, for the ordinary user by default.
---@param parts? test.PostgresAddress
---@return string
function Postgres:address(parts)
  parts = parts or {}
  return ("postgresql://%s:%s@%s:%d/%s%s"):format(parts.user or postgres.USER,
    (parts.password or postgres.PASSWORD):gsub(" ", "%%20"), parts.host or self.host,
    parts.port or self.port, parts.database or postgres.DATABASE,
    parts.query and "?" .. parts.query or "")
end

--- Ends all servers and whatever else specs started. A server that is only killed leaves shared
--- memory behind, so that process.clean alone won't do.
function postgres.clean()
  for _, one in ipairs(started) do one:stop_immediately() end
  started = {}
  process.clean(true)
end

--- Starts a server. It ends by `stop`, or by postgres.clean in a teardown.
---@param options? test.PostgresOptions
---@return test.Postgres
function postgres.start(options)
  local self = setmetatable({ host = "127.0.0.1", options = options or {}, as = server_user(),
    folder = process.folder() }, Postgres)
  self.port, self.data = server.free_port(), self.folder .. "/data"
  if self.options.tls then make_certificates(self) end
  if self.as then process.must("chown", "-R", tostring(self.as), self.folder) end
  process.must { programs() .. "initdb", "-D", self.data, "-U", postgres.SUPERUSER, "-A", "trust",
    "--encoding=UTF8", "--locale=C", "--no-sync", as = self.as }
  process.write(self.data .. "/pg_hba.conf",
    "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    .. "host all all ::1/128 scram-sha-256\n")
  if self.as then process.must("chown", "-R", tostring(self.as), self.data) end
  started[#started + 1] = self
  self:start()
  fill(self)
  self.url = self:address()
  self.boss_url = ("postgresql:///%s?host=%s&port=%d&user=%s"):format(postgres.DATABASE,
    self.folder, self.port, postgres.SUPERUSER)
  return self
end

return postgres
