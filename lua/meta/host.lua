---@meta native.host

--- The program itself.
---@class native.host
---@field executable string absolute path of the running program
---@field library string absolute path of the folder with tallyman/
---@field version string
local host = {}

--- An error value that the host prints as one line, without traceback, and exits with its code.
---@param message string
---@param code integer
---@return tallyman.Failure
function host.failure(message, code) end

return host
