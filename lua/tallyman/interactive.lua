--- `tallyman -i`: reads lines from standard input and runs them; an expression prints its values.

--- Compiles what was typed; nil and true when it isn't complete yet.
local function compile(text)
  local chunk = load("return " .. text, "=stdin")
  if chunk then return chunk end
  local message
  chunk, message = load(text, "=stdin")
  if chunk then return chunk end
  return nil, message:sub(-5) == "<eof>", message
end

--- Runs a chunk and prints its values.
local function run(chunk)
  local results = table.pack(xpcall(chunk, function(err)
    return type(err) == "table" and tostring(err) or debug.traceback(tostring(err), 2)
  end))
  if not results[1] then
    io.stderr:write("tallyman: ", results[2], "\n")
  elseif results.n > 1 then
    print(table.unpack(results, 2, results.n))
  end
end

--- Reads and runs until the end of standard input.
---@return integer exit_code
return function()
  local prompts = require "posix.unistd".isatty(0)
  local pending = ""
  while true do
    if prompts then io.stdout:write(pending == "" and "> " or ">> "):flush() end
    local line = io.read "L"
    if not line then break end
    pending = pending .. line
    local chunk, incomplete, message = compile(pending)
    if chunk then run(chunk) elseif not incomplete then io.stderr:write(message, "\n") end
    if not incomplete then pending = "" end
  end
  if prompts then print() end
  return 0
end
