---@meta native.csv

--- The engine: key sets, the filter, and a reader of records. RFC 4180, with the oddities of real
--- exports: byte order mark, CRLF or LF, `;` or tab found from the header, no last line end.
---@class native.csv
local csv = {}

--- A set of keys. A key of one part is matched exactly; of two, the first (identifier type) without
--- regard to ASCII case, the second (value) exactly.
---@class native.Keyset
local Keyset = {}

--- Adds a key: add(value) or add(type, value).
---@param first string
---@param second? string
---@return native.Keyset? self, string? message, integer? code
function Keyset:add(first, second) end

--- Whether the key is there: has(value) or has(type, value).
---@param first string
---@param second? string
---@return boolean
function Keyset:has(first, second) end

--- The number of keys.
---@return integer
function Keyset:count() end

--- Lets go of the memory; also by `<close>`.
function Keyset:close() end

---@class native.ScanOptions
---@field block? integer bytes to read at once (1 MiB)
---@field max_record? integer bytes that a record may have (1 MiB)
---@field delimiter? string one byte; found from the header where absent

---@class native.FilterOptions: native.ScanOptions
---@field key string[] one or two column names, matched without regard to case
---@field keep native.Keyset
---@field rejects? native.Sink gets line,column,reason,record; absent: a broken record is a failure
---@field progress? fun(done: integer, total: integer) bytes of the source, once a block
---@field each? fun(row: native.Row, line: integer): boolean? sees each row that is to be kept, on
--- the physical line where it starts; `false` leaves it out

---@class native.FilterCounts
---@field read integer records = kept + left_out + rejected; without header and blank lines
---@field kept integer
---@field left_out integer
---@field rejected integer
---@field broken_left_out integer those of left_out that were broken
---@field bytes integer read, after inflating
---@field delimiter string
---@field last_line_end boolean whether the last record had one

--- An empty key set.
---@return native.Keyset? set, string? message, integer? code
function csv.keyset() end

--- A key set of the rows of a CSV file.
---@param source native.Source
---@param columns string[] one or two column names
---@return native.Keyset? set, string? message, integer? code
function csv.keys(source, columns) end

--- A key set of a list: one key of one part a line. Blank lines and a byte order mark are left out.
---@param source native.Source
---@return native.Keyset? set, string? message, integer? code 65: a line is longer than 256 KiB
function csv.list(source) end

--- Copies the header and the records whose key is in the set, byte for byte.
---@param source native.Source
---@param sink native.Sink
---@param options native.FilterOptions
---@return native.FilterCounts? counts, string? message, integer? code 65: the file can't be trusted
function csv.filter(source, sink, options) end

--- A row while it is its turn: `row.idValue` (header names without regard to case) or `row[4]` is a
--- field without its quotes, nil where a broken record lacks it; `#row` is their number;
--- `tostring(row)` the record as it stands in the file, without its line end. Keep the values, not
--- the row.
---@class native.Row
---@field [string|integer] string?

--- The rows of a CSV file, for a generic `for`: row and line, and for a record that is broken by
--- itself its fault and the character column of the fault. Raises where the file can't be trusted.
---@param source native.Source
---@param options? native.ScanOptions
---@return (fun(): native.Row?, integer?, string?, integer?)? step, string? message, integer? code
---@return native.Reader? reader what the loop closes
function csv.rows(source, options) end

--- Reads records one at a time.
---@class native.Reader
local Reader = {}

--- The header's fields, and its line.
---@return string[] names, integer line
function Reader:header() end

--- The delimiter in use.
---@return string
function Reader:delimiter() end

--- The next record: its fields without quotes, and the line on which it starts. A record broken by
--- itself comes with its fault and the character column of the fault (then fields may be missing,
--- and those beyond the header's number are left out). Nothing at the end.
---@return string[]? fields
---@return integer|string|nil line or, where the file can't be trusted, the message
---@return string|integer|nil fault or the code
---@return integer? column
function Reader:next() end

--- The 1-based character column, on its physical line, of a field of the current record.
---@param index integer
---@return integer
function Reader:column(index) end

--- Appends the current record to a rejects file; `first` writes the header line before it.
---@param sink native.Sink
---@param first boolean
---@param column integer
---@param reason string
---@return true?, string? message, integer? code
function Reader:reject(sink, first, column, reason) end

--- Lets go; also by `<close>`. The source stays open.
function Reader:close() end

--- Opens a reader; the header is read at once.
---@param source native.Source
---@param options? native.ScanOptions
---@return native.Reader? reader, string? message, integer? code
function csv.reader(source, options) end

return csv
