--- A random number generator that gives the same numbers for the same seed on every host.
--- Lua's own would do, but it is one for the whole process and anybody may seed it.

---@class model.Rng
---@field private state integer
local Rng = {}
Rng.__index = Rng

-- The mixing of splitmix64.
local function mix(z)
  z = (z ~ (z >> 30)) * 0xBF58476D1CE4E5B9
  z = (z ~ (z >> 27)) * 0x94D049BB133111EB
  return z ~ (z >> 31)
end

---@param seed integer neighbours have nothing to do with each other
---@return model.Rng
local function new(seed) return setmetatable({ state = mix(seed * 0x1234567) }, Rng) end

function Rng:bits()
  self.state = self.state + 0x9E3779B97F4A7C15
  return mix(self.state)
end

--- A whole number from low to high, both included.
---@param low integer
---@param high integer
---@return integer
function Rng:int(low, high)
  return low + (self:bits() >> 1) % (high - low + 1)
end

--- True in `percent` of a hundred cases.
---@param percent integer
---@return boolean
function Rng:chance(percent)
  return self:int(1, 100) <= percent
end

--- One of the elements of a list.
---@generic T
---@param list T[]
---@return T
function Rng:pick(list)
  return list[self:int(1, #list)]
end

--- One of the names of a list of { name, weight } pairs, as often as its weight says.
---@param list table[]
---@return any
function Rng:weighted(list)
  local sum = 0
  for _, entry in ipairs(list) do sum = sum + entry[2] end
  local at = self:int(1, sum)
  for _, entry in ipairs(list) do
    at = at - entry[2]
    if at <= 0 then return entry[1] end
  end
end

--- Puts the list into another order, in place.
---@generic T
---@param list T[]
---@return T[]
function Rng:shuffle(list)
  for i = #list, 2, -1 do
    local j = self:int(1, i)
    list[i], list[j] = list[j], list[i]
  end
  return list
end

return { new = new }
