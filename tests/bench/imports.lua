-- How fast a reset is written into an OMS of a million items, beside what PostgreSQL's own client
-- takes for the bare minimum: COPY into a temporary table, and one UPDATE of as many items by their
-- index; and beside what it takes when it writes the rows, too, that the OMS wants with an update:
-- one of the ledger and one of the variances for each item. No coverage, no deductions, no checks.
--   tallyman tests/bench/imports.lua [ROUNDS] [ROWS...]
-- ROUNDS: 3; ROWS of the filtered file: 1500 and 1000000. Whole processes, in turn, on a private
-- PostgreSQL that syncs its log; medians; what ours takes to each of psql's is the median of the
-- rounds' ratios. The same resets on SQLite have no peer. Each reset changes every row's quantity.
-- Memory is that of the largest process.
package.path = arg[0]:match "^(.*/)" .. "../../?.lua;" .. package.path -- for tests.support

local db = require "tallyman.db"
local judging = require "judging"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local running = require "running"
local tables = require "tables"
local time = require "tallyman.time"

local ITEMS, FACILITIES = 1000000, 10
local ROUNDS, SIZES = 3, { 1500, 1000000 }
local START = 1796083200 -- 2026-12-01, UTC
local PEAK = 64 -- MiB, whatever the number of rows

local CONFIG = { shared_buffers = "512MB", max_wal_size = "8GB", checkpoint_timeout = "1h" }

-- A number from 0 on, as both databases count.
local NUMBERS = "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number "
  .. "WHERE n < %d) "

