---@meta native.pg

--- PostgreSQL. Scripts use tallyman.db, which is the same for every database. A failure has a
--- fourth result, the SQLSTATE, where the server gave one. Its message holds neither parameters nor
--- the password; the server's DETAIL, HINT and CONTEXT, which quote rows, are left out.
---@class native.pg
---@field null lightuserdata stands for SQL's NULL among parameters
local pg = {}

---@class native.PgConnection
local Connection = {}

--- Runs several statements without parameters; outside a transaction all of them in one.
---@param sql string
---@return true?, string? message, integer? code, string? state
function Connection:script(sql) end

--- Prepares one statement on the server.
---@param sql string with parameters $1, $2, ...
---@param names? string[] of the parameters, in that order
---@return native.PgStatement? statement, string? message, integer? code, string? state
function Connection:prepare(sql, names) end

--- Commits the transaction. What had to be rolled back, because a statement had failed, is a
--- failure here. A signal is heeded once the answer is there, or after five seconds.
---@return true?, string? message, integer? code, string? state
function Connection:commit() end

--- Whether the answer to the last commit() was lost, so that nobody can tell what came of it.
---@return boolean
function Connection:outcome_unknown() end

--- Whether a transaction is open.
---@return boolean
function Connection:in_transaction() end

--- What the server remarked since the last call, up to a hundred lines such as "WARNING: ...".
---@return string[]
function Connection:notices() end

--- Runs COPY ... FROM STDIN on the source's bytes as they are; or, given columns, on these columns
--- of the CSV file that it is: then the SQL must say (FORMAT csv, HEADER).
---@param sql string
---@param source native.Source
---@param columns? string[] names in the file's header, in the order of the table's columns
---@param options? native.ScanOptions
---@return integer? rows, string? message, integer? code, string? state
function Connection:copy_in(sql, source, columns, options) end

--- Runs COPY ... TO STDOUT into a sink.
---@param sql string
---@param sink native.Sink
---@return integer? rows, string? message, integer? code, string? state
function Connection:copy_out(sql, sink) end

--- Lets go; also by `<close>`.
function Connection:close() end

---@class native.PgStatement
local Statement = {}

--- Binds parameters and sends them; ready for next() or value(). Raises when one has no value.
---@param params? table<string, string|number|boolean|lightuserdata>
---@return native.PgStatement? self, string? message, integer? code, string? state
function Statement:start(params) end

--- The next row by column names, NULL being absent; nothing at the end. int2, int4, int8 and oid
--- are integers, float4 and float8 numbers, bool a boolean, bytea a string of its bytes, numeric an
--- integer when it is whole and fits; everything else is the server's text.
---@return table<string, string|number|boolean>? row, string? message, integer? code, string? state
function Statement:next() end

--- The first column of the first row; nil when that is NULL or there is no row.
---@return string|number|boolean|nil value, string? message, integer? code, string? state
function Statement:value() end

--- Binds parameters and runs to the end.
---@param params? table<string, string|number|boolean|lightuserdata>
---@return integer? changed, string? message, integer? code, string? state
function Statement:run(params) end

--- The rest of the rows isn't wanted. They are read and thrown away; outside a transaction a SELECT
--- of more than a thousand is cancelled.
---@return true?, string? message, integer? code
function Statement:leave() end

--- The names of the columns, once next() was called.
---@return string[]
function Statement:columns() end

--- Lets go; also by `<close>`.
function Statement:close() end

---@class native.PgOptions
---@field connect_seconds? integer for all of connecting; else the URL's connect_timeout, or 20
---@field statement_ms? integer the server's statement_timeout
---@field lock_ms? integer the server's lock_timeout
---@field readonly? boolean

--- Connects, as libpq does: the environment, service and password files and the TLS options count.
--- The session is set to UTF-8, ISO dates and UTC.
---@param url string postgresql://..., or service=...
---@param options? native.PgOptions
---@return native.PgConnection? connection, string? message, integer? code 69: no server or no
--- answer; 77: login refused; 78: no such database
function pg.open(url, options) end

return pg
