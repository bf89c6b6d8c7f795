-- What the doctor asks a store that hosts share. It only looks: nothing is written.
local db = require "tallyman.db"
local failure = require "tallyman.failure"
local store_tables = require "tallyman.store_tables"

local TABLES = { "run", "occurrence", "event", "tallyman_lease" }

--- The tables on which this user lacks a right.
local function lacking(database)
  local found = {}
  for _, name in ipairs(TABLES) do
    for _, right in ipairs { "SELECT", "INSERT", "UPDATE", "DELETE" } do
      if not database:value("SELECT has_table_privilege('tallyman.' || :name, :right)",
        { name = name, right = right }) then
        found[#found + 1] = right .. " on tallyman." .. name
      end
    end
  end
  return found
end

return function(url)
  local database <close> = db.open(url, { readonly = true })
  if store_tables.current(database, "it") then
    local rights = lacking(database)
    if #rights == 0 then return "its tables are there" end
    failure.raise(failure.not_permitted, "this user lacks %s", table.concat(rights, ", "))
  end
  if database:value "SELECT has_database_privilege(current_database(), 'CREATE')" == true then
    return "its tables are made, or brought up to date, by the first flow or job"
  end
  failure.raise(failure.not_permitted, "there are no tables, or older ones, and this user may not "
    .. "make them: run what 'scripts/tables.lua store USER' prints")
end
