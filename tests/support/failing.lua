--- What calls raise, for specs.
local assert = require "luassert"

local failing = {}

--- Calls a function that must fail; what it raises.
---@param run function
---@param ... any its arguments
---@return any err
function failing.of(run, ...)
  local ok, err = pcall(run, ...)
  assert.is_false(ok, "it succeeded")
  return err
end

return failing
