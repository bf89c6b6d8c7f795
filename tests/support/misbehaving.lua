--- An SFTP server that misbehaves on order: starts tests/servers/misbehaving.py, whose head says
--- which faults there are and what a client must make of each; or, when told, stopping.py, which
--- lets clients in no further than it is told.
local process = require "tests.support.process"
local server = require "tests.support.server"

local misbehaving = {}

---@class test.LimitedFault
---@field value? integer|string
---@field times? integer
---@field after? integer

---@alias test.Fault integer|string|true|test.LimitedFault

---@class test.Misbehaving: test.Server
---@field password string
---@field answers table<string, string> to keyboard-interactive prompts, by prompt
---@field options test.MisbehavingOptions
local Misbehaving = setmetatable({}, { __index = server.Server })
Misbehaving.__index = Misbehaving

---@class test.MisbehavingOptions
---@field program? string "stopping" for that server
---@field faults? table<string, test.Fault> see `order`
---@field methods? string of login: `publickey`, `password`, `keyboard-interactive`, by commas
---@field host? string to listen at; 127.0.0.1 by default
---@field port? integer a free one by default
---@field folder? string what it serves, as `/`; a new one by default

local USER, SHOP, CODE = "tester", "tallyman", "246810"

local has_asyncssh -- looked for once: it takes its time

--- Why there can be no server here; nil when there can.
---@return string?
function misbehaving.lacks()
  if not server.program "ssh-keygen" then return "needs openssh-client" end
  if has_asyncssh == nil then
    has_asyncssh = process.run { "/usr/bin/python3", "-c", "import asyncssh" }.status == 0
  end
  return not has_asyncssh and "needs python3-asyncssh" or nil
end

local function line_of(name, fault)
  if type(fault) ~= "table" then fault = { value = fault ~= true and fault or nil } end
  local words = { name, fault.value and tostring(fault.value) }
  for _, limit in ipairs { "times", "after" } do
    if fault[limit] then words[#words + 1] = ("%s=%d"):format(limit, fault[limit]) end
  end
  return table.concat(words, " ") .. "\n"
end

--- Orders faults, instead of those ordered before; counts begin anew. Each is NAME = VALUE, `true`
--- where it has none, or { value =, times =, after = }.
---@param faults table<string, test.Fault>
function Misbehaving:order(faults)
  local lines = {}
  for name, fault in pairs(faults) do lines[#lines + 1] = line_of(name, fault) end
  process.write(self.place .. "/faults.new", table.concat(lines))
  assert(os.rename(self.place .. "/faults.new", self.place .. "/faults"))
end

--- How often a fault that has occasions (not one that is there all the time) has happened;
--- `connection` counts connections.
---@param name string
---@return integer
function Misbehaving:happened(name)
  if name == "connection" then return tonumber(self:log():match ".*\nconnection (%d+)") or 0 end
  return select(2, self:log():gsub("\nfault " .. name .. " ", "%0"))
end

--- What it did, and what went wrong with it.
---@return string
function Misbehaving:log() return self.child:out() .. self.child:err() end

--- Starts it anew at the same port.
function Misbehaving:start()
  local place, options = self.place, self.options
  local command = { "/usr/bin/python3", "-W", "ignore",
    ("%s/tests/servers/%s.py"):format(process.root, options.program or "misbehaving"),
    "--host", self.host, "--port", tostring(self.port or 0), "--folder", self.folder,
    "--control", place .. "/faults", "--authorized", place .. "/authorized_keys",
    "--methods", options.methods or "publickey", "--user", self.user,
    "--password", server.PASSWORD, "--shop", SHOP, "--code", CODE }
  for option, set in pairs { ["--host-key"] = "host", ["--other-key"] = "other" } do
    for _, path in pairs(server.keys(set, place .. "/" .. set)) do
      table.move({ option, path }, 1, 2, #command + 1, command)
    end
  end
  self.child = process.start(command)
  local port = process.eventually(function()
    return self.child:poll() and "none" or self.child:out():match "ready (%d+)\n"
  end, 20)
  self.port = math.tointeger(port)
  if not self.port then error("the server doesn't start: " .. self:log(), 2) end
end

--- Starts a server. It ends by `stop`, or by process.clean.
---@param options? test.MisbehavingOptions
---@return test.Misbehaving
function misbehaving.start(options)
  options = options or {}
  local self = setmetatable({ host = options.host or "127.0.0.1", port = options.port,
    user = USER, password = server.PASSWORD, options = options, path = "/" }, Misbehaving)
  self.answers = { ["Password: "] = server.PASSWORD, ["Name of the shop: "] = SHOP,
    ["Code: "] = CODE }
  self.place = process.folder()
  self.folder = options.folder or process.folder()
  local keys = server.public_keys "user"
  keys.stranger = nil
  local lines = {}
  for _, key in pairs(keys) do lines[#lines + 1] = key end
  process.write(self.place .. "/authorized_keys", table.concat(lines, "\n") .. "\n")
  self:order(options.faults or {})
  self:start()
  return server.adopt(self)
end

return misbehaving
