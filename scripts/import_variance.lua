-- Record the variance of the newest reset: goods that left without the POS knowing.
local settings = require "settings"
local variance = require "tallyman.variance"

---@type tallyman.Job
return {
  name = "import_variance",
  after = { "import_reset" },
  wait = "1h",
  anyway = true,                       -- without that reset it is held, or settles an overdue cycle
  latest = "07:00",
  takes = { "--dry-run" },

  run = function(night)
    local exchange <close> = night:exchange()
    local oms <close> = night:oms()
    local cycle = oms:newest_cycle()
    local tonight = cycle and cycle.business_date == night.date
    if not cycle then night:hold "no reset was ever applied: nothing is booked" end
    if cycle.settled_at and not tonight then
      night:afterwards("not archived", variance.archive, night, oms, exchange, cycle)
      night:hold "no reset was applied tonight: nothing is booked"
    end

    local figures
    if cycle.settled_at then
      figures = variance.settled(cycle)
    else
      local overdue = night:now() >= cycle.reset_at + settings.variance.deadline
      if not tonight and not overdue then
        night:hold("no reset was applied tonight; cycle %d waits for its deadline", cycle.cycle_id)
      end
      local file = variance.file_of(exchange, settings, cycle)
      local spoiled = file and overdue and variance.spoiled(oms, exchange, file)
      if spoiled then
        night:alert("the variance file can't be used: %s", spoiled)
        file = nil
      end
      if not file and not overdue then
        night:hold("the variance file of cycle %d isn't there yet", cycle.cycle_id)
      end
      figures = variance.settle(night, oms, exchange, cycle, file)
      if not file then
        night:alert("cycle %d was settled without its variance file: the deadline is past",
          cycle.cycle_id)
      end
    end

    night:afterwards("not archived", variance.archive, night, oms, exchange,
      oms:newest_cycle() or cycle)
    return figures
  end,
}
