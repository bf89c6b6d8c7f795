-- The files that are filtered and the lists of keys, made once and kept below build/bench.
local lfs = require "lfs"
local statvfs = require "posix.sys.statvfs"

local db = require "tallyman.db"
local programs = require "programs"
local running = require "running"

local files = {}

local FOLDER = running.FOLDER
local ROOM_FOR_TENFOLD = 8e9 -- bytes that must be free
local ONE_KEY = "K" -- of the made-up shapes

local ACTIVE = [[
  SELECT DISTINCT g.id_value FROM good_identification g JOIN product p USING (product_id)
  WHERE EXISTS (SELECT 1 FROM shopify_shop_product s WHERE s.product_id = p.product_id)
    AND (p.sales_discontinuation_date IS NULL OR p.sales_discontinuation_date > :now)
    AND (g.thru_date IS NULL OR g.thru_date > :now)
  ORDER BY g.id_value]]

local function size_of(path)
  return lfs.attributes(path, "size")
end

-- Makes a file, unless it is there, by the shell's command line that `line_for` gives for a path
-- (as a word of the shell). The disk is waited for, lest it write while something is measured.
local function make(path, line_for)
  if size_of(path) then return end
  print("making " .. path:sub(#FOLDER + 2))
  local part = running.word(path .. ".part")
  running.shell(line_for(part))
  running.shell("sync " .. part)
  assert(os.rename(path .. ".part", path))
end

-- Writes a list of keys, one a line.
local function write_list(path, keys)
  local handle <close> = assert(io.open(path, "wb"))
  for _, key in ipairs(keys) do handle:write(key, "\n") end
end

---@return bench.Case
local function case(input, list, keys)
  return { input = input, list = list, keys = keys, size = size_of(input), out = FOLDER .. "/out" }
end

-- The keys of the products that the retailer in that folder sells online.
local function active_keys(folder)
  local keys = {}
  local oms <close> = db.open("sqlite:" .. folder .. "/oms.db")
  for row in oms:rows(ACTIVE, { now = "2026-11-24 06:30:00" }) do keys[#keys + 1] = row.id_value end
  return keys
end

---The standard file of that many rows.
---@return bench.Case
local function standard(name, rows)
  local folder = FOLDER .. "/" .. name
  local csv = folder .. "/exchange/inbound/ResetInventory_20261123_220000.csv"
  if not size_of(csv .. ".done") then
    print("making the standard file of " .. name)
    local at = running.word(folder)
    running.shell(("rm -rf %s && mkdir -p %s && TALLYMAN_TIMEZONE=UTC %s %s %s --rows %d")
      :format(at, at, running.word(running.HOST),
        running.word(running.ROOT .. "/examples/retailer.lua"), at, rows))
    running.shell("sync " .. running.word(csv))
  end
  local keys = active_keys(folder)
  write_list(folder .. "/active.txt", keys)
  return case(csv, folder .. "/active.txt", #keys)
end

local large_case

---The standard file, made when first asked for.
function files.large()
  large_case = large_case or standard("300 MB", 4000000)
  return large_case
end

---A tenth of its rows, from another retailer.
function files.small()
  return standard("30 MB", 400000)
end

---Makes the standard file's compressed sibling, FILE.gz.
function files.compress(of)
  make(of.input .. ".gz", function(part)
    return ("gzip -6 -c %s >%s"):format(running.word(of.input), part)
  end)
end

---The standard file's rows ten times, or why not.
---@return bench.Case?, string?
function files.tenfold(of)
  local path = FOLDER .. "/3 GB.csv"
  if not size_of(path) then
    local disk = statvfs.statvfs(FOLDER)
    if disk.f_bavail * disk.f_frsize < ROOM_FOR_TENFOLD then
      return nil, ("less than %.0f GB are free on the disk"):format(ROOM_FOR_TENFOLD / 1e9)
    end
  end
  make(path, function(part)
    local once = running.word(of.input)
    return ("{ cat %s; for n in 1 2 3 4 5 6 7 8 9; do tail -n +2 %s; done; } >%s"):format(
      once, once, part)
  end)
  return case(path, of.list, of.keys)
end

-- A file made by shapes.py from the standard file.
local function shaped(of, shape)
  local path = ("%s/%s.csv"):format(FOLDER, shape)
  make(path, function(part)
    return running.words(programs.python_script("shapes.py", shape, of.input)) .. " " .. part
  end)
  return path
end

---A file of another shape with the standard file's keys.
---@return bench.Case
function files.shape(of, shape)
  return case(shaped(of, shape), of.list, of.keys)
end

---A file of another shape with made-up rows, of which a few bear the one key.
---@return bench.Case
function files.made_up_shape(of, shape)
  local list = FOLDER .. "/one_key.txt"
  write_list(list, { ONE_KEY })
  return case(shaped(of, shape), list, 1)
end

---The standard file with a list of so many keys: the real ones first, then made-up ones.
---@return bench.Case
function files.with_keys(of, count)
  local list = ("%s/keys_%d.txt"):format(FOLDER, count)
  local real, made_up = math.min(count, of.keys), math.max(count - of.keys, 0)
  make(list, function(part)
    return ("{ head -n %d %s; seq -f 'MADE-%%08.0f-UP' %d; } >%s"):format(real,
      running.word(of.list), made_up, part)
  end)
  return case(of.input, list, count)
end

---A file of which so many per cent of the rows survive, always by a list of a thousand keys. What
---survives goes to memory where there is such a folder: the disk isn't what is measured.
---@return bench.Case
function files.with_survivors(of, per_cent)
  local list, keys = ("%s/survivors_%d.txt"):format(FOLDER, per_cent), {}
  for n = 0, 999 do keys[n + 1] = (n < per_cent * 10 and "%03d" or "none of %03d"):format(n) end
  write_list(list, keys)
  local result = case(shaped(of, "survivors"), list, #keys)
  if lfs.attributes("/dev/shm", "mode") == "directory" then
    result.out = "/dev/shm/tallyman_bench_out"
  end
  return result
end

return files
