-- A small random number generator (splitmix64). One of our own, because the same seed must make
-- the same retailer everywhere, whoever else in the process asks math.random for numbers.

---@class retailer.Random
---@field private state integer
local Random = {}
Random.__index = Random

---A generator that starts from `seed`.
---@param seed integer
---@return retailer.Random
function Random.new(seed)
  return setmetatable({ state = seed }, Random)
end

---The next 64 bits.
---@return integer
function Random:next()
  self.state = self.state + 0x9E3779B97F4A7C15
  local bits = self.state
  bits = (bits ~ (bits >> 30)) * 0xBF58476D1CE4E5B9
  bits = (bits ~ (bits >> 27)) * 0x94D049BB133111EB
  return bits ~ (bits >> 31)
end

---A generator of its own for one part of the work: what that part draws moves no other part.
---@return retailer.Random
function Random:fork()
  return Random.new(self:next())
end

---A whole number between `low` and `high`, both included.
---@param low integer
---@param high integer
---@return integer
function Random:between(low, high)
  return low + (self:next() >> 1) % (high - low + 1)
end

---True in about `count` of a thousand calls.
---@param count integer
---@return boolean
function Random:permille(count)
  return self:between(1, 1000) <= count
end

---One element of a list.
---@generic T
---@param list T[]
---@return T
function Random:pick(list)
  return list[self:between(1, #list)]
end

---A shuffled copy of a list.
---@generic T
---@param list T[]
---@return T[]
function Random:shuffled(list)
  local copy = table.move(list, 1, #list, 1, {})
  for last = #copy, 2, -1 do
    local other = self:between(1, last)
    copy[last], copy[other] = copy[other], copy[last]
  end
  return copy
end

return Random
