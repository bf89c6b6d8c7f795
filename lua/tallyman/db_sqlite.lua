--- What tallyman.db needs to know of SQLite.
local sqlite = require "native.sqlite"

---@type tallyman.Driver
local driver = {
  dialect = "sqlite",
  macros = {
    units = "CAST(ROUND(COALESCE(%s, 0) * 1000000) AS INTEGER)",
    stamp = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', %s)",
    sum = "COALESCE(SUM(CAST(ROUND(COALESCE(%s, 0) * 1000000) AS INTEGER)), 0)",
    amount = "((%s) / 1000000.0)",
    decimal = "rtrim(rtrim(printf('%%.6f', (%s) / 1000000.0), '0'), '.')",
    seq = "printf('%%05d', %s)",
    bytes = "%s",
    sqlite = "%s",
    number = "CAST(%s AS integer)",
  },

  open = function(url, options)
    return sqlite.open(url:match "^sqlite:(.+)$", { create = options.create,
      readonly = options.readonly, lock_ms = options.lock_ms })
  end,

  prepare = function(handle, text) return handle:prepare(text) end,

  -- One writer at a time, so that whatever isolation is asked for, this is more.
  begin = function() return "BEGIN IMMEDIATE" end,
  commit = function(handle) return handle:script "COMMIT" end,
  outcome_unknown = function() return false end,

  copy_in = function(handle, name, columns, headers, source, options)
    local marks = {}
    for i = 1, #columns do marks[i] = "?" .. i end
    local statement <close>, message, code = handle:prepare(("INSERT INTO %s (%s) VALUES (%s)")
      :format(name, table.concat(columns, ", "), table.concat(marks, ", ")))
    if not statement then return nil, message, code end
    local began, why, number = handle:script "SAVEPOINT tallyman_copy" -- all rows or none
    if not began then return nil, why, number end
    local rows
    rows, message, code = statement:insert(source, headers, options)
    statement:leave()
    local ended, fault, exit = handle:script((rows and "" or "ROLLBACK TO tallyman_copy; ")
      .. "RELEASE tallyman_copy")
    if rows and not ended then return nil, fault, exit end
    return rows, message, code
  end,

  copy_out = function(handle, text, sink)
    local statement <close>, message, code = handle:prepare(text)
    if not statement then return nil, message, code end
    return statement:start():write(sink)
  end,

  notices = function() return {} end,
}

return driver
