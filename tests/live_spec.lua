--- A shortened night of the shipped scripts, kept by real flows, on real servers and one host or
--- two: a file that comes late, a flow's process that is killed, a script that is edited, a refusal
--- that somebody overrides.
local databases = require "tests.support.databases"
local flows = require "tests.support.flows"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local shortened = require "tests.support.shortened"
local sshd = require "tests.support.sshd"
local time = require "tallyman.time"

local site, began
local hosts -- names; none where there is just this one
local keeper, standby -- of the flow

local function environment()
  site.env.TALLYMAN_NOW = time.iso(time.read "2026-11-24 01:00:00" + os.difftime(os.time(), began))
end

--- Starts the flow on a host.
local function start(host)
  began = began or os.time()
  environment()
  site.env.TALLYMAN_STATE = site.state .. (host or "")
  return process.start(flows.on_host(host, site:command "nightly"))
end

--- Has the flow kept; where there are two hosts, the other stands by.
local function keep()
  keeper = start(hosts[1])
  flows.shows(keeper, "kept from now on")
  if not hosts[2] then return end
  standby = start(hosts[2])
  flows.shows(standby, "standing by: process " .. keeper.pid)
end

--- Kills the process that keeps the flow: the other host's takes over, or another one.
local function kill_keeper()
  keeper:kill(process.SIGKILL):wait()
  hosts[1], hosts[2] = hosts[2], hosts[1]
  if not standby then return keep() end
  keeper = standby
  flows.shows(keeper, "kept from now on")
  standby = start(hosts[2])
  flows.shows(standby, "standing by: process " .. keeper.pid)
end

--- Kills the process that stands by, and starts another.
local function kill_standby()
  if not standby then return end
  standby:kill(process.SIGKILL):wait()
  standby = start(hosts[2])
  flows.shows(standby, "standing by: process " .. keeper.pid)
end

local function run(...)
  environment()
  return site:run(...)
end

local SETTINGS = [[return require "tallyman.settings" {
  oms = { lease = 3 }, tell = { command = { "sh", "-c", "cat >> %s/told" }, pause = 0 },
  guards = { age = false, function()
    local handle = io.open "%s/refuse"
    if handle then handle:close() return "it looks wrong" end
  end } }]]

local function live()
  it("goes through by itself, whatever comes in between", function()
    shortened.shorten(site, SETTINGS:format(site.folder, site.folder))
    site.env.TALLYMAN_GUARDS = nil
    process.write(site.folder .. "/refuse", "")
    keep()
    flows.shows(keeper, "filter_inventory: no input")
    kill_keeper() -- while it waits for its file
    kill_standby()
    flows.shows(keeper, "filter_inventory: held")
    shortened.edit(site, "export_variance", "^", "-- edited\n")
    flows.shows(keeper, "the new ones are used from now on")
    site:upload(shortened.file, "20261123_220000")
    flows.shows(keeper, "nightly: import_reset: refused: guard 1 refuses ")
    kill_keeper()
    assert.match("import_reset +refused", run("nightly", "status").out)
    assert.equal(0, run("import_reset", "--force", "counted again").status)
    flows.shows(keeper, "nightly: import_reset: done")
    flows.shows(keeper, "nightly: import_variance: done")
    flows.shows(keeper, "proof: 6 covered pairs")
    assert.equal(shortened.counts, shortened.counts_of(site))
    local told = process.read(site.folder .. "/told")
    assert.match("import_reset refused: guard 1 refuses", told)
    assert.match("import_reset recovered: done again", told)
    local status = run("nightly", "status").out
    for _, name in ipairs { "active_products", "filter_inventory", "export_variance",
      "import_reset", "import_variance" } do
      assert.match("\n  " .. name .. " +done ", status)
    end
    for _, flow in ipairs { keeper, standby } do
      flow:kill(process.SIGTERM)
      assert.equal(0, flow:wait().status)
    end
  end)
end

describe("a live night on SQLite and a local folder", function()
  before_each(function()
    site, hosts, keeper, standby = shortened.new(), {}, nil, nil
    began = nil
  end)
  after_each(process.clean)
  live()
end)

describe("a live night of two hosts on PostgreSQL, over SFTP", function()
  if postgres.lacks() or sshd.lacks() then return pending(postgres.lacks() or sshd.lacks()) end
  local made

  setup(function()
    made = databases.of_oms(postgres.start())
    process.keep()
  end)
  teardown(function()
    made.connect:close()
    postgres.clean()
  end)
  before_each(function()
    site, hosts, keeper, standby = shortened.new(made.fresh()), { "one", "two" }, nil, nil
    began = nil
    site.env.TALLYMAN_STORE = site.env.TALLYMAN_OMS
    site:go_over(sshd.start())
  end)
  after_each(function() process.clean() end)
  live()
end)
