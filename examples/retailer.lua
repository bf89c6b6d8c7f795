-- A retailer to play with: an OMS and a POS's Reset Inventory File that fit together.
--
--   tallyman examples/retailer.lua DIR [--seed N] [--rows N] [--products N]
--                                      [--now YYYY-MM-DDTHH:MM:SSZ] [--snapshot YYYYMMDD_HHMMSS]
--                                      [--oms postgresql://...]
--
-- makes, below DIR,
--   oms.db                                          the OMS, a SQLite database
--   exchange/inbound/ResetInventory_SNAPSHOT.csv    the POS's file, and its marker .done
--   exchange/filtered, variance, archive            empty folders
-- With `--oms`, the OMS is made in that PostgreSQL database instead, by a user who may make tables;
-- a password comes from PGPASSFILE and its like.
--
-- The POS has counted what the OMS has, plus what the OMS shipped without the POS knowing, apart
-- from a few real differences. `--now` (in UTC) is the time at which everything stands like that,
-- `--snapshot` the time of the POS's counts in the retailer's time zone: TALLYMAN_TIMEZONE or the
-- system's. By default the snapshot is the last 22:00 before `--now`.
-- The same arguments in the same time zone make the same retailer, to the byte.

local db = require "tallyman.db"
local lfs = require "lfs"

local Book = require "retailer.book"
local Desk = require "retailer.desk"
local Random = require "retailer.random"
local catalog = require "retailer.catalog"
local inventory_file = require "retailer.inventory_file"
local movements = require "retailer.movements"
local orders = require "retailer.orders"
local stock = require "retailer.stock"
local times = require "retailer.times"

local USAGE = "usage: retailer.lua DIR [--seed N] [--rows N] [--products N]"
  .. " [--now YYYY-MM-DDTHH:MM:SSZ] [--snapshot YYYYMMDD_HHMMSS] [--oms postgresql://...]"

local INACTIVE_PRODUCTS = 2000        -- of the past, yet still in the OMS
local QUARTER_OF_AN_HOUR = 900

-- Say what is wrong and leave.
local function fail(code, ...)
  io.stderr:write("retailer: ", string.format(...), "\n")
  os.exit(code, true)
end

local function usage(...)
  io.stderr:write(USAGE, "\n")
  fail(64, ...)
end

-- What stands beside this script.
local function beside(name)
  return (arg[0]:match "^(.*/)" or "./") .. name
end

local function count_from(text, option, least)
  local number = math.tointeger(text)
  if not number or number < least then
    usage("%s wants a whole number, %d at least; got '%s'", option, least, text)
  end
  return number
end

-- How each option's text becomes its value.
local OPTIONS = {
  seed = function(text) return count_from(text, "--seed", 0) end,
  rows = function(text) return count_from(text, "--rows", 1) end,
  products = function(text) return count_from(text, "--products", 10) end,
  now = function(text)
    return times.parse_utc(text) or usage("--now wants YYYY-MM-DDTHH:MM:SSZ; got '%s'", text)
  end,
  snapshot = function(text)
    return times.parse_stamp(text) and text
      or usage("--snapshot wants YYYYMMDD_HHMMSS; got '%s'", text)
  end,
  oms = function(text)
    return text:find "^postgres" and text
      or usage "--oms wants postgresql://...; an OMS in SQLite is made below DIR"
  end,
}

local function parse(arguments)
  local plan = {
    seed = 1, rows = 4000000, products = 750, now = times.parse_utc "2026-11-24T06:30:00Z",
  }
  local place = 1
  while arguments[place] do
    local name = arguments[place]:match "^%-%-(.*)$"
    if name then
      if not OPTIONS[name] then usage("unknown option '--%s'", name) end
      place = place + 1
      plan[name] = OPTIONS[name](arguments[place] or usage("--%s wants a value", name))
    elseif plan.dir then
      usage("one folder only; got '%s' too", arguments[place])
    else
      plan.dir = arguments[place]
    end
    place = place + 1
  end
  if not plan.dir then usage "which folder?" end
  plan.snapshot = plan.snapshot or times.evening_before(plan.now)
  plan.counted_at = times.parse_stamp(plan.snapshot)
  if plan.counted_at > plan.now - QUARTER_OF_AN_HOUR then
    usage "the snapshot must lie a quarter of an hour before --now, at least"
  end
  return plan
end

local function make_folder(path)
  if lfs.attributes(path, "mode") == "directory" then return end
  local made, message = lfs.mkdir(path)
  if not made then fail(73, "can't make the folder %s: %s", path, message) end
end

-- Let `write` make a file under another name, and rename it once it is whole.
local function appear(path, write)
  local part = path:gsub("[^/]*$", ".%0.part")
  os.remove(part)
  local results = table.pack(xpcall(write, debug.traceback, part))
  if not results[1] then
    os.remove(part)
    fail(74, "can't write %s: %s", path, results[2])
  end
  assert(os.rename(part, path))
  return table.unpack(results, 2, results.n)
end

local function read_file(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

-- The retailer's life up to now: rows for the OMS, and pairs with what the POS counted.
local function live(plan, random, facilities)
  local book, snapshot = Book.new(), plan.counted_at
  local active = catalog.active_products(random:fork(), plan.products, snapshot)
  local inactive = catalog.inactive_products(random:fork(), INACTIVE_PRODUCTS, snapshot)
  catalog.record(book, facilities, active)
  catalog.record(book, {}, inactive)
  local pairs_of = stock.make(book, random:fork(), facilities, active, snapshot)
  local desk = Desk.new(book, random:fork(), active, pairs_of, snapshot, plan.now)
  orders.make(desk, #pairs_of)
  movements.make(desk)
  stock.differ(random:fork(), pairs_of)
  stock.record(book, pairs_of)
  return book, pairs_of
end

local function make_folders(dir)
  make_folder(dir)
  make_folder(dir .. "/exchange")
  for _, name in ipairs { "inbound", "filtered", "variance", "archive" } do
    make_folder(dir .. "/exchange/" .. name)
  end
end

-- Refuse to write where a retailer lives already.
local function check_free(plan)
  local taken = plan.dir .. (plan.oms and "/exchange/inbound" or "/oms.db")
  if lfs.attributes(taken) then
    fail(73, "%s exists; a new retailer wants a new folder", taken)
  end
  if not plan.oms then return end
  local oms <close> = db.open(plan.oms)
  if oms:value "SELECT 1 WHERE to_regclass('inventory_item') IS NOT NULL" then
    fail(73, "the database has an OMS already; a new retailer wants an empty one")
  end
end

-- Make the OMS where the plan has it.
local function save(plan, book)
  local schema = read_file(beside "oms/schema.sql")
  if plan.oms then
    local oms <close> = db.open(plan.oms)
    return book:save(oms, schema)
  end
  appear(plan.dir .. "/oms.db", function(part)
    local oms <close> = db.open("sqlite:" .. part, { create = true })
    book:save(oms, schema)
  end)
end

local function main()
  times.set_zone(os.getenv "TALLYMAN_TIMEZONE")
  local plan = parse(arg)
  check_free(plan)
  local random, facilities = Random.new(plan.seed), catalog.facilities()
  local book, pairs_of = live(plan, random, facilities)
  local goods = inventory_file.goods(random:fork(), pairs_of)
  if goods.rows > plan.rows then
    usage("--rows: %d products alone make %d rows", plan.products, goods.rows)
  end

  make_folders(plan.dir)
  save(plan, book)
  local csv = ("%s/exchange/inbound/ResetInventory_%s.csv"):format(plan.dir, plan.snapshot)
  local bytes = appear(csv, function(part)
    return inventory_file.write(part, random:fork(), facilities, goods, plan.rows)
  end)
  -- The marker comes last: now the file is whole.
  appear(csv .. ".done", function(part) assert(io.open(part, "wb")):close() end)

  io.stderr:write(("retailer: %d rows, %d bytes, %d active products, %d rows expected to survive\n")
    :format(plan.rows, bytes, plan.products, goods.survivors))
end

main()
