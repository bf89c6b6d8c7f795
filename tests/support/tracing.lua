--- Jobs under strace, which tells the system calls that a job makes, and kills it before one.
local process = require "tests.support.process"

local tracing = {}

--- Why no job can be traced here; nil when it can.
---@return string?
function tracing.lacks()
  return process.run({ "strace", "true" }).status ~= 0 and "needs strace" or nil
end

---@class test.Call
---@field name string
---@field text string what stands behind the name
---@field moment string strace's argument behind -e that kills right before it

--- strace's argument behind -e that kills right before the nth call of a name.
---@param name string
---@param n integer
---@return string
function tracing.moment(name, n) return ("inject=%s:signal=KILL:when=%d"):format(name, n) end

--- Runs a command under strace.
---@param command test.Command
---@param folder string for the log
---@param calls string names of the calls that are told, with commas between them
---@param ... string more arguments of strace's
---@return test.Result, string log
function tracing.run(command, folder, calls, ...)
  local log = folder .. "/trace"
  local traced = { "strace", "-f", "-o", log, "-e", "trace=" .. calls, ... }
  table.move(command, 1, #command, #traced + 1, traced)
  traced.env = { ASAN_OPTIONS = "detect_leaks=0" } -- which can't work under strace
  for name, value in pairs(command.env) do traced.env[name] = value end
  return process.run(traced), process.read(log)
end

--- The calls of a log, in order; and how many there are of each name.
---@param log string
---@return test.Call[], table<string, integer>
function tracing.calls(log)
  local all, seen = {}, {}
  for name, text in ("\n" .. log):gmatch "\n%d+ +(%l%w*)(%([^\n]*)" do
    seen[name] = (seen[name] or 0) + 1
    all[#all + 1] = { name = name, text = text, moment = tracing.moment(name, seen[name]) }
  end
  return all, seen
end

return tracing
