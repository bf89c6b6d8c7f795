--- The README's commands, run as written; and the lines that it says to edit, found where it says.
local host = require "native.host"
local process = require "tests.support.process"

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
