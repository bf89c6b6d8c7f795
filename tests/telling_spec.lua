--- Somebody is told: by a command, by a webhook, by a ping that stays away; once each.
local db = require "tallyman.db"
local flows = require "tests.support.flows"
local json = require "dkjson"
local process = require "tests.support.process"
local sys_stat = require "posix.sys.stat"

local made, record, port

--- Starts a server that writes down what it is asked; the first `failures` times it fails.
local function listen(failures)
  record = made.folder .. "/requests"
  local server = process.start { "python3", process.root .. "/tests/servers/hook.py", record,
    tostring(failures or 0) }
  assert(process.eventually(function()
    port = server:out():match "^(%d+)\n"
    return port
  end))
end

--- What the server was asked, of one path.
local function requests(path)
  local found = {}
  for line in (process.read(record) or ""):gmatch "[^\n]+" do
    local request = json.decode(line)
    if request.path == path then found[#found + 1] = request end
  end
  return found
end

local function told() return process.read(made.folder .. "/told") or "" end

--- Settings in which the command appends what it reads to a file.
local function tell_by_command(more)
  made.settings(([[tell = { command = { "sh", "-c",
    'echo "== $1 ($TALLYMAN_SUBJECT)" >> %s/told; cat >> %s/told', "sh", "{subject}" }, %s }]])
    :format(made.folder, made.folder, more or ""))
end

--- Settings in which a server's path is the webhook.
local function tell_by_webhook(path)
  listen()
  process.write(made.folder .. "/hook", ("http://127.0.0.1:%s%s\n"):format(port, path))
  made.settings(([[tell = { webhook_file = "%s/hook" }]]):format(made.folder))
end

local function eventually(holds, child)
  assert(process.eventually(holds, 30), child:err() .. "\n" .. told())
end

before_each(function()
  made = flows.new()
  process.write(made.folder .. "/oms.db", "")
  process.must("sqlite3" and process.host, "-e", ([[
    local db = require "tallyman.db".open("sqlite:%s/oms.db")
    db:script(io.open("%s/examples/oms/schema.sql"):read "a") db:close()]])
    :format(made.folder, process.root))
end)
after_each(process.clean)

describe("the command", function()
  it("tells of what went wrong, once, and not of what comes of it", function()
    tell_by_command()
    made.job("a", "at = '01:00:01',", [[require "tallyman.failure".raise(65, "bad row %d", 7)]])
    made.job("b", "at = '01:00:01', latest = '01:00:04', after = { 'a' },")
    made.night { "a", "b" }
    local flow = made.keep()
    flows.shows(flow, "night: b: skipped: a is failed: bad row 7")
    flow:kill(process.SIGKILL)
    flow:wait()
    flow = made.keep()
    flows.shows(flow, "cycle: none tonight") -- the night's report is run, and goes to the log
    assert.equal(1, select(2, told():gsub("== ", "")), told())
    assert.match("^== night on %S+: a failed %(night on %S+: a failed%)\n", told())
    assert.match("2026%-11%-24 01:00:%d%d a failed: bad row 7 %(night of 2026%-11%-24%)\n", told())
    assert.match("See: tallyman " .. made.folder .. "/night.lua status", told(), 1, true)
  end)

  it("tells of several things in one message, and keeps a pause between two", function()
    tell_by_command "pause = '1h'"
    for _, name in ipairs { "a", "b", "c" } do
      made.job(name, ("at = '01:00:0%d',"):format(name == "c" and 6 or 1),
        ([[require "tallyman.failure".raise(3, "%s is refused")]]):format(name))
    end
    made.night { "a", "b", "c" }
    local flow = made.keep()
    flows.shows(flow, "night: c: refused")
    eventually(function() return told():find "a refused" or told():find "b refused" end, flow)
    os.execute "sleep 0.5"
    assert.falsy(told():find "c refused", told())
    assert.equal(1, select(2, told():gsub("== ", "")))
  end)

  it("tells of what a job wants somebody to know, and of its recovery", function()
    tell_by_command "pause = 0"
    made.job("a", "at = '01:00:01', every = '3s',", [[
      local path = "]] .. made.folder .. [[/second"
      local handle <close> = io.open(path)
      if not handle then
        io.open(path, "w"):close()
        require "tallyman.failure".raise(65, "bad row")
      end
      night:alert "look at the shelf"]])
    made.night { "a" }
    local flow = made.keep()
    eventually(function() return told():find "a recovered: done again" end, flow)
    assert.match("a failed: bad row", told())
    assert.match("a alert: look at the shelf", told())
  end)

  it("tells again of what isn't mended", function()
    tell_by_command "pause = 0, again = '3s'"
    made.job("a", "at = '01:00:01',", [[require "tallyman.failure".raise(65, "bad row")]])
    made.night { "a" }
    local flow = made.keep()
    eventually(function() return select(2, told():gsub(": still a failed", "")) >= 4 end, flow)
  end)

  it("that fails is tried again, and the log says so", function()
    made.settings [[tell = { command = { "false" } }]]
    made.job("a", "at = '01:00:01',", [[require "tallyman.failure".raise(65, "bad row")]])
    made.night { "a" }
    flows.shows(made.keep(), "cannot tell by the command: exit code 1; tried again in 60 s")
  end)

  it("that isn't there hurts nothing but itself", function()
    made.settings [[tell = { command = { "/no/such/program" } }]]
    made.job("a", "at = '01:00:01',", [[require "tallyman.failure".raise(65, "bad row")]])
    made.job("b", "at = '01:00:04',")
    made.night { "a", "b" }
    local flow = made.keep()
    flows.shows(flow, "cannot tell by the command: cannot start '/no/such/program'")
    flows.shows(flow, "night: b: done")
  end)
end)

describe("the webhook", function()
  it("gets JSON, and its URL is in no list of processes and no log", function()
    tell_by_webhook "/s3cret"
    made.job("a", "at = '01:00:01',",
      [[require "tallyman.failure".raise(65, 'a "quoted" \\ text\nin two lines')]])
    made.night { "a" }
    local flow = made.keep()
    eventually(function() return #requests "/s3cret" > 0 end, flow)
    local request = requests "/s3cret"[1]
    assert.same({ "POST", "application/json" }, { request.method, request.type })
    local body = json.decode(request.body)
    assert.equal("night", body.flow)
    assert.match("a failed", body.subject)
    assert.same({ "a", "failed", 'a "quoted" \\ text\nin two lines', "2026-11-24" },
      { body.events[1].job, body.events[1].kind, body.events[1].text, body.events[1].night })
    assert.match("^2026%-11%-24T01:00:%d%dZ$", body.events[1].at)
    assert.falsy(flow:err():find "s3cret")
  end)

  it("is followed when it has moved", function()
    tell_by_webhook "/moved/here"
    made.job("a", "at = '01:00:01',", [[require "tallyman.failure".raise(65, "bad row")]])
    made.night { "a" }
    local flow = made.keep()
    eventually(function() return #requests "/here" > 0 end, flow)
    local request = requests "/here"[1]
    assert.equal("POST", request.method)
    assert.equal("bad row", json.decode(request.body).events[1].text)
  end)

  it("that can't be read from its file is a wrong setting", function()
    made.settings [[tell = { webhook_file = "/no/such/file" }]]
    made.job("a", "at = '01:00:01',")
    made.night { "a" }
    local result = made.keep():wait()
    assert.equal(78, result.status)
    assert.match("cannot read a secret: /no/such/file", result.err, 1, true)
  end)
end)

describe("a good night", function()
  it("is proven, and pings once", function()
    listen()
    made.job("a", "at = '01:00:01',")
    made.job("b", "after = { 'a' },")
    made.night { "a", "b" }
    local ping = { TALLYMAN_PING = ("http://127.0.0.1:%s/alive"):format(port) }
    local flow = made.keep(ping)
    flows.shows(flow, "cycle: none tonight")
    eventually(function() return #requests "/alive" == 1 end, flow)
    eventually(function() -- ended before it has written that it told, it would tell again
      local history <close> = db.open("sqlite:" .. made.folder .. "/state/history.db")
      return history:value [[SELECT webhook_at FROM event WHERE kind = 'good']]
    end, flow)
    flow:kill(process.SIGTERM)
    flow:wait()
    flow = made.keep(ping)
    flows.shows(flow, "kept from now on")
    os.execute "sleep 1"
    assert.equal(1, #requests "/alive")
    assert.equal("GET", requests "/alive"[1].method)
  end)

  it("isn't one in which a job failed", function()
    listen()
    made.job("a", "at = '01:00:01',", [[error "oops"]])
    made.night { "a" }
    local flow = made.keep { TALLYMAN_PING = ("http://127.0.0.1:%s/alive"):format(port) }
    flows.shows(flow, "night of 2026-11-24, flow night")
    os.execute "sleep 0.5"
    assert.equal(0, #requests "/alive")
  end)
end)

describe("the metrics", function()
  it("say of each job what one would alert on, in a file that appears whole", function()
    local path = made.folder .. "/tallyman.prom"
    made.settings(([[tell = { metrics = "%s" }]]):format(path))
    made.job("a", "at = '01:00:01',", "if night then return { kept = 1500 } end")
    made.job("b", "at = '05:00',")
    made.night { "a", "b" }
    process.write(path .. ".part", "left by one that was killed")
    local umask = sys_stat.umask(63) -- 077
    local flow = made.keep()
    sys_stat.umask(umask)
    eventually(function()
      return (process.read(path) or ""):find 'state{flow="night",job="a",state="done"} 1\n'
    end, flow)
    assert.equal(420, sys_stat.stat(path).st_mode & 511) -- 0644: others collect it
    local text = process.read(path)
    assert.match('tallyman_job_state{flow="night",job="b",state="waiting"} 1\n', text, 1, true)
    assert.match('tallyman_job_state{flow="night",job="b",state="done"} 0\n', text, 1, true)
    assert.match('last_figure{flow="night",job="a",figure="kept"} 1500\n', text, 1, true)
    assert.match('last_success_timestamp_seconds{flow="night",job="a"} 17954820%d%d\n', text)
    for line in text:gmatch "[^\n]+" do -- the format's grammar
      assert.truthy(line:match "^# HELP [%w_]+ ." or line:match "^# TYPE [%w_]+ gauge$"
        or line:match '^[%a_][%w_]*{[%w_]+=".-"} %-?[%d.e+-]+$', line)
    end
    assert.match('tallyman_flow_kept{flow="night"} 1\n', text, 1, true)
    flow:kill(process.SIGTERM)
    flow:wait()
    assert.match('^# [^\n]+\n# [^\n]+\ntallyman_flow_kept{flow="night"} 0\n$', process.read(path))
  end)

  it("that can't be written are told of once, and the night goes on", function()
    made.settings [[tell = { metrics = "/no/such/folder/tallyman.prom" }]]
    made.job("a", "at = '01:00:01',")
    made.night { "a" }
    local flow = made.keep()
    flows.shows(flow, "night: a: done")
    assert.equal(1, select(2, flow:err():gsub("cannot write /no/such/folder", "")), flow:err())
  end)
end)
