---@meta native.sftp

--- SFTP sessions over SSH: host keys are always verified, reads and writes are pipelined, and a
--- connection that drops is made again. Failures are `nil, message, code`: 69 no connection,
--- 77 host key or login or permission, 66 no such file, 73 exists already, 75 the file has changed
--- meanwhile, 74 whatever else a server refuses or gets wrong.
---@class native.sftp
local sftp = {}

---@class native.SftpOptions
---@field host string name or address
---@field port? integer 22
---@field user string
---@field known_hosts string file as ssh(1) has it; one that isn't there trusts nobody
---@field key? string private key file
---@field passphrase? string of the key
---@field password? string also answers the prompts of keyboard-interactive
---@field ciphers? string in order of preference, with commas between them
---@field connect_seconds? integer for connecting and exchanging keys (20)
---@field login_seconds? integer (30)
---@field idle_seconds? integer without a sign of life while something is awaited (60)
---@field transfer_seconds? integer for one file from opening to its end, or one question (3600)
---@field attempts? integer to connect again, in a row, after a drop (10)
---@field sessions? integer side by side for a large file on a long link, at most 8 (4)

---@class native.SftpAttributes
---@field folder boolean
---@field size? integer
---@field mtime? integer
---@field name? string in listings

---@class native.SftpFeatures
---@field posix_rename boolean replaces in one step
---@field fsync boolean syncs what was written
---@field read_size integer bytes of one request
---@field write_size integer

---@class native.SftpSession
local Session = {}

--- What the server offers.
---@return native.SftpFeatures
function Session:features() end

--- What happened to the connection since the last call, a line each; nil for nothing.
---@return string?
function Session:notices() end

--- What is known of a file or folder; false when nothing has that name.
---@param path string
---@return native.SftpAttributes|false|nil attributes, string? message, integer? code
function Session:stat(path) end

--- The entries of a folder, in the server's order.
---@param path string
---@return native.SftpAttributes[]? entries, string? message, integer? code
function Session:list(path) end

--- Renames onto a name that must not exist. When the answer is lost, finds out what became of it.
---@param from string
---@param to string
---@return true?, string? message, integer? code 73: exists already
function Session:rename(from, to) end

--- Asks for a plain rename and nothing else, to find out what the server does.
---@param from string
---@param to string
---@return boolean? done, string? message, integer? code
function Session:try_rename(from, to) end

--- Renames in one step, replacing what is there; only where features say posix_rename.
---@param from string
---@param to string
---@return true?, string? message, integer? code
function Session:replace(from, to) end

--- Removes a file; one that isn't there is removed already.
---@param path string
---@return true?, string? message, integer? code
function Session:remove(path) end

--- Removes a file that was never finished, even when a signal has asked to stop; takes seconds.
---@param path string
---@return true?, string? message, integer? code
function Session:discard(path) end

--- Makes a folder; one that is there is made already.
---@param path string
---@return true?, string? message, integer? code
function Session:make_folder(path) end

--- Removes an empty folder; one that isn't there is removed already.
---@param path string
---@return true?, string? message, integer? code
function Session:remove_folder(path) end

--- A file's bytes, read ahead by 16 MiB at most; gzip content is inflated on the way.
---@param path string
---@param name string what messages call it
---@param options? native.SourceOptions
---@return native.Source? source, string? message, integer? code
function Session:source(path, name, options) end

--- A new file, which must not exist; 16 MiB at most wait for the server's answer.
---@param path string
---@param name string what messages call it
---@return native.Sink? sink, string? message, integer? code
function Session:sink(path, name) end

--- Ends the connection; sources and sinks that are still open fail from then on. Also by `<close>`.
function Session:close() end

--- Connects, checks the host key and logs in.
---@param options native.SftpOptions
---@return native.SftpSession? session, string? message, integer? code
function sftp.open(options) end

--- Learns the server's host key and trusts nothing: its line for known_hosts, its fingerprint, and
--- whether known_hosts has it already. A key that is revoked, or is another than the one that
--- known_hosts has, is a failure, 77.
---@param options native.SftpOptions
---@return string? line, string fingerprint or the message, boolean|integer known or the code
function sftp.host_key(options) end

return sftp
