--- Databases for scripts that don't care which one it is: SQLite and PostgreSQL. Parameters are
--- named (:name) and always bound; a list as a parameter becomes as many. In SQL text, {units X}
--- and its like stand for what differs between databases:
---   {units X}   a quantity as an integer number of millionths, NULL being 0
---   {sum X}     the sum of quantities, likewise; 0 where there is none
---   {stamp X}   a time in a form that compares rightly: text with milliseconds
---   {amount X}  millionths back into a quantity
---   {seq X}     a number as a sequence id of five digits
---   {decimal X} millionths as text without superfluous zeros
---   {bytes X}   a text that is compared and sorted as bytes, whatever the database's locale
---   {sqlite X}  X in SQLite, nothing elsewhere
---   {number X}  the number that an id consists of; of no use where it is none
--- Values: whole numbers are integers, those of a numeric column, too, if they fit 64 bits; else a
--- numeric is text, so that no double stands in for a decimal. Floating-point numbers are numbers,
--- times are text, bytes strings, booleans booleans (but a comparison gives 0 or 1 in SQLite). NULL
--- is absent.
local db_sql = require "tallyman.db_sql"
local failure = require "tallyman.failure"
local sqlite = require "native.sqlite"
local statements = require "tallyman.db_statements"
local transaction = require "tallyman.db_transaction"

local check = statements.check

---@class tallyman.Driver what differs between databases
---@field dialect "sqlite"|"postgresql"
---@field macros table<string, string> formats for {units X} and its like
---@field open fun(url: string, options: table): any
---@field prepare fun(handle: any, text: string): any
---@field begin fun(isolation?: string): string
---@field commit fun(handle: any): true?, string?, integer?, string?
---@field outcome_unknown fun(handle: any): boolean
---@field copy_in function
---@field copy_out function
---@field notices fun(handle: any): string[]

---@class tallyman.Database
---@field handle any native.Database or native.PgConnection
---@field driver tallyman.Driver
---@field dialect "sqlite"|"postgresql" for the few places where SQL must differ
---@field idle table<string, any> prepared statements not in use, by SQL text
---@field idle_count integer
---@field working boolean whether transaction() runs
---@field closed boolean
local Database = {}
Database.__index = Database

--- What a loop over rows closes.
local Cursor = {}
Cursor.__index = Cursor

function Cursor:__close()
  if self.db.closed then return self.statement:close() end
  statements.finish(self.db, self.text, self.statement, self.statement:leave())
end

-- ---- what scripts call ----

--- Runs several statements without parameters. Outside a transaction, SQLite keeps what succeeded
--- before one that fails.
---@param sql string
function Database:script(sql)
  statements.forget(self) -- it may change the tables that they are about
  check(self.handle:script(statements.translate(self, sql)))
end

--- Runs a statement; gives the number of rows changed.
---@param sql string
---@param params? table<string, any>
---@return integer
function Database:run(sql, params)
  local text, flat = db_sql.spread(sql, params)
  local statement = statements.take(self, text)
  return statements.finish(self, text, statement, statement:run(flat))
end

--- The first column of the first row; nil when NULL or no row.
---@param sql string
---@param params? table<string, any>
---@return any
function Database:value(sql, params)
  local text, flat = db_sql.spread(sql, params)
  local statement = statements.take(self, text)
  statements.start(self, text, statement, flat)
  return statements.finish(self, text, statement, statement:value())
end

--- Iterates over rows: tables by column name, in which NULL is absent; and the columns' names. They
--- come one at a time; when other SQL is run meanwhile, PostgreSQL's are fetched into memory.
---@param sql string
---@param params? table<string, any>
---@return fun(): table?, string[]?
function Database:rows(sql, params)
  local text, flat = db_sql.spread(sql, params)
  local statement = statements.take(self, text)
  local cursor = setmetatable({ db = self, text = text, statement = statement }, Cursor)
  statements.start(self, text, statement, flat)
  local columns
  local function next_row()
    local row = check(statement:next())
    if row == nil then return nil end
    columns = columns or statement:columns()
    return row, columns
  end
  return next_row, nil, nil, cursor
end

