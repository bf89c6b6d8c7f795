--- The timetable at work: what is run when, what is tried again, what is given up.
local keeping = require "tests.support.keeping"
local process = require "tests.support.process"

local kept

--- A flow of some jobs from the evening before a night on.
local function keep(jobs, options)
  options = options or {}
  options.jobs, options.now = jobs, options.now or "2026-11-23 20:00"
  kept = keeping.new(options)
  return kept
end

after_each(function()
  if kept then kept:close() end
  kept = nil
  process.clean()
end)

describe("a job", function()
  it("is run at its time, once a night", function()
    keep { { name = "a", at = "01:00" } }
    kept:until_ "2026-11-24 00:59:59"
    assert.same({}, kept.began)
    kept:until_ "2026-11-25 20:00"
    assert.same({ "01:00:00 a", "01:00:00 a" }, kept.began)
    assert.equal("done", kept:state("a", "2026-11-24"))
    assert.equal("done", kept:state("a", "2026-11-25"))
  end)

  it("runs at the same time as others of its minute", function()
    keep({ { name = "a", at = "01:30" }, { name = "b", at = "01:30" } },
      { acts = { a = function() return { seconds = 600 } end } })
    kept:until_ "2026-11-24 01:30"
    assert.same({ "01:30:00 a", "01:30:00 b" }, kept.began)
    assert.equal("running", kept:state "a")
  end)

  it("waits for others' success, and so long after it", function()
    keep({ { name = "reset", at = "02:00" },
      { name = "variance", after = { "reset" }, wait = "1h" } },
      { acts = { reset = function() return { seconds = 95 } end } })
    kept:until_ "2026-11-24 03:01:34"
    assert.same({ "02:00:00 reset" }, kept.began)
    kept:until_ "2026-11-24 03:01:35"
    assert.equal("03:01:35 variance", kept.began[2])
  end)

  it("with no wait follows at once", function()
    keep { { name = "a", at = "02:00" }, { name = "b", after = { "a" }, wait = 0 } }
    kept:until_ "2026-11-24 02:00"
    assert.same({ "02:00:00 a", "02:00:00 b" }, kept.began)
  end)

  it("isn't satisfied with last night's success", function()
    keep({ { name = "a", at = "01:00", latest = "02:00" },
      { name = "b", at = "01:30", after = { "a" }, latest = "03:00" } },
      { acts = { a = function(n) return { code = n == 1 and 0 or 65, message = "bad row" } end } })
    kept:until_ "2026-11-25 12:00"
    assert.same({ "01:00:00 a", "01:30:00 b", "01:00:00 a" }, kept.began)
    assert.same({ "skipped", "a is failed: bad row" }, { kept:state("b", "2026-11-25") })
  end)

  it("runs only in nights of its days", function()
    keep { { name = "a", at = "01:00", days = { "wed" } } }
    kept:until_ "2026-11-28 20:00"
    assert.same({ "01:00:00 a" }, kept.began)
    assert.equal("done", kept:state("a", "2026-11-25"))
    assert.is_nil(kept:state("a", "2026-11-24"))
  end)

  it("that decides by the data is run once nothing more will come of the others", function()
    keep({ { name = "reset", at = "02:00", latest = "06:00" },
      { name = "variance", after = { "reset" }, wait = "1h", anyway = true, latest = "07:00" } },
      { acts = { reset = function() return { code = 3, message = "too few rows" } end } })
    kept:until_ "2026-11-24 11:59"
    assert.same({ "02:00:00 reset", "02:00:00 variance" }, kept.began)
  end)

  it("that an operator ran when it was due isn't run again", function()
    keep({ { name = "a", at = "02:00", latest = "06:00" } }, { retry = { "1h" },
      acts = { a = function() return { code = 75, message = "no input" } end } })
    kept:until_ "2026-11-24 02:10"
    local id = kept.store:begin("a", "2026-11-24")
    kept.store:finish(id, "done", 0, nil, {})
    kept:until_ "2026-11-24 11:59"
    assert.same({ "02:00:00 a" }, kept.began)
    assert.equal("done", kept:state "a")
  end)

  it("that an operator has forced through counts, and what waits for it goes on", function()
    keep({ { name = "a", at = "02:00", latest = "06:00" },
      { name = "b", after = { "a" }, wait = "1h", latest = "07:00" } },
      { acts = { a = function() return { code = 3, message = "too few rows" } end } })
    kept:until_ "2026-11-24 04:00"
    assert.equal("refused", kept:state "a")
    local id = kept.store:begin("a", "2026-11-24")
    kept.store:finish(id, "done", 0, nil, {})
    kept:until_ "2026-11-24 11:59"
    assert.same({ "02:00:00 a", "05:00:00 b" }, kept.began)
    assert.equal("done", kept:state "a")
  end)

  it("that an operator ran before its time is run all the same", function()
    keep { { name = "a", at = "02:00" } }
    local id = kept.store:begin("a", "2026-11-24")
    kept.store:finish(id, "done", 0, nil, {})
    kept:until_ "2026-11-24 03:00"
    assert.same({ "02:00:00 a" }, kept.began)
  end)
end)

