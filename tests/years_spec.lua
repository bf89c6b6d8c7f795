--- Years of nights with faults drawn by a seed, and rules of our own that are broken on purpose.
--- TALLYMAN_YEARS_NIGHTS says how many nights are played in each zone (40), TALLYMAN_YEARS_SEED the
--- first seed, TALLYMAN_YEARS_SEEDS how many (1); four years of two seeds:
---   TALLYMAN_YEARS_NIGHTS=1461 TALLYMAN_YEARS_SEEDS=2 tallyman test tests/years_spec.lua
local clock = require "tallyman.clock"
local process = require "tests.support.process"
local store = require "tallyman.store"
local time = require "tallyman.time"
local timetable = require "tallyman.timetable"
local years = require "tests.support.years"

local ZONES = { "America/New_York", "Europe/London", "Australia/Sydney", "Australia/Lord_Howe",
  "Asia/Tokyo" }

local function number(name, otherwise)
  return math.tointeger(tonumber(os.getenv("TALLYMAN_YEARS_" .. name))) or otherwise
end

local NIGHTS, SEED = number("NIGHTS", 40), number("SEED", 1)

describe("nights with faults", function()
  for _, zone in ipairs(ZONES) do
    for seed = SEED, SEED + number("SEEDS", 1) - 1 do
      it(("keep every rule in %s, seed %d"):format(zone, seed), function()
        local sim <close> = years.new { zone = zone, seed = seed,
          first = NIGHTS > 365 and "2026-01-01" or "2026-09-28" }
        sim:play(NIGHTS)
      end)
    end
  end

  it("aren't needed for the rules to hold", function()
    local sim <close> = years.new { zone = "Europe/London", seed = SEED, first = "2027-03-25",
      calm = true }
    sim:play(7)
  end)
end)

describe("a rule that is broken", function()
  local history <close> = store.open(process.folder())
  local class = getmetatable(history)
  teardown(process.clean)
  local real = { claim = class.claim, run_by_id = class.run_by_id, deadline = timetable.deadline,
    due = timetable.due }

  after_each(function()
    class.claim, class.run_by_id = real.claim, real.run_by_id
    timetable.deadline, timetable.due = real.deadline, real.due
  end)

  --- Plays a year at most, in three parts, until a rule complains.
  local function found(change, first)
    local complaint
    for seed = SEED, SEED + 2 do
      local sim <close> = years.new { zone = "America/New_York", seed = seed, first = first
        or "2026-01-01", change = change }
      local ok, wrong = pcall(sim.play, sim, 120)
      complaint = complaint or not ok and tostring(wrong) or nil
      if complaint then break end
    end
    assert.match("^seed %d+, zone America/New_York, 202%d", complaint or "nobody complained")
    return complaint
  end

  it("by a variance before the reset is found", function()
    assert.match("before the reset was over", found(function(sim)
      local job = sim.jobs.import_variance
      job.after, job.wait, job.at = nil, nil, "01:45"
    end))
  end)

  it("by a run that begins though it was given up is found", function()
    function class.claim(self, run_id, name, used)
      self.db:run("UPDATE run SET state = 'starting' WHERE run_id = :id", { id = run_id })
      return real.claim(self, run_id, name, used)
    end
    found()
  end)

  it("by a time that counts twice is found", function()
    function timetable.due(job, date, zone)
      local first = real.due(job, date, zone)
      local again = job.at and select(2, time.from_zone(time.in_zone(first, zone), zone))
      return again and clock.now() >= again and again or first
    end
    assert.match("was done 2 times", found(function(sim)
      local keep = sim.keep
      function sim.keep(self)
        keep(self)
        local step = self.kept.step
        function self.kept.step(kept, now)
          for name, job in pairs(sim.jobs) do
            kept.store.db:run([[UPDATE occurrence SET state = 'waiting', final = 0, attempts = 0
              WHERE night = :night AND job = :job AND final = 1 AND due_at < :due]],
              { night = time.night(now, sim.zone), job = name,
                due = time.text(timetable.due(job, time.night(now, sim.zone), sim.zone)) })
          end
          return step(kept, now)
        end
      end
    end, "2026-10-28"))
  end)

  it("by what is held and dropped is found", function()
    function class.run_by_id(self, run_id)
      local run = real.run_by_id(self, run_id)
      if run and run.exit_code == 75 then run.exit_code = 65 end
      return run
    end
    found()
  end)

  it("by what is caught up in the next night is found", function()
    function timetable.deadline(...) return real.deadline(...) + 86400 end
    found()
  end)
end)
