--- Both databases, for specs that are to hold on either.
local db = require "tallyman.db"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"

local databases = {}

local TABLE = [[
  DROP TABLE IF EXISTS stock;
  CREATE TABLE stock (
    id integer NOT NULL PRIMARY KEY,
    name varchar(60),
    quantity numeric(18, 6),
    ratio double precision,
    picture %s,
    checked timestamp,
    sold boolean,
    CHECK (quantity >= 0)
  );
]]

--- By name: `lacks` says why there can be none here, `start` gives a function that gives the
--- arguments of db.open. Call postgres.clean in a teardown.
databases.kinds = {
  sqlite = { bytes = "blob", lacks = function() end, start = function()
    local folder = process.folder()
    return function()
      return "sqlite:" .. folder .. "/spec.db", { create = true, lock_timeout = 1 }
    end
  end },
  postgresql = { bytes = "bytea", lacks = postgres.lacks, start = function()
    local server = postgres.start()
    return function() return server.url, { lock_timeout = 1 } end
  end },
}

--- Opens it, with the empty table stock.
---@param name string
---@param address fun(): string, table
---@return tallyman.Database
function databases.open(name, address)
  local opened = db.open(address())
  opened:script(TABLE:format(databases.kinds[name].bytes))
  return opened
end

--- Declares specs once for each kind; for one that can't be had here they are pending. busted gives
--- its words to spec files alone, so they are handed on.
---@param specs fun(name: string, kind: table)
---@param describe function busted's
---@param pending function busted's
function databases.each(specs, describe, pending)
  for name, kind in pairs(databases.kinds) do
    if kind.lacks() then
      pending(name .. " " .. kind.lacks())
    else
      describe(name, function() specs(name, kind) end)
    end
  end
end

return databases
