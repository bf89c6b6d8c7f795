--- Shortened nights of the shipped scripts, kept by the flows of two hosts on PostgreSQL, through
--- what a seed draws: flows killed, stopped for longer than their lease, runs killed, connections
--- cut, a file that comes late, an operator who runs a job by hand. Whatever it is, each job is
--- done once and the counts are right.
---   TALLYMAN_HOSTS_NIGHTS   how many nights; 2 by default
---   TALLYMAN_HOSTS_SEED     the first one's seed; 1 by default
---   TALLYMAN_HOSTS_AT_ONCE  how many are played side by side; 2 by default
local clock = require "native.clock"
local databases = require "tests.support.databases"
local db = require "tallyman.db"
local flows = require "tests.support.flows"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local shortened = require "tests.support.shortened"
local signal = require "posix.signal"
local time = require "tallyman.time"

local function number(name, otherwise)
  return math.tointeger(tonumber(os.getenv("TALLYMAN_HOSTS_" .. name))) or otherwise
end

local NIGHTS, SEED, AT_ONCE = number("NIGHTS", 2), number("SEED", 1), number("AT_ONCE", 2)

local LEASE = 1.5
local STILL = 3 -- seconds that a flow is stopped
local TROUBLED = 12 -- seconds in which things happen
local LIMIT = 70 -- seconds after which a night must be over

local SETTINGS = ([[return require "tallyman.settings" { oms = { lease = %s },
  guards = { age = false } }]]):format(LEASE)

local seconds = clock.now

local Night = {}
Night.__index = Night

