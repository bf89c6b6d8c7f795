--- Lines for people, on standard error; a progress bar where standard error is a terminal.
local clock = require "tallyman.clock"
local time = require "tallyman.time"
local unistd = require "posix.unistd"

local log = { quiet = false }

local RED, YELLOW, PLAIN = "\27[31m", "\27[33m", "\27[0m"

--- Whether standard error is a terminal that wants colour.
local function colourful()
  return unistd.isatty(2) and (os.getenv "NO_COLOR" or "") == ""
end

local function write(who, text, colour)
  if log.quiet then return end
  if colour and colourful() then text = colour .. text .. PLAIN end
  io.stderr:write(("%s %s: %s\n"):format(time.text(clock.now(), log.zone), who, text))
end

--- Says what happened.
---@param who string the job or flow
---@param text string
function log.info(who, text) write(who, text) end

--- Says what somebody should look at.
---@param who string
---@param text string
function log.warn(who, text) write(who, "warning: " .. text, YELLOW) end

--- Says what went wrong.
---@param who string
---@param text string
function log.error(who, text) write(who, text, RED) end

--- A function that draws a bar on a terminal; nil where there is none.
---@param label string
---@return (fun(done: integer, total: integer))?
function log.progress(label)
  if log.quiet or not unistd.isatty(2) then return nil end
  local drawn = -1
  return function(done, total)
    local percent = total > 0 and done * 100 // total or 0
    if percent == drawn then return end
    drawn = percent
    local bar = ("#"):rep(percent * 40 // 100) .. ("."):rep(40 - percent * 40 // 100)
    io.stderr:write(("\r%s [%s] %3d %%  %d MB"):format(label, bar, percent, done // 1000000))
    if percent >= 100 then io.stderr:write "\r\27[K" end
  end
end

return log
