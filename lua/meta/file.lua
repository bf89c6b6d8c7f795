---@meta native.file

--- Sources and sinks over files and memory: what the engine reads from and writes to.
---@class native.file
local file = {}

--- Gives bytes. gzip content is inflated on the way.
---@class native.Source
local Source = {}

--- Up to `size` bytes; nil at the end.
---@param size integer 1 to 1048576
---@return string? bytes, string? message, integer? code
function Source:read(size) end

--- SHA-256, in hex, of what was read so far; nil unless opened with `digest`.
---@return string?
function Source:sha256() end

--- XXH3-128, in hex as `xxh128sum` prints it, of what was read so far; nil unless opened with
--- `fingerprint`. It costs a few percent of the filter's time; SHA-256 several times all of it.
---@return string?
function Source:fingerprint() end

--- Lets go; also by `<close>`.
function Source:close() end

--- Takes bytes.
---@class native.Sink
local Sink = {}

--- Takes bytes.
---@param bytes string
---@return native.Sink? self, string? message, integer? code
function Sink:write(bytes) end

--- Flushes, syncs to the disk and checks the size.
---@return true?, string? message, integer? code
function Sink:finish() end

--- Number of bytes taken so far.
---@return integer
function Sink:bytes() end

--- SHA-256, in hex, of the bytes taken so far.
---@return string
function Sink:sha256() end

--- What a memory sink holds; nil for another sink.
---@return string?
function Sink:text() end

--- Lets go; also by `<close>`. The file stays where it is.
function Sink:close() end

---@class native.SourceOptions
---@field digest? boolean compute a SHA-256 of what is delivered
---@field fingerprint? boolean compute an XXH3-128 of what is delivered
---@field cut_after? integer for tests: it fails (69) once so many bytes were delivered

--- Opens a file ("-": standard input).
---@param path string
---@param options? native.SourceOptions
---@return native.Source? source, string? message, integer? code 66: no such file
function file.source(path, options) end

--- A source over a string.
---@param bytes string
---@param name? string what messages call it
---@param options? native.SourceOptions
---@return native.Source? source, string? message, integer? code
function file.text(bytes, name, options) end

--- A new file, which must not exist yet ("-": standard output, "/dev/stderr": standard error).
---@param path string
---@param mode? integer permissions, 420 (0644) by default
---@return native.Sink? sink, string? message, integer? code 73: can't be created
function file.sink(path, mode) end

--- A sink that keeps its bytes in memory.
---@return native.Sink? sink, string? message, integer? code
function file.memory() end

--- Renames a file onto a name that must be free (73), unless `replace`; makes the name durable.
---@param from string
---@param to string
---@param replace? boolean
---@return true?, string? message, integer? code
function file.publish(from, to, replace) end

return file
