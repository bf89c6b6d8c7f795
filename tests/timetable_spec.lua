--- When jobs are due, by rule, in zones whose clocks change and in zones whose don't.
local time = require "tallyman.time"
local timetable = require "tallyman.timetable"

--- The instant of a time of day, as UTC text.
local function utc(of_day, date, zone) return time.text(timetable.instant(of_day, date, zone)) end

describe("a time of day", function()
  it("belongs to the evening from noon on, to the morning before", function()
    assert.equal("2026-11-23 12:00:00", utc("12:00", "2026-11-24", "UTC"))
    assert.equal("2026-11-23 23:59:00", utc("23:59", "2026-11-24", "UTC"))
    assert.equal("2026-11-24 00:00:00", utc("00:00", "2026-11-24", "UTC"))
    assert.equal("2026-11-24 11:59:30", utc("11:59:30", "2026-11-24", "UTC"))
    assert.equal("2026-02-28 22:00:00", utc("22:00", "2026-03-01", "UTC"))
  end)

  -- Every change of 2026 and 2027: date, then what is due when.
  local CHANGES = {
    ["America/New_York"] = {
      ["2026-03-08"] = { ["01:00"] = "06:00", ["01:30"] = "06:30", ["02:00"] = "07:00",
        ["02:30"] = "07:00", ["03:00"] = "07:00", ["04:00"] = "08:00" }, -- 02:00 to 03:00 isn't
      ["2026-11-01"] = { ["01:00"] = "05:00", ["01:30"] = "05:30", ["02:00"] = "07:00",
        ["00:59"] = "04:59" }, -- 01:00 to 02:00 twice: the first counts
      ["2027-03-14"] = { ["01:30"] = "06:30", ["02:15"] = "07:00", ["03:15"] = "07:15" },
      ["2027-11-07"] = { ["01:00"] = "05:00", ["01:30"] = "05:30", ["02:00"] = "07:00" },
    },
    ["Europe/London"] = {
      ["2026-03-29"] = { ["00:59"] = "00:59", ["01:00"] = "01:00", ["01:30"] = "01:00",
        ["02:00"] = "01:00", ["02:30"] = "01:30" },
      ["2026-10-25"] = { ["00:30"] = "23:30", ["01:00"] = "00:00", ["01:30"] = "00:30",
        ["02:00"] = "02:00" },
      ["2027-03-28"] = { ["01:00"] = "01:00", ["01:30"] = "01:00", ["02:00"] = "01:00" },
      ["2027-10-31"] = { ["01:00"] = "00:00", ["01:30"] = "00:30", ["02:00"] = "02:00" },
    },
    ["Australia/Sydney"] = {
      ["2026-04-05"] = { ["01:59"] = "14:59", ["02:00"] = "15:00", ["02:30"] = "15:30",
        ["03:00"] = "17:00" },
      ["2026-10-04"] = { ["01:30"] = "15:30", ["02:00"] = "16:00", ["02:30"] = "16:00",
        ["03:00"] = "16:00", ["03:30"] = "16:30" },
      ["2027-04-04"] = { ["02:30"] = "15:30", ["03:00"] = "17:00" },
      ["2027-10-03"] = { ["02:30"] = "16:00", ["03:30"] = "16:30" },
    },
    ["Australia/Lord_Howe"] = { -- by half an hour
      ["2026-04-05"] = { ["01:29"] = "14:29", ["01:30"] = "14:30", ["01:45"] = "14:45",
        ["02:00"] = "15:30" },
      ["2026-10-04"] = { ["01:30"] = "15:00", ["02:00"] = "15:30", ["02:15"] = "15:30",
        ["02:30"] = "15:30", ["02:45"] = "15:45" },
      ["2027-04-04"] = { ["01:45"] = "14:45", ["02:00"] = "15:30" },
      ["2027-10-03"] = { ["02:15"] = "15:30", ["02:45"] = "15:45" },
    },
    ["Asia/Tokyo"] = { ["2026-03-29"] = { ["01:00"] = "16:00", ["02:30"] = "17:30" } },
    ["UTC"] = { ["2026-10-25"] = { ["01:00"] = "01:00", ["01:30"] = "01:30" } },
  }
  for zone, dates in pairs(CHANGES) do
    for date, times in pairs(dates) do
      for of_day, expected in pairs(times) do
        it(("%s in %s on %s is %s UTC"):format(of_day, zone, date, expected), function()
          assert.equal(expected .. ":00", utc(of_day, date, zone):sub(12))
        end)
      end
    end
  end

  it("comes once a night and in order, in every night of two years", function()
    for zone in pairs(CHANGES) do
      local before = 0
      for day = 0, 730 do
        local date = time.text(time.from_utc { year = 2026, month = 1, day = 1 + day, hour = 0,
          minute = 0, second = 0 }):sub(1, 10)
        local from, to = time.night_bounds(date, zone)
        assert.equal(before == 0 and from or before, from) -- nights leave no gap
        before = to
        local last = from
        for _, of_day in ipairs { "12:00", "23:00", "01:00", "01:30", "02:00", "02:30", "11:59" } do
          local instant = timetable.instant(of_day, date, zone)
          assert.is_true(last <= instant and instant < to, zone .. " " .. date .. " " .. of_day)
          assert.equal(date, time.night(instant, zone))
          last = instant
        end
      end
    end
  end)
end)

