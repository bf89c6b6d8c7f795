-- How fast the filter is: against a floor, against what else one would take, and on other inputs.
--   tallyman tests/bench/filter.lua [ROUNDS] [SECTION...]
-- The floor is a program that reads the file and does nothing else. Each program runs in turn with
-- it, ROUNDS times (15; slow ones and the filter's own tables fewer), page cache warm, whole
-- processes; the medians' ratio says more than seconds of a machine that others use.
-- Sections: peers variants scaling shapes keys survivors micro; all, unless some are named. The
-- files are made once, below build/bench, and take 6 GB; removing that folder is safe.
-- TALLYMAN_SCAN and TALLYMAN_THREADS reach the filter wherever a section doesn't set them.
-- Ends with 1 when a program that claims right bytes gives others, the filter takes more memory
-- than it may, or its memory grows with the file.
local judging = require "judging"
local own = require "own"
local running = require "running"

local SECTIONS = {
  { "peers", require "peers" },
  { "variants", own.variants },
  { "scaling", own.scaling },
  { "shapes", own.shapes },
  { "keys", own.keys },
  { "survivors", own.survivors },
  { "micro", require "micro" },
}
local USAGE = "usage: tallyman tests/bench/filter.lua [ROUNDS] [SECTION...]"

-- Says that the command line is wrong, and leaves.
local function usage(problem)
  io.stderr:write(USAGE, "\n", problem, "\n")
  os.exit(64, true)
end

-- What the command line asks for: rounds, and a set of sections.
local function read_arguments()
  local first = arg[1] and arg[1]:match "^%d+$" and 2 or 1
  local rounds = first == 2 and math.tointeger(arg[1]) or 15
  if rounds < 1 then usage "at least one round" end
  local known, wanted = {}, {}
  for _, section in ipairs(SECTIONS) do known[section[1]] = true end
  for n = first, #arg do
    if not known[arg[n]] then usage(("no section is called '%s'"):format(arg[n])) end
    wanted[arg[n]] = true
  end
  return rounds, next(wanted) and wanted or known
end

-- One line on the machine, and on what changes the numbers.
local function describe_machine()
  print(("%s, %s processors"):format(
    running.read "/proc/cpuinfo":match "model name%s*:%s*([^\n]+)" or "unknown processor",
    running.ask "nproc" or "?"))
  for _, name in ipairs { "TALLYMAN_SCAN", "TALLYMAN_THREADS" } do
    if os.getenv(name) then print(("%s=%s"):format(name, os.getenv(name))) end
  end
end

io.stdout:setvbuf "line" -- the numbers come slowly
local rounds, wanted = read_arguments()
running.prepare()
describe_machine()
for _, section in ipairs(SECTIONS) do
  if wanted[section[1]] then section[2](rounds) end
end
print()
for _, problem in ipairs(judging.problems) do print("WRONG: " .. problem) end
if #judging.problems == 0 then print "nothing wrong" end
os.exit(#judging.problems == 0 and 0 or 1, true)
