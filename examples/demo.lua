-- A whole night on a real-size file, and what came of it, for a person to look at.
--   tallyman examples/demo.lua [DIR] [OPTION OF retailer.lua...]     DIR: build/demo by default
-- Makes a retailer (an OMS, a 300 MB inbound file), runs nightly.lua once, and tells. The
-- environment says where:
--   DB=postgres      the OMS is a private PostgreSQL's, in which the night is an ordinary user
--   EXCHANGE=sftp    the files go over a private SFTP server on loopback
-- Both servers end with the demo, however that ends, and what was theirs is removed.
local clock = require "tallyman.clock"
local db = require "tallyman.db"
local failure = require "tallyman.failure"
local file = require "native.file"
local flow = require "tallyman.flow"
local host = require "native.host"
local json = require "dkjson"
local quantity = require "tallyman.quantity"
local stat = require "posix.sys.stat"
local stdlib = require "posix.stdlib"
local unistd = require "posix.unistd"

local HERE = host.library:match "^(.*)/[^/]*$"
local GIVEN = arg[1] and not arg[1]:find "^%-"
local FOLDER = (GIVEN and arg[1] or HERE .. "/build/demo"):gsub("^[^/]", unistd.getcwd() .. "/%0")
local NOW = "2026-11-24T06:30:00Z" -- 01:30 in New York, in the night that the retailer is made for
local ZONE = "America/New_York"
local NIGHTLY = "nightly" -- the user of the night in PostgreSQL

