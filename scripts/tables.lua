-- Prints the SQL of tallyman's own tables in the OMS database or in a store that hosts share and,
-- for PostgreSQL, the rights that the nightly user needs. The jobs make the tables themselves where
-- they may; where they mustn't, somebody who may runs this first:
--
--   tallyman scripts/tables.lua postgresql NIGHTLY_USER | psql -1 -v ON_ERROR_STOP=1 DATABASE
--   tallyman scripts/tables.lua sqlite | sqlite3 oms.db
--   tallyman scripts/tables.lua store NIGHTLY_USER | psql -1 -v ON_ERROR_STOP=1 DATABASE
local failure = require "tallyman.failure"
local store_tables = require "tallyman.store_tables"
local tables = require "tallyman.tables"

local kind, user = arg[1], arg[2]
local named = (user or "") ~= "" and #arg == 2
if not (named and (kind == "postgresql" or kind == "store") or kind == "sqlite" and #arg == 1) then
  failure.raise(failure.usage, "usage: tables.lua postgresql NIGHTLY_USER | tables.lua sqlite | "
    .. "tables.lua store NIGHTLY_USER")
end

if kind == "store" then
  print("-- Made ahead of the first flow.\n" .. store_tables.script "postgresql")
else
  print("-- Made ahead of the jobs; what exists already is left as it is.\n" .. tables.script())
end
if user then
  print("-- What the nightly user does, and no more.\n"
    .. (kind == "store" and store_tables or tables).grants(user))
end
