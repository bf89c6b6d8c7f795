-- How fast files go by SFTP: ours beside what else one would take, from and to a private sshd.
--   tallyman tests/bench/sftp.lua [ROUNDS] [SECTION...]
-- Sections: download upload, and loopback 20ms 80ms, which are round trips; all, unless some are
-- named. Naming none of the first or none of the second means all of these. The programs run in
-- turn, ROUNDS times (5), as whole processes: start and login are in every number. Ratios are
-- taken in each round, and their medians printed. Processor time is the client's alone, its ssh
-- included; peak memory is that of its largest process.
-- The links of some length are tun devices between network namespaces (tests/servers/tunlink.c):
-- they need root and /dev/net/tun, and are left out elsewhere. Files are in memory, 1 GB of it.
-- Ends with 1 when ours gives wrong bytes or takes more memory than it may.
package.path = arg[0]:match "^(.*/)" .. "../../?.lua;" .. package.path -- for tests.support

local judging = require "judging"
local place = require "sftp_place"
local programs = require "sftp_programs"
local race = require "sftp_race"
local running = require "running"

local USAGE = "usage: tallyman tests/bench/sftp.lua [ROUNDS] [SECTION...]"
local ROUNDS = 5
local WAYS = { "download", "upload" }
local CIPHERS = { "aes128-gcm@openssh.com", "aes256-gcm@openssh.com",
  "chacha20-poly1305@openssh.com", "aes128-ctr" }
local PROBES = 4
local CLEARLY = 0.95 -- of the time of one before it in the list is clearly less
local STREAMS_OVER_LINKS, STREAMS_ON_LOOPBACK = 4, 2

-- Says that the command line is wrong, and leaves.
local function usage(problem)
  io.stderr:write(USAGE, "\n", problem, "\n")
  os.exit(64, true)
end

-- Those of a list that the set has; all, if it has none.
local function chosen(list, set)
  local found = {}
  for _, name in ipairs(list) do
    if set[name] then found[#found + 1] = name end
  end
  return #found > 0 and found or list
end

-- What the command line asks for: rounds, ways, links.
local function read_arguments()
  local first = arg[1] and arg[1]:match "^%d+$" and 2 or 1
  local rounds = first == 2 and math.tointeger(arg[1]) or ROUNDS
  if rounds < 1 then usage "at least one round" end
  local known, wanted = {}, {}
  for _, list in ipairs { WAYS, place.links } do
    for _, name in ipairs(list) do known[name] = true end
  end
  for n = first, #arg do
    if not known[arg[n]] then usage(("no section is called '%s'"):format(arg[n])) end
    wanted[arg[n]] = true
  end
  return rounds, chosen(WAYS, wanted), chosen(place.links, wanted)
end

-- A case of a server's.
---@return bench.SftpCase
local function case_at(server, folder, file, more)
  local case = setmetatable({ server = server, folder = folder, out = folder .. "/put/out" },
    { __index = file })
  for name, value in pairs(more) do case[name] = value end
  return case
end

-- The cipher by which OpenSSH's client is fastest here, by its processor time: that tells more than
-- the clock does where others are at work.
local function fastest_cipher(files)
  local server = place.serve("loopback", files.folder)
  local least = {}
  local case = case_at(server, files.folder, files.whole, { target = "/dev/null" })
  local probe = setmetatable({ output = "none" }, { __index = programs.probe })
  for _ = 1, PROBES do
    for _, cipher in ipairs(CIPHERS) do
      case.cipher = cipher
      least[cipher] = math.min(least[cipher] or math.huge, running.run(probe, case).cpu)
    end
  end
  server:stop()
  local best = CIPHERS[1]
  for _, cipher in ipairs(CIPHERS) do
    if least[cipher] < least[best] * CLEARLY then best = cipher end
  end
  return best
end

-- One link's tables.
local function race_over(name, files, cipher, ways, rounds)
  local why_not = place.lacks(name)
  if why_not then return print(("\n%s: left out, %s"):format(name, why_not)) end
  local long = place.is_long(name)
  local server = place.serve(name, files.folder)
  local more = { cipher = cipher, streams = long and STREAMS_OVER_LINKS or STREAMS_ON_LOOPBACK }
  local cases = {
    usual = case_at(server, files.folder, files.whole, more),
    small = case_at(server, files.folder, files.small, more),
  }
  for _, way in ipairs(ways) do
    race(("%s, %s"):format(way, name), programs[way], cases, long, rounds)
  end
  server:stop()
end

-- One line on the machine, one on the programs.
local function describe(cipher)
  print(("%s, %s processors, load %s"):format(
    running.read "/proc/cpuinfo":match "model name%s*:%s*([^\n]+)" or "unknown processor",
    running.ask "nproc" or "?", running.read "/proc/loadavg":match "^[%d.]+ [%d.]+ [%d.]+"))
  local versions = {}
  for _, line in ipairs { "(ssh -V 2>&1)", "lftp --version", "rclone version",
    "curl --version | tr ' ' '\n' | grep -E '^(curl|libcurl|libssh2)/' | xargs" } do
    versions[#versions + 1] = running.ask(line)
  end
  print(table.concat(versions, "; "))
  print("fastest cipher: " .. cipher)
end

io.stdout:setvbuf "line" -- the numbers come slowly
local rounds, ways, links = read_arguments()
running.prepare()
running.shell(("gcc -O2 -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -o %s %s"):format(
  running.word(running.FOLDER .. "/reaper"), running.word(running.HERE .. "/reaper.c")))
local done, problem = xpcall(function()
  local files = place.prepare()
  local cipher = fastest_cipher(files)
  describe(cipher)
  for _, name in ipairs(links) do race_over(name, files, cipher, ways, rounds) end
end, debug.traceback)
place.clear()
if not done then error(problem, 0) end
print()
for _, wrong in ipairs(judging.problems) do print("WRONG: " .. wrong) end
if #judging.problems == 0 then print "nothing wrong" end
os.exit(#judging.problems == 0 and 0 or 1, true)
