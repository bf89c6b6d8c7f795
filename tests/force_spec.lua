--- --force REASON: what it lets through, what it never does, and where the reason is kept.
local process = require "tests.support.process"
local stores = require "tests.support.stores"

local file, first = stores.file, stores.first
local FORCED = { force = "the store is being closed" }

describe("--force", function()
  local n
  before_each(function()
    n = stores.open { settings = { guards = stores.only { zero = { refuse = 10 } } } }
  end)
  after_each(function() n:close() end)

  local function comment()
    return n.world.oms:value [[SELECT p.general_comments FROM physical_inventory p
      JOIN tallyman_cycle c ON c.reset_id = p.physical_inventory_id
      ORDER BY c.cycle_id DESC LIMIT 1]]
  end

  it("passes a guard; history, ledger and report keep the reason and what it passed", function()
    stores.good_night(n)
    local outcome = stores.reset(n, file(first(12, 0, 10)), FORCED)
    assert.equal(0, outcome.code, outcome.message)
    assert.equal("0/0", n:totals "inventory_item_id = '1001'")
    local figures = n.world:last "import_reset".figures
    assert.equal(FORCED.force, figures.force)
    assert.equal(1, #figures.forced)
    assert.match("guard zero: 12 of 20", figures.forced[1], 1, true)
    assert.match("^forced: the store is being closed; Reset to ", comment())
    local report = stores.report(n, "2026-11-25")
    assert.match("--force: the store is being closed", report, 1, true)
    assert.match("forced: guard zero: 12 of 20", report, 1, true)
  end)

  it("passes a shop's own guard", function()
    n.world.settings.guards[1] = function() return "never" end
    local outcome = stores.reset(n, file(), FORCED)
    assert.same({ "guard 1: never" }, outcome.figures.forced)
  end)

  it("says that there was nothing to override, and the ledger has no word of it", function()
    local outcome = stores.reset(n, file(), FORCED)
    assert.equal(0, outcome.code)
    assert.same({ "--force (the store is being closed) had nothing to override" },
      outcome.figures.warnings)
    assert.same({}, outcome.figures.forced)
    assert.match("^Reset to ", comment())
  end)

  it("says so of a file that is applied already, too, and applies it no second time", function()
    stores.reset(n, file())
    local outcome = stores.reset(n, file(), FORCED)
    assert.match("applied as cycle 1", outcome.figures.already)
    assert.match("nothing to override", outcome.figures.warnings[1])
  end)

  it("takes an equal snapshot with other bytes: settles, then starts a new cycle", function()
    n:on("20:00", function() n.shop:ship("1001", n:text "20:00", 2) end)
    assert.equal(0, stores.reset(n, file()).code)
    assert.equal("10/10", n:totals "inventory_item_id = '1001'")
    assert.equal(3, stores.reset(n, file(first(1, 9, 10)), nil, "02:10").code)
    local outcome = n:run("import_reset", "02:20", FORCED)
    assert.equal(0, outcome.code, outcome.message)
    assert.match("cycle 1 has this snapshot", outcome.figures.forced[1])
    assert.equal(2, outcome.figures.cycle)
    assert.match("cycle 1 was not settled; settled first", outcome.figures.warnings[1])
    assert.equal("next reset", n.world.oms:value
      "SELECT settled_by FROM tallyman_cycle WHERE cycle_id = 1")
    assert.equal("9/9", n:totals "inventory_item_id = '1001'")
    assert.equal(0, n:variance().code)
    assert.equal("7/7", n:totals "inventory_item_id = '1001'")
  end)

  it("never lets an older snapshot through", function()
    stores.good_night(n)
    n:upload_text("22:00", file(first(1, 9, 10)))
    assert.equal(0, n:reset().code)
    local before = stores.state(n)
    n:upload_text("21:00", file())
    local outcome = n:reset("02:30", FORCED)
    assert.equal(3, outcome.code)
    assert.match("older", outcome.message)
    assert.equal(before, stores.state(n))
  end)

  it("never lets a snapshot of the future through", function()
    n:upload_text("02:11", file())
    local outcome = n:reset("02:00", FORCED)
    assert.equal(3, outcome.code)
    assert.match("in the future", outcome.message)
  end)
end)

describe("on the command line", function()
  after_each(function() process.clean() end)

  local arguments = {
    { "--force wants a reason", "import_reset", "--force" },
    { "--force wants a reason", "import_reset", "--force", "" },
    { "--force wants a reason", "import_reset", "--force", "  " },
    { "--force wants a reason", "import_reset", "--force", "--dry-run" },
    { "--reason wants a reason", "undo", "1", "--reason", "--dry-run" },
    { "must be one line", "import_reset", "--force", "a\nb" },
    { "'--force' is too much", "import_variance", "--force", "why" },
    { "'--dry-run' is too much", "filter_inventory", "--dry-run" },
    { "nothing else", "filter_inventory", "more" },
    { "CYCLE is missing", "undo" },
    { "'2' is too much", "undo", "1", "2", "--reason", "why" },
    { "--reason wants a reason", "undo", "1", "--reason", "" },
  }
  for _, case in ipairs(arguments) do
    it(("%s is a usage error: %s"):format(table.concat(case, " ", 2):gsub("%c", "?"), case[1]),
      function()
        local site = process.site()
        local result = site:run(table.unpack(case, 2))
        assert.equal(64, result.status, result.err)
        assert.truthy(result.err:find(case[1], 1, true), result.err)
        assert.equal("", result.out)
        assert.same({}, site:files())
      end)
  end
end)
