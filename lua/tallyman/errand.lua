--- Errands: programs that a flow runs beside its jobs, one at a time for each purpose, with a text
--- to read; tried again, after growing waits, until they succeed.
local failure = require "tallyman.failure"
local log = require "tallyman.log"
local signal = require "posix.signal"
local stdio = require "posix.stdio"

---@class tallyman.Errand
---@field purpose string what the log calls it
---@field watch native.Watch
---@field flow string
---@field pid? integer
---@field started? number
---@field options? tallyman.ErrandOptions
---@field next_at number not before this instant
---@field failures integer in a row
local Errand = {}
Errand.__index = Errand

local LIMIT = 120 -- seconds that a program may take that says nothing else
local WAITS = { 60, 120, 240, 480, 900 }

--- A file that holds a text, to be read from its beginning.
local function file_of(text)
  local file, message = io.tmpfile()
  if not file then return nil, message end
  local ok, wrong = file:write(text)
  if ok then ok, wrong = file:seek "set" end
  if ok then return file end
  file:close()
  return nil, wrong
end

--- Takes in that it didn't work.
local function fail(self, now, why, options)
  if options.failed then options.failed(now, why, self.failures + 1) end
  self.failures = self.failures + 1
  local wait = WAITS[math.min(self.failures, #WAITS)]
  self.next_at = now + wait
  log.error(self.flow, ("cannot %s: %s; tried again in %d s"):format(self.purpose, why, wait))
end

--- Whether one can be sent now.
---@param now number
---@return boolean
function Errand:is_free(now) return not self.pid and now >= self.next_at end

---@class tallyman.ErrandOptions
---@field text? string what it reads
---@field environment? string[] "NAME=VALUE"
---@field done fun(now: number, status: integer)
---@field fine? fun(status: integer): boolean whether an exit code means that it worked; 0 does
---@field failed? fun(now: number, why: string, failures: integer) it didn't work, so often in a row
---@field limit? number seconds that it may take: 120 by default

--- Sends a program.
---@param now number
---@param command string[]
---@param options tallyman.ErrandOptions
function Errand:send(now, command, options)
  local input <close>, wrong = file_of(options.text or "")
  if not input then return fail(self, now, "no temporary file: " .. wrong, options) end
  local pid, message = self.watch:start(command, { input = stdio.fileno(input), output = 2,
    environment = options.environment })
  if not pid then return fail(self, now, message, options) end
  self.pid, self.started, self.options = pid, now, options
end

--- Takes in that a process has ended; whether it was this errand's.
---@param pid integer
---@param status integer
---@param now number
---@return boolean
function Errand:ended(pid, status, now)
  if pid ~= self.pid then return false end
  local fine = self.options.fine
  if status == 0 or fine and fine(status) then
    self.options.done(now, status) -- may raise, and is done again then
    self.failures, self.next_at = 0, now
  else
    fail(self, now, "exit code " .. status, self.options)
  end
  self.pid = nil
  return true
end

--- Ends a program that takes too long; gives when to look again.
---@param now number
---@return number?
function Errand:look(now)
  if not self.pid then return self.next_at > now and self.next_at or nil end
  local limit = self.started + (self.options.limit or LIMIT)
  if now < limit then return limit end
  signal.killpg(self.pid, signal.SIGKILL)
end

local errand = {}

--- Makes one.
---@param purpose string
---@param flow string
---@param watch native.Watch
---@return tallyman.Errand
function errand.new(purpose, flow, watch)
  return setmetatable({ purpose = purpose, flow = flow, watch = watch, next_at = 0, failures = 0 },
    Errand)
end

--- What curl reads as its options for a request: so that no URL, which may be a secret, stands in a
--- list of processes.
---@param url string
---@param body? string JSON
---@return string[] command, string text
function errand.request(url, body)
  local function quoted(value)
    return '"' .. value:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"'
  end
  if url:find "%c" then failure.raise(failure.configuration, "a URL must be one line") end
  local lines = { "url = " .. quoted(url), "silent", "show-error", "fail", "max-time = 60",
    "output = /dev/null", "location", "max-redirs = 5" }
  if body then
    lines[#lines + 1] = "post301\npost302" -- where it has moved to it is to get the same
    lines[#lines + 1] = 'header = "Content-Type: application/json"'
    lines[#lines + 1] = "data-binary = " .. quoted(body)
  end
  return { "curl", "-q", "--config", "-" }, table.concat(lines, "\n") .. "\n"
end

return errand
