--- Servers that stop answering, hang up or talk nonsense at each stage on the way in: a clear error
--- within the timeouts, a signal ends the wait, and what comes after a cut is tried again.
local link = require "tests.support.link"
local logins = require "tests.support.logins"
local misbehaving = require "tests.support.misbehaving"
local process = require "tests.support.process"
local server = require "tests.support.server"
local sftp = require "native.sftp"
local texts = require "tests.support.texts"

after_each(process.clean)

local ALL = { "version", "kex", "service", "login", "try", "prompts", "channel", "subsystem",
  "hello" }

describe("a server that", function()
  local lacks = misbehaving.lacks()
  if lacks then return pending(lacks) end
  local at, home
  setup(function()
    at = misbehaving.start { program = "stopping", methods = "publickey,keyboard-interactive" }
    process.keep()
  end)
  before_each(function() home = logins.home(at) end)
  teardown(function() process.clean(true) end)

  --- Starts a run that meets this order, by a key or, for prompts, a password;
  --- each part of the way may take so many seconds, 1 by default.
  local function start(how, stage, seconds)
    at:order { [how] = stage }
    local before, limit, env = at:happened "connection", seconds or 1, {}
    local given = { connect_seconds = limit, login_seconds = limit, idle_seconds = limit }
    if stage == "prompts" then
      env.TALLYMAN_SSH_PASSWORD = server.PASSWORD
    else
      given.key = at.keys.ed25519
    end
    local child = home:start { sftp = given, env = env }
    assert(process.eventually(function() return at:happened "connection" > before end, 10))
    return child
  end

  --- Runs under each order, all at the same time; hands over each result with its stage.
  local function each(how, stages, look)
    local children, before = {}, at:happened(how)
    for _, stage in ipairs(stages) do children[stage] = start(how, stage) end
    for _, stage in ipairs(stages) do look(children[stage]:wait(logins.LIMIT), stage) end
    assert.equal(#stages, at:happened(how) - before)
  end

  local place
  before_each(function() place = ("%s:%d"):format(at.host, at.port) end)

  it("serves, where nothing else is ordered", function()
    at:order {}
    logins.is_in(home:run { sftp = { key = at.keys.ed25519 } })
    logins.is_in(home:run { env = { TALLYMAN_SSH_PASSWORD = server.PASSWORD } })
  end)

  it("is silent from some stage on is given up in time", function()
    each("silent", { "halfway", table.unpack(ALL) }, function(result, stage)
      logins.is_out(result, 69, place, "no answer in time")
      assert.is_true(result.seconds > 0.9 and result.seconds < 10, stage)
    end)
  end)

  for _, stage in ipairs { "halfway", table.unpack(ALL) } do
    it("hangs up instead of an answer is told at once: " .. stage, function()
      each("closes", { stage }, function(result)
        logins.is_out(result, 69, place)
        assert.falsy(result.err:find("no answer in time", 1, true), result.err)
      end)
    end)
  end

  for _, stage in ipairs(ALL) do
    it("talks nonsense from some stage on is given up in time: " .. stage, function()
      each("garbage", { stage }, function(result)
        logins.is_out(result, 69, place)
        assert.is_true(result.seconds < 10)
      end)
    end)
  end

  it("says something now and then, but never the answer, is given up in time", function()
    each("trickles", { "version", "login", "try", "channel" }, function(result, stage)
      logins.is_out(result, 69, place, "no answer in time")
      assert.is_true(result.seconds > 0.9 and result.seconds < 10, stage)
    end)
  end)

  for _, stage in ipairs { "version", "kex", "login", "try", "channel", "hello" } do
    it("says things without an end is given up in time: " .. stage, function()
      local child = start("floods", stage)
      local result = process.eventually(function() return child:poll() end, logins.LIMIT)
      child:kill()
      assert.truthy(result, "it reads for ever")
      logins.is_out(result, 69, place)
    end)
  end

  it("says things without an end can be left by a signal", function()
    local before = at:happened "floods"
    local child = start("floods", "version")
    assert(process.eventually(function() return at:happened "floods" > before end, 10))
    child:kill(process.SIGTERM)
    local result = process.eventually(function() return child:poll() end, logins.LIMIT)
    child:kill()
    assert.truthy(result, "it reads for ever")
    assert.equal(143, result.status)
  end)

  it("is silent can be left by a signal, wherever it is", function()
    local children, before = {}, at:happened "silent"
    for n, stage in ipairs(ALL) do children[n] = start("silent", stage, 60) end
    assert(process.eventually(function() return at:happened "silent" == before + #ALL end, 10))
    for _, child in ipairs(children) do child:kill(process.SIGTERM) end
    for n, child in ipairs(children) do assert.equal(143, child:wait(3).status, ALL[n]) end
  end)

  --- Reads it all, or fails with the reason.
  local function read(source, size)
    local parts, got = {}, 0
    while got < size do
      local bytes, message = source:read(size - got)
      assert(bytes, message)
      parts[#parts + 1], got = bytes, got + #bytes
    end
    return table.concat(parts)
  end

  for _, stage in ipairs(ALL) do
    it("hangs up when a lost connection is made again is asked once more: " .. stage, function()
      local text = texts.make(400000)
      process.write(at.folder .. "/in", text)
      local cut = link.start(at, { cut_down = { 200000 } })
      local second = at:happened "connection" + 2
      at:order { closes = stage, only = ("%d"):format(second) }
      local session <close> = assert(sftp.open { host = cut.host, port = cut.port, user = at.user,
        known_hosts = at:known { names = ("[127.0.0.1]:%d"):format(cut.port) },
        key = stage ~= "prompts" and at.keys.ed25519 or nil, password = server.PASSWORD,
        connect_seconds = 2, login_seconds = 2, idle_seconds = 2, attempts = 3 })
      local source <close> = assert(session:source("/in", "in"))
      assert.is_true(read(source, #text) == text)
      assert.equal(second + 1, at:happened "connection")
    end)
  end
end)
