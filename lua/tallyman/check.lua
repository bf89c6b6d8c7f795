--- `tallyman check SCRIPT...`: loads and validates without running anything.
local failure = require "tallyman.failure"

--- Whether the source ends by returning a table: only such a script is loaded, since loading runs
--- what stands outside of functions.
local function returns_table(source)
  return ("\n" .. source):match "\nreturn%s*{" or ("\n" .. source):match "\nreturn%s+require"
end

local function add(problems, text)
  for line in text:gmatch "[^\n]+" do
    if not problems[line] then
      problems[line] = true
      problems[#problems + 1] = line
    end
  end
end

--- Loads a script's table; its problems are added.
local function check_table(path, chunk, problems)
  local script = require "tallyman.script"
  local ok, value = pcall(chunk)
  if not ok then return add(problems, tostring(value)) end
  if type(value) ~= "table" or not (script.is_job(value) or script.is_flow(value)) then return end
  for _, problem in ipairs(script.problems(value, path)) do add(problems, problem) end
end

--- Loads the settings beside a script; where they are wrong, the defaults stand in, so that the
--- script can be checked all the same.
local function load_settings(problems)
  package.loaded.settings = nil
  local ok, wrong = pcall(require "tallyman.script".settings)
  if ok then return end
  add(problems, tostring(wrong))
  package.loaded.settings = require "tallyman.settings"({}, function() return nil end)
end

--- Checks one script and the settings beside it.
local function check_script(path, problems, only_compiled)
  local handle <close> = io.open(path, "rb")
  local source = handle and handle:read "a"
  if not source then return add(problems, path .. ": cannot be read") end
  local chunk, message = require "tallyman.script".compile(path)
  if not chunk then return add(problems, message) end
  if not returns_table(source) then
    only_compiled[#only_compiled + 1] = path
    return
  end
  local search = package.path
  package.path = require "tallyman.script".folder(path) .. "/?.lua;" .. search
  load_settings(problems)
  if not path:match "settings%.lua$" then check_table(path, chunk, problems) end
  package.path = search
end

--- Checks scripts; prints every problem, or a line that says that there is none.
---@param paths string[] the global arg, or a list
---@param together? fun(): string? what is wrong with them together, asked where each alone is sound
---@return integer exit_code
return function(paths, together)
  if #paths == 0 then failure.raise(failure.usage, "check: name at least one script") end
  local problems, only_compiled = {}, {}
  for _, path in ipairs(paths) do check_script(path, problems, only_compiled) end
  if #problems == 0 and together then add(problems, together() or "") end
  for _, problem in ipairs(problems) do print(problem) end
  if #problems > 0 then return failure.configuration end
  for _, path in ipairs(only_compiled) do
    print(path .. ": only compiled, since it doesn't end with return { ... }")
  end
  print(("%d script%s checked, nothing wrong"):format(#paths, #paths == 1 and "" or "s"))
  return 0
end
