--- The prepared statements of a database: each is kept for the next time by its SQL text, and is
--- nobody else's while it is in use. One that failed isn't kept.
local failure = require "tallyman.failure"
local host = require "native.host"

local statements = {}

local MOST_IDLE = 100 -- kept for the next time

--- Passes results through; raises what went wrong, with what the server called it.
---@generic T
---@param value T|nil
---@param message? string
---@param code? integer
---@param state? string SQLSTATE
---@return T
function statements.check(value, message, code, state)
  if value ~= nil or message == nil then return value end
  local err = host.failure(tostring(message), code or failure.internal)
  err.sqlstate = state
  error(err, 0)
end

--- Replaces {units X} and its like, from the inside out.
---@param self tallyman.Database
---@param sql string
---@return string
function statements.translate(self, sql)
  local macros = self.driver.macros
  local count
  repeat
    sql, count = sql:gsub("{(%l+) ([^{}]*)}", function(name, expression)
      return (macros[name]:format(expression, expression))
    end)
  until count == 0
  return sql
end

--- Closes the statements that nobody uses.
---@param self tallyman.Database
function statements.forget(self)
  for _, statement in pairs(self.idle) do statement:close() end
  self.idle, self.idle_count = {}, 0
end

--- A prepared statement for the SQL text, which is the caller's until it is given back.
---@param self tallyman.Database
---@param text string
---@return any
function statements.take(self, text)
  local statement = self.idle[text]
  if statement then
    self.idle[text], self.idle_count = nil, self.idle_count - 1
    return statement
  end
  return statements.check(self.driver.prepare(self.handle, statements.translate(self, text)))
end

--- Keeps a statement for the next time.
local function give(self, text, statement)
  if self.closed or self.idle[text] then return statement:close() end
  if self.idle_count == MOST_IDLE then statements.forget(self) end
  self.idle[text], self.idle_count = statement, self.idle_count + 1
end

--- Passes the results of a statement through and keeps it, or closes it where it failed.
---@param self tallyman.Database
---@param text string
---@param statement any
---@param value any
---@param message? string
---@return any value
function statements.finish(self, text, statement, value, message, ...)
  if value == nil and message ~= nil then
    statement:close()
    statements.check(value, message, ...)
  end
  give(self, text, statement)
  return value
end

--- Starts a statement; closes it where that fails.
---@param self tallyman.Database
---@param text string
---@param statement any
---@param params? table<string, any>
function statements.start(self, text, statement, params)
  local started, message, code, state = statement:start(params)
  if started == nil then statements.finish(self, text, statement, nil, message, code, state) end
end

return statements
