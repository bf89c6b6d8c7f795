--- The demo, the retailer and the doctor on PostgreSQL: run as a user runs them. The demo's servers
--- are gone when it is, however it ends.
local db = require "tallyman.db"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local pwd = require "posix.pwd"
local server = require "tests.support.server"
local sshd = require "tests.support.sshd"
local sys_stat = require "posix.sys.stat"

local EXAMPLES = process.root .. "/examples/"

after_each(function() process.clean() end)
teardown(function() postgres.clean() end)

local function exists(path) return sys_stat.stat(path) ~= nil end

describe("the demo", function()
  local PATIENCE = 120 -- seconds: it makes a whole cluster, on a machine that does much else
  local folder
  before_each(function() folder = process.folder() .. "/demo" end)

  --- The command of a small demo.
  local function demo(env, place)
    return { process.host, EXAMPLES .. "demo.lua", place or folder, "--rows", "6000", "--products",
      "200", env = env }
  end

  --- The folder of a demo's PostgreSQL; nil while there is none.
  local function cluster_of(pids)
    for _, pid in ipairs(pids) do
      local words = process.read(("/proc/%d/cmdline"):format(pid)) or ""
      local found = words:match "/[^\0]*/tallyman%-postgres%.%w+"
      if found then return found end
    end
  end

  --- The processes of a demo and the folder of its PostgreSQL, once it has written a text.
  local function when(child, text)
    local pids, found
    process.eventually(function()
      pids = child:out():find(text, 1, true) and server.descendants(child) or {}
      found = cluster_of(pids)
      return found or child:poll()
    end, PATIENCE)
    assert.truthy(found and exists(found), child:out() .. child:err())
    return pids, found
  end

  --- All of them end soon, and what was theirs is removed.
  local function assert_nothing_left(pids, cluster)
    assert.is_true(process.eventually(function()
      for _, pid in ipairs(pids) do if not server.is_gone(pid) then return false end end
      return not exists(cluster)
    end))
  end

  --- What it told of pairs and counts in the end.
  local function outcome(result)
    assert.equal(0, result.status, result.err .. result.out)
    assert.matches("proof: %d+ covered pairs and %d+ items checked, 0 fail", result.out)
    return (result.out:match "\n(4%. A few stories.*)\n\ndatabase")
  end

  it("ends in the same counts on PostgreSQL over SFTP, whatever the environment says", function()
    local lacks = postgres.lacks() or sshd.lacks()
    if lacks then return pending(lacks) end
    local plain = process.run(demo())
    assert.matches("\ndatabase  SQLite [%d.]+, [^\n]*/demo/oms.db\nexchange  file:///", plain.out)
    local elsewhere = process.folder() .. "/elsewhere"
    local child = process.start(demo { DB = "postgres", EXCHANGE = "sftp",
      TALLYMAN_OMS = "sqlite:" .. elsewhere .. "/oms.db", TALLYMAN_STATE = elsewhere,
      TALLYMAN_EXCHANGE = "file://" .. elsewhere, TALLYMAN_RESET_METHOD = "exact_atp",
      TALLYMAN_NOW = "2027-03-01T00:00:00Z", TALLYMAN_TIMEZONE = "Asia/Tokyo",
      PGHOST = "/nowhere", PGPASSWORD = "wrong", PGSSLMODE = "require", PGSERVICE = "none",
      PGOPTIONS = "-c search_path=nowhere" })
    local pids, cluster = when(child, "2. The night")
    local result = child:wait(PATIENCE)
    assert.is_false(exists(cluster), "what it had isn't removed when it ends")
    assert_nothing_left(pids, cluster)
    assert.equal(outcome(plain), outcome(result))
    assert.matches("SHA%-256 of all counts %x+$", outcome(result))
    for _, line in ipairs { "prints; nightly mayn't make tables\n",
      "\ndatabase  PostgreSQL [^\n]+, postgresql://nightly@127.0.0.1:%d+/oms, a private",
      "\nexchange  sftp://%w+@127.0.0.1:%d+/[^\n]+/demo/exchange, a private" } do
      assert.matches(line, result.out)
    end
    for _, path in ipairs { elsewhere, folder .. "/sshd", folder .. "/oms.db" } do
      assert.is_false(exists(path), path)
    end
  end)

  it("can be an ordinary user's", function()
    if postgres.lacks() then return pending(postgres.lacks()) end
    if not process.is_root then return pending "needs root" end
    local command = demo { DB = "postgres" }
    command.as = pwd.getpwnam "nobody".pw_uid
    command.env.TMPDIR = folder:gsub("/demo$", "")
    process.must("chown", tostring(command.as), command.env.TMPDIR)
    outcome(process.start(command):wait(PATIENCE))
  end)

  it("leaves nothing running or lying about when it fails or is ended", function()
    local lacks = postgres.lacks() or sshd.lacks()
    if lacks then return pending(lacks) end
    local fails = { status = 64, text = "" }
    local cases = { fails, { status = 130, signal = process.SIGINT },
      { status = 143, signal = process.SIGTERM }, { status = 137, signal = process.SIGKILL } }
    for i, case in ipairs(cases) do
      case.folder = folder .. i
      local command = demo({ DB = "postgres",
        EXCHANGE = case.signal ~= process.SIGKILL and "sftp" or nil }, case.folder)
      if case == fails then command[5] = "10" end -- fewer rows than products: the retailer ends
      case.child = process.start(command)
      local pids, cluster = when(case.child, case.text or "2. The night")
      if case.signal then case.child:kill(case.signal) end
      local result = case.child:wait(PATIENCE)
      assert.equal(case.status, result.status, result.err)
      assert_nothing_left(pids, cluster)
      assert.is_false(exists(case.folder .. "/sshd"))
    end
    assert.matches("examples/retailer.lua ended with exit code 64\n$", fails.child:err())
  end)

  it("refuses what it doesn't know before it touches anything", function()
    process.write(folder .. "/mine", "x")
    for variable, value in pairs { DB = "oracle", EXCHANGE = "ftp" } do
      local result = process.run(demo { [variable] = value })
      assert.equal(64, result.status)
      assert.matches(variable .. " is '" .. value .. "'; it may be ", result.err, 1, true)
    end
    assert.equal("x", process.read(folder .. "/mine"))
  end)

  it("is what make demo runs, having asked for the servers' packages", function()
    local function asks(...)
      local command = { "env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "make", "-n", "demo", ... }
      command.cwd = process.root
      local shown = process.must(command)
      return shown:find("src/deps.sh test", 1, true) ~= nil, shown
    end
    local told, shown = asks("DB=postgres", "EXCHANGE=sftp")
    assert.is_true(told)
    assert.matches("exec env EXCHANGE=sftp DB=postgres build/tallyman examples/demo.lua", shown,
      1, true)
    assert.is_true((asks "DB=postgres"))
    assert.is_false((asks()))
  end)
end)

describe("on PostgreSQL,", function()
  if postgres.lacks() then return pending(postgres.lacks()) end
  local at, number = nil, 0
  setup(function()
    at = postgres.start()
    at:psql "CREATE ROLE nightly LOGIN"
    process.keep()
  end)

  --- The address of a database for a user; a new one, empty, without a name.
  local function address(user, name)
    if not name then
      number = number + 1
      name = "empty" .. number
      at:psql(("CREATE DATABASE %s"):format(name))
    end
    return ("postgresql:///%s?host=%s&port=%d&user=%s"):format(name, at.folder, at.port, user), name
  end

  local function retailer(folder, ...)
    return process.tallyman(EXAMPLES .. "retailer.lua", folder, "--rows", "3000", "--products",
      "100", ...)
  end

  --- The rows of a table, sorted; quantities as numbers.
  local function rows_of(oms, name)
    local lines = {}
    for row in oms:rows("SELECT * FROM " .. name) do
      local parts = {}
      for column, value in pairs(row) do
        local number_of = column:find "_diff$" or column:find "_var$" or column:find "_total$"
          or column:find "quantity$"
        parts[#parts + 1] = column .. "=" .. (number_of and ("%.6f"):format(value) or value)
      end
      table.sort(parts)
      lines[#lines + 1] = table.concat(parts, "|")
    end
    table.sort(lines)
    return table.concat(lines, "\n")
  end

  it("the retailer has the same OMS as in SQLite, and only once", function()
    local folder, url = process.folder(), address(postgres.SUPERUSER)
    assert.equal(0, retailer(folder .. "/a").status)
    local made = retailer(folder .. "/b", "--oms", url)
    assert.equal(0, made.status, made.err)
    assert.is_false(exists(folder .. "/b/oms.db"))
    local here <close> = db.open("sqlite:" .. folder .. "/a/oms.db")
    local there <close> = db.open(url)
    for row in here:rows "SELECT name FROM sqlite_master WHERE type = 'table'" do
      assert.is_nil(process.difference(rows_of(here, row.name), rows_of(there, row.name)), row.name)
    end
    assert.is_true(there:value "SELECT COUNT(*) FROM inventory_item_detail" > 0)
    local again = retailer(folder .. "/c", "--oms", url)
    assert.equal(73, again.status)
    assert.is_false(exists(folder .. "/c"))
    assert.equal(73, retailer(folder .. "/b", "--oms", (address(postgres.SUPERUSER))).status)
    assert.equal(64, retailer(folder .. "/c", "--oms", "sqlite:x").status)
    assert.equal(69, retailer(folder .. "/c", "--oms", "postgresql:///x?host=/nowhere").status)
  end)

  describe("the doctor", function()
    local name, site

    --- What it says of the OMS, and how it ended.
    local function ask(user)
      site.env.TALLYMAN_OMS = address(user or "nightly", name)
      local result = process.run { process.host, EXAMPLES .. "doctor.lua", env = site.env }
      return result.out:match "\nOMS .*", result.status
    end

    --- A database with the OMS's tables, and tallyman's made ahead.
    before_each(function()
      site = process.site()
      local owner = address(postgres.SUPERUSER)
      name = owner:match "/(%w+)%?"
      local oms <close> = db.open(owner)
      oms:script(process.read(process.root .. "/examples/oms/schema.sql"))
      oms:script(process.must(process.host, process.root .. "/scripts/tables.lua", "postgresql",
        "nightly"))
    end)

    local function change(sql)
      local oms <close> = db.open((address(postgres.SUPERUSER, name)))
      oms:script(sql)
    end

    it("finds all as the night needs it", function()
      local said, status = ask()
      assert.equal(0, status, said)
      for _, line in ipairs { "database +ok: PostgreSQL %d+[^\n]* user nightly\n",
        "tables and columns +ok: 16 tables", "tallyman's own tables +ok: version 1\n",
        "rights +ok: nightly may [^\n]* but not make others\n", "writes +ok",
        "lease +ok: idle_in_transaction_session_timeout can be set[^\n]* 60 s",
        "transaction isolation +ok: read committed", "clock +ok: the database's is %-?%d+ s",
        "time zones +ok: retailer UTC, OMS UTC; the session's is UTC" } do
        assert.matches(line, said)
      end
      assert.is_nil(said:find "NOT OK")
    end)

    it("lets the first import make the tables where it may", function()
      change "DROP TABLE tallyman_cycle, tallyman_version"
      local said, status = ask(postgres.SUPERUSER)
      assert.equal(0, status, said)
      assert.matches("own tables +ok: not all there; the first import makes them", said)
      said, status = ask()
      assert.equal(78, status)
      assert.matches("own tables +NOT OK: there is no tallyman_cycle, tallyman_version; have their "
        .. "owner run what `tallyman scripts/tables.lua postgresql nightly` prints", said)
    end)

    for what, fault in pairs {
      ["a column that is missing"] = { "ALTER TABLE facility DROP COLUMN external_id",
        "table facility +NOT OK: it has no column external_id", 78 },
      ["a table that is missing"] = { "ALTER TABLE shipment RENAME TO parcel",
        "table shipment +NOT OK: there is no such table in the search path: [^\n]*public", 78 },
      ["rows that are hidden"] = { "ALTER TABLE inventory_item ENABLE ROW LEVEL SECURITY",
        "table inventory_item +NOT OK: its row security hides rows from this user", 77 },
      ["a newer release's tables"] = { "INSERT INTO tallyman_version VALUES (99)",
        "own tables +NOT OK: they are of version 99, this program knows %d+", 78 },
      ["rights that are lacking"] = { [[
          REVOKE UPDATE ON tallyman_lease, inventory_item FROM nightly;
          REVOKE INSERT ON physical_inventory FROM nightly]],
        "rights +NOT OK: nightly lacks INSERT on physical_inventory; UPDATE on inventory_item, "
          .. "tallyman_lease; have their owner run", 77 },
      ["a database without temporary tables"] = {
        "DO $$ BEGIN EXECUTE 'REVOKE TEMP ON DATABASE ' || current_database() || "
          .. "' FROM PUBLIC, nightly'; END $$", "lacks TEMPORARY on the database", 77 },
      ["times with a zone that isn't UTC"] = { [[ALTER TABLE inventory_item_detail
          ALTER COLUMN effective_date TYPE timestamptz]],
        "time zones +NOT OK: [^\n]*set oms.timezone to UTC, not America/New_York", 78 },
      ["a server that takes no writes"] = {
        "ALTER ROLE nightly SET default_transaction_read_only = on",
        "writes +NOT OK: it takes none: default_transaction_read_only is on", 78 },
    } do
      it("finds " .. what, function()
        local settings = process.write(site.folder .. "/settings.lua",
          "return require 'tallyman.settings' { oms = { timezone = 'America/New_York' } }")
        change(fault[1])
        site.env.TALLYMAN_OMS = address("nightly", name)
        local result = process.run { process.host, EXAMPLES .. "doctor.lua", settings,
          env = site.env }
        at:psql "ALTER ROLE nightly RESET ALL"
        assert.equal(fault[3], result.status, result.out .. result.err)
        assert.matches(fault[2], result.out)
        assert.equal(1, select(2, result.out:gsub("NOT OK: [^\n]*", "%0")) -
          (fault[2]:find "^table" and 1 or 0), result.out)
      end)
    end
  end)

  it("tables, rights and service files are as the README says", function()
    local readme = process.read(process.root .. "/README.md")
    local commands = {}
    for line in readme:gmatch "\n```\n(tallyman scripts/tables.lua [^\n]*)\n```\n" do
      commands[#commands + 1] = line
    end
    assert.equal(2, #commands) -- for the OMS, and for a store
    local owner, name = address(postgres.SUPERUSER)
    local site = process.site()
    assert.equal(0, retailer(site.folder .. "/shop", "--oms", owner).status)
    process.must { "sh", "-euc", "tallyman() { \"$HOST\" \"$@\"; }\n"
      .. table.concat(commands, "\n"):gsub("%-d %w+", "-d " .. name), cwd = process.root,
      env = { HOST = process.host, PGHOST = at.folder, PGPORT = tostring(at.port),
        PGUSER = postgres.SUPERUSER } }
    site.env.PGSERVICEFILE = process.write(site.folder .. "/services",
      ("[shop]\nhost=%s\nport=%d\nuser=nightly\ndbname=%s\n"):format(at.folder, at.port, name))
    site.env.TALLYMAN_OMS, site.env.TALLYMAN_STORE = "service=shop", "service=shop"
    site.env.TALLYMAN_EXCHANGE = "file://" .. site.folder .. "/shop/exchange"
    site.env.TALLYMAN_NOW = "2026-11-24T06:30:00Z"
    local result = site:run("nightly", "once")
    assert.equal(0, result.status, result.err .. result.out)
    assert.matches("proof: %d+ covered pairs[^\n]* 0 fail", result.out)
  end)
end)
