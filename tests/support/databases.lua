--- Both databases, for specs that are to hold on either.
local db = require "tallyman.db"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local tables = require "tallyman.tables"

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

-- ---- OMS databases ----

--- Makes databases with the OMS's and tallyman's tables on a private PostgreSQL, each a copy of
--- one that is made once. Texts sort there as people expect, not as bytes.
---@param server test.Postgres
---@return table databases see night.use; and `connect`, the superuser's connection
function databases.of_oms(server)
  local count, made, old = 0, {}, {}
  local function address(name, user)
    return ("postgresql:///%s?host=%s&port=%d&user=%s"):format(name, server.folder, server.port,
      user or postgres.USER)
  end
  local connect = db.open(address("postgres", postgres.SUPERUSER))
  connect:script(([[CREATE DATABASE shop OWNER %s TEMPLATE template0 ENCODING 'UTF8'
    LOCALE_PROVIDER icu ICU_LOCALE 'en-US']]):format(postgres.USER))
  do
    local shop <close> = db.open(address "shop")
    shop:script(process.read(process.root .. "/examples/oms/schema.sql"))
    tables.ensure(shop)
  end
  --- Takes away what nobody uses any more: later, since a backend needs a moment to end.
  local function drop_old()
    for i = #old, 1, -1 do
      connect:script(("DROP DATABASE %s WITH (FORCE)"):format(table.remove(old, i)))
    end
  end
  function made.fresh()
    drop_old()
    count = count + 1
    connect:script(("CREATE DATABASE shop%d OWNER %s TEMPLATE shop STRATEGY file_copy")
      :format(count, postgres.USER))
    return address("shop" .. count)
  end
  function made.drop(url) old[#old + 1] = url:match "/(shop%d+)%?" end
  made.connect, made.address = connect, address
  return made
end

return databases
