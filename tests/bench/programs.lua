-- The programs that are measured: the floors, ours, and what else one would take.
local running = require "running"

local programs = {}

local HERE, HOST = running.HERE, running.HOST
local NPM_FOLDER = running.FOLDER .. "/npm"
local NPM_PACKAGES = { "@duckdb/node-api@1.5.6-r.1", "papaparse@5.7.1", "csv-parse@7.0.3" }

-- ---- floors: what every filter of such an input has to do at least ----

---Reads the file by read(2), a MiB at a time.
---@type bench.Program
programs.floor = {
  title = "read(2) and nothing else", output = "none",
  pipeline = function(case) return { { running.FOLDER .. "/floor", case.input } } end,
}

---Sends the file through a pipe.
---@type bench.Program
programs.pipe_floor = {
  title = "cat FILE | cat >/dev/null", output = "none",
  pipeline = function(case) return { { "cat", case.input }, { "cat" } } end,
}

---Inflates the file by zlib.
---@type bench.Program
programs.zlib_floor = {
  title = "zlib's inflate and nothing else", output = "none",
  pipeline = function(case) return { { running.FOLDER .. "/zlib_floor", case.input .. ".gz" } } end,
}

-- ---- ours ----

-- The filter's command line for an input of that name.
local function filter_command(case, input)
  return { HOST, running.ROOT .. "/examples/filter.lua", "--keep", case.list, input, case.out }
end

---The filter as it is called for a file. Variables add to what the bench itself was called with.
---@param suffix? string
---@param environment? table<string, string>
---@return bench.Program
function programs.ours(suffix, environment)
  return {
    title = "tallyman" .. (suffix and ", " .. suffix or ""), output = "file", keeps = "bytes",
    ours = true, environment = environment,
    pipeline = function(case) return { filter_command(case, case.input) } end,
  }
end

---The filter with its input from a pipe.
---@return bench.Program
function programs.ours_from_pipe(suffix, environment)
  local program = programs.ours("from a pipe, " .. suffix, environment)
  program.pipeline = function(case)
    return { { "cat", case.input }, filter_command(case, "-") }
  end
  return program
end

---The filter with a compressed input.
---@return bench.Program
function programs.ours_from_gzip(suffix, environment)
  local program = programs.ours("from gzip, " .. suffix, environment)
  program.pipeline = function(case) return { filter_command(case, case.input .. ".gz") } end
  return program
end

-- ---- what else one would take ----

-- Why a program can't run, unless the shell finds it.
local function unless_found(name)
  return function()
    if not running.ask("command -v " .. name) then return name .. " is not installed" end
  end
end

-- Installs the packages of npm, unless these very versions are there; why they can't be had.
local function install_packages()
  local wanted, mark = table.concat(NPM_PACKAGES, " "), NPM_FOLDER .. "/installed"
  if not running.ask "command -v node" then return "node is not installed" end
  if running.read(mark) == wanted then return end
  print("installing " .. wanted)
  if not running.ask(("npm install --prefix %s --no-audit --no-fund --save-exact %s"):format(
    running.word(NPM_FOLDER), wanted)) then
    return "npm is not installed, or can't install it"
  end
  local handle <close> = assert(io.open(mark, "wb"))
  handle:write(wanted)
end

local npm_answer -- what came of installing them: nothing while it wasn't tried

-- Why the packages of npm can't be had; tried once.
local function unless_npm()
  npm_answer = npm_answer or { install_packages() }
  return npm_answer[1]
end

-- The first line of a file.
local function header_of(path)
  local handle <close> = assert(io.open(path, "rb"))
  return handle:read "l"
end

