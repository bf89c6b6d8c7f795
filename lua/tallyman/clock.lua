--- The library's one clock. Real time, or what TALLYMAN_NOW makes of it; a test may own it.
local native = require "native.clock"
local failure = require "tallyman.failure"

local clock = {}

--- Seconds since 1970-01-01 UTC.
---@return number
function clock.now() return native.now() end

--- Sleeps; a signal ends it by a failure.
---@param seconds number
function clock.sleep(seconds) failure.check(native.sleep(seconds)) end

--- Whether TALLYMAN_NOW moved the clock; log and report say so loudly.
---@return boolean
function clock.is_set() return native.is_set() end

return clock
