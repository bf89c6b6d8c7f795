--- Flows of small scripts, kept by real processes through shortened nights, seconds apart.
local process = require "tests.support.process"
local store = require "tallyman.store"
local time = require "tallyman.time"

local START = time.read "2026-11-24 01:00:00"

local flows = {}

--- A new flow in a folder of its own: functions that write its scripts, run it and look at it.
---@return table
function flows.new()
  local self = { folder = process.folder(), began = os.time() }
  local folder = self.folder

  --- Writes a script.
  function self.script(name, text) process.write(folder .. "/" .. name .. ".lua", text) end

  --- Writes a job that appends "begin NAME" and "end NAME" to a file, with `body` in between.
  function self.job(name, fields, body)
    self.script(name, ([[return { name = "%s", %s run = function(night)
      local function say(word)
        local log <close> = assert(io.open("%s/ran", "a"))
        log:write(word, " %s\n")
      end
      say "begin"
      %s
      say "end"
    end }]]):format(name, fields, folder, name, body or ""))
  end

  --- Writes the flow.
  function self.night(jobs, more)
    local names = {}
    for i, name in ipairs(jobs) do names[i] = ('"%s"'):format(name) end
    self.script("night", ("return { flow = 'night', jobs = { %s }, %s }"):format(
      table.concat(names, ", "), more or "retry = { '1s' }"))
  end

  --- Writes the settings.
  function self.settings(more)
    self.script("settings", ([[return require "tallyman.settings" { state = "%s/state",
      exchange = "file://%s", timezone = "UTC", oms = { database = "sqlite:%s/oms.db" }, %s }]])
      :format(folder, folder, folder, more or ""))
  end

  --- What the jobs have written.
  function self.ran() return process.read(folder .. "/ran") or "" end

  --- The environment: the flow's clock goes on where it was.
  local function environment(more)
    local env = { TALLYMAN_NOW = time.iso(START + os.difftime(os.time(), self.began)) }
    for name, value in pairs(more or {}) do env[name] = value end
    return env
  end

  --- Starts to keep the flow.
  function self.keep(more)
    return process.start { process.host, folder .. "/night.lua", env = environment(more) }
  end

  --- Runs one of the flow's verbs.
  function self.verb(...)
    return process.tallyman(folder .. "/night.lua", ..., { env = environment() })
  end

  --- State of each job's newest occurrence, "done" or "failed (2)" after two attempts.
  function self.states()
    local history <close> = store.open(folder .. "/state")
    local found = {}
    for row in history.db:rows "SELECT * FROM occurrence ORDER BY night, turn" do
      found[row.job] = row.attempts == 1 and row.state
        or ("%s (%d)"):format(row.state, row.attempts)
    end
    return found
  end

  self.settings()
  return self
end

--- Waits until a process has written a text.
---@param child test.Child
---@param text string
function flows.shows(child, text)
  assert(process.eventually(function() return child:err():find(text, 1, true) end, 30),
    text .. "\nis missing in\n" .. child:err())
end

return flows
