---@meta native.clock

--- The host's time. Scripts use tallyman.clock, which a test can own.
---@class native.clock
local clock = {}

--- Seconds since 1970-01-01 UTC, with a fraction. Starts at TALLYMAN_NOW where that is set.
---@return number
function clock.now() end

--- Whether TALLYMAN_NOW moved the clock.
---@return boolean
function clock.is_set() end

--- Seconds east of UTC at an instant.
---@param time number seconds since 1970-01-01 UTC
---@param zone? string IANA name; nil: the system's zone
---@return integer? offset, string? message, integer? code nil on an unknown zone (78)
function clock.offset(time, zone) end

--- Sleeps until the time is over or a signal asks the process to stop.
---@param seconds number
---@return true?, string? message, integer? code nil when stopped (128 + signal)
function clock.sleep(seconds) end

return clock