describe("days", function()
  it("are those of the night's morning", function()
    local job = { name = "a", days = { "mon", "sat" } }
    assert.is_true(timetable.runs_on(job, "2026-11-23"))
    assert.is_false(timetable.runs_on(job, "2026-11-24"))
    assert.is_true(timetable.runs_on(job, "2026-11-28"))
    assert.is_true(timetable.runs_on({ name = "a" }, "2026-11-24"))
  end)
end)

describe("a deadline", function()
  local function deadline(at, latest, date, zone)
    local job = { name = "a", at = at, latest = latest }
    return time.text(timetable.deadline(job, date, zone)):sub(12)
  end

  it("is a time of day, or the night's end", function()
    assert.equal("06:30:00", deadline("01:00", "01:30", "2026-03-08", "America/New_York"))
    assert.equal("07:00:00", deadline("01:00", "02:30", "2026-03-08", "America/New_York"))
    assert.equal("16:00:00", deadline("02:30", nil, "2026-03-08", "America/New_York"))
  end)

  it("comes after the job is due, also in an hour that doesn't exist", function()
    assert.equal("07:30:00", deadline("02:15", "02:45", "2026-03-08", "America/New_York"))
    assert.equal("08:00:00", deadline("02:00", "03:00", "2026-03-08", "America/New_York"))
    assert.equal("15:40:00", deadline("02:05", "02:15", "2026-10-04", "Australia/Lord_Howe"))
    assert.equal("06:45:00", deadline("02:15", "02:45", "2026-03-09", "America/New_York"))
  end)
end)

describe("turns", function()
  local job = { name = "a", every = "20m", at = "00:30", latest = "04:00" }

  it("are so long apart as time goes, whatever the clocks show", function()
    local zone, date = "America/New_York", "2026-11-01" -- 00:30 is 04:30 UTC
    local function turn(at)
      local number, due = timetable.turn(job, date, zone, time.read("2026-11-01 " .. at))
      return number, time.text(due):sub(12, 16)
    end
    assert.same({ nil, "04:30" }, { turn "04:29:59" })
    assert.same({ 0, "04:30" }, { turn "04:30:00" })
    assert.same({ 0, "04:30" }, { turn "04:49:59" })
    assert.same({ 4, "05:50" }, { turn "06:00:00" })
    assert.same({ 5, "06:10" }, { turn "06:10:00" })
  end)
end)

describe("a fault", function()
  it("is a deadline before the time itself, in a night from noon to noon", function()
    assert.equal("latest", (timetable.fault { name = "a", at = "02:00", latest = "01:00" }))
    assert.equal("latest", (timetable.fault { name = "a", at = "02:00", latest = "13:00" }))
    assert.is_nil((timetable.fault { name = "a", at = "22:00", latest = "01:00" }))
    assert.equal("latest", (timetable.fault { name = "a", latest = "12:00" }))
    assert.is_nil((timetable.fault { name = "a", latest = "12:01" }))
  end)

  it("is a wait for nothing, and a turn that waits", function()
    assert.equal("wait", (timetable.fault { name = "a", at = "02:00", wait = "1h" }))
    assert.equal("every", (timetable.fault { name = "a", every = "1h", after = { "b" } }))
    assert.equal("every", (timetable.fault { name = "a", every = 0 }))
  end)
end)
