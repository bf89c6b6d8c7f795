--- Databases for scripts that don't care which one it is. Parameters are named (:name) and always
--- bound; a list as a parameter becomes as many. In SQL text, {units X}, {stamp X} and {amount X}
--- stand for what differs between databases:
---   {units X}   a quantity as an integer number of millionths, NULL being 0
---   {stamp X}   a time in a form that compares rightly
---   {amount X}  millionths back into a quantity
---   {seq X}     a number as a sequence id of five digits
---   {decimal X} millionths as text without superfluous zeros
local failure = require "tallyman.failure"
local sqlite = require "native.sqlite"

---@class tallyman.Database
---@field handle native.Database
---@field statements table<string, native.Statement> prepared, by SQL text
local Database = {}
Database.__index = Database

local SQLITE = {
  units = "CAST(ROUND(COALESCE(%s, 0) * 1000000) AS INTEGER)",
  stamp = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', %s)",
  amount = "((%s) / 1000000.0)",
  decimal = "rtrim(rtrim(printf('%%.6f', (%s) / 1000000.0), '0'), '.')",
  seq = "printf('%%05d', %s)",
}

--- Replaces {units X} and its like, from the inside out.
local function translate(sql, dialect)
  local count
  repeat
    sql, count = sql:gsub("{(%l+) ([^{}]*)}", function(name, expression)
      return (dialect[name]:format(expression))
    end)
  until count == 0
  return sql
end

--- Spreads list parameters out: ":shipped" becomes (:shipped_1, :shipped_2).
local function spread(sql, params)
  local flat = params
  for name, value in pairs(params or {}) do
    if type(value) == "table" then
      if flat == params then flat = setmetatable({}, { __index = params }) end
      local marks = {}
      for i, item in ipairs(value) do
        flat[name .. "_" .. i] = item
        marks[i] = (":%s_%d"):format(name, i)
      end
      local list = "(" .. (#marks > 0 and table.concat(marks, ", ") or "NULL") .. ")"
      sql = sql:gsub(":" .. name .. "%f[^%w_]", function() return list end)
    end
  end
  return sql, flat
end

--- A prepared statement for the SQL text, kept for the next time.
local function statement(self, sql)
  local prepared = self.statements[sql]
  if not prepared then
    prepared = failure.check(self.handle:prepare(translate(sql, self.dialect)))
    self.statements[sql] = prepared
  end
  return prepared
end

--- Runs several statements without parameters.
---@param sql string
function Database:script(sql)
  failure.check(self.handle:script(translate(sql, self.dialect)))
end

--- Runs a statement; gives the number of rows changed.
---@param sql string
---@param params? table<string, any>
---@return integer
function Database:run(sql, params)
  local text, flat = spread(sql, params)
  return failure.check(statement(self, text):run(flat))
end

--- The first column of the first row; nil when NULL or no row.
---@param sql string
---@param params? table<string, any>
---@return any
function Database:value(sql, params)
  local text, flat = spread(sql, params)
  local value, message, code = statement(self, text):start(flat):value()
  failure.check(value, message, code)
  return value
end

--- Iterates over rows: tables by column name, in which NULL is absent.
---@param sql string
---@param params? table<string, any>
---@return fun(): table?
function Database:rows(sql, params)
  local text, flat = spread(sql, params)
  local prepared = failure.check(self.handle:prepare(translate(text, self.dialect)))
  prepared:start(flat)
  local function next_row() return (failure.check(prepared:next())) end
  return next_row, nil, nil, prepared
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

--- The first row; nil when there is none.
---@param sql string
---@param params? table<string, any>
---@return table?
function Database:one(sql, params)
  local next_row, _, _, _ <close> = self:rows(sql, params)
  return next_row()
end

--- Runs `work` in one transaction that has the write lock from its beginning; an error rolls it
--- back and goes on.
---@generic T
---@param work fun(): T
---@return T
function Database:transaction(work)
  self:script "BEGIN IMMEDIATE"
  local ok, result = xpcall(function()
    local result = work()
    self:script "COMMIT"
    return result
  end, function(err)
    return type(err) == "table" and err or debug.traceback(tostring(err), 2)
  end)
  if ok then return result end
  if self.handle:in_transaction() then self.handle:script "ROLLBACK" end
  error(result, 0)
end

--- Closes the database; open statements with it.
function Database:close()
  for _, prepared in pairs(self.statements) do prepared:close() end
  self.statements = {}
  self.handle:close()
end
Database.__close = Database.close
Database.null = sqlite.null

local db = { null = sqlite.null }

--- Opens the database that a URL names; options: { create = true, readonly = true }.
---@param url string sqlite:PATH
---@param options? table
---@return tallyman.Database
function db.open(url, options)
  local path = url:match "^sqlite:(.+)$"
  if path then
    local handle = failure.check(sqlite.open(path, options))
    return setmetatable({ handle = handle, statements = {}, dialect = SQLITE }, Database)
  end
  if url:match "^postgres" then
    failure.raise(failure.configuration,
      "this version has no PostgreSQL; use sqlite:PATH for the database")
  end
  failure.raise(failure.configuration, "database '%s' is no sqlite:PATH", url)
end

return db