describe("turns", function()
  it("come so often, from `at` until `latest`", function()
    keep { { name = "a", at = "01:00", every = "20m", latest = "02:00" } }
    kept:until_ "2026-11-24 11:59"
    assert.same({ "01:00:00 a", "01:20:00 a", "01:40:00 a" }, kept.began)
  end)

  it("that come while the one before isn't over are left out", function()
    keep({ { name = "a", at = "01:00", every = "20m", latest = "02:30" } },
      { acts = { a = function(n) return { seconds = n == 1 and 1500 or 0 } end } })
    kept:until_ "2026-11-24 11:59"
    assert.same({ "01:00:00 a", "01:40:00 a", "02:00:00 a", "02:20:00 a" },
      kept.began)
  end)
end)

describe("what may pass", function()
  for _, code in ipairs { 75, 69 } do
    it(("(%d) is tried again, after growing waits"):format(code), function()
      keep({ { name = "a", at = "01:00", latest = "02:00" } },
        { acts = { a = function(n)
          return { code = n < 5 and code or 0, message = "not yet" }
        end } })
      kept:until_ "2026-11-24 11:59"
      assert.same({ "01:00:00 a", "01:01:00 a", "01:03:00 a", "01:07:00 a", "01:15:00 a" },
        kept.began)
      assert.same({ "01:00:00 a retry: not yet", "01:15:00 a done" }, kept.told) -- told once
    end)
  end

  it("is given up at the deadline, then and not later", function()
    keep({ { name = "a", at = "01:00", latest = "01:05" } },
      { acts = { a = function() return { code = 75, message = "no input" } end } })
    kept:until_ "2026-11-24 01:04:59"
    assert.equal("held", kept:state "a")
    assert.equal(1, #kept.told)
    kept:until_ "2026-11-24 01:05"
    assert.same({ "01:00:00 a retry: no input", "01:05:00 a held: no input" }, kept.told)
    kept:until_ "2026-11-24 11:59"
    assert.same({ "01:00:00 a", "01:01:00 a", "01:03:00 a" }, kept.began)
  end)

  it("is a process that ends without a word, three times", function()
    keep({ { name = "a", at = "01:00" } },
      { acts = { a = function() return { silent = true } end } })
    kept:until_ "2026-11-24 11:00"
    assert.equal(3, #kept.began)
    assert.same({ "failed", "its process is gone and left no word" }, { kept:state "a" })
  end)
end)

describe("what can't pass", function()
  for _, code in ipairs { 1, 3, 64, 65, 66, 70, 73, 74, 77, 78 } do
    it(("(%d) isn't tried again"):format(code), function()
      keep({ { name = "a", at = "01:00" }, { name = "b", after = { "a" }, latest = "05:00" } },
        { acts = { a = function() return { code = code, message = "why" } end } })
      kept:until_ "2026-11-24 11:59"
      assert.same({ "01:00:00 a" }, kept.began)
      local state = code == 3 and "refused" or "failed"
      assert.same({ state, "why" }, { kept:state "a" })
      assert.same({ "01:00:00 a " .. state .. ": why",
        "05:00:00 b skipped: a is " .. state .. ": why" }, kept.told)
    end)
  end

  it("is a program that can't be started", function()
    keep({ { name = "a", at = "01:00" } },
      { acts = { a = function() return { unborn = true } end } })
    kept:until_ "2026-11-24 11:59"
    assert.same({ "failed", "cannot start" }, { kept:state "a" })
  end)
end)

describe("a run that takes too long", function()
  it("is asked to end at the deadline", function()
    keep({ { name = "a", at = "01:00", latest = "02:00" } },
      { acts = { a = function() return { seconds = 7200 } end } })
    kept:until_ "2026-11-24 11:59"
    assert.same({ "02:00:00 a late: not done by its deadline",
      "02:00:00 a failed: not done by its deadline" }, kept.told)
  end)

  it("is ended ten seconds later when it doesn't", function()
    keep({ { name = "a", at = "01:00", latest = "02:00" } },
      { acts = { a = function() return { seconds = 7200, stubborn = true } end } })
    kept:until_ "2026-11-24 11:59"
    assert.equal("02:00:10 a failed: not done by its deadline", kept.told[2])
  end)

  it("may have a limit of its own, and is tried again while there is time", function()
    keep({ { name = "a", at = "01:00", latest = "02:00", time_limit = "10m" } },
      { acts = { a = function(n) return { seconds = n == 1 and 7200 or 60 } end } })
    kept:until_ "2026-11-24 11:59"
    assert.same({ "01:00:00 a", "01:11:00 a" }, kept.began)
    assert.equal("done", kept:state "a")
  end)
end)

describe("while nobody keeps it", function()
  local JOBS = { { name = "a", at = "01:00", latest = "04:00" },
    { name = "b", at = "01:30", after = { "a" }, latest = "05:00" } }

  it("what was due is caught up until its deadline", function()
    keep(JOBS)
    kept:sleep_until "2026-11-24 03:59"
    kept:until_ "2026-11-24 04:30"
    assert.same({ "03:59:00 a", "03:59:00 b" }, kept.began)
  end)

  it("is missed after it, and never runs into the next night", function()
    keep(JOBS)
    kept:until_ "2026-11-23 21:00"
    kept:sleep_until "2026-11-24 04:00"
    kept:until_ "2026-11-24 20:00"
    assert.same({}, kept.began)
    assert.equal("missed", kept:state("a", "2026-11-24"))
    assert.same({ "skipped", "a is missed: nobody was there to run it in its time" },
      { kept:state("b", "2026-11-24") })
    kept:until_ "2026-11-25 02:00"
    assert.same({ "01:00:00 a", "01:30:00 b" }, kept.began)
  end)

  it("whole nights are missed, and told of", function()
    keep(JOBS)
    kept:until_ "2026-11-23 21:00"
    kept:sleep_until "2026-11-26 00:00"
    kept:until_ "2026-11-26 02:00"
    assert.equal("missed", kept:state("a", "2026-11-24"))
    assert.same({ "01:00:00 a", "01:30:00 b" }, kept.began)
  end)

  it("a run goes on, and is taken up again", function()
    keep(JOBS, { acts = { a = function() return { seconds = 1800 } end } })
    kept:until_ "2026-11-24 01:10"
    kept:keep()
    kept:until_ "2026-11-24 11:59"
    assert.same({ "01:00:00 a", "01:30:00 b" }, kept.began)
    assert.equal("done", kept:state "a")
  end)

  it("a run that ended meanwhile counts", function()
    keep(JOBS, { acts = { a = function() return { seconds = 600 } end } })
    kept:until_ "2026-11-24 01:05"
    kept:sleep_until "2026-11-24 02:00"
    kept:keep()
    kept:until_ "2026-11-24 11:59"
    assert.same({ "01:00:00 a", "02:00:00 b" }, kept.began)
  end)

  it("a run that stands still before it begins doesn't begin after its deadline", function()
    keep(JOBS)
    kept.keeper.runner.start = function() end
    kept:until_ "2026-11-24 01:00"
    local id = kept.store.db:value "SELECT run_id FROM occurrence WHERE job = 'a'"
    kept:sleep_until "2026-11-24 04:00"
    assert.is_nil(kept.store:claim(id, "a"))
  end)

  it("a run that couldn't write what came of it is tried again", function()
    keep(JOBS, { acts = { a = function(n) return { seconds = 600, silent = n == 1 } end } })
    kept:until_ "2026-11-24 01:05"
    kept.keeper:ended(kept.store.db:value "SELECT run_id FROM run", 74) -- the disk was full
    kept.running = {}
    kept:until_ "2026-11-24 11:59"
    assert.same({ "01:00:00 a", "01:06:00 a", "01:30:00 b" }, kept.began)
  end)

  it("a run that was announced and never began is given up, and can't begin any more", function()
    keep(JOBS)
    kept.keeper.runner.start = function() end -- the keeper is killed in between
    kept:until_ "2026-11-24 01:00"
    local id = kept.store.db:value "SELECT run_id FROM occurrence WHERE job = 'a'"
    kept:keep()
    kept:until_ "2026-11-24 01:00"
    assert.is_nil(kept.store:claim(id, "a"))
    kept:until_ "2026-11-24 11:59"
    assert.same({ "01:01:00 a", "01:30:00 b" }, kept.began)
  end)
end)

describe("a clock that jumps", function()
  it("back repeats nothing", function()
    keep { { name = "a", at = "01:00" }, { name = "b", at = "02:00" } }
    kept:until_ "2026-11-24 01:30"
    kept.now = kept:instant "2026-11-23 01:30"
    kept:until_ "2026-11-24 03:00"
    assert.same({ "01:00:00 a", "01:30:00 a", "02:00:00 b", "02:00:00 b" }, kept.began)
    assert.equal("done", kept:state("a", "2026-11-23"))
  end)

  it("forward skips nothing", function()
    keep { { name = "a", at = "01:00", latest = "04:00" } }
    kept:until_ "2026-11-24 00:30"
    kept.now = kept:instant "2026-11-24 03:30"
    kept:until_ "2026-11-24 11:59"
    assert.same({ "03:30:00 a" }, kept.began)
  end)
end)

describe("a timetable that is changed", function()
  it("counts from then on, also for what hasn't begun tonight", function()
    keep { { name = "a", at = "01:00" }, { name = "b", at = "03:00" } }
    kept:until_ "2026-11-24 01:30"
    kept.jobs.b = { name = "b", at = "02:00" }
    kept.jobs.a = { name = "a", at = "04:00" }
    kept:until_ "2026-11-24 11:59"
    assert.same({ "01:00:00 a", "02:00:00 b" }, kept.began)
  end)

  it("skips what it doesn't have any more, and says so", function()
    keep { { name = "a", at = "01:00" }, { name = "b", at = "03:00" } }
    kept:until_ "2026-11-24 01:30"
    kept.flow.jobs, kept.jobs.b = { "a" }, nil
    kept:until_ "2026-11-24 11:59"
    assert.same({ "skipped", "the flow has no such job any more" }, { kept:state "b" })
  end)
end)

describe("where the clocks change", function()
  it("each job runs once that night", function()
    for _, case in ipairs { { "America/New_York", "2026-11-01" }, { "Europe/London", "2027-03-28" },
      { "Europe/London", "2026-10-25" }, { "Australia/Lord_Howe", "2026-10-04" } } do
      local zone, date = table.unpack(case)
      keep({ { name = "a", at = "01:00" }, { name = "b", at = "01:30", after = { "a" } },
        { name = "c", at = "02:15", after = { "b" } } }, { zone = zone, now = date .. " 00:00" })
      kept:until_(date .. " 11:00")
      assert.same({ a = 1, b = 1, c = 1 }, kept.counts, zone)
      kept:close()
      kept = nil
    end
  end)
end)
