-- Programs that do the same by SFTP, run in turn, round by round: so whatever else the machine does
-- befalls all alike. A round before the first isn't counted: there everything that can writes a
-- file, which is judged.
local lfs = require "lfs"

local judging = require "judging"
local place = require "sftp_place"
local running = require "running"
local tables = require "tables"

local MOST_MEMORY = 48 -- MiB, ours
local SLOW_ROUNDS = 3
local SIGNALLED = 128 -- exit codes above are those of signals

local COLUMNS = {
  { "", -32 }, { "wall s", 8 }, { "least", 7 }, { "MB/s", 6 }, { "to best", 8 }, { "user+sys", 9 },
  { "CPU to", 7 }, { "peak MiB", 9 }, { " output", -1 },
}

---One program's part in a race.
---@class bench.Entry
---@field program bench.SftpProgram
---@field case bench.SftpCase
---@field rounds integer
---@field slow boolean
---@field walls number[] seconds, a round each
---@field cpus number[]
---@field peak number MiB
---@field verdict string
---@field failed? boolean

-- The SHA-256 of what must come out.
local function expected(entry)
  if entry.program.filters then return judging.expected(entry.case) end
  return place.sha256(entry.case)
end

-- What there is to say about the file that came out.
local function verdict(entry)
  if entry.program.alone then return "all came" end
  if judging.sha256(entry.case.out) == expected(entry) then return "right" end
  judging.complain("%s: other bytes", entry.program.title)
  return "WRONG"
end

-- Runs it once. Timed, what can be thrown away is.
local function run(entry, timed)
  local program, case = entry.program, entry.case
  local discards = timed and program.discards
  case.target = discards and "/dev/null" or case.out
  if discards then program = setmetatable({ output = "none" }, { __index = program }) end
  return running.run(program, case)
end

-- Does something for an entry. After a failure, which is a problem if it's ours, the entry has no
-- more rounds. Only a signal ends the bench.
local function attempt(entry, work, ...)
  local done, problem = pcall(work, entry, ...)
  if done then return end
  if type(problem) == "table" and (problem.code or 0) > SIGNALLED then error(problem, 0) end
  entry.failed, entry.verdict = true, "failed: " .. tostring(problem)
  if entry.program.ours then judging.complain("%s: %s", entry.program.title, problem) end
end

-- Runs it before the rounds, and judges what comes out.
local function try(entry)
  run(entry, false)
  entry.verdict = verdict(entry)
  os.remove(entry.case.out)
end

-- Ours is judged after each round, the others by the size.
local function look_again(entry)
  local program, case = entry.program, entry.case
  if program.alone or program.discards then return end
  if program.ours then
    entry.verdict = verdict(entry)
  elseif lfs.attributes(case.out, "size") ~= case.size then
    entry.verdict = "CUT SHORT"
  end
  os.remove(case.out)
end

-- One program's round.
local function add_round(entry, round)
  local spent = run(entry, true)
  entry.walls[round], entry.cpus[round] = spent.wall, spent.cpu
  entry.peak = math.max(entry.peak, spent.peak)
  look_again(entry)
end

---@return bench.Entry
local function enter(program, cases, long, rounds)
  local slow = long and program.slow or false
  return { program = program, case = slow and cases.small or cases.usual, slow = slow,
    rounds = slow and math.min(SLOW_ROUNDS, rounds) or rounds, walls = {}, cpus = {}, peak = 0 }
end

-- The median, over the rounds that both had, of one's spending per byte to another's.
local function ratio(entry, other, what)
  local ratios = {}
  for round = 1, math.min(#entry[what], #other[what]) do
    ratios[round] = entry[what][round] / entry.case.size
      / (other[what][round] / other.case.size)
  end
  return running.median(ratios)
end

-- The other program that takes the least time, round by round, beside the first, ours; nil where
-- that failed.
local function best_of(entries)
  local best, least = nil, math.huge
  for n = 2, entries[1].failed and 0 or #entries do
    local entry = entries[n]
    if not (entry.failed or entry.program.ours or entry.slow) then
      local wall = ratio(entry, entries[1], "walls")
      if wall < least then best, least = entry, wall end
    end
  end
  return best
end

-- Prints one line.
local function print_line(put, entry, best)
  local title = entry.program.title
  if entry.failed then return put(title, "", "", "", "", "", "", "", " " .. entry.verdict) end
  local wall = running.median { table.unpack(entry.walls) }
  local note = entry.slow
    and ("; %.0f MB, %d runs"):format(entry.case.size / 1e6, entry.rounds) or ""
  put(title, tables.number(3, wall), tables.number(3, math.min(table.unpack(entry.walls))),
    tables.number(1, entry.case.size / wall / 1e6),
    best and tables.number(2, ratio(entry, best, "walls")) or "",
    tables.number(2, running.median { table.unpack(entry.cpus) }),
    best and tables.number(2, ratio(entry, best, "cpus")) or "",
    tables.number(1, entry.peak), " " .. entry.verdict .. note)
  if entry.program.ours and entry.peak > MOST_MEMORY then
    judging.complain("%s: %.1f MiB, more than %d", title, entry.peak, MOST_MEMORY)
  end
end

-- Prints how one entry compares with another, if both came through.
local function compare(entry, other)
  if not entry or not other or entry.failed or other.failed then return end
  print(("%s to %s: time %.2f, CPU %.2f"):format(entry.program.title, other.program.title,
    ratio(entry, other, "walls"), ratio(entry, other, "cpus")))
end

-- The first entry whose program has a mark.
local function marked(entries, mark)
  for _, entry in ipairs(entries) do if entry.program[mark] then return entry end end
end

---Runs the programs in turn and prints their table.
---@param title string
---@param programs bench.SftpProgram[]
---@param cases { usual: bench.SftpCase, small: bench.SftpCase }
---@param long boolean whether the link has a length, over which slow ones are spared
---@param rounds integer
return function(title, programs, cases, long, rounds)
  local entries = {}
  for n, program in ipairs(programs) do
    entries[n] = enter(program, cases, long, rounds)
    attempt(entries[n], try)
  end
  for round = 1, rounds do
    for _, entry in ipairs(entries) do
      if not entry.failed and round <= entry.rounds then attempt(entry, add_round, round) end
    end
  end
  local best = best_of(entries)
  local put = tables.start(("%s, %.0f MB; medians of %d runs in turn; \"to best\" and \"CPU to\": "
    .. "per byte, to the fastest of the others"):format(title, cases.usual.size / 1e6, rounds),
    COLUMNS)
  for _, entry in ipairs(entries) do print_line(put, entry, best) end
  print()
  local rclone = marked(entries, "tuned_rclone")
  compare(entries[1], best)
  if rclone ~= best then compare(entries[1], rclone) end
  compare(entries[1], marked(entries, "alone"))
end
