--- What specs need that let a job on PostgreSQL die and look at what it leaves: a night's moments,
--- each an OMS to be copied and a site, and what one clean run makes of them.
local databases = require "tests.support.databases"
local db = require "tallyman.db"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local shops = require "tests.support.shop"
local assert = require "luassert"

local crashes = {}

local STAMPED = { "effective_date", "physical_inventory_date", "reset_at", "settled_at",
  "undone_at" }

--- As little as a server does with.
local CONFIG = { shared_buffers = "2MB", max_connections = 10, max_wal_senders = 0,
  wal_level = "minimal", max_worker_processes = 0, max_parallel_workers = 0, jit = "off",
  max_wal_size = "64MB", min_wal_size = "32MB", track_activities = "on", logging_collector = "off" }

---@class test.Moment a night right before a job
---@field night test.CrashNight
---@field job string
---@field arguments string[]
---@field database string the OMS's; never used itself
---@field site test.Site
---@field before string the OMS's content
---@field after string after one clean run of the job
---@field files table<string, string> of the exchange then
---@field leased boolean whether the lease was ever taken
---@field next? test.Moment the next of the night's jobs

---@class test.CrashNight
---@field server test.Postgres
---@field boss tallyman.Database the superuser's connection
---@field moments test.Moment[]
local Night = {}
Night.__index = Night

---@class test.Attempt a copy of a moment
---@field moment test.Moment
---@field site test.Site
---@field database string
---@field oms? tallyman.Database
local Attempt = {}
Attempt.__index = Attempt

-- ---- what there is ----

--- The query for all that stands in an OMS's tables, made from the first OMS that is looked at.
local function dump_sql(oms)
  local parts = {}
  for item in oms:rows [[SELECT table_name AS name FROM information_schema.tables
    WHERE table_schema = 'public' AND table_name <> 'tallyman_lease']] do
    parts[#parts + 1] = ("SELECT '%s: ' || CAST(to_jsonb(t) - ARRAY['%s'] AS text) AS line "
      .. "FROM %s t"):format(item.name, table.concat(STAMPED, "', '"), item.name)
  end
  return table.concat(parts, " UNION ALL ") .. " ORDER BY 1"
end

local dump_of -- that query

