--- The lease: of several hosts that run the same night, one applies at a time. A row in the OMS
--- says whose turn it is; its fencing number goes up with every new holder, and whoever applies
--- looks it up inside the applying transaction. So a holder that was stopped and wakes up late
--- can't apply. The row stays locked until that transaction ends: nobody can take the lease over
--- meanwhile, and PostgreSQL itself ends a transaction whose client has stopped for longer than the
--- lease. Times are the server's. SQLite needs none of this: its only write lock is one host's, and
--- a transaction has it from its beginning.
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local log = require "tallyman.log"
local unistd = require "posix.unistd"
local utsname = require "posix.sys.utsname"

local lease = {}

local POLL = 0.2 -- seconds between two looks at a lease that somebody else has
local STOPPED = "25P03" -- idle_in_transaction_session_timeout

---@class tallyman.Lease
---@field db tallyman.Database
---@field name string what it is about
---@field holder string who wants it
---@field seconds number
---@field fence? integer while it is ours, as far as we know; nil on SQLite
local Lease = {}
Lease.__index = Lease

--- Makes the row, held by nobody. Where it is there already, this would wait for who has it.
local MAKE = [[
  INSERT INTO tallyman_lease (name, holder, backend, fence, expires_at)
  VALUES (:name, 'nobody', 0, 0, {now}) ON CONFLICT DO NOTHING]]

--- Takes a lease that has ended or is held by a connection that is gone, but for one whose holder
--- applies at this moment.
local TAKE = [[
  UPDATE tallyman_lease l SET holder = :holder, backend = pg_backend_pid(), fence = l.fence + 1,
    expires_at = {now} + :seconds * interval '1 second'
  FROM (SELECT name FROM tallyman_lease h WHERE h.name = :name AND (h.expires_at <= {now}
      OR NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.pid = h.backend))
    FOR UPDATE SKIP LOCKED) free
  WHERE l.name = free.name
  RETURNING l.fence]]

--- Renews the lease if it is still ours, perhaps by another connection than it was taken by, and
--- locks its row until the transaction ends.
local HOLD = [[
  UPDATE tallyman_lease SET expires_at = {now} + :seconds * interval '1 second',
    backend = pg_backend_pid()
  WHERE name = :name AND fence = :fence]]

local HOLDER = "SELECT holder FROM tallyman_lease WHERE name = :name"

--- Who has it, while nobody else could take it.
local HELD = HOLDER .. [[ AND expires_at > {now}
  AND EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.pid = backend)]]

local RELEASE = "UPDATE tallyman_lease SET expires_at = {now} WHERE name = :name AND fence = :fence"

--- What has PostgreSQL end a transaction of a client that is stopped or gone.
local LIMITS = [[
  SELECT set_config(name, CAST(:millis AS text), true) FROM pg_settings
  WHERE name IN ('idle_in_transaction_session_timeout', 'client_connection_check_interval')]]

local function sql(text)
  return (text:gsub("{now}", "(clock_timestamp() AT TIME ZONE 'UTC')"))
end
MAKE, TAKE, HOLD, RELEASE, HELD = sql(MAKE), sql(TAKE), sql(HOLD), sql(RELEASE), sql(HELD)

--- Tries once to take it; gives who has it, or nil when it is ours now.
---@return string? holder
function Lease:try()
  self.fence = self.db:value(TAKE, { name = self.name, holder = self.holder,
    seconds = self.seconds })
  if self.fence then return nil end
  local holder = self.db:value(HOLDER, { name = self.name })
  if holder then return holder end
  self.db:run(MAKE, { name = self.name })
  return self:try()
end

--- Renews it; whether it was still ours.
---@return boolean
function Lease:renew()
  return self.db:run(HOLD, { name = self.name, fence = self.fence, seconds = self.seconds }) == 1
end

--- Sees to it, first thing in the applying transaction, that the lease is still ours: raises (75)
--- when another host has taken it over.
function Lease:hold()
  if not self.fence then return end
  lease.limit(self.db, self.seconds)
  if self:renew() then return end
  failure.raise(failure.try_again, "%s has taken over the lease meanwhile: nothing was changed; "
    .. "run again", self.db:value(HOLDER, { name = self.name }) or "somebody")
end

--- Lets the next one have it.
function Lease:close()
  if not self.fence or self.db.closed then return end
  local params = { name = self.name, fence = self.fence }
  failure.catch(self.db.run, self.db, RELEASE, params) -- else it ends by itself
  self.fence = nil
end
Lease.__close = Lease.close

--- Has PostgreSQL end the transaction that has begun, should its client stand still for so long.
---@param database tallyman.Database
---@param seconds number
function lease.limit(database, seconds)
  if database.dialect == "sqlite" then return end
  database:all(LIMITS, { millis = math.ceil(seconds * 1000) })
end

--- Makes a failure of the transaction tell what it means that PostgreSQL ended it.
---@param wrong any
---@return any
function lease.explain(wrong)
  if type(wrong) ~= "table" or wrong.sqlstate ~= STOPPED then return wrong end
  wrong.code = failure.try_again
  wrong.message = wrong.message .. ": this process stood still for longer than its lease; nothing "
    .. "was changed, run again"
  return wrong
end

--- A lease that is nobody's yet.
---@param database tallyman.Database PostgreSQL
---@param name string
---@param holder string
---@param seconds number how long a holder that has stopped keeps others waiting
---@return tallyman.Lease
function lease.new(database, name, holder, seconds)
  return setmetatable({ db = database, name = name, holder = holder, seconds = seconds }, Lease)
end

--- Who has a lease; nil when nobody has.
---@param database tallyman.Database PostgreSQL
---@param name string
---@return string?
function lease.holder(database, name) return database:value(HELD, { name = name }) end

--- Takes the imports' lease; stands by while another process has it.
---@param database tallyman.Database
---@param job string
---@param seconds number
---@return tallyman.Lease
function lease.take(database, job, seconds)
  local self = lease.new(database, "imports",
    ("%s, process %d"):format(utsname.uname().nodename, unistd.getpid()), seconds)
  if database.dialect == "sqlite" then return self end
  local told = false
  while true do
    local holder = self:try()
    if not holder then return self end
    if not told then log.info(job, ("standing by: %s has the lease"):format(holder)) end
    told = true
    clock.sleep(POLL)
  end
end

return lease
