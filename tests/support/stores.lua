--- Nights of a shop with twenty products at one store, for specs about whole files: guards, force,
--- undo. Product "Pi" has the SKU "Si" and stands at 10/10.
local night = require "tests.support.night"

local stores = {}

local HEADER = "facilityId,locationSeqId,idType,idValue,availableQty,comments\n"
local COUNT = 20

--- Every shipped guard switched off, but for those given.
---@param guards table
---@return table settings.guards
function stores.only(guards)
  local settings = { line_end = false, rows = false, kept = false, facilities = false, zero = false,
    change = false, age = false, rejects = false }
  for name, limit in pairs(guards) do settings[name] = limit end
  return settings
end

--- The shop; options as tests.support.night has them.
---@param options table
function stores.open(options)
  options.start = false
  local n = night.new(options)
  for i = 1, COUNT do
    n.shop:product("P" .. i, "S" .. i)
    n.shop:item(tostring(1000 + i), "P" .. i, "NY", 10, 10)
  end
  return n
end

--- A file: `count(i)` gives the product's quantity, nil for no row; behind them come rows of
--- products that nobody sells online.
---@param count? fun(i: integer): any 10 each by default
---@param junk? integer rows, 80 by default
---@param more? string further rows
---@return string
function stores.file(count, junk, more)
  local lines = { HEADER }
  for i = 1, COUNT do
    local quantity = not count and 10 or count and count(i)
    if quantity then lines[#lines + 1] = ("NY,,SKU,S%d,%s,\n"):format(i, quantity) end
  end
  lines[#lines + 1] = more
  lines[#lines + 1] = ("NY,,SKU,X,1,\n"):rep(junk or 80)
  return table.concat(lines)
end

--- A count function: the first so many products have one quantity, the others another.
---@return fun(i: integer): any
function stores.first(many, quantity, others)
  return function(i) if i <= many then return quantity end return others end
end

--- A night with a good file, through to its variance; then the next begins.
---@param text? string
function stores.good_night(n, text)
  n:upload_text("22:00", text or stores.file())
  local outcome = n:reset()
  assert(outcome.code == 0, outcome.message)
  assert(n:variance().code == 0)
  n:next_day()
end

--- Uploads a file and runs the jobs up to the reset.
function stores.reset(n, text, options, clock)
  n:upload_text("22:00", text)
  return n:reset(clock, options)
end

--- What stands in the OMS: totals, ledger, cycles.
---@return string
function stores.state(n)
  local lines = {}
  for row in n.world.oms:rows [[SELECT inventory_item_id || ' ' || quantity_on_hand_total || '/'
      || available_to_promise_total AS text FROM inventory_item
    UNION ALL SELECT 'ledger row ' || inventory_item_id || '/' || inventory_item_detail_seq_id
      FROM inventory_item_detail
    UNION ALL SELECT 'heading ' || physical_inventory_id FROM physical_inventory
    UNION ALL SELECT 'cycle ' || cycle_id || COALESCE(' ' || CAST(settled_at AS varchar(30)), '')
      FROM tallyman_cycle
    ORDER BY 1]] do lines[#lines + 1] = row.text end
  return table.concat(lines, "\n")
end

--- The report of a night.
---@param date string
---@return string
function stores.report(n, date)
  local jobs = { "filter_inventory", "import_reset", "import_variance" }
  local flow = { flow = "nightly", jobs = jobs }
  return (require "tallyman.report".text(flow, n.world.settings, date))
end

return stores