--- Everything that stands in an OMS but for the lease and for when it was written, ids included.
---@param oms tallyman.Database
---@return string
local function dump(oms)
  dump_of = dump_of or dump_sql(oms)
  local lines = {}
  for row in oms:rows(dump_of) do lines[#lines + 1] = row.line end
  return table.concat(lines, "\n")
end

--- The exchange's files with their bytes. What runs that were killed leave has a name that says so.
---@param site test.Site
---@return table<string, string>
function crashes.files(site)
  local found = {}
  for _, path in ipairs(site:files(true)) do
    if path:match "[^/]+$":sub(1, 1) ~= "." then
      found[path] = process.read(site.exchange .. "/" .. path)
    else
      assert.matches("/%.[^/]+%.part$", path)
    end
  end
  return found
end

-- ---- a night ----

--- Eight products; the first two have shipped, unacknowledged; the last has no item yet.
local function fill(oms)
  local shop = shops.of_eight(oms)
  shop:ship("10001", "2026-11-23 20:00:00", 2)
  shop:ship("10002", "2026-11-23 23:00:00", 1)
  shop:insert("variance_reason", { variance_reason_id = "VAR_DAMAGED", description = "Damaged" })
end

--- What the POS counted: every product, a row that the import rejects, one that isn't sold online.
local function counts()
  local rows = { "facilityId,locationSeqId,idType,idValue,availableQty,comments\n" }
  for i = 1, 8 do rows[#rows + 1] = ("NY,,SKU,SKU-%d,%d,\n"):format(i, i == 4 and 10 or 8 + i) end
  return table.concat(rows) .. "NOWHERE,,SKU,SKU-1,3,\nNY,,SKU,OTHER,3,\n"
end

--- Somebody adds rows to the variance file by hand, each of which takes ids of its own.
local function add_by_hand(site)
  local path = process.must("find", site.exchange .. "/variance", "-name", "*.csv"):match "[^\n]+"
  process.write(path, process.read(path) .. "NY,,SKU,SKU-3,-1,VAR_DAMAGED,fell\n"
    .. "NY,,SKU,SKU-5,-2,VAR_DAMAGED,\"fell, too\"\n")
end

--- Lets jobs of a site use an OMS.
---@param site test.Site
---@param url string
local function go_to(site, url) site.env.TALLYMAN_OMS = url end

--- A database of the server's, copied from another.
local function copy_database(self, from, to)
  self.boss:script(("CREATE DATABASE %s OWNER %s TEMPLATE %s STRATEGY file_copy"):format(to,
    postgres.USER, from))
end

--- The URL of a database for the ordinary user, by the server's socket.
---@param database string
---@return string
function Night:url(database) return self.made.address(database) end

--- What a database holds.
---@param database string
---@return string
function Night:dump(database)
  local oms <close> = db.open(self:url(database))
  return dump(oms)
end

--- Notes a job's moment, and what one clean run of it makes of it.
local function note(self, site, base, job, arguments)
  local moment = { night = self, job = job, arguments = arguments, site = site:copy(),
    database = "before_" .. job, before = self:dump(base), leased = job ~= "import_reset" }
  copy_database(self, base, moment.database)
  process.must(site:command(job, table.unpack(arguments)))
  moment.after, moment.files = self:dump(base), crashes.files(site)
  assert.is_string(process.difference(moment.before, moment.after))
  self.moments[#self.moments + 1] = moment
end

--- Starts a server and goes through a night: the moments before each job that changes the OMS.
---@return test.CrashNight
function crashes.night()
  local server = postgres.start { config = CONFIG }
  local self = setmetatable({ server = server, moments = {}, count = 0 }, Night)
  self.made = databases.of_oms(server)
  self.boss = self.made.connect
  copy_database(self, "shop", "base")
  do
    local oms <close> = db.open(self:url "base")
    fill(oms)
  end
  local site = process.site()
  os.remove(site.folder .. "/oms.db")
  go_to(site, self:url "base")
  site:upload(counts())
  site:jobs("active_products", "filter_inventory", "export_variance")
  add_by_hand(site)
  note(self, site, "base", "import_reset", {})
  note(self, site, "base", "import_variance", {})
  self.moments[1].next = self.moments[2]
  note(self, site, "base", "undo", { "1", "--reason", "wrong file" })
  return self
end

--- Ends the server at once, as a crash does, and starts it again; `between` may run meanwhile.
---@param between? fun()
function Night:crash(between)
  self.boss:close()
  self.server:stop_immediately()
  if between then between() end
  self.server:start()
  self.boss = db.open(self.made.address("postgres", postgres.SUPERUSER))
end

-- ---- attempts ----

--- A copy of the moment, to let the job die in.
---@param moment test.Moment
---@return test.Attempt
function crashes.attempt(moment)
  local self = setmetatable({ moment = moment, site = moment.site:copy() }, Attempt)
  moment.night.count = moment.night.count + 1
  self.database = "attempt" .. moment.night.count
  copy_database(moment.night, moment.database, self.database)
  go_to(self.site, moment.night:url(self.database))
  return self
end

--- The command that runs the job, by way of a proxy perhaps.
---@param proxy? test.PgProxy
---@return test.Command
function Attempt:command(proxy)
  local command = self.site:command(self.moment.job, table.unpack(self.moment.arguments))
  command.env = {}
  for name, value in pairs(self.site.env) do command.env[name] = value end
  if proxy then
    command.env.TALLYMAN_OMS = self.moment.night.server:address { port = proxy.port,
      database = self.database, query = "sslmode=disable&gssencmode=disable" }
  end
  return command
end

--- What the OMS holds, by a connection that is kept.
---@return string
function Attempt:dump()
  self.oms = self.oms or db.open(self.moment.night:url(self.database))
  return dump(self.oms)
end

--- Runs a moment's job; then all is as after one clean run of it.
local function run_to(self, moment, what)
  local result = process.run(self.site:command(moment.job, table.unpack(moment.arguments)))
  assert.equal(0, result.status, what .. ": " .. moment.job .. ": " .. result.err)
  assert.is_nil(process.difference(moment.after, self:dump()), what .. ": " .. moment.job)
  assert.same(moment.files, crashes.files(self.site), what .. ": " .. moment.job)
  return result
end

--- A run that died has left everything as it was. Its backend is gone then, and where there was no
--- lease, there is none: the next run says the very same to the server.
---@param what string where it died
function Attempt:has_left_nothing(what)
  assert.is_nil(process.difference(self.moment.before, self:dump()), what)
  assert.truthy(process.eventually(function()
    return self.oms:value [[SELECT COUNT(*) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()]] == 0
  end), what)
  if not self.moment.leased then self.oms:run "DELETE FROM tallyman_lease" end
end

--- Looks at what a run that died has left: nothing or everything. Goes on with the night: it ends
--- as a clean one does.
---@param what string where it died
---@param whole? boolean run the job after this one, too
---@return boolean applied whether it had left everything
function Attempt:recovers(what, whole)
  local moment, left = self.moment, self:dump()
  local applied = left == moment.after
  assert.truthy(applied or left == moment.before,
    what .. ": " .. (process.difference(moment.before, left) or ""))
  local result = run_to(self, moment, what)
  if applied then assert.matches("nothing to do", result.err, what) end
  if whole and moment.next then run_to(self, moment.next, what) end
  return applied
end

--- Takes it away.
function Attempt:close()
  if self.oms then self.oms:close() end
  self.moment.night.boss:script(("DROP DATABASE %s WITH (FORCE)"):format(self.database))
end
Attempt.__close = Attempt.close

return crashes
