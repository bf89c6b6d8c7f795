-- Keep the rows of a CSV file whose key stands in a list, byte for byte.
--   tallyman examples/filter.lua [--column NAME] --keep LIST IN OUT
-- LIST has one key a line. IN and OUT may be - for standard input and output. OUT must not exist;
-- it appears whole or not at all. Records broken by themselves are told on standard error, as CSV.
local csv = require "native.csv"
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

local function check_local(path)
  if path:match "^%a+://" then
    failure.raise(failure.configuration, "%s: this version reads and writes local files only",
      (path:gsub("//[^@/]*@", "//")))
  end
  return path
end

--- A file in the making beside the final one: closing it without publish leaves no trace.
local function part_of(path)
  return setmetatable({ path = ("%s.%d.part"):format(path, unistd.getpid()) },
    { __close = function(self) unistd.unlink(self.path) end })
end

local options, from, to = read_arguments()
local list <close> = failure.check(file.source(options["--keep"]))
local keys <close> = failure.check(csv.list(list))
local source <close> = failure.check(file.source(check_local(from)))
local part <close> = check_local(to) ~= "-" and part_of(to) or nil
local sink <close> = failure.check(file.sink(part and part.path or "-"))
local rejects <close> = failure.check(file.sink "/dev/stderr")
local counts = failure.check(csv.filter(source, sink,
  { key = { options["--column"] }, keep = keys, rejects = rejects,
    progress = to ~= "-" and log.progress(from) or nil }))
failure.check(sink:finish())
if part then failure.check(file.publish(part.path, to)) end
failure.check(rejects:finish())
log.info("filter", ("%s: read %d, kept %d, left out %d, rejected %d"):format(from, counts.read,
  counts.kept, counts.left_out, counts.rejected))
