--- Flows of small scripts, kept by real processes through shortened nights, seconds apart.
local process = require "tests.support.process"
local store = require "tallyman.store"
local time = require "tallyman.time"

local START = time.read "2026-11-24 01:00:00"

local flows = {}

--- A command as another host's: one of that name, as far as it can see.
---@param name? string
---@param command test.Command
---@return test.Command
function flows.on_host(name, command)
  if not name then return command end
  return { env = command.env, "unshare", process.is_root and "-u" or "-Uru", "sh", "-c",
    'hostname "$0" && exec "$@"', name, table.unpack(command) }
end

--- A new flow in a folder of its own: functions that write its scripts, run it and look at it.
---@param store_url? string PostgreSQL's, where its hosts share the store
---@return table
function flows.new(store_url)
  local self = { folder = process.folder(), store_url = store_url }
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
      exchange = "file://%s", timezone = "UTC", oms = { database = "sqlite:%s/oms.db", lease = 2 },
      store = %s, %s }]]):format(folder, folder, folder,
      store_url and ("%q"):format(store_url) or "nil", more or ""))
  end

  --- What the jobs have written.
  function self.ran() return process.read(folder .. "/ran") or "" end

  --- The environment: the flow's clock goes on where it was; it begins with the flow.
  local function environment(more)
    self.began = self.began or os.time()
    local env = { TALLYMAN_NOW = time.iso(START + os.difftime(os.time(), self.began)) }
    for name, value in pairs(more or {}) do env[name] = value end
    return env
  end

  --- Starts to keep the flow, perhaps on another host.
  function self.keep(more, host)
    if not self.kept then self.kept, self.began = true, nil end
    return process.start(flows.on_host(host, { process.host, folder .. "/night.lua",
      env = environment(more) }))
  end

  --- Runs one of the flow's verbs.
  function self.verb(...)
    local words = { ... }
    words[#words + 1] = { env = environment() }
    return process.tallyman(folder .. "/night.lua", table.unpack(words))
  end

  --- State of each job's newest occurrence, "done" or "failed (2)" after two attempts.
  function self.states()
    local history <close> = store.open(folder .. "/state", store_url)
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
  assert(process.eventually(function() return child:err():find(text, 1, true) end, 60),
    text .. "\nis missing in\n" .. child:err())
end

return flows
