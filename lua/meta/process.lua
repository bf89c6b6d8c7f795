---@meta native.process

--- Starting other programs, and waiting for whatever comes first.
---@class native.process
local process = {}

---@class native.ProcessOptions
---@field environment? string[] "NAME=VALUE" to set, "NAME" to unset; the rest is ours
---@field memory? integer bytes of private memory that it may have
---@field output? integer file descriptor for its standard output and error; ours by default
---@field input? integer file descriptor for its standard input; /dev/null by default

--- Something to wait on. From now on SIGHUP is an event, and doesn't end this process.
---@return native.Watch? watch, string? message, integer? code
function process.watch() end

---@class native.Watch
local Watch = {}

--- Starts a program in a process group of its own, and watches it. Nothing else that is open here
--- is open there.
---@param arguments string[] the first is the program, looked up in PATH
---@param options? native.ProcessOptions
---@return integer? pid, string? message, integer? code
function Watch:start(arguments, options) end

--- Watches a process until it ends, which need not be a child of ours.
---@param pid integer
---@return true?, string? message, integer? code
function Watch:process(pid) end

--- Watches the files of a folder: written, renamed, made, removed.
---@param path string
---@return true?, string? message, integer? code
function Watch:folder(path) end

--- Waits for the next event:
---   "time"     the instant has come
---   "clock"    somebody set the clock
---   "process"  a process ended: its pid, and, when it is a child, its exit code (128 + signal)
---   "files"    something in a watched folder changed
---   "hangup"   SIGHUP came
---@param until_? number instant, by native.clock; none: for ever
---@return string? event, (integer|string)? pid_or_message, integer? status_or_code nil when
--- something failed, or a signal asks the process to stop (128 + signal)
function Watch:wait(until_) end

--- Stops watching; asks the programs that it has started, and that run still, to end (SIGTERM), and
--- waits until they have; those that haven't within ten seconds are killed. Safe to call twice;
--- `local watch <close>` calls it, too.
---@return integer killed how many were
function Watch:close() end

return process
