--- Variables of the environment for as long as a function runs.
local stdlib = require "posix.stdlib"

local environment = {}

--- Calls a function with variables set, which weren't; gives its results.
---@param variables table<string, string>
---@param run function
---@param ... any its arguments
---@return any ...
function environment.with(variables, run, ...)
  for name, value in pairs(variables) do stdlib.setenv(name, value) end
  local results = table.pack(pcall(run, ...))
  for name in pairs(variables) do stdlib.setenv(name) end
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

return environment