local function say(format, ...) print(format:format(...)) end
local function heading(text) print("\n" .. text .. "\n" .. ("-"):rep(#text)) end
local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function run(path, arguments)
  local code = flow.run_script(HERE .. "/" .. path, arguments)
  if code ~= 0 then failure.raise(code, "demo: %s ended with exit code %d", path, code) end
end

-- ---- the places ----

local KEPT = { TALLYMAN_SCAN = true, TALLYMAN_THREADS = true } -- they name no place

--- Starts the demo anew without what the environment says of other places, clocks and rules.
local function forget_environment()
  local found = false
  for name in pairs(stdlib.getenv()) do
    if name:find "^TALLYMAN_" and not KEPT[name] or name:find "^PG%u+$" then
      stdlib.setenv(name)
      found = true
    end
  end
  if found then unistd.exec(host.executable, { arg[0], table.unpack(arg) }) end
end

--- One of the words that a variable of the environment may be; the first when it isn't set.
local function choice(variable, words)
  local value = os.getenv(variable) or ""
  if value == "" then return words[1] end
  for _, word in ipairs(words) do if word == value then return value end end
  failure.raise(failure.usage, "%s is '%s'; it may be %s", variable, value,
    table.concat(words, " or "))
end

--- Removes the SFTP server's keys.
local function remove_keys() os.execute("rm -rf " .. quote(FOLDER .. "/sshd")) end

--- Points the night at the retailer.
local function set_environment(database, server)
  local exchange = FOLDER .. "/exchange"
  for name, value in pairs {
    TALLYMAN_OMS = database and database.url or "sqlite:" .. FOLDER .. "/oms.db",
    PGPASSFILE = database and database.passfile,
    TALLYMAN_EXCHANGE = server and ("sftp://%s@127.0.0.1:%d%s"):format(server.user, server.port,
      exchange) or "file://" .. exchange,
    TALLYMAN_SSH_KEY = server and server.key, TALLYMAN_KNOWN_HOSTS = server and server.known_hosts,
    TALLYMAN_STATE = FOLDER .. "/state", TALLYMAN_TIMEZONE = ZONE, TALLYMAN_NOW = NOW,
  } do
    stdlib.setenv(name, value)
  end
end

-- ---- the retailer ----

local function empty_folder()
  os.execute(("rm -rf %s && mkdir -p %s"):format(quote(FOLDER), quote(FOLDER)))
end

--- Makes tallyman's tables ahead, by the owner, who grants the night's user what it needs.
local function prepare(database)
  local command = ("%s %s postgresql %s"):format(quote(host.executable),
    quote(HERE .. "/scripts/tables.lua"), NIGHTLY)
  local handle <close> = assert(io.popen(command))
  local oms <close> = db.open(database.owner_url)
  oms:script(handle:read "a")
  local may = oms:value(("SELECT has_schema_privilege('%s', 'public', 'CREATE')"):format(NIGHTLY))
  say("the owner has run what `tables.lua postgresql %s` prints; %s %s make tables", NIGHTLY,
    NIGHTLY, may and "may" or "mayn't")
end

local function make_retailer(database)
  heading "1. A retailer: an OMS, and tonight's file from the POS with every product ever created"
  local started = clock.now()
  local options = { FOLDER, "--now", NOW, table.unpack(arg, GIVEN and 2 or 1) }
  if database then table.move({ "--oms", database.owner_url }, 1, 2, #options + 1, options) end
  run("examples/retailer.lua", options)
  say("made in %.1f s below %s%s", clock.now() - started, FOLDER,
    database and ", and in PostgreSQL" or "")
  if database then prepare(database) end
end

-- ---- what came of it ----

local function figures_of(history, job)
  return json.decode(history:value("SELECT figures FROM run WHERE job = :job", { job = job }))
end

--- What the night did: sizes and speeds.
local function show_jobs()
  heading "3. What went in, what came out, and how fast"
  local history <close> = db.open("sqlite:" .. FOLDER .. "/state/history.db")
  local filter = figures_of(history, "filter_inventory")
  local archive = ("%s/exchange/archive/2026-11-24/"):format(FOLDER)
  local filtered = history:value [[SELECT json_extract(figures, '$.file') FROM run
    WHERE job = 'import_reset']]
  local size = stat.stat(archive .. filtered:match "[^/]+$").st_size
  say("in    %11d bytes %9d rows   %s", filter.bytes, filter.read, filter.file)
  say("out   %11d bytes %9d rows   %s", size, filter.kept, filtered)
  say("      (%d left out, %d rejected)", filter.left_out, filter.rejected)
  for row in history:rows "SELECT job, figures FROM run ORDER BY started_at, rowid" do
    local figures = json.decode(row.figures)
    local bytes = row.job == "filter_inventory" and filter.bytes
      or row.job == "import_reset" and size or nil
    say("%-18s %6.2f s %s", row.job, figures.seconds,
      bytes and ("%8.1f MB/s"):format(bytes / 1e6 / figures.seconds) or "")
  end
end

--- Pairs worth telling, each by a condition on its coverage.
local STORIES = {
  { "shipped, the POS doesn't know", "c.deduction > 0 AND c.delta > 0" },
  { "shipped, and counted too low", "c.deduction > 0 AND c.delta <= 0" },
  { "came back since the count", "c.deduction < 0" },
  { "the shelf differs", "c.deduction = 0 AND c.delta <> 0" },
  { "reserved for an order", "c.qoh_before <> c.atp_before AND c.delta <> 0" },
  { "the POS oversold", "c.quantity < 0" },
  { "nothing to do", "c.deduction = 0 AND c.delta = 0 AND c.quantity > 0" },
}

local STORY = [[
  SELECT c.product_id, f.facility_name, c.quantity, c.qoh_before, c.atp_before, c.delta,
    c.deduction, {units SUM(i.quantity_on_hand_total)} AS qoh,
    {units SUM(i.available_to_promise_total)} AS atp
  FROM tallyman_coverage c
  JOIN facility f ON f.facility_id = c.facility_id
  JOIN inventory_item i ON i.product_id = c.product_id AND i.facility_id = c.facility_id
  WHERE %s
  GROUP BY c.cycle_id, c.product_id, c.facility_id, f.facility_name ORDER BY c.line LIMIT 1]]

--- A few pairs from the file to the end of the night. QOH/ATP each.
local function show_stories(oms)
  heading "4. A few stories (QOH/ATP of one product at one facility)"
  say("%-30s %-8s %-14s %6s %11s %13s %9s %11s", "", "product", "facility", "file", "before",
    "after reset", "variance", "in the end")
  for _, story in ipairs(STORIES) do
    local row = oms:one(STORY:format(story[2]))
    if row then
      say("%-30s %-8s %-14s %6g %11s %13s %9g %11s", story[1], row.product_id, row.facility_name,
        row.quantity, ("%g/%g"):format(row.qoh_before, row.atp_before),
        ("%g/%g"):format(row.qoh_before + row.delta, row.atp_before + row.delta), -row.deduction,
        ("%s/%s"):format(quantity.text(row.qoh), quantity.text(row.atp)))
    end
  end
end

local TOTALS = [[
  SELECT COUNT(*) AS items, {units SUM(quantity_on_hand_total)} AS qoh,
    {units SUM(available_to_promise_total)} AS atp,
    (SELECT COUNT(*) FROM inventory_item_detail) AS ledger FROM inventory_item]]

local COUNTS = [[
  SELECT inventory_item_id, product_id, facility_id,
    {decimal {units quantity_on_hand_total}} AS qoh,
    {decimal {units available_to_promise_total}} AS atp
  FROM inventory_item ORDER BY {bytes inventory_item_id}]]

--- The counts in the end, and their sum, which is the same wherever the night has run.
local function show_counts(oms)
  heading "5. The OMS in the end"
  local totals = oms:one(TOTALS)
  local sink <close> = failure.check(file.memory())
  oms:copy_out(COUNTS, sink)
  failure.check(sink:finish())
  say("%d items, QOH %s, ATP %s, %d ledger rows; SHA-256 of all counts %s", totals.items,
    quantity.text(totals.qoh), quantity.text(totals.atp), totals.ledger, sink:sha256())
end

--- Where it ran.
local function show_places(oms, database, server)
  say("\ndatabase  %s", database and ("PostgreSQL %s, %s, a private one that goes with the demo")
    :format(oms:value "SHOW server_version", database.url) or ("SQLite %s, %s/oms.db")
    :format(oms:value "SELECT sqlite_version()", FOLDER))
  say("exchange  %s%s", os.getenv "TALLYMAN_EXCHANGE",
    server and ", a private server that goes with the demo" or "")
  say("The files are below %s; the exchange's archive has them.", FOLDER)
end

forget_environment()
local on_postgres = choice("DB", { "sqlite", "postgres" }) == "postgres"
local over_sftp = choice("EXCHANGE", { "file", "sftp" }) == "sftp"
empty_folder()
local database <close> = on_postgres and require "private_postgres".start(NIGHTLY) or nil
local _ <close> = over_sftp and setmetatable({}, { __close = remove_keys }) or nil
local server <close> = over_sftp and require "private_sshd".start(FOLDER .. "/sshd") or nil
set_environment(database, server)
make_retailer(database)
heading "2. The night: five jobs, each a process of its own, and its report with the proof"
run("scripts/nightly.lua", { "once" })
show_jobs()
local oms <close> = db.open(os.getenv "TALLYMAN_OMS")
show_stories(oms)
show_counts(oms)
show_places(oms, database, server)
