--- Whose turn it is to keep a flow: one process's at a time, on whatever host. In SQLite a row
--- names the process, and it is free when that process is gone; in PostgreSQL it is a lease, as
--- that of the imports, which its holder renews, and every change that a flow writes looks it up.
local failure = require "tallyman.failure"
local lease = require "tallyman.lease"
local processes = require "tallyman.processes"

---@class tallyman.Turn
---@field store tallyman.Store
---@field flow string
---@field lease? tallyman.Lease on PostgreSQL
---@field taken? boolean in SQLite: nobody can take it while this process lives
---@field lost? boolean somebody has taken it over, which was noticed when something was written
---@field pause? number seconds between two looks at the lease
local Turn = {}
Turn.__index = Turn

--- Takes the row in SQLite, unless its process lives.
local function take_row(self)
  local db = self.store.db
  return db:transaction(function()
    local other = db:value("SELECT process FROM keeper WHERE flow = :flow", { flow = self.flow })
    if other and other ~= processes.own() and processes.find(other) then return other end
    db:run([[INSERT INTO keeper (flow, process) VALUES (:flow, :process)
      ON CONFLICT (flow) DO UPDATE SET process = excluded.process]],
      { flow = self.flow, process = processes.own() })
  end)
end

--- Takes the turn, or renews it. Gives the process that has it; nil when it is ours.
---@return string? other
function Turn:take()
  self.lost = nil
  if not self.lease then
    local other = not self.taken and take_row(self) or nil
    self.taken = not other
    return other
  end
  self.lease.db = self.store.db -- it may have been connected anew
  if self.lease.fence and self.lease:renew() then return nil end
  return self.lease:try()
end

--- Sees to it, first thing in a transaction, that it is still ours: raises (75) when it isn't.
function Turn:hold()
  if not self.lease then return end
  lease.limit(self.store.db, self.lease.seconds)
  if self.lease.fence and self.lease:renew() then return end
  self.lost = true
  failure.raise(failure.try_again, "flow %s: another process keeps it", self.flow)
end

--- Lets the next one have it.
function Turn:close()
  if self.lease then self.lease:close() end
end
Turn.__close = Turn.close

local turn = {}

local function name_of(flow) return "flow " .. flow end

--- One that isn't taken yet.
---@param store tallyman.Store
---@param flow string
---@param seconds number how long a process that has stopped keeps others waiting, on PostgreSQL
---@return tallyman.Turn
function turn.new(store, flow, seconds)
  local self = setmetatable({ store = store, flow = flow }, Turn)
  if store.url then
    self.lease = lease.new(store.db, name_of(flow), processes.own(), seconds)
    self.pause = seconds / 3
  end
  return self
end

--- The process that keeps a flow; nil when there is none.
---@param store tallyman.Store
---@param flow string
---@return string?
function turn.holder(store, flow)
  if store.url then return lease.holder(store.db, name_of(flow)) end
  local found = store.db:value("SELECT process FROM keeper WHERE flow = :flow", { flow = flow })
  return found and processes.find(found) and found
end

return turn
