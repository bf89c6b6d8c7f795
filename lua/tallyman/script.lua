--- Scripts as data: loading a job or flow from its file, and checking its shape.
local failure = require "tallyman.failure"
local file = require "native.file"
local flow = require "tallyman.flow"
local job = require "tallyman.job"
local settings = require "tallyman.settings"
local suggest = require "tallyman.suggest"
local validate = require "tallyman.validate"

local script = {}

--- The folder that a script stands in.
---@param path string
---@return string
function script.folder(path) return path:match "^(.*)/[^/]*$" or "." end

--- Whether a table that a script returned is meant as a job: some field is a job's, or nearly so.
---@param value table
---@return boolean
function script.is_job(value)
  local fields = validate.names_of(job.shape.fields)
  for name in pairs(value) do
    if job.shape.fields[name] or suggest(tostring(name), fields) ~= "" then return true end
  end
  return false
end

--- Whether a table that a script returned is meant as a flow.
---@param value table
---@return boolean
function script.is_flow(value) return value.flow ~= nil or value.jobs ~= nil end

--- The problems of a table that a script returned.
---@param value table
---@param path string the script
---@return string[]
function script.problems(value, path)
  local shape = script.is_flow(value) and flow.shape or job.shape
  return validate.problems(value, shape, validate.place(path))
end

--- Raises all problems of a table that a script returned, as one failure (78).
---@param value table
---@param path string
function script.check(value, path)
  local problems = script.problems(value, path)
  if #problems > 0 then failure.raise(failure.configuration, "%s", table.concat(problems, "\n")) end
end

--- Compiles a script. Lua shortens long paths in its messages; people need them whole.
---@param path string
---@return function? chunk, string? message "path:line: text"
function script.compile(path)
  local chunk, message = loadfile(path, "t")
  if chunk then return chunk end
  local line, text = message:match ":(%d+): (.*)$"
  return nil, line and ("%s:%s: %s"):format(path, line, text) or message
end

--- Loads the job that stands in a file.
---@param path string
---@return tallyman.Job
function script.load_job(path)
  local chunk, message = script.compile(path)
  if not chunk then failure.raise(failure.configuration, "%s", message) end
  local value = chunk()
  if type(value) ~= "table" then
    failure.raise(failure.configuration, "%s: returns no job table", path)
  end
  script.check(value, path)
  return value
end

--- Loads the settings.lua beside the script (the script's folder is on the search path): what
--- `require "settings"` does in this host.
---@return tallyman.Settings
function script.load_settings()
  local path = package.searchpath("settings", package.path)
  if not path then
    failure.raise(failure.configuration, "there is no settings.lua beside the script")
  end
  local chunk, message = script.compile(path)
  if not chunk then failure.raise(failure.configuration, "%s", message) end
  return chunk()
end

--- The settings that jobs and flows run with: those beside the script, made by tallyman.settings.
---@return tallyman.Settings
function script.settings()
  local found = require "settings"
  if not settings.is(found) then
    failure.raise(failure.configuration,
      "%s: must be: return require \"tallyman.settings\" { ... }",
      package.searchpath("settings", package.path))
  end
  return found
end

--- Lets go of the modules that stand beside the scripts, so that they are loaded anew.
local function forget_modules(folder)
  local places = folder .. "/?.lua;" .. folder .. "/?/init.lua"
  for name in pairs(package.loaded) do
    if package.searchpath(name, places) then package.loaded[name] = nil end
  end
end

--- Loads a flow, its jobs and its settings, as they are now.
---@param path string
---@return table loaded flow, jobs by name, settings
function script.load_flow(path)
  package.loaded.settings = nil
  forget_modules(script.folder(path))
  local chunk, message = script.compile(path)
  if not chunk then failure.raise(failure.configuration, "%s", message) end
  local value = chunk()
  if type(value) ~= "table" or not script.is_flow(value) then
    failure.raise(failure.configuration, "%s: returns no flow table", path)
  end
  script.check(value, path)
  value.retry = value.retry or flow.RETRY
  local loaded = { flow = value, jobs = {}, settings = script.settings() }
  for _, name in ipairs(value.jobs) do
    loaded.jobs[name] = script.load_job(("%s/%s.lua"):format(script.folder(path), name))
  end
  flow.check_jobs(value, loaded.jobs, script.folder(path))
  return loaded
end

--- The SHA-256 of a script as it is now; nil where it can't be read.
---@param path? string
---@return string?
function script.fingerprint(path)
  local handle <close> = path and io.open(path, "rb")
  local text = handle and handle:read "a"
  if not text then return nil end
  local sink <close> = failure.check(file.memory())
  failure.check(sink:write(text))
  return sink:sha256()
end

--- What jobs beside this one run in: the settings, the fingerprints of both, and a way to make a
--- list that is missing.
---@param path string a script of the same folder
---@return table context
function script.context(path)
  local context = { settings = script.settings(), fingerprints = {
    script = script.fingerprint(path),
    settings = script.fingerprint(package.searchpath("settings", package.path)) } }
  function context.make_keys(name)
    local other = script.load_job(("%s/%s.lua"):format(script.folder(path), name))
    local outcome = job.run(other, context)
    if outcome.code ~= 0 then failure.raise(outcome.code, "%s: %s", name, outcome.message) end
  end
  return context
end

return script
