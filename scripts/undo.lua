-- Take a cycle back: tallyman scripts/undo.lua CYCLE --reason TEXT
local failure = require "tallyman.failure"
local undo = require "tallyman.undo"

---@type tallyman.Job
return {
  name = "undo",
  takes = { "CYCLE", "--reason", "--dry-run" },

  run = function(night)
    local given = night.options.CYCLE
    local number = given:match "^%d+$" and math.tointeger(tonumber(given))
    if not number then
      failure.raise(failure.usage, "'%s' is no cycle's number; the report gives them",
        given)
    end
    if not night.options.reason then failure.raise(failure.usage, "undo wants --reason TEXT") end
    local oms <close> = night:oms()
    return undo.apply(night, oms, number, night.options.reason)
  end,
}
