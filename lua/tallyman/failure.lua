--- Failures of the world: an error value with a message for a person and an exit code for a
--- machine. The host prints such an error as one line, without a traceback.
local host = require "native.host"

---@class tallyman.Failure
---@field message string one line: what, where, what to do
---@field code integer exit code, as sysexits has them

local failure = {
  refused = 3, -- a guard, or the rules of identity
  usage = 64,
  bad_data = 65,
  no_input = 66,
  unavailable = 69,
  internal = 70,
  cant_create = 73,
  io = 74,
  try_again = 75, -- held, or no input yet
  not_permitted = 77,
  configuration = 78,
}

--- Raises a failure.
---@param code integer exit code
---@param format string message, or format of string.format
---@param ... any its values
function failure.raise(code, format, ...)
  local message = select("#", ...) > 0 and format:format(...) or format
  error(host.failure(message, code), 0)
end

--- Passes the results of a native call through, and raises what went wrong.
---@generic T
---@param value T|nil first result
---@param message? string second result, when the first is nil
---@param code? integer third result
---@return T
function failure.check(value, message, code, ...)
  if value == nil and message ~= nil then
    error(host.failure(tostring(message), code or failure.internal), 0)
  end
  return value, message, code, ...
end

--- The exit code that an error value stands for: 1 for a script's own error; never that of success.
---@param err any
---@return integer
function failure.code(err)
  local code = type(err) == "table" and err.code
  return math.type(code) == "integer" and code > 0 and code < 256 and code or 1
end

--- Runs a function; on an error gives false, the error value and, for a script's own error, a
--- traceback.
---@param run function
---@param ... any its arguments
---@return boolean ok, any result, string? traceback
function failure.catch(run, ...)
  local trace
  local ok, result = xpcall(run, function(err)
    if type(err) ~= "table" then trace = debug.traceback(tostring(err), 2) end
    return err
  end, ...)
  return ok, result, trace
end

return failure
