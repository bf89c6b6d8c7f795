--- What tallyman.db needs to know of PostgreSQL.
local db_sql = require "tallyman.db_sql"
local pg = require "native.pg"

--- Years have four digits: what lies before or after, infinity included, is the first or last of
--- these.
local MILLIS = "CASE WHEN %s IS NOT NULL THEN to_char(LEAST(GREATEST(CAST(%s AS timestamp), "
  .. "TIMESTAMP '0001-01-01'), TIMESTAMP '9999-12-31'), 'YYYY-MM-DD HH24:MI:SS.MS') END"

---@type tallyman.Driver
local driver = {
  dialect = "postgresql",
  macros = {
    units = "CAST(ROUND(COALESCE(%s, 0) * 1000000) AS bigint)",
    stamp = "(" .. MILLIS .. ' COLLATE "C")',
    sum = "CAST(ROUND(COALESCE(SUM(%s), 0) * 1000000) AS bigint)",
    amount = "((%s) * 0.000001)",
    decimal = "CAST(trim_scale((%s) / 1000000.0) AS text)",
    seq = "translate(format('%%5s', %s), ' ', '0')",
    sqlite = "%.0s",
    bytes = '(%s COLLATE "C")',
    number = "CAST(CASE WHEN translate(%s, '0123456789', '') = '' THEN NULLIF(%s, '') END "
      .. "AS numeric)", -- ten times as fast as a regular expression
  },

  open = function(url, options)
    return pg.open(url, { connect_seconds = options.connect_seconds,
      statement_ms = options.statement_ms, lock_ms = options.lock_ms or 10000,
      readonly = options.readonly })
  end,

  prepare = function(handle, text) return handle:prepare(db_sql.number(text)) end,

  begin = function(isolation)
    return isolation and "BEGIN ISOLATION LEVEL " .. isolation:upper() or "BEGIN"
  end,
  commit = function(handle) return handle:commit() end,
  outcome_unknown = function(handle) return handle:outcome_unknown() end,

  copy_in = function(handle, name, columns, headers, source, options)
    return handle:copy_in(("COPY %s (%s) FROM STDIN (FORMAT csv, HEADER)")
      :format(name, table.concat(columns, ", ")), source, headers, options)
  end,

  copy_out = function(handle, text, sink)
    return handle:copy_out("COPY (" .. text .. "\n) TO STDOUT (FORMAT csv, HEADER)", sink)
  end,

  notices = function(handle) return handle:notices() end,
}

return driver