--- What happens is said when the night goes wrong.
function Night:say(format, ...)
  self.said[#self.said + 1] = ("%5.2f %s"):format(seconds() - self.began, format:format(...))
end

--- A command with the night's clock, as on one of its hosts.
function Night:command(host, ...)
  self.env.TALLYMAN_NOW = time.iso(time.read "2026-11-24 01:00:00"
    + math.floor(seconds() - self.began))
  self.env.TALLYMAN_STATE = ("%s-%s"):format(self.site.state, host)
  return flows.on_host(host, self.site:command(...))
end

local UNAVAILABLE = 69 -- the end of a flow whose connection is cut while it starts

--- Starts a host's flow, unless it runs.
function Night:start(host)
  local flow = self.flows[host]
  if flow and not flow:poll() then return end
  local status = flow and flow.result.status or UNAVAILABLE
  if status < 128 and status ~= UNAVAILABLE then self.wrong = flow.result.err end
  self.flows[host] = process.start(self:command(host, "nightly"))
  self.started[#self.started + 1] = self.flows[host]
end

-- What may happen, each drawn as often as its weight says.
local FAULTS = {
  { 3, function(self, host)
    self:say("the flow on %s is killed", host)
    self.flows[host]:kill()
    self:later(math.random() * 2, function() self:start(host) end)
  end },
  { 2, function(self, host)
    local flow = self.flows[host]
    self:say("the flow on %s stands still", host)
    flow:kill(signal.SIGSTOP)
    self:later(STILL, function() flow:kill(signal.SIGCONT) end)
  end },
  { 2, function(self) -- a job may crash twice, so that twice a night is no reason to give it up
    local name = self.crashes < 2 and self.store:value [[SELECT process FROM tallyman.run
      WHERE state = 'running' ORDER BY rowid LIMIT 1]]
    if not name then return end
    self.crashes = self.crashes + 1
    self:say("the run of %s is killed", name)
    signal.kill(tonumber(name:match "^%S+ %S+ (%d+)"), signal.SIGKILL)
  end },
  { 1, function(self)
    self:say "connections are cut"
    self.boss:all([[SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = :name AND pid <> :own]],
      { name = self.name, own = self.store:value "SELECT pg_backend_pid()" })
  end },
  { 1, function(self)
    local job = shortened.jobs[math.random(#shortened.jobs)]
    self:say("somebody runs %s", job)
    self.started[#self.started + 1] = process.start(self:command("desk", job))
  end },
}

local function draw()
  local sum = 0
  for _, fault in ipairs(FAULTS) do sum = sum + fault[1] end
  local at = math.random(sum)
  for _, fault in ipairs(FAULTS) do
    at = at - fault[1]
    if at <= 0 then return fault[2] end
  end
end

--- Has something done later.
function Night:later(delay, work)
  table.insert(self.plan, { at = seconds() - self.began + delay, work = work })
end

--- Whether every job is over.
function Night:is_over()
  return self.store:value [[SELECT COUNT(*) FROM tallyman.occurrence WHERE final = 1]]
    == #shortened.jobs
end

--- Does what is due by now; whether the night is over.
function Night:step()
  local now = seconds() - self.began
  for i = #self.plan, 1, -1 do
    if self.plan[i].at <= now then table.remove(self.plan, i).work() end
  end
  if #self.plan > 0 or now < TROUBLED then return false end
  for _, host in ipairs { "one", "two" } do self:start(host) end
  if now > LIMIT then self.wrong = "it doesn't end" end
  return self.wrong or self:is_over()
end

--- All that its processes have said.
function Night:told()
  local texts = {}
  for i, one in ipairs(self.started) do texts[i] = one.pid .. ":\n" .. one:err() end
  return table.concat(self.said, "\n") .. "\n" .. table.concat(texts, "\n")
end

--- What the night has come to, in a text; what it should be.
function Night:outcome()
  local lines = { self.wrong or "", shortened.counts_of(self.site),
    "cycles " .. self.store:value "SELECT COUNT(*) FROM tallyman_cycle" }
  for row in self.store:rows [[SELECT o.job, o.state, COUNT(r.run_id) AS done
      FROM tallyman.occurrence o LEFT JOIN tallyman.run r ON r.job = o.job AND r.state = 'done'
        AND r.flow = o.flow
      GROUP BY o.job, o.state, o.run_id ORDER BY o.job]] do
    local by_hand = self.store:value([[SELECT r.flow IS NULL FROM tallyman.run r
      JOIN tallyman.occurrence o ON o.run_id = r.run_id WHERE o.job = :job]], { job = row.job })
    lines[#lines + 1] = ("%s %s %d"):format(row.job, row.state, row.done + (by_hand and 1 or 0))
  end
  local report = process.run(self:command("one", "nightly", "report"))
  lines[#lines + 1] = "report " .. report.status
  return table.concat(lines, "\n")
end

local RIGHT = ([[

%s
cycles 1
active_products done 1
export_variance done 1
filter_inventory done 1
import_reset done 1
import_variance done 1
report 0]]):format(shortened.counts)

function Night:close()
  self.store:close()
  for _, flow in pairs(self.flows) do
    flow:kill(signal.SIGCONT)
    flow:kill(signal.SIGTERM):wait()
  end
  for _, one in ipairs(self.started) do one:wait() end
end

describe("nights of two hosts", function()
  if postgres.lacks() then return pending(postgres.lacks()) end
  local made

  setup(function()
    made = databases.of_oms(postgres.start { config = { max_connections = 200 } })
    process.keep()
  end)
  teardown(function()
    made.connect:close()
    postgres.clean()
  end)
  after_each(process.clean)

  local function begin(seed)
    math.randomseed(seed)
    local url = made.fresh()
    local self = setmetatable({ seed = seed, site = shortened.new(url), flows = {}, started = {},
      said = {}, plan = {}, crashes = 0, boss = made.connect, name = url:match "/(shop%d+)%?" },
      Night)
    shortened.shorten(self.site, SETTINGS)
    self.env, self.store = self.site.env, db.open(url)
    self.env.TALLYMAN_STORE = url
    self.began = seconds()
    self:start "one"
    self:later(math.random(), function() self:start "two" end)
    self:later(math.random() * 9, function()
      self:say "the file is there"
      self.site:upload(shortened.file)
    end)
    for _ = 1, math.random(2, 6) do
      local fault, host = draw(), math.random(2) == 1 and "one" or "two"
      self:later(1.5 + math.random() * (TROUBLED - 1.5), function() fault(self, host) end)
    end
    return self
  end

  it("come out right, whatever is killed, stopped or cut", function()
    for first = SEED, SEED + NIGHTS - 1, AT_ONCE do
      local nights = {}
      for seed = first, math.min(first + AT_ONCE, SEED + NIGHTS) - 1 do
        nights[#nights + 1] = begin(seed)
      end
      local open = { table.unpack(nights) }
      while #open > 0 do
        for i = #open, 1, -1 do
          if open[i]:step() then table.remove(open, i) end
        end
        clock.sleep(0.02)
      end
      for _, night in ipairs(nights) do
        local outcome = night:outcome()
        night:close()
        assert.equal(RIGHT, outcome, ("seed %d:\n%s"):format(night.seed, night:told()))
        made.drop(night.env.TALLYMAN_OMS)
      end
      process.clean()
    end
  end)
end)
