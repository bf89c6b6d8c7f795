--- Times, nights, names and quantities.
local names = require "tallyman.names"
local quantity = require "tallyman.quantity"
local time = require "tallyman.time"
local validate = require "tallyman.validate"

local function parts(text) return time.parts(text) end
local function utc(text) return time.read(text) end

describe("time", function()
  it("reads and writes UTC both ways", function()
    for _, text in ipairs { "1970-01-01 00:00:00", "2024-02-29 23:59:59", "2026-11-24 02:00:00",
      "1999-12-31 12:00:00", "2100-03-01 00:00:00" } do
      assert.equal(text, time.text(time.read(text)))
    end
    assert.equal("20261124T020000Z", time.stamp(utc "2026-11-24 02:00:00"))
  end)

  it("takes no impossible dates", function()
    for _, text in ipairs { "2026-02-29 00:00", "2026-13-01", "2026-11-31 10:00",
      "2026-11-24 24:00", "2026-11-24 10:60", "yesterday", "2026-11-24x" } do
      assert.is_nil(parts(text), text)
    end
  end)

  it("knows the zone's offset on both sides of a change", function()
    assert.equal(-4 * 3600, time.offset(utc "2026-11-01 05:59:59", "America/New_York"))
    assert.equal(-5 * 3600, time.offset(utc "2026-11-01 06:00:00", "America/New_York"))
  end)

  it("refuses an unknown zone instead of taking it for UTC", function()
    local ok, err = pcall(time.offset, 0, "America/Gotham")
    assert.is_false(ok)
    assert.equal(78, err.code)
  end)

  it("gives both readings of a local time that exists twice", function()
    local first, again = time.from_zone(parts "2026-11-01 01:30", "America/New_York")
    assert.equal("2026-11-01 05:30:00", time.text(first))
    assert.equal("2026-11-01 06:30:00", time.text(again))
  end)

  it("takes a local time that doesn't exist for the end of the gap", function()
    local instant, again = time.from_zone(parts "2027-03-28 01:30", "Europe/London")
    assert.equal("2027-03-28 01:00:00", time.text(instant))
    assert.is_nil(again)
    assert.equal("2026-10-03 15:30:00",
      time.text((time.from_zone(parts "2026-10-04 02:10", "Australia/Lord_Howe"))))
  end)

  it("counts nights from noon to noon, by their morning's date", function()
    local zone = "America/New_York"
    assert.equal("2026-11-24", time.night(utc "2026-11-24 16:59:59", zone))
    assert.equal("2026-11-25", time.night(utc "2026-11-24 17:00:00", zone))
    local from, to = time.night_bounds("2026-11-01", zone)
    assert.equal("2026-10-31 16:00:00", time.text(from))
    assert.equal("2026-11-01 17:00:00", time.text(to))
  end)
end)

describe("names", function()
  local function entry(name, mtime) return { name = name, mtime = mtime or 0 } end
  local inbound = names.inbound { folder = "inbound", glob = "ResetInventory*.csv[.gz]",
    settled = 60, markers = { ".done" }, zone = "America/New_York" }

  it("takes the POS's names and no others", function()
    assert.is_true(inbound:matches "ResetInventory_20261123_220000.csv")
    assert.is_true(inbound:matches "ResetInventory_20261123_220000.csv.gz")
    assert.is_true(inbound:matches "ResetInventory.csv")
    for _, name in ipairs { "ResetInventory.csv.done", "ResetInventory.csv.gz.done", "xReset.csv",
      "ResetInventory.txt", "MyResetInventory.csv", "ResetInventoryXcsv" } do
      assert.is_false(inbound:matches(name), name)
    end
  end)

  it("reads the stamp as the retailer's local time", function()
    assert.equal(utc "2026-11-24 03:00:00",
      (inbound:instant(entry "ResetInventory_20261123_220000.csv")))
  end)

  it("takes the modification time where there is no stamp, and says so", function()
    local instant, note = inbound:instant(entry("ResetInventory.csv", 1795485600))
    assert.equal(1795485600, instant)
    assert.match("modification time", note)
  end)

  it("takes the later reading that is not after the modification time", function()
    local name = "ResetInventory_20261101_013000.csv"
    local early, note = inbound:instant(entry(name, utc "2026-11-01 06:29:59"))
    assert.equal("2026-11-01 05:30:00", time.text(early))
    assert.match("exists twice", note)
    assert.equal("2026-11-01 06:30:00",
      time.text((inbound:instant(entry(name, utc "2026-11-01 06:30:00")))))
  end)

  it("finds the stamp of our own files", function()
    local filtered = names.stamped "filtered/ResetInventoryActive_STAMP.csv"
    assert.equal("filtered/ResetInventoryActive_20261124T030000Z.csv",
      filtered:name(utc "2026-11-24 03:00:00"))
    assert.equal(utc "2026-11-24 03:00:00",
      filtered:instant(entry "ResetInventoryActive_20261124T030000Z.csv"))
    assert.is_nil(filtered:instant(entry "ResetInventoryActive_20261324T030000Z.csv"))
    assert.is_nil(filtered:instant(entry "Rejects_20261124T030000Z_filter.csv"))
  end)
end)

describe("quantity", function()
  it("takes what is a number", function()
    for text, units in pairs { ["5"] = 5000000, ["-3"] = -3000000, ["0.3"] = 300000,
      [" 1.000001 "] = 1000001, ["-0"] = 0, ["999999999.999999"] = 999999999999999,
      ["007"] = 7000000, ["\t2\t"] = 2000000 } do
      assert.equal(units, quantity.parse(text, false), text)
    end
  end)

  it("takes nothing else", function()
    for _, text in ipairs { "", " ", "+5", ".5", "5.", "1e3", "NaN", "1_000", "1234567890",
      "1.1234567", "1,5", "1 000", "0x10", "--1", "- 1", "n/a" } do
      assert.is_nil(quantity.parse(text, false), text)
    end
  end)

  it("takes a decimal comma where the delimiter leaves it", function()
    assert.equal(1500000, quantity.parse("1,5", true))
    assert.equal(1500000, quantity.parse("1.5", true))
    assert.is_nil(quantity.parse("1,500,0", true))
    assert.is_nil(quantity.parse("1.500,0", true))
  end)

  it("writes decimals without superfluous zeros", function()
    for units, text in pairs { [0] = "0", [-2000000] = "-2", [1500000] = "1.5", [1] = "0.000001",
      [-300000] = "-0.3", [10000000] = "10" } do
      assert.equal(text, quantity.text(units))
    end
  end)
end)

it("durations are seconds, or hours, minutes and seconds", function()
  for text, seconds in pairs { ["90"] = false, ["90s"] = 90, ["15m"] = 900, ["1h30m"] = 5400,
    ["1d"] = 86400, [""] = false, ["h"] = false, ["1 h"] = false, ["-1s"] = false } do
    assert.equal(seconds or nil, validate.seconds(text), text)
  end
  assert.equal(90, validate.seconds(90))
  assert.is_nil(validate.seconds(-1))
end)
