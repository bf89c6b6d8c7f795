--- The command line's promises, kept by the real program.
local lfs = require "lfs"
local process = require "tests.support.process"
local stat = require "posix.sys.stat"

local tallyman = process.tallyman

local folder
before_each(function() folder = process.folder() end)
after_each(process.clean)

--- A script in the temporary folder; gives its path.
local function script(text, name)
  return process.write(("%s/%s"):format(folder, name or "script.lua"), text)
end

--- Runs a script's text.
local function run(text, ...) return tallyman(script(text), ...) end

local function first_line(text) return text:match "^[^\n]*" end

local function assert_starts(expected, text)
  assert.equal(expected, text:sub(1, #expected), text)
end

describe("tallyman SCRIPT", function()
  it("gives the script its arguments as lua does", function()
    local result = run("print(arg[-1], arg[0], arg[1], arg[2], arg[3], #arg, ...)", "-x", "b c")
    assert.equal(("%s\t%s/script.lua\t-x\tb c\tnil\t2\t-x\tb c\n"):format(process.host, folder),
      result.out)
    assert.equal(0, result.code, result.err)
  end)

  it("gives negative indexes to what stands before the script", function()
    local path = script "print(arg[-4], arg[-3], arg[-2], arg[-1], arg[0], arg[1])"
    local result = tallyman("-e", "x = 1", path, "y")
    assert.equal(("nil\t%s\t-e\tx = 1\t%s\ty\n"):format(process.host, path), result.out)
  end)

  it("reads the script from standard input for -", function()
    local result = tallyman("-", "a", { stdin = "print(arg[0], arg[1], ...)" })
    assert.equal("-\ta\ta\n", result.out)
    assert.equal(0, result.code)
  end)

  it("reads it from standard input when it isn't a terminal and nothing is named", function()
    assert.equal("3\n", tallyman({ stdin = "print(1 + 2)" }).out)
  end)

  it("runs -e CODE alone, and several before a script, in one state", function()
    assert.equal("3\n", tallyman("-e", "print(1 + 2)").out)
    local result = tallyman("-e", "x = 1", "-e", "x = x + 1", script "print(x)")
    assert.equal("2\n", result.out)
    assert.equal(0, result.code)
  end)

  it("ends at the first -e that fails", function()
    local result = tallyman("-e", "error 'no'", script "print 'ran'")
    assert.equal("", result.out)
    assert.equal(1, result.code)
  end)

  it("reads lines with -i, prints values and goes on after an error", function()
    local result = tallyman("-i", { stdin = "1 + 1\nx = 5\nfor i = 1, 2 do\nprint(i)\nend\n"
      .. "error 'oh'\nx = = 1\nreturn x, nil\n" })
    assert.equal("2\n1\n2\n5\tnil\n", result.out)
    assert.matches("oh", result.err)
    assert.matches("unexpected symbol near '='", result.err)
    assert.equal(0, result.code)
  end)

  it("runs the script before -i reads lines", function()
    local result = tallyman("-i", script "x = 7 print 'script'", { stdin = "x\n" })
    assert.equal("script\n7\n", result.out)
  end)

  it("passes os.exit's code on", function()
    assert.equal(7, run "os.exit(7)".code)
    assert.equal(0, run "os.exit(true)".code)
    assert.equal(1, run "os.exit(false)".code)
  end)
end)

describe("tallyman's own options", function()
  it("print the version", function()
    local result = tallyman "--version"
    assert.matches("^tallyman %d+%.%d+%.%d+ %(Lua 5%.4", result.out)
    assert.equal(0, result.code)
  end)

  it("print what there is, and nothing that there isn't", function()
    local result = tallyman "--help"
    for _, there in ipairs { "SCRIPT", "-e CODE", "-i", "--version", "--help", "test", "check",
      "run", "once", "plan", "status", "report", "--json" } do
      assert.truthy(result.out:find(there, 1, true), there .. " is missing:\n" .. result.out)
    end
    assert.falsy(result.out:find("--force", 1, true), "it isn't every job's")
    for _, code in ipairs { 0, 1, 3, 64, 65, 66, 69, 70, 73, 74, 75, 77, 78 } do
      assert.matches("%f[%d]" .. code .. "%f[%D]", result.out)
    end
    assert.equal("", result.err)
    assert.equal(0, result.code)
  end)

  it("answer 64 and the usage on standard error when unknown or cut short", function()
    for _, option in ipairs { "--nope", "-x", "-e", "--" } do
      local result = tallyman(option)
      assert.equal(64, result.code, option)
      assert.equal("", result.out)
      assert.matches("usage: tallyman", result.err)
    end
  end)
end)

describe("what goes wrong", function()
  it("is 66 and one line for a script that isn't there", function()
    local result = tallyman(folder .. "/nowhere.lua")
    assert.equal(66, result.code)
    assert.matches("^tallyman: [^\n]*nowhere%.lua[^\n]*\n$", result.err)
  end)

  it("is 66 for a folder in a script's place", function()
    local result = tallyman(folder)
    assert.equal(66, result.code, result.err)
    assert.matches("^tallyman: [^\n]+\n$", result.err)
  end)

  it("is 1 with file and line for a syntax error", function()
    local result = run "\nx = = 1"
    assert.equal(1, result.code)
    assert_starts(("tallyman: %s/script.lua:2:"):format(folder), result.err)
  end)

  it("is 1 with file, line and a traceback for a runtime error", function()
    local result = run "local function inner()\n  local x = nil + 1\nend\n\ninner()\n"
    assert.equal(1, result.code)
    assert_starts(("tallyman: %s/script.lua:2:"):format(folder), first_line(result.err))
    assert.matches("stack traceback:", result.err)
    assert.matches("script%.lua:5: in main chunk", result.err)
  end)

  it("is named by the path that the user gave", function()
    script("error 'x'", "sub/short.lua")
    local result = tallyman("sub/short.lua", { cwd = folder })
    assert_starts("tallyman: sub/short.lua:1:", result.err)
  end)

  it("is 1 and names the script's line for error() without a message", function()
    local result = run "\nerror()"
    assert.equal(1, result.code)
    assert.matches("script%.lua:2:", result.err)
  end)

  it("is 1 and names the script's line for a table without a message", function()
    local result = run "\nerror {}"
    assert.equal(1, result.code)
    assert.matches("script%.lua:2:", result.err)
  end)

  it("is never success, whatever code an error's table bears", function()
    for _, code in ipairs { "0", "0.5", "256", "-1", "'0'" } do
      local result = run(("error { message = 'm', code = %s }"):format(code))
      assert.truthy(result.code and result.code > 0, "code = " .. code)
    end
  end)

  it("is told in words even when the error can't be made into text", function()
    local result = run "error(setmetatable({}, { __tostring = function() error 'no' end }))"
    assert.equal(1, result.status, result.err)
    assert.falsy(result.err:find "PANIC", result.err)
  end)

  it("is one line, without a traceback, and its own exit code for a failure", function()
    for code, name in pairs { [69] = "unavailable", [3] = "refused", [75] = "try_again" } do
      local result = run(("local failure = require 'tallyman.failure'\n"
        .. "failure.raise(failure.%s, 'no answer from %%s', 'there')"):format(name))
      assert.equal("tallyman: no answer from there\n", result.err)
      assert.equal(code, result.code)
    end
  end)
end)

describe("search paths", function()
  local function paths(options)
    return tallyman(script "print(package.path .. ';' .. package.cpath)", options).out
  end

  it("have no relative entry, whatever the working folder and the environment", function()
    for _, cwd in ipairs { folder, "/", process.root, process.root .. "/scripts" } do
      local found = paths { cwd = cwd, env = { LUA_PATH = "./?.lua;;", LUA_CPATH = "x/?.so;;",
        LUA_PATH_5_4 = "?.lua;;", LUA_CPATH_5_4 = "?.so" } }
      assert.truthy(#found > 0)
      for entry in found:gmatch "[^;\n]+" do assert.equal("/", entry:sub(1, 1), entry) end
    end
  end)

  it("ignore LUA_PATH, even an absolute one, and LUA_INIT", function()
    process.write(folder .. "/elsewhere/found.lua", "return 1")
    local env = { LUA_PATH = folder .. "/elsewhere/?.lua;;", LUA_INIT = "print 'init'" }
    env.LUA_PATH_5_4 = env.LUA_PATH
    local result = run("print(pcall(require, 'found'))", { env = env })
    assert.matches("^false\t", result.out)
  end)

  it("find a module beside the script from any working folder", function()
    process.write(folder .. "/job/beside.lua", "return 'beside'")
    local path = script("print((require 'beside'))", "job/main.lua")
    for _, cwd in ipairs { "/", folder, folder .. "/job" } do
      assert.equal("beside\n", tallyman(path, { cwd = cwd }).out)
    end
    assert.equal("beside\n", tallyman("job/main.lua", { cwd = folder }).out)
    assert.equal("beside\n", tallyman("main.lua", { cwd = folder .. "/job" }).out)
  end)

  it("don't find a module in the working folder", function()
    process.write(folder .. "/here/astray.lua", "return 'astray'")
    local path, code = script "print(require 'astray')", "print(require 'astray')"
    for _, result in ipairs { tallyman(path, { cwd = folder .. "/here" }),
      tallyman("-e", code, { cwd = folder .. "/here" }),
      tallyman("-", { cwd = folder .. "/here", stdin = code }) } do
      assert.equal(1, result.code)
      assert.matches("module 'astray' not found", result.err)
    end
  end)
end)

describe("standard streams", function()
  it("may be closed by a reader that has seen enough", function()
    local path = script "for i = 1, 20000 do print(i) end"
    local result = process.run { "sh", "-c",
      '{ "$@"; echo "$?" >"$0"; } | head -n 1', folder .. "/status", process.host, path }
    assert.equal("1\n", result.out)
    local status = tonumber(process.read(folder .. "/status"))
    assert.truthy(status == 0 or status == 74, "status " .. status)
  end)

  it("aren't success when what was printed is lost", function()
    local path = script "print 'data'"
    local result = process.run { "sh", "-c", '"$@" >/dev/full', "sh", process.host, path }
    assert.equal(74, result.code)
    assert.matches("^tallyman: [^\n]+\n$", result.err)
  end)

  it("are never replaced by a file that a script opens", function()
    local path = script(("local f = io.open('%s/data', 'w')\nio.stderr:write 'stray'\n"
      .. "print 'stray'\nf:write 'data'\nf:close()"):format(folder))
    for _, closed in ipairs { ">&-", "2>&-", "<&- >&- 2>&-" } do
      process.run { "sh", "-c", '"$@" ' .. closed, "sh", process.host, path }
      assert.equal("data", process.read(folder .. "/data"), closed)
    end
  end)
end)

describe("TALLYMAN_NOW", function()
  local CODE = "local clock = require 'native.clock'\nlocal from = clock.now()\nclock.sleep(0.05)\n"
    .. "print(clock.is_set(), math.floor(from), clock.now() - from >= 0.05)"

  it("is where the clock starts; it runs on", function()
    local result = run(CODE, { env = { TALLYMAN_NOW = "2026-11-24T02:00:00Z" } })
    assert.equal("true\t1795485600\ttrue\n", result.out)
  end)

  it("leaves the clock alone where it isn't set", function()
    local set, at = run(CODE).out:match "^(%l+)\t(%d+)"
    assert.equal("false", set)
    assert.truthy(math.abs(at - os.time()) <= 2)
  end)

  it("is 78 and one line when it is no time", function()
    for _, wrong in ipairs { "x", "2026-11-24", "2026-11-24T02:00:00", "2026-11-24 02:00:00Z",
      "2026-11-24T02:00:00+01", "2026-13-01T00:00:00Z", "2026-02-31T00:00:00Z",
      "2026-11-24T25:00:00Z" } do
      local result = run("print 'ran'", { env = { TALLYMAN_NOW = wrong } })
      assert.equal(78, result.code, wrong)
      assert.equal("", result.out)
      assert.matches("^tallyman: TALLYMAN_NOW[^\n]+\n$", result.err)
    end
  end)
end)

describe("tallyman test", function()
  local function busted(text)
    return tallyman("test", script(text, "tiny_spec.lua"), { cwd = folder })
  end

  it("runs specs inside the host: natives are there", function()
    local result = busted [[it("sees natives", function()
      assert.is_function(require "native.csv".filter)
      assert.is_function(require "tallyman.failure".raise)
    end)]]
    assert.equal(0, result.code, result.out .. result.err)
    assert.matches("1 success[^\n]*0 failures", result.out)
  end)

  it("gives busted's exit code, and passes arguments on", function()
    local text = "it('a', function() assert.equal(1, 2) end) it('b', function() error 'x' end)"
    local expected = process.run { "busted", script(text, "tiny_spec.lua"), cwd = folder }
    local result = busted(text)
    assert.truthy(result.code and result.code > 0)
    assert.equal(expected.code, result.code)
    result = tallyman("test", "--filter=z", folder .. "/tiny_spec.lua", { cwd = folder })
    assert.equal(0, result.code)
  end)
end)

describe("a signal", function()
  --- Whether any process was started with this argument.
  local function is_running(argument)
    for pid in lfs.dir "/proc" do
      local command = pid:match "^%d+$" and process.read(("/proc/%s/cmdline"):format(pid))
      if command and command:find("\0" .. argument .. "\0", 1, true) then return true end
    end
    return false
  end

  local PROMPT = 3 -- seconds; without one, everything here would take 10 or for ever
  local ENDS = { [process.SIGTERM] = 143, [process.SIGINT] = 130 }
  local CLOSING = "local _ <close> = setmetatable({}, { __close = function()\n"
    .. "io.stderr:write 'closed\\n' end })\n"
  local UP = "io.stdout:write 'up\\n' io.stdout:flush()\n"

  local function ready(child)
    assert.truthy(process.eventually(function() return child:out():find "up" end, 20), child:err())
    return child
  end

  --- Runs a script until it says that it is up, sends it each signal and checks how it ends.
  local function ends(text, setup)
    for number, status in pairs(ENDS) do
      if setup then setup() end
      local child = ready(process.start { process.host, script(CLOSING .. text) })
      process.eventually(function() return false end, 0.03) -- let it get to where it waits
      local result = child:kill(number):wait(PROMPT)
      assert.equal(status, result.status, result.err)
      assert.equal(("closed\ntallyman: stopped by signal %d\n"):format(number), result.err)
    end
  end

  it("ends a sleep", function() ends(UP .. "require 'native.clock'.sleep(1000)") end)
  it("ends a busy loop", function() ends(UP .. "while true do end") end)
  it("ends a busy loop in a coroutine", function()
    ends(UP .. "coroutine.wrap(function() while true do end end)()")
  end)

  it("ends a filter that waits for its source, and leaves no part", function()
    local pipe, feeder = folder .. "/pipe", nil
    assert(stat.mkfifo(pipe, 384))
    local feed = ("local pipe = io.open('%s', 'w')\npipe:write 'idType,idValue\\n'\nrepeat\n"
      .. "pipe:write('SKU,a\\n') require 'native.clock'.sleep(0.01)\nuntil not pipe:flush()")
      :format(pipe)
    ends(([[
      local csv, file = require "native.csv", require "native.file"
      local failure = require "tallyman.failure"
      local exchange = require "tallyman.exchange".open("file://%s", "RUN")
      local target <close> = exchange:write "out/kept.csv"
      local source <close> = failure.check(file.source "%s")
      local keys = csv.keyset():add("SKU", "a")
      %s
      failure.check(csv.filter(source, target.sink, { key = { "idType", "idValue" }, keep = keys }))
    ]]):format(folder, pipe, UP), function()
      if feeder then feeder:wait(PROMPT) end
      feeder = process.start { process.host, "-e", feed }
    end)
    assert.equal("", process.must("find", folder .. "/out", "-type", "f"))
  end)

  it("leaves no part even at the instant when one is made", function()
    local result = run(([[
      local dirent, signal = require "posix.dirent", require "posix.signal"
      local list = dirent.dir
      dirent.dir = function(...) signal.raise(signal.SIGTERM) return list(...) end
      local exchange <close> = require "tallyman.exchange".open("file://%s", "RUN")
      local target <close> = exchange:write "out/kept.csv"
    ]]):format(folder))
    assert.equal(143, result.status, result.err)
    assert.equal("", process.must("find", folder .. "/out", "-type", "f"))
  end)

  it("ends the wait for a locked database", function()
    local hold = ("local db = require 'tallyman.db'.open('sqlite:%s/oms.db', { create = true })\n"
      .. "db:transaction(function() print 'up' io.stdout:flush()\n"
      .. "require 'native.clock'.sleep(1000) end)"):format(folder)
    ready(process.start { process.host, "-e", hold })
    ends(("local db <close> = require 'tallyman.db'.open 'sqlite:%s/oms.db'\n"):format(folder)
      .. UP .. "db:transaction(function() end)")
  end)

  it("ends a flow and the job that it runs", function()
    local site = process.site()
    site:upload("idType,idValue\n", nil, true) -- unmarked: the filter looks twice, a minute apart
    site:own_scripts()
    local flow = process.start(site:command("nightly", "once"))
    local function running() return is_running(site.scripts .. "/filter_inventory.lua") end
    assert.truthy(process.eventually(running, 20), flow:err())
    local result = flow:kill(process.SIGTERM):wait(PROMPT)
    assert.equal(143, result.status, result.err)
    assert.falsy(running())
  end)
end)
