-- The filter against what else one would take, on the standard files of 30 MB and 300 MB.
--   tallyman tests/bench/filter.lua [ROUNDS]
-- Each program runs in turn with `cat FILE >/dev/null`, ROUNDS times (7), and its median is set
-- against that of those runs of cat: a ratio says more than seconds of a machine that others use.
-- Ends with 1 when a program that claims to be right gives other bytes, or the filter's memory
-- grows with the file.
local db = require "tallyman.db"
local fcntl = require "posix.fcntl"
local file = require "native.file"
local lfs = require "lfs"
local stdlib = require "posix.stdlib"
local sys_wait = require "posix.sys.wait"
local time = require "posix.time"
local unistd = require "posix.unistd"

local ROUNDS = math.tointeger(arg[1]) or 7
local HOST = unistd.readlink "/proc/self/exe"
local HERE = arg[0]:match "^(.*)/" or "."
local ROOT = stdlib.realpath(HERE .. "/../..")
local FOLDER = ROOT .. "/build/bench"
local TICKS = unistd.sysconf(unistd._SC_CLK_TCK)
local MOST_MEMORY = 32 -- MiB
local SAME_MEMORY = 1 -- MiB that one run may take more than another

local ACTIVE = [[
  SELECT DISTINCT g.id_value FROM good_identification g JOIN product p USING (product_id)
  WHERE EXISTS (SELECT 1 FROM shopify_shop_product s WHERE s.product_id = p.product_id)
    AND (p.sales_discontinuation_date IS NULL OR p.sales_discontinuation_date > :now)
    AND (g.thru_date IS NULL OR g.thru_date > :now)
  ORDER BY g.id_value]]

-- ---- running programs ----

local function read(path)
  local handle <close> = io.open(path, "rb")
  return handle and handle:read "a" or ""
end

