--- Lines for people, on standard error, or for programs where TALLYMAN_LOG=json; a progress bar
--- where standard error is a terminal.
local clock = require "tallyman.clock"
local failure = require "tallyman.failure"
local time = require "tallyman.time"
local unicode = require "tallyman.unicode"
local unistd = require "posix.unistd"

local log = { quiet = false }

local RED, YELLOW, PLAIN = "\27[31m", "\27[33m", "\27[0m"

--- Whether standard error is a terminal that wants colour.
local function colourful()
  return unistd.isatty(2) and (os.getenv "NO_COLOR" or "") == ""
end

--- A line for programs: time (UTC), who, level, text.
local function write_json(who, text, level)
  io.stderr:write(unicode.json({ time = time.iso(clock.now()), who = who, level = level,
    text = text }, { keyorder = { "time", "who", "level", "text" } }), "\n")
end

--- An instant in the log's zone, or in UTC while that zone's rules can't be read.
---@param instant number
---@return string
function log.time(instant)
  local ok, text = failure.catch(time.text, instant, log.zone)
  return ok and text or time.text(instant) .. " UTC"
end

local function write(who, text, level, colour)
  if log.quiet then return end
  if os.getenv "TALLYMAN_LOG" == "json" then return write_json(who, text, level) end
  if level == "warning" then text = "warning: " .. text end
  if colour and colourful() then text = colour .. text .. PLAIN end
  io.stderr:write(("%s %s: %s\n"):format(log.time(clock.now()), who, text))
end

--- Says what happened.
---@param who string the job or flow
---@param text string
function log.info(who, text) write(who, text, "info") end

--- Says what somebody should look at.
---@param who string
---@param text string
function log.warn(who, text) write(who, text, "warning", YELLOW) end

--- Says what went wrong.
---@param who string
---@param text string
function log.error(who, text) write(who, text, "error", RED) end

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
