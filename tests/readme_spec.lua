--- The README's commands, run as written; and the lines that it says to edit, found where it says.
local host = require "native.host"
local process = require "tests.support.process"
local testing = require "tallyman.testing"

local ROOT = host.library:match "^(.*)/[^/]*$"
local README = process.read(ROOT .. "/README.md")

after_each(process.clean)

local function blocks(language)
  local found = {}
  for block in README:gmatch("\n```" .. language .. "\n(.-)\n```") do found[#found + 1] = block end
  return found
end

for _, block in ipairs(blocks "sh") do
  -- The set-up itself is what runs this spec.
  if not block:match "^make demo" then
    it("runs: " .. block:match "^[^\n]*", function()
      local shop = process.folder() .. "/shop"
      local commands = block:gsub("/tmp/shop", shop)
      local result = process.run { "sh", "-eux", "-c", "unset MAKEFLAGS MAKELEVEL\n" .. commands,
        cwd = ROOT }
      assert.equal(0, result.code, result.err)
    end)
  end
end

it("shows lines that stand in the scripts", function()
  local scripts = process.must("sh", "-c", "cat " .. ROOT .. "/scripts/*.lua")
  local shown = 0
  for _, block in ipairs(blocks "lua") do
    if not block:find "\n" and not block:find "VAR_FOUND" then
      shown = shown + 1
      assert.truthy(scripts:find("\n" .. block .. "\n", 1, true), block)
    end
  end
  assert.equal(3, shown)
end)

it("changes the variance rule by the line that it shows", function()
  local edited
  for _, block in ipairs(blocks "lua") do
    if block:find "VAR_FOUND" and not block:find "\n" then edited = block end
  end
  local settings = process.read(ROOT .. "/scripts/settings.lua")
  local changed, count = settings:gsub("    movement = [^\n]*", function() return edited end)
  assert.equal(1, count)
  local folder = process.folder()
  process.write(folder .. "/settings.lua", changed)
  local result = process.tallyman("check", folder .. "/settings.lua")
  assert.equal(0, result.code, result.out)
end)

it("leaves out rows by the function that it shows", function()
  local edited
  for _, block in ipairs(blocks "lua") do if block:find "each = " then edited = block end end
  local script = process.read(ROOT .. "/scripts/filter_inventory.lua")
  local changed, count = script:gsub("      { key = [^\n]*", function() return edited end)
  assert.equal(1, count)
  local folder = process.folder()
  local path = process.write(folder .. "/filter_inventory.lua", changed)
  process.write(folder .. "/settings.lua", process.read(ROOT .. "/scripts/settings.lua"))
  local world <close> = testing.world { now = "2026-11-24 01:30:00",
    keys = { active_products = { "SKU|A1" } } }
  world.exchange:put("inbound/ResetInventory_20261123_220000.csv.done", "")
  world.exchange:put("inbound/ResetInventory_20261123_220000.csv",
    "LOCATIONSEQID,idType,idValue,availableQty\nA,SKU,A1,5\nDAMAGED,SKU,A1,7\nDAMAGED,SKU,B,7\n")
  local outcome = world:run(path)
  assert.equal("done", outcome.state, outcome.message)
  assert.equal("LOCATIONSEQID,idType,idValue,availableQty\nA,SKU,A1,5\n",
    world:read "filtered/ResetInventoryActive_20261123T220000Z.csv")
end)
