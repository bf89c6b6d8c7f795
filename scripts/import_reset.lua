-- Reset the OMS's inventory to the filtered file, once.
local settings = require "settings"
local reset = require "tallyman.reset"

---@type tallyman.Job
return {
  name = "import_reset",
  at = "02:00",
  after = { "filter_inventory" },
  latest = "06:00",
  takes = { "--dry-run", "--force" },

  run = function(night)
    local exchange <close> = night:exchange()
    local oms <close> = night:oms()
    local filtered = exchange:newest(settings.filtered)
    if not filtered then return night:no_input(settings.filtered) end

    local figures = reset.apply(night, oms, exchange, filtered) -- one transaction, or nothing
    night:afterwards("not archived", reset.archive, night, exchange, filtered.snapshot)
    return figures
  end,
}