-- The child's part after fork: standard output goes to a file, standard error to a log.
local function become(command, out)
  local flags = fcntl.O_WRONLY | fcntl.O_CREAT | fcntl.O_TRUNC
  unistd.dup2(fcntl.open(out, flags, 420), 1)
  unistd.dup2(fcntl.open(FOLDER .. "/log", flags, 420), 2)
  stdlib.setenv("LC_ALL", "C") -- the fastest that grep knows
  stdlib.setenv("TALLYMAN_TIMEZONE", "UTC")
  unistd.execp(command[1], table.move(command, 2, #command, 1, {}))
end

local function start(command, out)
  local pid = assert(unistd.fork())
  if pid == 0 then
    pcall(become, command, out or "/dev/null")
    unistd._exit(127)
  end
  return pid
end

local function check_ended(command, how, status)
  if how == "exited" and status == 0 then return end
  error(("%s: %s %s\n%s"):format(table.concat(command, " "), how, status,
    read(FOLDER .. "/log")), 0)
end

local function now()
  local at = time.clock_gettime(time.CLOCK_MONOTONIC)
  return at.tv_sec + at.tv_nsec / 1e9
end

-- What the children that were waited for have spent, as user and as system, in seconds.
-- (posix.sys.times tells whole seconds only.)
local function cpu_of_children()
  local user, system = read("/proc/self/stat"):match("^.*%) %S+" .. (" %-?%d+"):rep(12)
    .. " (%d+) (%d+) ")
  return (user + system) / TICKS
end

-- Runs to the end: wall seconds and user + system seconds.
local function run(command, out)
  local began, spent = now(), cpu_of_children()
  local _, how, status = sys_wait.wait(start(command, out))
  local wall = now() - began
  check_ended(command, how, status)
  return wall, cpu_of_children() - spent
end

local OWN_COMMAND = read "/proc/self/cmdline"

-- Runs to the end, looking at its peak memory all the while: MiB. (What the kernel tells afterwards
-- counts the process that it was forked from, too.)
local function peak_memory(command, out)
  local pid, peak = start(command, out), 0
  while true do
    local ended, how, status = sys_wait.wait(pid, sys_wait.WNOHANG)
    if ended == pid then
      check_ended(command, how, status)
      return peak / 1024
    end
    local memory = read(("/proc/%d/status"):format(pid)):match "VmHWM:%s*(%d+)"
    -- Until exec it is still this process, under another number.
    local itself = memory and read(("/proc/%d/cmdline"):format(pid)) ~= OWN_COMMAND
    if itself then peak = math.max(peak, tonumber(memory)) end
    time.nanosleep { tv_sec = 0, tv_nsec = 1000000 }
  end
end

-- ---- the standard files ----

---@class bench.Standard
---@field name string
---@field csv string path
---@field list string path
---@field size integer

-- Makes the standard file of that many rows, unless it is there from last time.
local function standard_file(name, rows)
  local folder = FOLDER .. "/" .. name
  local csv = folder .. "/exchange/inbound/ResetInventory_20261123_220000.csv"
  if not lfs.attributes(csv .. ".done") then
    print(("making the standard file of %s"):format(name))
    os.execute(("rm -rf '%s' && mkdir -p '%s'"):format(folder, folder))
    run { HOST, ROOT .. "/examples/retailer.lua", folder, "--rows", tostring(rows) }
  end
  local list = folder .. "/active.txt"
  local oms <close> = db.open("sqlite:" .. folder .. "/oms.db")
  local keys <close> = assert(io.open(list, "wb"))
  local count = 0
  for row in oms:rows(ACTIVE, { now = "2026-11-24 06:30:00" }) do
    keys:write(row.id_value, "\n")
    count = count + 1
  end
  return { name = name, rows = rows, csv = csv, list = list, keys = count,
    size = lfs.attributes(csv, "size") }
end

-- ---- who runs against whom ----

-- The interpreter itself, not a wrapper that looks for one.
local function find_python()
  local pipe <close> = assert(io.popen "python3 -c 'import sys; print(sys.executable)'")
  return assert(pipe:read "l", "python3 is not there")
end

local PYTHON = find_python()

---@class bench.Peer
---@field title string
---@field right? boolean claims to give the right bytes
---@field command fun(standard: bench.Standard, out: string): string[]
---@field writes? boolean writes OUT itself; others write standard output

local CAT = {
  title = "cat FILE >/dev/null",
  command = function(standard) return { "cat", standard.csv } end,
}
local PEERS = {
  {
    title = "tallyman examples/filter.lua", right = true, writes = true,
    command = function(standard, out)
      return { HOST, ROOT .. "/examples/filter.lua", "--keep", standard.list, standard.csv, out }
    end,
  },
  {
    title = "grep -F -f LIST",
    command = function(standard) return { "grep", "-F", "-f", standard.list, standard.csv } end,
  },
  {
    title = "python3, csv module", right = true, writes = true,
    command = function(standard, out)
      return { PYTHON, HERE .. "/filter.py", standard.list, standard.csv, out }
    end,
  },
}

local function sha256(path)
  local source <close> = assert(file.source(path, { digest = true }))
  while source:read(1048576) do end -- luacheck: ignore 542
  return source:sha256()
end

local function median(values)
  table.sort(values)
  local middle = #values // 2
  return #values % 2 == 1 and values[middle + 1] or (values[middle] + values[middle + 1]) / 2
end

-- Runs cat and the peer in turn; medians, and what else there is to know.
local function measure(peer, standard)
  local out = FOLDER .. "/out"
  local command, stdout = peer.command(standard, out), not peer.writes and out or nil
  local walls, cats, spent = {}, {}, 0
  run(CAT.command(standard)) -- the file is in memory from here on
  for round = 1, ROUNDS do
    cats[round] = run(CAT.command(standard))
    os.remove(out)
    local wall, cpu = run(command, stdout)
    walls[round], spent = wall, spent + cpu
  end
  local result = { title = peer.title, wall = median(walls), cat = median(cats),
    cpu = spent / ROUNDS, sha256 = sha256(out), size = lfs.attributes(out, "size") }
  os.remove(out)
  result.peak = peak_memory(command, stdout)
  return result
end

-- ---- the report ----

local problems = {}

-- What there is to say about the bytes that came out; Python's csv module is the judge.
local function verdict(peer, result, judge)
  if peer == PEERS[#PEERS] then return "the judge" end
  if result.sha256 == judge.sha256 then return "right, byte for byte" end
  if not peer.right then
    return ("not CSV-aware: %+d bytes"):format(result.size - judge.size)
  end
  problems[#problems + 1] = ("%s: other bytes than Python's"):format(peer.title)
  return "WRONG"
end

local LINE = "%-30s %9s %9s %7s %9s %9s  %s"

-- Measures every peer on one file and prints the table; returns the filter's peak memory.
local function report(standard)
  print(("\n%s: %d rows, %.1f MB, %d keys; medians of %d runs, each in turn with cat\n"):format(
    standard.name, standard.rows, standard.size / 1e6, standard.keys, ROUNDS))
  print(LINE:format("", "wall s", "cat s", "ratio", "user+sys", "peak MiB", "output"))
  local results = {}
  for n, peer in ipairs(PEERS) do results[n] = measure(peer, standard) end
  local judge = results[#results]
  print(LINE:format(CAT.title, ("%.3f"):format(judge.cat), "", "1.0", "", "", "none"))
  for n, result in ipairs(results) do
    print(LINE:format(result.title, ("%.3f"):format(result.wall), ("%.3f"):format(result.cat),
      ("%.1f"):format(result.wall / result.cat), ("%.2f"):format(result.cpu),
      ("%.1f"):format(result.peak), verdict(PEERS[n], result, judge)))
  end
  return results[1].peak
end

lfs.mkdir(ROOT .. "/build")
lfs.mkdir(FOLDER)
local small = report(standard_file("30 MB", 400000))
local large = report(standard_file("300 MB", 4000000))
print(("\nThe filter's peak memory: %.1f MiB at 30 MB, %.1f MiB at 300 MB (at most %d, the same)")
  :format(small, large, MOST_MEMORY))
if math.max(small, large) > MOST_MEMORY or math.abs(large - small) > SAME_MEMORY then
  problems[#problems + 1] = "the filter's memory is not what it should be"
end
for _, problem in ipairs(problems) do print("WRONG: " .. problem) end
os.exit(#problems == 0 and 0 or 1, true)
