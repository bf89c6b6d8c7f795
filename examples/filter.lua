-- Keep the rows of a CSV file whose key stands in a list, byte for byte.
--   tallyman examples/filter.lua [--column NAME] --keep LIST IN OUT
-- LIST has one key a line. IN and OUT may be - for standard input and output, or
-- sftp://USER@HOST[:PORT]/PATH (see TALLYMAN_SSH_KEY and TALLYMAN_KNOWN_HOSTS). OUT must not exist;
-- it appears whole or not at all. Records broken by themselves are told on standard error, as CSV.
local csv = require "native.csv"
local disk_local = require "tallyman.disk_local"
local failure = require "tallyman.failure"
local file = require "native.file"
local log = require "tallyman.log"
local unistd = require "posix.unistd"

local USAGE = "usage: tallyman examples/filter.lua [--column NAME] --keep LIST IN OUT"

local function read_arguments()
  local options, paths, i = { ["--column"] = "idValue" }, {}, 1
  while arg[i] do
    if arg[i] == "--column" or arg[i] == "--keep" then
      options[arg[i]] = arg[i + 1] or failure.raise(failure.usage, USAGE)
      i = i + 1
    elseif arg[i]:match "^%-." then
      failure.raise(failure.usage, USAGE)
    else
      paths[#paths + 1] = arg[i]
    end
    i = i + 1
  end
  if #paths ~= 2 or not options["--keep"] then failure.raise(failure.usage, USAGE) end
  return options, paths[1], paths[2]
end

--- The disk that a path or URL is on, and its path there.
local function locate(path)
  if path:match "^sftp://" then return require "tallyman.disk_sftp".open(path) end
  if path:match "^%a+://" then failure.raise(failure.usage, USAGE) end
  return disk_local, path
end

--- A file in the making beside the final one: closing it without publish leaves no trace.
local function part_of(disk, path)
  return setmetatable({ path = ("%s.%d.part"):format(path, unistd.getpid()) },
    { __close = function(self) if self.path then disk:discard(self.path) end end })
end

local options, from, to = read_arguments()
local list <close> = failure.check(file.source(options["--keep"]))
local keys <close> = failure.check(csv.list(list))
local in_disk <close>, in_path = locate(from)
local source <close> = in_disk:source(in_path)
local out_disk <close>, out_path = locate(to)
local part <close> = to ~= "-" and part_of(out_disk, out_path) or nil
local sink <close> = out_disk:sink(part and part.path or "-")
local rejects <close> = failure.check(file.sink "/dev/stderr")
local counts = failure.check(csv.filter(source, sink,
  { key = { options["--column"] }, keep = keys, rejects = rejects,
    progress = to ~= "-" and log.progress(from) or nil }))
failure.check(sink:finish())
if part then
  failure.check(out_disk:publish(part.path, out_path))
  part.path = nil
end
failure.check(rejects:finish())
log.info("filter", ("%s: read %d, kept %d, left out %d, rejected %d"):format(from, counts.read,
  counts.kept, counts.left_out, counts.rejected))
