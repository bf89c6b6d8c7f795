--- Guards: rules that look at a reset before it is applied. A guard is a function of settings.lua;
--- it gets the figures and gives nil, or a text that says why this file must not become the shop.
local failure = require "tallyman.failure"

local guards = {}

---@class tallyman.ResetFigures what a reset would do
---@field rows integer rows of the filtered file
---@field rejected integer rows rejected by themselves
---@field ignored integer rows of ignored facilities
---@field covered integer pairs
---@field changed integer pairs whose delta isn't 0
---@field created integer inventory items to be made
---@field snapshot integer
---@field file string

--- Asks every guard; the first that refuses raises (3), and nothing has been changed.
---@param night tallyman.Night
---@param figures tallyman.ResetFigures
function guards.ask(night, figures)
  if os.getenv "TALLYMAN_GUARDS" == "off" then
    return night:warn "THE GUARDS ARE OFF by TALLYMAN_GUARDS: no file is refused for its figures"
  end
  for i, guard in ipairs(night.settings.guards) do
    local refusal = guard(figures)
    if refusal then
      failure.raise(failure.refused, "guard %d refuses %s: %s", i, figures.file, refusal)
    end
  end
end

return guards
