---@meta native.sqlite

--- SQLite. Scripts use tallyman.db, which is the same for every database.
---@class native.sqlite
---@field null lightuserdata stands for SQL's NULL among parameters
local sqlite = {}

---@class native.Database
local Database = {}

--- Runs several statements without parameters.
---@param sql string
---@return true?, string? message, integer? code
function Database:script(sql) end

--- Prepares one statement. Parameters are named, as in :snapshot.
---@param sql string
---@return native.Statement? statement, string? message, integer? code
function Database:prepare(sql) end

--- Whether a transaction is open.
---@return boolean
function Database:in_transaction() end

--- Lets go; also by `<close>`.
function Database:close() end

---@class native.Statement
local Statement = {}

--- Binds parameters and gets ready for next() or value(). Raises when one has no value.
---@param params? table<string, string|number|boolean|lightuserdata>
---@return native.Statement self
function Statement:start(params) end

--- The next row by column names, NULL being absent; nothing at the end. A column declared numeric
--- gives fractions as text, one declared boolean gives booleans.
---@return table<string, string|number|boolean>? row, string? message, integer? code
function Statement:next() end

--- The first column of the first row; nil when that is NULL or there is no row.
---@return string|number|boolean|nil value, string? message, integer? code
function Statement:value() end

--- Binds parameters and runs to the end.
---@param params? table<string, string|number|boolean|lightuserdata>
---@return integer? changed, string? message, integer? code
function Statement:run(params) end

--- The rest of the rows isn't wanted.
---@return true
function Statement:leave() end

--- The names of the columns.
---@return string[]
function Statement:columns() end

--- Runs an INSERT, whose parameters are ?1, ?2, ..., for each record of a CSV file.
---@param source native.Source
---@param columns string[] names in the file's header, in the order of the parameters
---@param options? native.ScanOptions
---@return integer? rows, string? message, integer? code
function Statement:insert(source, columns, options) end

--- Writes what is left of the rows as CSV, with a header. NULL is an empty field, an empty text "".
---@param sink native.Sink
---@return integer? rows, string? message, integer? code
function Statement:write(sink) end

--- Lets go; also by `<close>`.
function Statement:close() end

---@class native.OpenOptions
---@field create? boolean make the file where there is none
---@field readonly? boolean
---@field lock_ms? integer how long a lock is waited for; ten seconds by default

--- Opens a database: write-ahead log, full synchronisation, foreign keys on.
---@param path string
---@param options? native.OpenOptions
---@return native.Database? database, string? message, integer? code 69: can't be opened
function sqlite.open(path, options) end

return sqlite