-- A million items of a hundred thousand products at ten facilities, each with its ledger row.
local FILL = {
  NUMBERS:format(FACILITIES - 1)
    .. "INSERT INTO facility (facility_id) SELECT 'F' || n FROM number",
  NUMBERS:format(ITEMS // FACILITIES - 1)
    .. "INSERT INTO product (product_id) SELECT 'P' || n FROM number",
  [[INSERT INTO good_identification (product_id, good_identification_type_id, id_value, from_date)
    SELECT product_id, 'SKU', 'S' || product_id, '2020-01-01 00:00:00' FROM product]],
  [[INSERT INTO inventory_item (inventory_item_id, product_id, facility_id, quantity_on_hand_total,
      available_to_promise_total)
    SELECT product_id || facility_id, product_id, facility_id, 5, 5 FROM product, facility]],
  [[INSERT INTO inventory_item_detail (inventory_item_id, inventory_item_detail_seq_id,
      effective_date, quantity_on_hand_diff, available_to_promise_diff)
    SELECT inventory_item_id, '00001', '2020-01-01 00:00:00', 5, 5 FROM inventory_item]],
}

-- ---- places ----

-- An OMS, and how a job reaches it.
local function make_place(url, options)
  local site = process.site()
  site.env.TALLYMAN_OMS = url or site.env.TALLYMAN_OMS
  site.env.TALLYMAN_GUARDS, site.env.TALLYMAN_NOW = "off", nil
  local oms = db.open(site.env.TALLYMAN_OMS, options)
  if url then oms:script(process.read(process.root .. "/examples/oms/schema.sql")) end
  oms:transaction(function()
    for _, sql in ipairs(FILL) do oms:run(sql) end
  end)
  return { site = site, oms = oms, night = 0 }
end

-- A filtered file of so many pairs, every one with another quantity than the night before.
local function write_file(place, rows)
  place.night = place.night + 1
  local at = START + place.night * 86400
  place.site.env.TALLYMAN_NOW = os.date("!%Y-%m-%dT02:00:00Z", at)
  local path = ("%s/filtered/ResetInventoryActive_%s.csv"):format(place.site.exchange,
    os.date("!%Y%m%dT220000Z", at - 86400))
  os.execute(("mkdir -p %q"):format(path:match "^(.*)/"))
  local handle <close> = assert(io.open(path, "w"))
  handle:write "facilityId,productId,idType,idValue,availableQty\n"
  for n = 0, rows - 1 do
    local product = n // FACILITIES
    handle:write(("F%d,P%d,SKU,SP%d,%d\n"):format(n % FACILITIES, product, product,
      5 + place.night))
  end
  return path
end

-- ---- programs ----

-- Our job, at a place.
local function ours(place)
  return { title = "tallyman, import_reset", output = "none", environment = place.site.env,
    pipeline = function() return { place.site:command "import_reset" } end }
end

local BARE = [[BEGIN;
CREATE TEMPORARY TABLE counted (facility_id varchar(20), product_id varchar(20), id_type text,
  id_value text, quantity numeric(18,6));
\copy counted FROM '%s' (FORMAT csv, HEADER)
UPDATE inventory_item i SET quantity_on_hand_total = c.quantity,
  available_to_promise_total = c.quantity
FROM counted c WHERE i.product_id = c.product_id AND i.facility_id = c.facility_id;
COMMIT;
]]

-- Inserted before the UPDATE: the rows that go with it. The night's date makes them rows of their
-- own.
local WITH_ROWS = [[
INSERT INTO inventory_item_detail (inventory_item_id, inventory_item_detail_seq_id, effective_date,
    quantity_on_hand_diff, available_to_promise_diff, physical_inventory_id)
  SELECT i.inventory_item_id, 'B%d', now(), c.quantity - i.quantity_on_hand_total,
    c.quantity - i.available_to_promise_total, 'B%d'
  FROM counted c JOIN inventory_item i
    ON i.product_id = c.product_id AND i.facility_id = c.facility_id;
INSERT INTO inventory_item_variance (inventory_item_id, physical_inventory_id,
    quantity_on_hand_var, available_to_promise_var)
  SELECT i.inventory_item_id, 'B%d', c.quantity - i.quantity_on_hand_total,
    c.quantity - i.available_to_promise_total
  FROM counted c JOIN inventory_item i
    ON i.product_id = c.product_id AND i.facility_id = c.facility_id;
UPDATE]]

-- psql, with what it is to do; it reads a file of its own, which goes afterwards.
local function psql(server, place, rows, with_rows)
  local path, night = write_file(place, rows), place.night
  local script = BARE:format(path)
  if with_rows then script = script:gsub("UPDATE", WITH_ROWS:format(night, night, night)) end
  process.write(path .. ".sql", script)
  local command = server:psql_command ""
  for n, word in ipairs(command) do
    if word == "-c" then command[n], command[n + 1] = "-f", path .. ".sql" end
  end
  local spent = running.run { title = "psql", output = "none",
    pipeline = function() return { command } end }
  os.remove(path)
  server:psql "VACUUM"
  return spent
end

-- ---- rounds ----

local function add(sums, spent)
  for name in pairs(sums) do table.insert(sums[name], spent[name]) end
end

local function medians(sums)
  return { wall = running.median(sums.wall), cpu = running.median(sums.cpu),
    peak = math.max(table.unpack(sums.peak)) }
end

-- A reset of ours; the whole of it must have been done.
local function reset(place, rows)
  write_file(place, rows)
  local spent = running.run(ours(place))
  local covered = place.oms:value [[SELECT COUNT(*) FROM tallyman_coverage WHERE delta <> 0
    AND cycle_id = (SELECT MAX(cycle_id) FROM tallyman_cycle)]]
  if covered ~= rows then judging.complain("%d of %d rows were reset", covered, rows) end
  return spent
end

local function report(put, title, spent, rows, ratio)
  put(title, tables.number(3, spent.wall), tables.number(3, spent.cpu),
    tables.number(1, spent.peak), tables.number(0, rows / spent.wall), ratio or "")
end

local function none() return { wall = {}, cpu = {}, peak = {} } end

-- One size: psql and ours in turn, then ours on SQLite.
local function race(server, place, sqlite, rows, rounds)
  local put = tables.start(("reset of %d rows into %d items; medians of %d"):format(rows, ITEMS,
    rounds), { { "", -40 }, { "wall s", 9 }, { "user+sys", 9 }, { "peak MiB", 9 }, { "rows/s", 9 },
    { "to it", 8 } })
  local least, written, own, embedded = none(), none(), none(), none()
  local to_least, to_written = {}, {}
  for round = 1, rounds do
    local bare = psql(server, place, rows, false)
    local whole = psql(server, place, rows, true)
    local spent = reset(place, rows)
    server:psql "VACUUM"
    add(least, bare)
    add(written, whole)
    add(own, spent)
    to_least[round], to_written[round] = spent.wall / bare.wall, spent.wall / whole.wall
    add(embedded, reset(sqlite, rows))
  end
  report(put, "psql, COPY and UPDATE", medians(least), rows,
    tables.number(2, running.median(to_least)))
  report(put, "psql, ledger and variance rows, too", medians(written), rows,
    tables.number(2, running.median(to_written)))
  report(put, "tallyman, import_reset", medians(own), rows)
  report(put, "tallyman, import_reset on SQLite", medians(embedded), rows)
  if medians(own).peak > PEAK then judging.complain("more than %d MiB of memory", PEAK) end
end

local rounds, sizes = math.tointeger(tonumber(arg[1] or ROUNDS)), {}
for n = 2, #arg do sizes[#sizes + 1] = math.tointeger(tonumber(arg[n])) end
running.prepare()
local server = postgres.start { fsync = true, config = CONFIG }
local done, wrong = pcall(function()
  local place, sqlite = make_place(server.url), make_place()
  server:psql "VACUUM ANALYZE"
  for _, rows in ipairs(#sizes > 0 and sizes or SIZES) do
    race(server, place, sqlite, rows, rounds)
  end
end)
postgres.clean()
if not done then error(wrong, 0) end
print(("\n%s; %s"):format(time.text(os.time()), #judging.problems == 0 and "nothing wrong"
  or table.concat(judging.problems, "\n")))
os.exit(#judging.problems == 0, true)
