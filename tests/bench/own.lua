-- The filter alone, on files and lists of other sizes and kinds: tables of a line for each case.
local files = require "files"
local judging = require "judging"
local programs = require "programs"
local running = require "running"
local tables = require "tables"

local own = {}

local MOST_ROUNDS = 5
local MOST_MEMORY = 16 -- MiB
local KEYS_FOR_THAT = 10000 -- and fewer; more keys may take more
local SAME_MEMORY = 1 -- MiB that a larger file may take more than a smaller one
local KEY_COUNTS = { 1000, 10000, 100000, 1000000, 10000000 }
local SURVIVORS = { 0, 1, 10, 50, 100 } -- per cent

local COLUMNS = {
  { "", -34 }, { "wall s", 8 }, { "GB/s", 6 }, { "per byte", 9 }, { "to floor", 9 },
  { "user+sys", 9 }, { "peak MiB", 9 }, { " output", -1 },
}

---Remembers it as a problem when the filter took more memory than it may.
function own.check_memory(program, case, spent)
  if case.keys <= KEYS_FOR_THAT and spent.peak > MOST_MEMORY then
    judging.complain("%s on %s: %.1f MiB, more than %d", program.title, case.input, spent.peak,
      MOST_MEMORY)
  end
end

-- Measures one case and prints its line. `base` is what the time per byte is set against: what an
-- earlier call returned, or nothing for the first. A failure is a line, too, and a problem.
---@return bench.Spending?
local function add(put, label, program, case, rounds, base)
  local done, spent = pcall(running.measure, programs.floor, program, case,
    math.min(rounds, MOST_ROUNDS))
  if not done then
    put(label, "", "", "", "", "", "", " failed: " .. tostring(spent))
    judging.complain("%s on %s: %s", program.title, case.input, spent)
    return
  end
  spent.per_byte = spent.wall / case.size
  put(label, tables.number(3, spent.wall), tables.number(2, 1e-9 / spent.per_byte),
    tables.number(2, spent.per_byte / (base or spent).per_byte),
    tables.number(1, spent.wall / spent.floor), tables.number(2, spent.cpu),
    tables.number(1, spent.peak), " " .. judging.verdict_on_ours(program, case))
  own.check_memory(program, case, spent)
  os.remove(case.out)
  return spent
end

-- Starts a table whose times per byte are relative to its line called `base`.
local function start(title, rounds, base)
  return tables.start(("%s; medians of %d runs; time per byte relative to %s"):format(title,
    math.min(rounds, MOST_ROUNDS), base), COLUMNS)
end

-- Prints a table of a line for each case, given as pairs of label and case; the first is the base.
-- Returns the peaks.
local function tabulate(title, rounds, list, program)
  local put, base, peaks = start(title, rounds, list[1][1]), nil, {}
  for _, entry in ipairs(list) do
    local spent = add(put, entry[1], program or programs.ours(), entry[2], rounds, base)
    base, peaks[#peaks + 1] = base or spent, spent and spent.peak
  end
  return peaks
end

-- Whether the processor has an instruction set, by the kernel's word.
local function processor_has(flag)
  return running.read "/proc/cpuinfo":find("[ \t]" .. flag .. "%f[%s]") ~= nil
end

---The ways to scan a block, and the default.
function own.variants(rounds)
  local case = files.large()
  local put = start("ways to scan, one thread", rounds, "the default")
  local base = add(put, "default", programs.ours(nil, { TALLYMAN_THREADS = "1" }), case, rounds)
  for _, scan in ipairs { "avx2", "sse2", "portable" } do
    if scan == "portable" or processor_has(scan) then
      local environment = { TALLYMAN_THREADS = "1", TALLYMAN_SCAN = scan }
      add(put, scan, programs.ours(scan, environment), case, rounds, base)
    else
      put(scan, "", "", "", "", "", "", " this processor hasn't it")
    end
  end
end

-- What is right for ten times the rows, from what is right for them once.
local function expected_tenfold(case)
  local right = running.read(judging.judge(case))
  local header, rows = right:match "^([^\n]*\n)(.*)$"
  return judging.sha256_of_text(header .. rows:rep(10))
end

-- The files of all sizes, with their names; the standard file comes first as the others' base.
local function sizes()
  local large = files.large()
  local list = { { "300 MB", large }, { "30 MB", files.small() } }
  local tenfold, why_not = files.tenfold(large)
  if tenfold then
    tenfold.expected = expected_tenfold(large)
    list[#list + 1] = { "3 GB", tenfold }
  else
    print("3 GB: left out, " .. why_not)
  end
  return list
end

-- Remembers it as a problem when the memory grew with the file.
local function check_growth(program, peaks)
  local least, most = math.huge, 0
  for _, peak in ipairs(peaks) do least, most = math.min(least, peak), math.max(most, peak) end
  if most - least > SAME_MEMORY then
    judging.complain("%s: from %.1f to %.1f MiB; the memory grows with the file", program.title,
      least, most)
  end
end

---Larger and smaller files, by one thread and by two.
function own.scaling(rounds)
  local list = sizes()
  for _, threads in ipairs { "1", "2" } do
    local suffix = "TALLYMAN_THREADS=" .. threads
    local program = programs.ours(suffix, { TALLYMAN_THREADS = threads })
    check_growth(program, tabulate("size of the file, " .. suffix, rounds, list, program))
  end
end

---Other shapes of the same rows, and of others.
function own.shapes(rounds)
  local large = files.large()
  tabulate("shape of the file", rounds, {
    { "standard", large },
    { "every field quoted", files.shape(large, "all_quoted") },
    { "every field quoted, CRLF", files.shape(large, "all_quoted_crlf") },
    { "200 columns", files.made_up_shape(large, "columns_200") },
    { "8 columns of 1 byte", files.made_up_shape(large, "bytes_1") },
    { "an inch mark in every comment", files.shape(large, "inch_marks") },
  })
end

---Shorter and longer lists of keys.
function own.keys(rounds)
  local large, list = files.large(), {}
  for n, count in ipairs(KEY_COUNTS) do
    local case = files.with_keys(large, count)
    -- Keys that no row bears change nothing.
    if count >= large.keys then case.expected = judging.expected(large) end
    list[n] = { tostring(count), case }
  end
  tabulate("number of keys", rounds, list)
end

---Fewer and more rows that survive.
function own.survivors(rounds)
  local large, list = files.large(), {}
  for n, share in ipairs(SURVIVORS) do
    list[n] = { share .. " %", files.with_survivors(large, share) }
  end
  local where = list[1][2].out:match "^(.*)/"
  tabulate("share of the rows that survive, 1000 keys, written to " .. where, rounds, list)
end

return own
