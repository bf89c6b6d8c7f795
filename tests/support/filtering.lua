--- Filtering texts and sources in memory, for specs.
local csv = require "native.csv"
local file = require "native.file"

local filtering = {}

filtering.HEADER = "idType,idValue,availableQty,comments\n"
filtering.KEY = { "idType", "idValue" }

--- A key set of a list of keys.
---@param keys string[][]
---@return native.Keyset
function filtering.keyset(keys)
  local set = csv.keyset()
  for _, key in ipairs(keys) do set:add(table.unpack(key)) end
  return set
end

--- Filters from a source into memory: { out, rejects, counts, sha256 }, or { message, code }.
---@param source native.Source
---@param options table those of csv.filter; KEY and rejects unless given; `rejects = false`: none
---@return table
function filtering.run_source(source, options)
  local sink <close> = file.memory()
  local rejects <close> = file.memory()
  local all = { key = filtering.KEY, rejects = rejects }
  for name, value in pairs(options) do all[name] = value end
  if options.rejects == false then all.rejects = nil end
  local counts, message, code = csv.filter(source, sink, all)
  if not counts then return { message = message, code = code } end
  return { out = sink:text(), rejects = rejects:text(), counts = counts, sha256 = sink:sha256() }
end

--- The same for a text.
---@param text string
---@param options table
---@return table
function filtering.run(text, options)
  local source <close> = file.text(text)
  return filtering.run_source(source, options)
end

return filtering
