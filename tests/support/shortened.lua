--- Nights of the shipped scripts, shortened to seconds, in the shop of the worked example.
local process = require "tests.support.process"
local site = require "tests.support.site"

local EXAMPLE = process.root .. "/examples/worked_example/"

-- The night's hours as seconds, and some minutes to be done.
local TIMES = { active_products = { '"01:00"', '"01:00:02"', '"03:00"', '"01:05"' },
  filter_inventory = { '"01:30"', '"01:00:04"', '"04:00"', '"01:05"' },
  export_variance = { '"01:30"', '"01:00:04"', '"04:00"', '"01:05"' },
  import_reset = { '"02:00"', '"01:00:06"', '"06:00"', '"01:06"' },
  import_variance = { '"1h"', '"3s"', '"07:00"', '"01:07"' } }

local shortened = {
  file = process.read(EXAMPLE .. "ResetInventory_20261123_220000.csv"),
  jobs = { "active_products", "filter_inventory", "export_variance", "import_reset",
    "import_variance" },
  counts = "10 10 5 8 8 5", -- by facility and product, in the end
}

--- The shop at a site of its own.
---@param oms? string URL of the OMS's database, which has its tables; SQLite
---@return test.Site
function shortened.new(oms)
  local made = site.new()
  made.env.TALLYMAN_OMS = oms or made.env.TALLYMAN_OMS
  local opened <close> = made:oms()
  opened:script(process.read(EXAMPLE .. "oms.sql"))
  return made
end

--- Changes a site's own script.
---@param at test.Site
---@param name string
---@param from string pattern
---@param to string
function shortened.edit(at, name, from, to)
  local path = ("%s/%s.lua"):format(at.scripts, name)
  local text, count = process.read(path):gsub(from, to, 1)
  assert(count == 1, name .. ": " .. from)
  process.write(path, text)
end

--- Lets the site have scripts of its own whose night takes seconds.
---@param at test.Site
---@param settings string
function shortened.shorten(at, settings)
  at:own_scripts(settings)
  for name, times in pairs(TIMES) do
    shortened.edit(at, name, times[1], times[2])
    shortened.edit(at, name, times[3], times[4])
  end
  shortened.edit(at, "nightly", 'flow = "nightly",', 'flow = "nightly", retry = { "1s" },')
end

--- The counts in the OMS.
---@param at test.Site
---@return string
function shortened.counts_of(at)
  local oms <close> = at:oms()
  local texts = {}
  for row in oms:rows [[SELECT facility_id, product_id, SUM({units quantity_on_hand_total}) AS qoh
      FROM inventory_item GROUP BY facility_id, product_id ORDER BY facility_id, product_id]] do
    texts[#texts + 1] = ("%d"):format(row.qoh // 1000000)
  end
  return table.concat(texts, " ")
end

return shortened
