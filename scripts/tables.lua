-- Prints the SQL of tallyman's own tables in the OMS database and, for PostgreSQL, the rights that
-- the nightly user needs. The jobs make the tables themselves where they may; where they mustn't,
-- somebody who may runs this first:
--
--   tallyman scripts/tables.lua postgresql NIGHTLY_USER | psql -1 -v ON_ERROR_STOP=1 DATABASE
--   tallyman scripts/tables.lua sqlite | sqlite3 oms.db
local failure = require "tallyman.failure"
local tables = require "tallyman.tables"

local dialect, user = arg[1], arg[2]
if not (dialect == "postgresql" and (user or "") ~= "" and #arg == 2
  or dialect == "sqlite" and #arg == 1) then
  failure.raise(failure.usage, "usage: tables.lua postgresql NIGHTLY_USER | tables.lua sqlite")
end

print("-- Made ahead of the jobs; what exists already is left as it is.\n" .. tables.script())
if user then
  print("-- What the nightly user does, and no more.\n" .. tables.grants(user))
end
