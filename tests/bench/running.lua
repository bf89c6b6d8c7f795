-- Where things are, and how programs are run and measured.
local lfs = require "lfs"
local stdlib = require "posix.stdlib"
local unistd = require "posix.unistd"

local running = {}

running.HOST = unistd.readlink "/proc/self/exe"
running.HERE = stdlib.realpath(arg[0]:match "^(.*)/" or ".")
running.ROOT = stdlib.realpath(running.HERE .. "/../..")
running.FOLDER = running.ROOT .. "/build/bench"

local LOG = running.FOLDER .. "/log"
local TIMED = running.FOLDER .. "/timed"
local OWN_PROGRAMS = { "timed", "floor", "zlib_floor" }

-- What every program runs with: the fastest locale that grep knows, and a zone for our own log.
local ENVIRONMENT = {
  LC_ALL = "C",
  TALLYMAN_TIMEZONE = "UTC",
  NODE_PATH = running.FOLDER .. "/npm/node_modules",
}

---What is filtered, by which keys, to where.
---@class bench.Case
---@field input string path
---@field list string path of the keys, one a line
---@field out string path, which doesn't exist before a run
---@field size integer bytes of the input, inflated
---@field keys integer
---@field expected? string SHA-256 of the right output

---A program, or a pipeline of them.
---@class bench.Program
---@field title string
---@field pipeline fun(case: bench.Case): string[][] commands
---@field environment? table<string, string>
---@field output "file"|"stdout"|"none" whether it makes OUT itself, and what it writes else

---What one run took, or the medians of several.
---@class bench.Spending
---@field wall number seconds
---@field cpu number user + system seconds
---@field peak number MiB, of the last command of a pipeline
---@field floor? number wall seconds of the floor's runs in between

---A file's content; nothing where there is no file.
function running.read(path)
  local handle <close> = io.open(path, "rb")
  return handle and handle:read "a" or ""
end

---A text as one word of the shell.
function running.word(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

---A command as a line of the shell.
function running.words(command)
  local words = {}
  for n, argument in ipairs(command) do words[n] = running.word(argument) end
  return table.concat(words, " ")
end

---Runs a shell's command line that must succeed.
function running.shell(line)
  local done, how, code = os.execute(line)
  if not done then error(("%s: %s %s"):format(line, how, code), 0) end
end

---The first line that a shell's command line prints, if it succeeds.
function running.ask(line)
  local pipe = assert(io.popen(line .. " 2>/dev/null"))
  local answer = pipe:read "a" -- all of it: a closed pipe would end the program
  return pipe:close() and answer:match "^[^\n]*" or nil
end

-- Appends NAME='VALUE' for each variable, so that later ones win.
local function add_variables(words, variables)
  for name, value in pairs(variables or {}) do
    words[#words + 1] = name .. "=" .. running.word(value)
  end
end

-- The command line that runs a pipeline under the stop watch.
local function timed_line(program, case)
  local words = { "env" }
  add_variables(words, ENVIRONMENT)
  add_variables(words, program.environment)
  local stdout = program.output == "stdout" and case.out or "/dev/null"
  words[#words + 1] = running.words { TIMED, stdout, LOG }
  for n, command in ipairs(program.pipeline(case)) do
    if n > 1 then words[#words + 1] = running.word "|" end
    words[#words + 1] = running.words(command)
  end
  return table.concat(words, " ")
end

---Runs a program to its end. Its failure is an error that tells what it said first.
---@return bench.Spending
function running.run(program, case)
  if program.output ~= "none" then os.remove(case.out) end
  local wall, cpu, peak = (running.ask(timed_line(program, case)) or ""):match "(%d+) (%d+) (%d+)"
  if not wall then
    error(running.read(LOG):match "[^\n]+" or program.title .. ": failed silently", 0)
  end
  return { wall = wall / 1e9, cpu = cpu / 1e9, peak = peak / 1024 }
end

---The middle value.
function running.median(values)
  table.sort(values)
  local middle = #values // 2
  return #values % 2 == 1 and values[middle + 1] or (values[middle] + values[middle + 1]) / 2
end

local read_afresh = {}

-- Brings an input into memory by reading it, once: pages that came there piece by piece, as some
-- program wrote them, take twice as long to read as those that the kernel read ahead.
local function warm(floor, case)
  if not read_afresh[case.input] then
    local path = running.word(case.input)
    running.shell(("sync %s && dd if=%s iflag=nocache count=0 status=none"):format(path, path))
    read_afresh[case.input] = true
  end
  running.run(floor, case)
end

---Runs the floor and the program in turn; medians. The last run's output is left for the judge.
---@return bench.Spending
function running.measure(floor, program, case, rounds)
  local floors, walls, cpus, peak = {}, {}, {}, 0
  warm(floor, case)
  for round = 1, rounds do
    floors[round] = running.run(floor, case).wall
    local spent = running.run(program, case)
    walls[round], cpus[round], peak = spent.wall, spent.cpu, math.max(peak, spent.peak)
  end
  return { wall = running.median(walls), floor = running.median(floors),
    cpu = running.median(cpus), peak = peak }
end

---Runs a floor alone; medians.
---@return bench.Spending
function running.measure_floor(floor, case, rounds)
  local walls, cpus, peak = {}, {}, 0
  warm(floor, case)
  for round = 1, rounds do
    local spent = running.run(floor, case)
    walls[round], cpus[round], peak = spent.wall, spent.cpu, math.max(peak, spent.peak)
  end
  return { wall = running.median(walls), cpu = running.median(cpus), peak = peak }
end

---Makes the folder, and the stop watch and the floors from their sources.
function running.prepare()
  lfs.mkdir(running.ROOT .. "/build")
  lfs.mkdir(running.FOLDER)
  for _, name in ipairs(OWN_PROGRAMS) do
    running.shell(("gcc -O2 -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -o %s %s -lz"):format(
      running.word(running.FOLDER .. "/" .. name),
      running.word(("%s/%s.c"):format(running.HERE, name))))
  end
end

return running
