-- The filter beside the floor and what else one would take, on the standard file.
local files = require "files"
local judging = require "judging"
local own = require "own"
local programs = require "programs"
local running = require "running"
local tables = require "tables"

local SLOW_ROUNDS = 3

local COLUMNS = {
  { "", -34 }, { "wall s", 8 }, { "floor s", 8 }, { "ratio", 7 }, { "user+sys", 9 },
  { "peak MiB", 9 }, { " output", -1 },
}
local ONE_THREAD, TWO_THREADS = { TALLYMAN_THREADS = "1" }, { TALLYMAN_THREADS = "2" }

-- Measures a program and prints its line; its failure is a line, too, and a problem if it's ours.
local function add(put, program, floor, case, rounds, right)
  local done, spent = pcall(running.measure, floor, program, case, rounds)
  if not done then
    put(program.title, "", "", "", "", "", " failed: " .. tostring(spent))
    if program.ours then judging.complain("%s: %s", program.title, spent) end
    return
  end
  put(program.title, tables.number(3, spent.wall), tables.number(3, spent.floor),
    tables.number(1, spent.wall / spent.floor), tables.number(2, spent.cpu),
    tables.number(1, spent.peak), " " .. judging.verdict(program, case, right))
  if program.ours then own.check_memory(program, case, spent) end
end

-- A floor's own line.
local function add_floor(put, floor, case, rounds)
  local spent = running.measure_floor(floor, case, rounds)
  local wall = tables.number(3, spent.wall)
  put(floor.title, wall, wall, "1.0", tables.number(2, spent.cpu), tables.number(1, spent.peak),
    " none")
end

-- Our lines, each group below its floor.
local function add_ours(put, case, rounds, right)
  local groups = {
    { programs.floor, programs.ours },
    { programs.pipe_floor, programs.ours_from_pipe },
    { programs.zlib_floor, programs.ours_from_gzip },
  }
  for _, group in ipairs(groups) do
    local floor, ours = group[1], group[2]
    add_floor(put, floor, case, rounds)
    add(put, ours("1 thread", ONE_THREAD), floor, case, rounds, right)
    add(put, ours("2 threads", TWO_THREADS), floor, case, rounds, right)
  end
end

-- Who can't run, and why; those that can be brought are.
local function find_missing()
  local missing = {}
  for _, peer in ipairs(programs.peers) do missing[peer] = peer.missing() end
  return missing
end

-- The lines of the others; who is missing is named.
local function add_peers(put, case, rounds, right, missing)
  for _, peer in ipairs(programs.peers) do
    if missing[peer] then
      put(peer.title, "", "", "", "", "", " missing: " .. missing[peer])
    else
      add(put, peer, programs.floor, case, peer.slow and math.min(SLOW_ROUNDS, rounds) or rounds,
        right)
    end
  end
end

-- Which versions those were that ran, each told once.
local function versions(missing)
  local list, seen = {}, {}
  for _, peer in ipairs(programs.peers) do
    if not missing[peer] and not seen[peer.version] then
      list[#list + 1] = running.ask(peer.version)
      seen[peer.version] = true
    end
  end
  return table.concat(list, "; ")
end

---Prints the table.
return function(rounds)
  local case = files.large()
  files.compress(case)
  local right, missing = judging.judge(case), find_missing()
  local put = tables.start(("%.0f MB, %d keys; medians of %d runs (slow ones: %d), each in turn "
    .. "with its floor; the ratio is to that"):format(case.size / 1e6, case.keys, rounds,
    math.min(SLOW_ROUNDS, rounds)), COLUMNS)
  add_ours(put, case, rounds, right)
  add_peers(put, case, rounds, right, missing)
  print("\nwith " .. versions(missing))
  print("packages of npm: " .. table.concat(programs.npm_packages, ", "))
end
