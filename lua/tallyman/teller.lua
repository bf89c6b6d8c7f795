--- Tells somebody: by a command, by a webhook; and lets an outside watchman know of each good
--- night. What there is to tell stands in the store. Several things go in one message, messages
--- keep a pause between them, and what isn't mended is told again, but not often.
local clock = require "tallyman.clock"
local errand = require "tallyman.errand"
local events = require "tallyman.events"
local host = require "native.host"
local processes = require "tallyman.processes"
local secrets = require "tallyman.secrets"
local time = require "tallyman.time"
local unicode = require "tallyman.unicode"
local validate = require "tallyman.validate"

---@class tallyman.Teller
---@field flow string
---@field path string of the flow's script
---@field store tallyman.Store
---@field settings table settings.tell
---@field webhook? string URL
---@field ping? string URL
---@field proven? { event_id: integer, good: boolean } the night whose report has been run
---@field zone? string
---@field errands table<string, tallyman.Errand>
---@field last table<string, number> when each channel has told something
local Teller = {}
Teller.__index = Teller

local OLD = 86400 -- seconds after which nobody wants to be told any more
local UNPROVEN = 70 -- the report's exit code when the proof fails
local REPORT_LIMIT = 3600 -- seconds that a report may take
local TRIES = 4 -- failures of a report in a row, seven minutes, after which somebody is told

--- What a message's subject says of events that are the night's as a whole.
local OF_NIGHT = { proof = "the proof of the night fails", unproven = "the night can't be proven" }

-- ---- messages ----

