--- Transactions: all or nothing, tried again as a whole where the database asks for that.
local clock = require "native.clock"
local statements = require "tallyman.db_statements"

local RETRIED = { ["40001"] = true, ["40P01"] = true } -- serialization failure, deadlock

---@class tallyman.TransactionOptions
---@field isolation? "serializable"|"repeatable read"|"read committed" the server's by default
---@field retries? integer how often all of it is done again after a serialization failure or a
--- deadlock

local ISOLATIONS = { ["serializable"] = true, ["repeatable read"] = true,
  ["read committed"] = true }

--- The options, checked.
local function check_options(options)
  options = options or {}
  for name in pairs(options) do
    if name ~= "isolation" and name ~= "retries" then
      error("unknown option '" .. tostring(name) .. "'", 3)
    end
  end
  if options.isolation and not ISOLATIONS[options.isolation] then
    error("isolation is serializable, repeatable read or read committed", 3)
  end
  return options.isolation, options.retries or 0
end

--- Says so when nobody can tell whether it was committed; even where the error is about a signal.
local function tell_unknown(self, err)
  if self.closed or type(err) ~= "table" or not self.driver.outcome_unknown(self.handle) then
    return
  end
  err.outcome_unknown = true
  err.message = err.message
    .. "; whether the transaction was committed is unknown: look before you run it again"
end

--- One attempt: false and the error when it was rolled back.
local function attempt(self, work, isolation)
  local committing = false
  local ok, result = xpcall(function()
    statements.check(self.handle:script(self.driver.begin(isolation)))
    local result = work(self)
    committing = true
    statements.check(self.driver.commit(self.handle))
    return result
  end, function(err)
    return type(err) == "table" and err or debug.traceback(tostring(err), 2)
  end)
  if committing and not ok then tell_unknown(self, result) end
  if not ok and not self.closed and self.handle:in_transaction() then
    self.handle:script "ROLLBACK"
  end
  return ok, result
end

--- See Database:transaction in tallyman.db.
---@param self tallyman.Database
---@param work fun(db: tallyman.Database): any
---@param options? tallyman.TransactionOptions
---@return any
return function(self, work, options)
  local isolation, retries = check_options(options)
  if self.working then error("a transaction runs already, and they don't nest", 2) end
  for tried = 0, retries do
    self.working = true
    local ok, result = attempt(self, work, isolation)
    self.working = false
    if ok then return result end
    local again = type(result) == "table" and RETRIED[result.sqlstate]
    if not again or tried == retries then error(result, 0) end
    statements.check(clock.sleep(math.random() * 0.02 * 2 ^ math.min(tried, 6)))
  end
end
