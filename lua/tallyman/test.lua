--- `tallyman test [busted's arguments]`: busted inside the host, so that specs see native.*.
local unistd = require "posix.unistd"

--- Runs busted, which ends the process with its own exit code. Here alone the working folder, where
--- specs and their helpers stand, is a search path, and by its absolute name.
---@param arguments string[] the global arg
return function(arguments)
  local folder = unistd.getcwd()
  _G.arg = table.move(arguments, 1, #arguments, 3,
    { [0] = "tallyman test", "--lpath=" .. folder .. "/?.lua", "--cpath=" .. folder .. "/?.so" })
  require "busted.runner" { standalone = false }
end
