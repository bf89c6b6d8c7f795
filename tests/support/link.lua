--- Links of some length for specs: a delaying proxy on loopback (tests/servers/delaying_proxy.py),
--- and a tun link to a network namespace of its own (tests/servers/tunlink.c), in which TCP itself
--- sees the delay and the loss.
local process = require "tests.support.process"
local server = require "tests.support.server"
local signal = require "posix.signal"
local sys_stat = require "posix.sys.stat"
local unistd = require "posix.unistd"

local link = {}

-- ---- the proxy ----

---@class test.Link
---@field host string
---@field port integer where it listens
---@field child test.Child
local Link = {}
Link.__index = Link

---@class test.LinkOrders
---@field delay? number milliseconds each way
---@field rate_down? number bytes per second to the client; no bound by default
---@field rate_up? number
---@field cut_down? integer|integer[] bytes, to the client, after which a connection is cut:
--- a number for every connection, a list for one connection after the other
---@field cut_up? integer|integer[]
---@field stall_down? integer|integer[] bytes after which that way is silent
---@field stall_up? integer|integer[]
---@field stall? boolean all ways are silent now
---@field cut? boolean all connections are cut now
---@field refuse? boolean new connections are closed at once

local function line_of(name, value)
  if value == true then return name end
  if type(value) == "number" and name:find "^%l+_" and not name:find "^rate" then
    return ("%s %d *"):format(name, value)
  end
  local words = { name }
  for _, number in ipairs(type(value) == "table" and value or { value }) do
    words[#words + 1] = ("%.12g"):format(number)
  end
  return table.concat(words, " ")
end

local function write_orders(self, orders)
  local lines = {}
  for name, value in pairs(orders) do
    if value then lines[#lines + 1] = line_of(name, value) .. "\n" end
  end
  process.write(self.place .. "/orders", table.concat(lines))
end

--- Why there can be no proxy here; nil when there can.
---@return string?
function link.lacks()
  return not server.program "python3" and "needs python3" or nil
end

--- Starts a link to a server. It ends by `stop`, or by process.clean.
---@param to { host: string, port: integer } a server
---@param orders? test.LinkOrders
---@return test.Link
function link.start(to, orders)
  local self = setmetatable({ host = "127.0.0.1", place = process.folder() }, Link)
  write_orders(self, orders or {})
  self.child = process.start { "python3", process.root .. "/tests/servers/delaying_proxy.py",
    "--control", self.place .. "/orders", "--to-host", to.host, "--to-port", tostring(to.port) }
  local port = process.eventually(function()
    return self.child:poll() and "none" or self.child:out():match "ready (%d+)\n"
  end, 20)
  self.port = math.tointeger(port)
  if not self.port then error("delaying_proxy.py doesn't start: " .. self.child:err(), 2) end
  return self
end

--- Orders something else, instead of what was ordered before; back when it is in force.
---@param orders test.LinkOrders
function Link:order(orders)
  local function count() return select(2, self.child:out():gsub("ordered\n", "")) end
  local before = count()
  write_orders(self, orders)
  self.child:kill(signal.SIGHUP)
  assert(process.eventually(function() return count() > before end, 10), self.child:err())
end

--- How many connections it has cut.
---@return integer
function Link:cuts() return select(2, self.child:out():gsub("cut %l+", "")) end

--- Ends it.
function Link:stop() server.stop(self.child) end

-- ---- the tun link ----

---@class test.Tun
---@field host string the far end's address: a server started with `host = tun.host` and `within =
--- tun.within` is there
---@field within string[] the command that runs another at the far end
---@field child test.Child
local Tun = {}
Tun.__index = Tun

---@class test.TunOptions
---@field delay? number milliseconds each way
---@field loss? number part of the frames that are lost, such as 0.001
---@field rate? number bytes per second each way; no bound by default
---@field mtu? integer

--- The compiled program; nil and why not.
local function compile()
  local source = process.root .. "/tests/servers/tunlink.c"
  local target = process.root .. "/build/tests/tunlink"
  local made, from = sys_stat.stat(target), sys_stat.stat(source)
  if made and made.st_mtime >= from.st_mtime then return target end
  process.must("mkdir", "-p", process.root .. "/build/tests")
  local new = target .. "." .. unistd.getpid() -- others may be at it, too
  local result = process.run { "cc", "-O2", "-o", new, source }
  if result.status == 0 and os.rename(new, target) then return target end
  return nil, "can't compile tunlink: " .. result.err
end

--- Why there can be no tun link here; nil when there can.
---@return string?
function link.tun_lacks()
  if not process.is_root then return "needs root" end
  if not server.program "nsenter" then return "needs util-linux" end
  if not sys_stat.stat "/dev/net/tun" then return "needs /dev/net/tun" end
  if process.run { "unshare", "-n", "true" }.status ~= 0 then
    return "needs network namespaces"
  end
  return select(2, compile())
end

--- Makes a tun link. It ends by `stop`, or by process.clean.
---@param options? test.TunOptions
---@return test.Tun
function link.tun(options)
  options = options or {}
  local near = ("10.%d.%d."):format(server.draw(200, 250), server.draw(0, 255))
  local self = setmetatable({ host = near .. "2" }, Tun)
  self.child = process.start { assert(compile()), near .. "1", self.host,
    tostring(options.delay or 0), ("%d"):format((options.loss or 0) * 1000000 // 1),
    ("%d"):format((options.rate or 0) // 1), tostring(options.mtu or 1500) }
  local ready = process.eventually(function()
    return self.child:poll() and "ended" or self.child:out():match "ready"
  end, 10)
  if ready ~= "ready" then error(self.child:err(), 2) end
  self.within = { "nsenter", ("--net=/proc/%d/ns/net"):format(self.child.pid), "--" }
  return self
end

--- Loses everything from now on, as a pulled plug does; and delivers again when called again.
function Tun:plug() self.child:kill(signal.SIGUSR1) end

--- Ends it. Stop what runs at its far end before.
function Tun:stop() server.stop(self.child) end

return link
