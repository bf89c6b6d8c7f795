-- A whole night on a real-size file, and what came of it, for a person to look at.
--   tallyman examples/demo.lua [DIR]          DIR: build/demo beside the examples by default
-- Makes a retailer (OMS in SQLite, a 300 MB inbound file), runs nightly.lua once, and tells. With
-- EXCHANGE=sftp in the environment the night goes over a private SFTP server on loopback.
local db = require "tallyman.db"
local failure = require "tallyman.failure"
local flow = require "tallyman.flow"
local host = require "native.host"
local json = require "dkjson"
local quantity = require "tallyman.quantity"
local stat = require "posix.sys.stat"
local stdlib = require "posix.stdlib"
local clock = require "tallyman.clock"

local HERE = host.library:match "^(.*)/[^/]*$"
local FOLDER = arg[1] or HERE .. "/build/demo"
local NOW = "2026-11-24T06:30:00Z" -- 01:30 in New York, in the night that the retailer is made for

local function say(format, ...) print(format:format(...)) end
local function heading(text) print("\n" .. text .. "\n" .. ("-"):rep(#text)) end

local function run(path, arguments)
  local code = flow.run_script(HERE .. "/" .. path, arguments)
  if code ~= 0 then
    io.stderr:write(("demo: %s ended with exit code %d\n"):format(path, code))
    os.exit(code, true)
  end
end

--- Makes the retailer, in an empty folder.
local function make_retailer()
  heading "1. A retailer: an OMS, and tonight's file from the POS with every product ever created"
  os.execute(("rm -rf '%s' && mkdir -p '%s'"):format(FOLDER:gsub("'", "'\\''"),
    FOLDER:gsub("'", "'\\''")))
  local started = clock.now()
  run("examples/retailer.lua", { FOLDER, "--now", NOW })
  say("made in %.1f s below %s", clock.now() - started, FOLDER)
end

--- Points the night at the retailer, by way of a server if there is one.
local function set_environment(server)
  local exchange = FOLDER .. "/exchange"
  for name, value in pairs { TALLYMAN_OMS = "sqlite:" .. FOLDER .. "/oms.db", TALLYMAN_NOW = NOW,
    TALLYMAN_EXCHANGE = server and ("sftp://%s@127.0.0.1:%d%s"):format(server.user, server.port,
      exchange) or "file://" .. exchange,
    TALLYMAN_STATE = FOLDER .. "/state", TALLYMAN_TIMEZONE = "America/New_York",
    TALLYMAN_SSH_KEY = server and server.key, TALLYMAN_KNOWN_HOSTS = server and server.known_hosts,
  } do
    stdlib.setenv(name, value)
  end
end

--- The private SFTP server, if the night is to go over one.
local function start_server()
  local kind = os.getenv "EXCHANGE" or "file"
  if kind == "sftp" then return require "private_sshd".start(FOLDER .. "/sshd") end
  if kind == "file" or kind == "" then return nil end
  failure.raise(failure.usage, "EXCHANGE is '%s'; it may be file or sftp", kind)
end

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
  GROUP BY c.product_id, c.facility_id ORDER BY c.line LIMIT 1]]

--- A few pairs from the file to the end of the night. QOH/ATP each.
local function show_stories()
  heading "4. A few stories (QOH/ATP of one product at one facility)"
  say("%-30s %-8s %-14s %6s %11s %13s %9s %11s", "", "product", "facility", "file", "before",
    "after reset", "variance", "in the end")
  local oms <close> = db.open("sqlite:" .. FOLDER .. "/oms.db")
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

make_retailer()
local server <close> = start_server()
heading "2. The night: five jobs, each a process of its own, and its report with the proof"
if server then say("over sftp://%s@127.0.0.1:%d\n", server.user, server.port) end
set_environment(server)
run("scripts/nightly.lua", { "once" })
show_jobs()
show_stories()
say("\nAll of it is below %s; the exchange's archive has the files.", FOLDER)
