--- What stands behind a job's name on the command line: --json, and what the job's `takes` lists.
local failure = require "tallyman.failure"

local arguments = {}

---@class tallyman.Options
---@field json? boolean
---@field dry_run? boolean
---@field force? string why a refusal is overridden
---@field reason? string
---@field [string] string words, by the names that `takes` gives them: CYCLE

--- Options, and whether a text follows them.
local OPTIONS = {
  ["--json"] = { name = "json" },
  ["--dry-run"] = { name = "dry_run" },
  ["--force"] = { name = "force", text = true },
  ["--reason"] = { name = "reason", text = true },
}

--- A shape's check: something that a job may take.
---@param value string
---@return string?
function arguments.check(value)
  if OPTIONS[value] or value:match "^%u+$" then return nil end
  return ("'%s' is none of --dry-run, --force, --reason or a word in capitals"):format(value)
end

--- The names of words and the options of a job.
local function taken(job)
  local words, options = {}, { ["--json"] = true }
  for _, name in ipairs(job.takes or {}) do
    if OPTIONS[name] then options[name] = true else words[#words + 1] = name end
  end
  return words, options
end

local function usage(job, format, ...)
  local takes = table.concat(job.takes or {}, " ")
  failure.raise(failure.usage, "job %s: %s; it takes --json%s", job.name, format:format(...),
    takes ~= "" and " " .. takes or " and nothing else")
end

--- The text behind an option: a reason, which must say something.
local function text_behind(job, option, text)
  if not text or text:match "^%s*$" or text:match "^%-" then
    usage(job, "%s wants a reason, in words", option)
  end
  if text:find "%c" then usage(job, "the reason of %s must be one line", option) end
  return text
end

--- Reads the words of a command line; raises (64) what the job doesn't take.
---@param job tallyman.Job
---@param given string[]
---@return tallyman.Options
function arguments.parse(job, given)
  local words, options = taken(job)
  local found, at, word = {}, 1, 0
  while at <= #given do
    local text = given[at]
    local option = options[text] and OPTIONS[text]
    if option then
      found[option.name] = not option.text or text_behind(job, text, given[at + 1])
      at = at + (option.text and 1 or 0)
      if option.text then found[option.name] = given[at] end
    else
      word = word + 1
      if text:sub(1, 1) == "-" or not words[word] then usage(job, "'%s' is too much", text) end
      found[words[word]] = text
    end
    at = at + 1
  end
  if word < #words then usage(job, "%s is missing", words[word + 1]) end
  return found
end

return arguments
