-- Puts a file into a folder of an exchange as the jobs do: under another name first, synced and
-- checked, then renamed.
--   tallyman tests/bench/sftp_write.lua FILE sftp://USER@HOST[:PORT]/DIR FOLDER/NAME
local exchange = require "tallyman.exchange"
local failure = require "tallyman.failure"
local file = require "native.file"

local BLOCK = 65536

local source <close> = failure.check(file.source(arg[1]))
local place <close> = exchange.open(arg[2], "bench")
local target <close> = place:write(arg[3])
for bytes in function() return failure.check(source:read(BLOCK)) end do target:write(bytes) end
target:commit()