-- A search for any of the keys anywhere in a line, and for the header.
local function line_search(...)
  local words = { ... }
  return function(case)
    local command = table.move(words, 1, #words, 1, {})
    return { table.move({ "-F", "-f", case.list, "-e", header_of(case.input), case.input },
      1, 6, #command + 1, command) }
  end
end

local MAWK_FILTER = [[
  FNR == NR { keys[$0]; next }
  FNR == 1 { for (n = 1; n <= NF; n++) if ($n == "idValue") column = n; print; next }
  $column in keys]]

-- Miller's join wants a header over the keys, too, and puts the common column first, from where it
-- has to go back to its place.
local function miller_join(case)
  local before = header_of(case.input):match "^(.*),idValue"
  return {
    { "sed", "1iidValue", case.list },
    { "mlr", "--csv", "-S", "join", "-j", "idValue", "-f", "/dev/stdin",
      "then", "reorder", "-f", before, case.input },
  }
end

-- SQLite's shell reads everything into a table and asks that.
local function sqlite_import(case)
  return { { "sqlite3", ":memory:", "create table keys (key)", ".mode csv",
    (".import '%s' keys"):format(case.list), (".import '%s' rows"):format(case.input),
    ".headers on", '.separator "," "\\n"',
    "select * from rows where idValue in (select key from keys)" } }
end

-- A script for node beside this file.
local function node_script(name, ...)
  local words = { "node", HERE .. "/" .. name, ... }
  return function(case)
    local command = table.move(words, 1, #words, 1, {})
    return { table.move({ case.list, case.input, case.out }, 1, 3, #command + 1, command) }
  end
end

-- The interpreter itself, not a wrapper that looks for one.
local PYTHON = assert(running.ask "python3 -c 'import sys; print(sys.executable)'",
  "python3 is not there")

---A script for Python beside this file.
function programs.python_script(name, ...)
  return { PYTHON, HERE .. "/" .. name, ... }
end

---@class bench.Peer: bench.Program
---@field keeps? "bytes"|"records" what of the right output it claims to give
---@field caveat? string why it can't claim the bytes, or anything
---@field slow? boolean runs fewer times
---@field version string the shell's command line that tells it
---@field missing fun(): string? why it can't run

---Its output is what the others' is held against.
---@type bench.Peer
programs.judge = {
  title = "python3, csv module", output = "file", keeps = "bytes", slow = true,
  version = "python3 --version", missing = function() end,
  pipeline = function(case)
    return { programs.python_script("filter.py", case.list, case.input, case.out) }
  end,
}

local LINES_ONLY = "knows lines, not records"
local QUOTES_ANEW = "quotes anew"
local NODE_VERSION = "echo node $(node --version)"

---@type bench.Peer[]
programs.peers = {
  {
    title = "grep -F -f LIST", output = "stdout", caveat = LINES_ONLY .. "; any column",
    version = "grep --version", missing = unless_found "grep", pipeline = line_search "grep",
  },
  {
    title = "rg -F -f LIST", output = "stdout", caveat = LINES_ONLY .. "; any column",
    version = "rg --version", missing = unless_found "rg",
    pipeline = line_search("rg", "--no-config"),
  },
  {
    title = "mawk -F,", output = "stdout", caveat = LINES_ONLY,
    version = "mawk -W version 2>&1", missing = unless_found "mawk",
    pipeline = function(case) return { { "mawk", "-F,", MAWK_FILTER, case.list, case.input } } end,
  },
  {
    title = "DuckDB, 1 thread", output = "file", keeps = "records", caveat = QUOTES_ANEW,
    version = NODE_VERSION, missing = unless_npm,
    pipeline = node_script("filter_duckdb.js", "1"),
  },
  {
    title = "DuckDB, 2 threads", output = "file", keeps = "records", caveat = QUOTES_ANEW,
    version = NODE_VERSION, missing = unless_npm,
    pipeline = node_script("filter_duckdb.js", "2"),
  },
  programs.judge,
  {
    title = "Miller, mlr join", output = "stdout", keeps = "records", caveat = QUOTES_ANEW,
    slow = true, version = "mlr --version", missing = unless_found "mlr", pipeline = miller_join,
  },
  {
    title = "sqlite3 .import", output = "stdout", keeps = "records", caveat = QUOTES_ANEW,
    slow = true, version = "echo SQLite $(sqlite3 --version | cut -d ' ' -f 1)",
    missing = unless_found "sqlite3", pipeline = sqlite_import,
  },
  {
    title = "node, papaparse", output = "file", keeps = "records", caveat = QUOTES_ANEW,
    slow = true, version = NODE_VERSION, missing = unless_npm,
    pipeline = node_script "filter_papaparse.js",
  },
  {
    title = "node, csv-parse", output = "file", keeps = "bytes", slow = true,
    version = NODE_VERSION, missing = unless_npm,
    pipeline = node_script "filter_csv_parse.js",
  },
}

---The packages of npm that are measured, with their versions.
programs.npm_packages = NPM_PACKAGES

return programs