--- All rows in a list.
---@param sql string
---@param params? table<string, any>
---@return table[]
function Database:all(sql, params)
  local list = {}
  for row in self:rows(sql, params) do list[#list + 1] = row end
  return list
end

--- The first row, and the names of its columns; nil when there is none.
---@param sql string
---@param params? table<string, any>
---@return table?, string[]?
function Database:one(sql, params)
  local next_row, _, _, _ <close> = self:rows(sql, params)
  return next_row()
end

--- Runs `work` in one transaction, in SQLite one that has the write lock from its beginning; an
--- error rolls it back and goes on. Where the answer to COMMIT is lost, the failure says that the
--- outcome is unknown (`outcome_unknown` is true in it), and nothing is tried again.
---@generic T
---@param work fun(db: tallyman.Database): T
---@param options? tallyman.TransactionOptions
---@return T
function Database:transaction(work, options) return transaction(self, work, options) end

-- ---- files ----

--- A name, of a table perhaps with its schema, in quotes.
local function quoted(name)
  return '"' .. name:gsub('"', '""'):gsub("%.", '"."') .. '"'
end

--- Loads columns of a CSV file into a table, all rows or none; Lua sees no row. An empty field
--- without quotes is NULL. A broken record fails, with its line.
---@param name string of the table
---@param columns table names that both have, or the file's by the table's
---@param source native.Source
---@param options? native.ScanOptions
---@return integer rows
function Database:copy_in(name, columns, source, options)
  local ours, theirs = {}, {}
  for key, header in pairs(columns) do
    ours[#ours + 1] = type(key) == "string" and key or header
  end
  table.sort(ours)
  for i, column in ipairs(ours) do
    theirs[i] = columns[column] or column
    ours[i] = quoted(column)
  end
  return check(self.driver.copy_in(self.handle, quoted(name), ours, theirs, source, options))
end

--- Writes the rows of a query, which takes no parameters, into a sink as CSV with a header; Lua
--- sees no row. NULL is an empty field, an empty text is "".
---@param sql string
---@param sink native.Sink
---@return integer rows
function Database:copy_out(sql, sink)
  local text = statements.translate(self, sql):gsub("[%s;]+$", "")
  if #db_sql.parse(text).names > 0 then error("copy_out takes no parameters", 2) end
  return check(self.driver.copy_out(self.handle, text, sink))
end

--- What the server remarked since the last call: NOTICE, WARNING.
---@return string[]
function Database:notices() return self.driver.notices(self.handle) end

--- Closes the database; open statements with it.
function Database:close()
  if not self.closed then statements.forget(self) end
  self.closed = true
  self.handle:close()
end
Database.__close = Database.close
Database.null = sqlite.null

local db = { null = sqlite.null }

---@class tallyman.DatabaseOptions
---@field create? boolean make SQLite's file where there is none
---@field readonly? boolean
---@field connect_timeout? number seconds; PostgreSQL: the URL's, or 20
---@field lock_timeout? number seconds to wait for a lock; 10 by default
---@field statement_timeout? number seconds that a statement may take in PostgreSQL; none by default

local OPTIONS = { create = true, readonly = true, connect_timeout = true, lock_timeout = true,
  statement_timeout = true }

--- The options as the natives have them.
local function native_options(options)
  for name in pairs(options) do
    if not OPTIONS[name] then
      error(("unknown option '%s'"):format(name), 3)
    end
  end
  local function whole(value, factor) return value and math.ceil(value * factor) end
  return { create = options.create, readonly = options.readonly,
    connect_seconds = whole(options.connect_timeout, 1),
    lock_ms = whole(options.lock_timeout, 1000),
    statement_ms = whole(options.statement_timeout, 1000) }
end

--- The driver for a URL. PostgreSQL's is loaded when it is first asked for.
local function driver_of(url)
  if url:find "^sqlite:." then return require "tallyman.db_sqlite" end
  if url:find "^postgres://" or url:find "^postgresql://" or url:find "^service=" then
    return require "tallyman.db_postgres"
  end
  failure.raise(failure.configuration, "database '%s...' is neither sqlite:PATH nor "
    .. "postgresql://... nor service=NAME", url:match "^[^:/=]*")
end

--- Opens the database that a URL names.
---@param url string sqlite:PATH, postgresql://..., service=NAME
---@param options? tallyman.DatabaseOptions
---@return tallyman.Database
function db.open(url, options)
  local driver, wanted = driver_of(url), native_options(options or {})
  return setmetatable({ handle = check(driver.open(url, wanted)), driver = driver,
    dialect = driver.dialect, idle = {}, idle_count = 0, working = false, closed = false },
    Database)
end

return db
