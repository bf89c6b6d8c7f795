--- `tallyman test [busted's arguments]`: busted inside the host, so that specs see native.*.

--- Runs busted, which ends the process with its own exit code.
---@param arguments string[] the global arg
return function(arguments)
  local rest = { [0] = "tallyman test" }
  for i, argument in ipairs(arguments) do rest[i] = argument end
  _G.arg = rest
  require "busted.runner" { standalone = false }
end
