-- Keep the inventory rows whose product is sold online.
local settings = require "settings"

---@type tallyman.Job
return {
  name = "filter_inventory",
  at = "01:30",                        -- local time, once a night
  after = { "active_products" },       -- tonight's run must have succeeded
  latest = "04:00",                    -- not done by then: failed, and somebody is told

  run = function(night)
    local active = night:keys "active_products"
    local exchange <close> = night:exchange()
    local inbound = exchange:newest(settings.inbound) -- complete files only
    if not inbound then return night:no_input(settings.inbound) end
    if inbound.note then night:warn("%s", inbound.note) end

    local source <close> = exchange:read(inbound)
    local target <close> = exchange:write(settings.filtered:name(inbound.snapshot))
    local rejects <close> = exchange:write(settings.filter_rejects:name(inbound.snapshot),
      { replace = true, when_any = true })
    local count = night:filter(source, target,
      { key = { "idType", "idValue" }, keep = active, rejects = rejects })
    exchange:check_unchanged(inbound)  -- the POS may have written while we read
    target:verify()                    -- another run's file under this name: nothing is touched
    rejects:commit()                   -- before the target: the import never sees one alone
    target:commit()                    -- a .part until here; any error above leaves no trace

    count.file, count.size, count.mtime = inbound.path, inbound.size, inbound.mtime
    count.made = target.path           -- by it import_reset's guards find these figures
    return count
  end,
}