--- A message's subject and text.
local function compose(self, list, again)
  local first = list[1]
  local subject = ("%s on %s: %s%s%s"):format(self.flow, processes.host(), again and "still " or "",
    OF_NIGHT[first.kind] or first.job .. " " .. first.kind,
    #list > 1 and (" and %d more"):format(#list - 1) or "")
  local lines = {}
  for i, event in ipairs(list) do
    lines[i] = ("%s %s %s: %s (night of %s)"):format(
      time.text(time.read(event.happened_at), self.zone),
      event.job ~= "" and event.job or self.flow, event.kind, event.text, event.night)
  end
  lines[#lines + 1] = ("\nSee: tallyman %s status, and: tallyman %s report %s"):format(self.path,
    self.path, first.night)
  return subject, table.concat(lines, "\n") .. "\n"
end

--- A command's words, with the subject in them.
local function with_subject(words, subject)
  local command = {}
  for i, word in ipairs(words) do
    command[i] = word:gsub("{subject}", (subject:gsub("%%", "%%%%")))
  end
  return command
end

--- A webhook's body.
local function body_of(self, list, subject, text)
  local told = {}
  for i, event in ipairs(list) do
    told[i] = { job = event.job, kind = event.kind, text = event.text, night = event.night,
      at = event.happened_at:gsub(" ", "T") .. "Z" }
  end
  return unicode.json { flow = self.flow, host = processes.host(), subject = subject, text = text,
    events = told }
end

--- How each channel sends a message: a command, and what it reads.
local CHANNELS = {
  command = function(self, _, subject, text)
    return with_subject(self.settings.command, subject), { text = text,
      environment = { "TALLYMAN_SUBJECT=" .. subject } }
  end,
  webhook = function(self, list, subject, text)
    local command, request = errand.request(self.webhook, body_of(self, list, subject, text))
    return command, { text = request }
  end,
}

-- ---- channels ----

--- What a channel is to tell of now, and whether it has been told before; and when that changes.
local function due(self, channel, now)
  local list = events.untold(self.store, self.flow, channel, now - OLD)
  local pause = (self.last[channel] or 0) + validate.seconds(self.settings.pause)
  if #list > 0 then return now >= pause and list or nil, false, pause end
  local again = self.settings.again and validate.seconds(self.settings.again)
  local troubles = again and events.troubles(self.store, self.flow, now - OLD) or {}
  if #troubles == 0 then return nil, false, nil end
  local told = 0
  for _, event in ipairs(troubles) do
    told = math.max(told, time.read(event[channel .. "_at"]))
  end
  return now >= told + again and troubles or nil, true, told + again
end

--- Lets a channel tell what there is; gives when to look again.
local function use(self, channel, now)
  if not self.settings.command and channel == "command" then return nil end
  if not self.webhook and channel == "webhook" then return nil end
  local send = self.errands[channel]
  local list, again, at = due(self, channel, now)
  if not list or not send:is_free(now) then return send:look(now) or (not list and at) or nil end
  local command, options = CHANNELS[channel](self, list, compose(self, list, again))
  function options.done(ended)
    events.mark(self.store, list, channel, ended)
    self.last[channel] = ended
  end
  send:send(now, command, options)
  return send:look(now)
end

-- ---- the night's end ----

--- Marks a night as closed.
local function closed(self, night, now)
  events.mark(self.store, { night }, "webhook", now)
  self.proven = nil
end

--- Tells the outside watchman that a night was good.
local function ping(self, night, now)
  if not self.proven.good or not self.ping then return closed(self, night, now) end
  local command, request = errand.request(self.ping)
  self.errands.ping:send(now, command, { text = request, done = function(ended)
    closed(self, night, ended)
  end })
end

--- Proves a night by its report, which goes to the log.
local function prove(self, night, now)
  self.errands.report:send(now, { host.executable, self.path, "report", night.night }, {
    environment = clock.is_set() and { "TALLYMAN_NOW=" .. time.iso(clock.now()) } or nil,
    limit = REPORT_LIMIT,
    fine = function(status) return status == UNPROVEN end,
    done = function(ended, status)
      self.proven = { event_id = night.event_id, good = night.kind == "good" and status == 0 }
      if status ~= UNPROVEN then return end
      events.add_of_night(self.store, self.flow, night.night, ended, "proof",
        "it doesn't come out: the night's report names the pairs")
    end,
    failed = function(ended, why, failures)
      if failures < TRIES then return end
      events.add_of_night(self.store, self.flow, night.night, ended, "unproven",
        "its report can't be run: " .. why)
    end })
end

--- Proves a night that is over, then pings; gives when to look again. One for which that doesn't
--- work for a day doesn't keep the nights after it waiting.
local function close_night(self, now)
  local report, pinging = self.errands.report, self.errands.ping
  local night = report:is_free(now) and pinging:is_free(now)
    and events.closed_night(self.store, self.flow, now - OLD)
  if night and self.proven and self.proven.event_id == night.event_id then
    ping(self, night, now)
  elseif night then
    prove(self, night, now)
  end
  return math.min(report:look(now) or math.huge, pinging:look(now) or math.huge)
end

--- Does what there is to do; gives when to look again.
---@param now number
---@return number
function Teller:work(now)
  return math.min(use(self, "command", now) or math.huge, use(self, "webhook", now) or math.huge,
    close_night(self, now) or math.huge)
end

--- Looks after what runs, and begins nothing; gives when to look again.
---@param now number
---@return number
function Teller:attend(now)
  local at = math.huge
  for _, one in pairs(self.errands) do at = math.min(at, one:look(now) or math.huge) end
  return at
end

--- Takes in that a process has ended; whether it was one of these.
---@param pid integer
---@param status? integer
---@param now number
---@return boolean
function Teller:ended(pid, status, now)
  for _, one in pairs(self.errands) do
    if one:ended(pid, status or 1, now) then return true end
  end
  return false
end

--- Takes settings over. Raises (78) where a secret that they name can't be read.
---@param settings tallyman.Settings
---@param zone? string
function Teller:configure(settings, zone)
  self.settings, self.zone = settings.tell, zone
  self.webhook = secrets.find("TALLYMAN_WEBHOOK", self.settings.webhook_file, "webhook")
  self.ping = secrets.find("TALLYMAN_PING", self.settings.ping_file, "ping")
end

local teller = {}

--- Makes one, which must be configured then.
---@param fields table flow, path, store, watch
---@return tallyman.Teller
function teller.new(fields)
  fields.last, fields.errands = {}, {}
  for name, purpose in pairs { command = "tell by the command", webhook = "tell by the webhook",
    ping = "ping", report = "prove the night" } do
    fields.errands[name] = errand.new(purpose, fields.flow, fields.watch)
  end
  return setmetatable(fields, Teller)
end

return teller
