--- A proxy between a job and a private PostgreSQL (tests/servers/pgproxy.py): it cuts a connection,
--- or lets it hang, right before or after a certain message.
local process = require "tests.support.process"
local server = require "tests.support.server"

local pgproxy = {}

---@class test.PgProxy
---@field port integer
---@field control string
---@field child test.Child
local PgProxy = {}
PgProxy.__index = PgProxy

---@class test.PgPlace where a connection ends
---@field way "up"|"down" to the server or to the client
---@field number integer of the message, of those that go this way
---@field when "before"|"after"

---@class test.PgMessage
---@field way "up"|"down"
---@field number integer
---@field kind string its type
---@field text string of a query or a command's completion, the first words

--- Why there can be no proxy here; nil when there can.
---@return string?
function pgproxy.lacks()
  return not server.program "python3" and "needs python3" or nil
end

--- Starts a proxy for a server. It ends by process.clean.
---@param to test.Postgres
---@return test.PgProxy
function pgproxy.start(to)
  local self = setmetatable({ control = process.folder() .. "/order" }, PgProxy)
  process.write(self.control, "")
  self.child = process.start { "python3", process.root .. "/tests/servers/pgproxy.py",
    "--to-port", tostring(to.port), "--control", self.control }
  local port = process.eventually(function()
    return self.child:poll() and "none" or self.child:out():match "ready (%d+)\n"
  end, 20)
  self.port = math.tointeger(tonumber(port))
  if not self.port then error("pgproxy.py doesn't start: " .. self.child:err(), 2) end
  return self
end

--- How often it has said something.
local function count(self, word) return select(2, self.child:out():gsub(word .. "\n", "")) end

--- Says where the connections to come end; nowhere, with nil.
---@param place? test.PgPlace
---@param how? "cut"|"hold"
function PgProxy:order(place, how)
  local text = place and ("%s %d %s %s"):format(place.way, place.number, place.when, how) or ""
  process.write(self.control, text)
  self.held = count(self, "held")
end

--- Waits until a connection hangs since the last order; whether one does.
---@return boolean
function PgProxy:await_held()
  return process.eventually(function() return count(self, "held") > self.held end, 20) ~= nil
end

--- Runs something through the proxy once, without an order; the messages that went by.
---@param run fun()
---@return test.PgMessage[]
function PgProxy:record(run)
  self:order()
  local before, messages = count(self, "recorded"), {}
  run()
  assert(process.eventually(function() return count(self, "recorded") > before end, 20))
  for line in process.read(self.control .. ".record"):gmatch "[^\n]+" do
    local way, number, kind, text = line:match "^(%l+) (%d+) (%S+) (.*)$"
    messages[#messages + 1] = { way = way, number = math.tointeger(number), kind = kind,
      text = text }
  end
  return messages
end

return pgproxy
