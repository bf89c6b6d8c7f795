-- Reads a file by SFTP to its end and nothing else: what the transfer alone costs.
--   tallyman tests/bench/sftp_read.lua sftp://USER@HOST[:PORT]/PATH SIZE
-- Ends with 1 when other than SIZE bytes come.
local disk_sftp = require "tallyman.disk_sftp"
local failure = require "tallyman.failure"

local BLOCK = 65536 -- each larger string has the kernel find new pages, which isn't the transfer's

local disk <close>, path = disk_sftp.open(arg[1])
local source <close> = disk:source(path)
local size = 0
for bytes in function() return failure.check(source:read(BLOCK)) end do size = size + #bytes end
assert(size == tonumber(arg[2]), size .. " bytes came")
