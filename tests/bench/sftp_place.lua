-- Where the SFTP programs meet: files in memory, a private sshd that serves them, and the links of
-- some length to it.
local lfs = require "lfs"

local files = require "files"
local judging = require "judging"
local link = require "tests.support.link"
local process = require "tests.support.process"
local running = require "running"
local sshd = require "tests.support.sshd"

local place = {}

local MEMORY = "/dev/shm"
local DELAYS = { loopback = 0, ["20ms"] = 10, ["80ms"] = 40 } -- milliseconds each way
local SMALL = 10000000 -- bytes, for slow programs over longer links
local MTU = 9000 -- by frames of 1500 the link itself, which needs a processor, would be the bound
local NEAR_THE_END = 100000 -- bytes in which a row of the first facility is sure to begin

---What is moved, from where, to where.
---@class bench.SftpCase: bench.Case
---@field server test.Server
---@field folder string that it serves
---@field input string path of the file that is moved, below that folder
---@field target string path that a program writes to: `out`, or /dev/null
---@field streams integer side by side, for programs that can
---@field cipher string the fastest

---The two files, in memory.
---@class bench.SftpFiles
---@field folder string
---@field whole bench.Case
---@field small bench.Case

-- The file's beginning of about `size` bytes, cut where a row of the first facility begins: its
-- name opens no line of a comment.
local function beginning(path, size)
  local handle <close> = assert(io.open(path, "rb"))
  local bytes = handle:read(size)
  local mark = "\n" .. bytes:match "\n([^,]+,)"
  local cut
  local at = size - NEAR_THE_END
  repeat
    cut = at
    at = bytes:find(mark, at + 1, true)
  until not at
  return bytes:sub(1, cut)
end

---@return bench.Case
local function case(input, list)
  return { input = input, list = list, size = lfs.attributes(input, "size") }
end

-- Puts the files there.
---@return bench.SftpFiles
local function make_files(folder)
  local large = files.large()
  running.shell(running.words { "cp", large.input, folder .. "/whole.csv" })
  process.write(folder .. "/small.csv", beginning(large.input, SMALL))
  lfs.mkdir(folder .. "/put")
  return { folder = folder, whole = case(folder .. "/whole.csv", large.list),
    small = case(folder .. "/small.csv", large.list) }
end

---Makes the files. They go, with all that was started, by place.clear.
---@return bench.SftpFiles
function place.prepare()
  local memory = lfs.attributes(MEMORY, "mode") == "directory" and MEMORY or nil
  return make_files(process.folder(memory))
end

place.clear = process.clean

---Why there can be no link of that name here; nil when there can.
---@return string?
function place.lacks(name)
  return sshd.lacks() or DELAYS[name] > 0 and link.tun_lacks() or nil
end

---Starts a server of the folder at the far end of a link.
---@return test.Server
function place.serve(name, folder)
  local options = { folder = folder, log = "ERROR" }
  if DELAYS[name] > 0 then
    local tun = link.tun { delay = DELAYS[name], mtu = MTU }
    options.host, options.within = tun.host, tun.within
  end
  return sshd.start(options)
end

---Whether a link has any length.
function place.is_long(name) return DELAYS[name] > 0 end

---The names of the links, nearest first.
place.links = { "loopback", "20ms", "80ms" }

---The SHA-256 of a file, asked for once for each case.
function place.sha256(of)
  of.sha256 = of.sha256 or judging.sha256(of.input)
  return of.sha256
end

return place
