--- Guards: what each refuses, what it lets pass at its limit, and what a refusal says and leaves.
local environment = require "tests.support.environment"
local settings = require "tallyman.settings"
local stores = require "tests.support.stores"

local file, first = stores.file, stores.first

local n
after_each(function() n:close() end)

--- The outcome of a file after a good night, with these guards.
local function second_night(guards, text, clock, before)
  n = stores.open { settings = { guards = stores.only(guards) } }
  stores.good_night(n, before)
  return stores.reset(n, text, nil, clock)
end

--- A shipped guard: it refuses one file and says why, and lets its neighbour at the limit pass; one
--- level down it warns; switched off it does neither, and the report says that.
local function guard(name, spec)
  describe("guard " .. name, function()
    local bad, good = spec.bad, spec.good

    it("refuses " .. spec.what .. ", and leaves everything as it was", function()
      n = stores.open { settings = { guards = stores.only { [name] = spec.refuse } } }
      stores.good_night(n, spec.before)
      local before = stores.state(n)
      local outcome = stores.reset(n, bad, nil, spec.bad_at)
      assert.equal(3, outcome.code)
      assert.equal("refused", outcome.state)
      assert.match("guard " .. name .. " refuses filtered/", outcome.message, 1, true)
      assert.match(spec.says, outcome.message)
      assert.match("%-%-force", outcome.message)
      assert.equal(before, stores.state(n))
      assert.same({ "ResetInventoryActive_20261124T220000Z.csv" }, n.world:names "filtered")
      local report = stores.report(n, "2026-11-25")
      assert.match("import_reset     refused .*guard " .. name .. " refuses", report)
      assert.match("guard not asked: " .. (name == "zero" and "rows" or "zero"), report, 1, true)
    end)

    it("lets " .. spec.passes .. " pass", function()
      local outcome = second_night({ [name] = spec.refuse }, good, spec.good_at, spec.before)
      assert.equal(0, outcome.code, outcome.message)
      assert.equal(spec.warned or 0, #outcome.figures.warnings)
    end)

    it("warns where that is all that it shall do", function()
      local outcome = second_night({ [name] = spec.warn }, bad, spec.bad_at, spec.before)
      assert.equal(0, outcome.code, outcome.message)
      local said = table.concat(outcome.figures.warnings, "\n")
      assert.match("guard " .. name .. ": ", said, 1, true)
      assert.match(spec.says, said)
    end)

    it("is asked no more where it is switched off, and the report says so", function()
      local outcome = second_night({}, bad, spec.bad_at, spec.before)
      assert.equal(0, outcome.code, outcome.message)
      assert.match("guard not asked: " .. name .. "\n", stores.report(n, "2026-11-25"), 1, true)
    end)
  end)
end

guard("rows", { what = "49 rows after 100", passes = "50",
  refuse = { warn = false, refuse = 50 }, warn = { warn = 50, refuse = 0 },
  bad = file(nil, 29), good = file(nil, 30),
  says = "49 rows in the inbound file, the last one had 100" })

guard("kept", { what = "9 kept rows after 20", passes = "10",
  refuse = { warn = false, refuse = 50 }, warn = { warn = 50, refuse = 0 },
  bad = file(first(9, 10)), good = file(first(10, 10)), says = "9 rows of active products.* 20" })

guard("zero", { what = "6 of 20 going to zero", passes = "5 of 20",
  refuse = { warn = false, refuse = 25 }, warn = { warn = 25, refuse = 100 },
  bad = file(first(6, 0, 10)), good = file(first(5, 0, 10)),
  says = "6 of 20 pairs in stock go to zero: 30 %%, the most is 25 %%" })

guard("change", { what = "6 of 20 changing by more than 5", passes = "5 of 20, the others by 5,",
  refuse = { by = 5, warn = false, refuse = 25 }, warn = { by = 5, warn = 25, refuse = 100 },
  bad = file(first(6, 16, 10)), good = file(first(5, 4, 15)),
  says = "6 of 20 pairs change by more than 5: 30 %%" })

guard("age", { what = "a snapshot of over 4 hours", passes = "one of 4 hours",
  refuse = { warn = false, refuse = "4h" }, warn = { warn = "4h", refuse = false },
  bad = file(), good = file(), bad_at = "02:00:01", says = "is 4:00:01 old, the most is 4:00:00" })

guard("rejects", { what = "3 of 20 rows", passes = "2 of 20",
  refuse = { warn = false, refuse = 10 }, warn = { warn = 10, refuse = 100 },
  bad = file(first(3, "x", 10)), good = file(first(2, "x", 10)), warned = 1,
  says = "3 of 20 rows are rejected: 15 %%" })

guard("line_end", { what = "a last row without the line end that the last file had",
  passes = "a file with a line end", refuse = "refuse", warn = "warn",
  bad = file():sub(1, -2), good = file(), says = "no line end" })

describe("a guard's limit is exact:", function()
  it("records that the filter rejected count as rejects, too", function()
    local outcome = second_night({ rejects = { warn = false, refuse = 10 } },
      file(first(1, "x", 10), 80, "NY,,SKU,S1,1\nNY,,SKU,S1,1\n"))
    assert.equal(3, outcome.code)
    assert.match("rows are rejected", outcome.message)
  end)

  it("no line end passes where the last file had none either", function()
    local text = file():sub(1, -2)
    assert.equal(0, second_night({ line_end = "refuse" }, text, nil, text).code)
  end)
end)

it("guard zero counts what falls below 0, neither what keeps a piece nor what had none", function()
  n = stores.open { settings = { guards = stores.only { zero = { warn = false, refuse = 0 } } } }
  n.shop.oms:run [[UPDATE inventory_item SET quantity_on_hand_total = 0
    WHERE CAST(inventory_item_id AS integer) <= 1005]]
  local passed = stores.reset(n, file(first(5, 0, 1)))
  assert.equal(0, passed.code, passed.message)
  assert.equal(0, n:variance().code)
  n:next_day()
  local outcome = stores.reset(n, file(function(i) return i > 5 and (i == 20 and -1 or 1) or 0 end))
  assert.equal(3, outcome.code)
  assert.match("1 of 15 pairs in stock go to zero", outcome.message)
end)

describe("guard facilities", function()
  local LA = "LA,,SKU,S1,4,\n"

  --- Two stores in the first file; the outcome of the second.
  local function two_stores(level, text)
    n = stores.open { settings = { guards = stores.only { facilities = level } } }
    n.shop:facility("LA", "202")
    stores.good_night(n, file(nil, nil, LA))
    return stores.reset(n, text)
  end

  it("takes a file with one row of a store", function()
    local outcome = two_stores("refuse", file(nil, nil, LA))
    assert.equal(0, outcome.code, outcome.message)
  end)

  it("refuses a file without a store that the last one had", function()
    local outcome = two_stores("refuse", file())
    assert.equal(3, outcome.code)
    assert.match("guard facilities refuses .*no row of LA, which the last reset covered",
      outcome.message)
  end)

  it("takes a row that is rejected for one: another guard counts those", function()
    assert.equal(0, two_stores("refuse", file(nil, nil, "LA,,SKU,S1,x,\n")).code)
  end)

  it("warns, or is switched off", function()
    assert.match("no row of LA", two_stores("warn", file()).figures.warnings[1])
    n:close()
    assert.same({}, two_stores(false, file()).figures.warnings)
  end)

  it("doesn't miss a store that the settings leave out from now on", function()
    n = stores.open { settings = { guards = stores.only { facilities = "refuse" } } }
    n.shop:facility("LA", "202")
    stores.good_night(n, file(nil, nil, LA))
    n.world.settings.ignore_facilities = { "202" }
    assert.equal(0, stores.reset(n, file()).code)
  end)
end)

describe("a refusal", function()
  it("names the ten pairs that would change most, old and new", function()
    local outcome = second_night({ zero = { refuse = 10 } },
      file(function(i) return i <= 12 and 0 or 10 + i end))
    assert.equal(3, outcome.code)
    local _, count = outcome.message:gsub("\n  product P%d+ at NY: 10 %-> %d+", "")
    assert.equal(10, count)
    assert.match("product P20 at NY: 10 -> 30", outcome.message, 1, true)
    assert.match("product P1 at NY: 10 -> 0", outcome.message, 1, true)
  end)

  it("names every guard that refuses", function()
    local outcome = second_night({ zero = { refuse = 10 }, rows = { refuse = 60 } },
      file(first(12, 0, 10), 10))
    assert.match("guard rows refuses", outcome.message)
    assert.match("guard zero refuses", outcome.message)
  end)

  it("leaves a cycle before it unsettled, and says nothing of settling it", function()
    n = stores.open { settings = { guards = stores.only { zero = { refuse = 10 } } } }
    n:on("20:00", function() n.shop:ship("1001", n:text "20:00", 2) end)
    n:upload_text("22:00", file())
    assert.equal(0, n:reset().code)
    n:next_day()
    local before = stores.state(n)
    local outcome = stores.reset(n, file(first(12, 0, 10)))
    assert.equal(3, outcome.code)
    assert.equal(before, stores.state(n))
    assert.same({}, outcome.figures.warnings)
  end)
end)

describe("as shipped, the guards", function()
  local SHIPPED = settings({}, function() end).guards

  it("say nothing of a first night, whatever the file", function()
    n = stores.open { settings = { guards = SHIPPED } }
    local outcome = stores.reset(n, file(nil, 0):sub(1, -2))
    assert.equal(0, outcome.code, outcome.message)
    assert.same({}, outcome.figures.warnings)
    assert.same({}, outcome.figures.guards_off)
  end)

  it("let an ordinary night pass", function()
    local outcome = second_night(SHIPPED, file(first(2, 9, 11), 78))
    assert.equal(0, outcome.code, outcome.message)
    assert.same({}, outcome.figures.warnings)
  end)

  it("refuse a file of which half is gone", function()
    assert.equal(3, second_night(SHIPPED, file(nil, 29)).code)
  end)

  it("refuse nothing for a share of fewer than ten", function()
    local outcome = second_night(SHIPPED, file(first(9, 0)), nil, file(first(9, 10), 0))
    assert.equal(0, outcome.code, outcome.message)
  end)
end)

describe("the last good night", function()
  it("is that of the newest cycle that wasn't undone", function()
    n = stores.open { settings = { guards = stores.only { rows = { refuse = 50 } } } }
    stores.good_night(n)
    assert.equal(0, stores.reset(n, file(nil, 0), { force = "half the stores are closed" }).code)
    assert.equal(0, n:undo("05:00", 2).code)
    n:next_day()
    assert.match("39 rows in the inbound file, the last one had 100",
      stores.reset(n, file(nil, 19)).message)
  end)

  it("is unknown where this host's history doesn't know it, and that is said", function()
    n = stores.open { settings = { guards = stores.only { rows = { refuse = 50 } } } }
    stores.good_night(n)
    os.remove(n.world.folder .. "/state/history.db")
    local outcome = stores.reset(n, file(nil, 0))
    assert.equal(0, outcome.code, outcome.message)
    assert.match("rows, kept and line_end: the history doesn't know",
      table.concat(outcome.figures.guards_off, "\n"))
  end)
end)

describe("a shop's own guard", function()
  it("may do with the figures what it likes, and refuses all the same", function()
    local guards = stores.only {}
    guards[1] = function(figures)
      figures.worst, figures.file, figures.last = nil, nil, nil
      return "no"
    end
    n = stores.open { settings = { guards = guards } }
    assert.equal(3, stores.reset(n, file(nil, 0)).code)
  end)

  it("that raises success fails", function()
    local guards = stores.only {}
    guards[1] = function() error { code = 0 } end
    n = stores.open { settings = { guards = guards } }
    assert.equal(1, stores.reset(n, file(nil, 0)).code)
  end)

  it("gets the figures, beside the shipped ones, and refuses by a text", function()
    local seen
    local guards = stores.only {}
    guards[1] = function(figures)
      seen = figures
      return figures.read < 100 and "fewer rows than a hundred" or nil
    end
    local outcome = second_night(guards, file(first(1, 9, 10), 79))
    assert.equal(3, outcome.code)
    assert.match("guard 1 refuses .*: fewer rows than a hundred", outcome.message)
    assert.same({ 99, 20, 20, 1, 100 }, { seen.read, seen.kept, seen.covered, seen.changed,
      seen.last.read })
  end)
end)

it("TALLYMAN_GUARDS=off asks none, loudly", function()
  environment.with({ TALLYMAN_GUARDS = "off" }, function()
    local outcome = second_night({ zero = { refuse = 10 } }, file(first(12, 0, 10)))
    assert.equal(0, outcome.code, outcome.message)
    assert.match("THE GUARDS ARE OFF", outcome.figures.warnings[1])
    assert.match("guard not asked: all of them", stores.report(n, "2026-11-25"))
  end)
end)

describe("the settings of guards", function()
  before_each(function() n = stores.open {} end)

  local function wrong(text, guards)
    it("say what is wrong: " .. text, function()
      local ok, message = pcall(settings, { guards = guards }, function() end)
      assert.is_false(ok)
      assert.match(text, tostring(message), 1, true)
    end)
  end
  wrong("unknown field 'zeros' (did you mean 'zero'?)", { zeros = {} })
  wrong("unknown field 'refused'", { rows = { refused = 5 } })
  wrong("'150' is no percentage", { rows = { refuse = 150 } })
  wrong("must be a table of limits, or false", { rows = true })
  wrong("none of warn, refuse", { facilities = "deny" })
  wrong("is no duration", { age = { warn = "long" } })
  wrong("it must be a function", { "rows" })

  it("fill in the limits that aren't given", function()
    local given = { rows = { warn = 99 }, zero = false }
    local guards = settings({ guards = given }, function() end).guards
    assert.same({ warn = 99, refuse = 50 }, guards.rows)
    assert.is_false(guards.zero)
    assert.equal(36 * 3600, guards.age.refuse)
  end)
end)
