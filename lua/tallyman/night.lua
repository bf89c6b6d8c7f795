--- What a job's run function gets: the settings, the systems, the night's date, and a place for
--- what should be reported.
local clock = require "tallyman.clock"
local csv = require "native.csv"
local disk_local = require "tallyman.disk_local"
local exchange = require "tallyman.exchange"
local exchange_folder = require "tallyman.exchange_folder"
local failure = require "tallyman.failure"
local file = require "native.file"
local log = require "tallyman.log"
local oms = require "tallyman.oms"
local stat = require "posix.sys.stat"
local preview = require "tallyman.preview"
local time = require "tallyman.time"

---@class tallyman.Places systems in place of those that the settings name: a rehearsal's, a test's
---@field exchange fun(self, run_id: string): tallyman.Exchange
---@field oms fun(self): tallyman.Oms

---@class tallyman.Night
---@field settings tallyman.Settings
---@field date string the morning's date, YYYY-MM-DD
---@field job string
---@field run_id string
---@field store tallyman.Store
---@field warnings string[] for log, store and report
---@field alerts string[] what somebody must be told
---@field make_keys? fun(name: string) runs the job that makes a list of keys
---@field options tallyman.Options what the command line says
---@field dry_run boolean nothing is to be changed
---@field force? string why a refusal is to be overridden
---@field forced string[] what was overridden
---@field guards_off? string[] guards that weren't asked
---@field previewed? tallyman.Oms a dry run's only one
---@field places? tallyman.Places
local Night = {}
Night.__index = Night

--- Seconds since 1970-01-01 UTC.
---@return number
function Night:now() return clock.now() end

--- The exchange that the settings name. Close it: `local exchange <close> = night:exchange()`.
---@return tallyman.Exchange
function Night:exchange()
  if self.places then return self.places:exchange(self.run_id) end
  local opened = exchange.open(self.settings.exchange, self.run_id, self.settings)
  return self.dry_run and preview.exchange(opened) or opened
end

--- The order system's database. Close it, too.
---@return tallyman.Oms
function Night:oms()
  if self.places then return self.places:oms() end
  if not self.dry_run then return oms.open(self.settings) end
  self.previewed = self.previewed or preview.oms(self.settings)
  return self.previewed
end

--- Lets a refusal pass where an operator ordered it with a reason; history and report keep both.
---@param what string
---@return boolean passes
function Night:override(what)
  if not self.force then return false end
  self.forced[#self.forced + 1] = what
  log.warn(self.job, ("FORCED (%s): %s"):format(self.force, what))
  return true
end

--- Says something that the report should repeat.
---@param format string
---@param ... any
function Night:warn(format, ...)
  local text = select("#", ...) > 0 and format:format(...) or format
  self.warnings[#self.warnings + 1] = text
  log.warn(self.job, text)
end

--- Says something that somebody must be told.
---@param format string
---@param ... any
function Night:alert(format, ...)
  local text = format:format(...)
  self.alerts[#self.alerts + 1] = text
  log.error(self.job, "ALERT: " .. text)
end

--- Does what comes after the work proper: when the world is in its way, that is an alert, and the
--- run has succeeded all the same.
---@param what string
---@param work function
---@param ... any its arguments
function Night:afterwards(what, work, ...)
  if self.dry_run then return end
  local ok, wrong, trace = failure.catch(work, ...)
  if ok then return end
  local code = failure.code(wrong)
  if code < failure.usage or code >= 128 then error(trace or wrong, 0) end
  self:alert("%s: %s", what, tostring(wrong))
end

--- Ends the run as held (75): nothing is wrong, something isn't there yet.
---@param format string
---@param ... any
function Night:hold(format, ...) failure.raise(failure.try_again, format, ...) end

--- Ends a run that found no input: done when tonight's reset is applied, else held (75).
---@param pattern tallyman.Stamped|tallyman.Inbound what was looked for
---@return table figures
function Night:no_input(pattern)
  local orders <close> = self:oms()
  local cycle = orders:newest_cycle()
  if cycle and cycle.business_date == self.date then
    return { already = ("nothing to do: tonight's reset (cycle %d) is applied")
      :format(cycle.cycle_id) }
  end
  self:hold("no input: no complete file %s/%s in the exchange", pattern.folder,
    pattern.glob or pattern.template)
end

--- A file on the platform's own disk, readable by its own user alone, that keys() finds again.
---@param name string
---@return tallyman.Target
function Night:keep(name)
  local disk = exchange_folder.open(self.settings.state, disk_local, self.settings.state,
    self.run_id)
  return disk:write(("keys/%s.csv"):format(name), { replace = true, mode = 384 }) -- 0600
end

--- The keys that a job kept (columns idType and idValue). A list that this host's disk doesn't have
--- is made again first.
---@param name string name of that job
---@return native.Keyset
function Night:keys(name)
  local path = ("%s/keys/%s.csv"):format(self.settings.state, name)
  if not stat.stat(path) then
    if not self.make_keys then
      failure.raise(failure.no_input, "%s is missing; run the job %s", path, name)
    end
    self:warn("%s is missing; running the job %s first", path, name)
    self.make_keys(name)
  end
  local made = self.store:last(name)
  if made and made.night ~= self.date then
    self:warn("the list %s is that of the night of %s", path, made.night)
  end
  local source <close> = failure.check(file.source(path))
  return failure.check(csv.keys(source, { "idType", "idValue" }))
end

---@class tallyman.FilterOptions
---@field key string[] one or two column names (as settings.columns maps them)
---@field keep native.Keyset
---@field rejects? tallyman.Target gets the records that are broken by themselves
---@field each? fun(row: native.Row, line: integer): boolean? sees each row that is to be kept;
--- `false` leaves it out

--- Filters a source into a target; gives the counts.
---@param source native.Source
---@param target tallyman.Target
---@param options tallyman.FilterOptions
---@return table counts read, kept, left_out, rejected, bytes, ...; the source's fingerprint
function Night:filter(source, target, options)
  local key = {}
  for i, column in ipairs(options.key) do key[i] = self.settings.columns[column] or column end
  local counts = failure.check(csv.filter(source, target.sink, {
    key = key, keep = options.keep, rejects = options.rejects and options.rejects.sink,
    each = options.each, max_record = self.settings.max_record, progress = log.progress(self.job),
  }))
  counts.fingerprint = source:fingerprint()
  if counts.rejected > 0 then
    self:warn("%d broken records were rejected", counts.rejected)
  end
  if counts.broken_left_out > 0 then
    self:warn("%d broken records of products that aren't active were left out",
      counts.broken_left_out)
  end
  return counts
end

--- The first date that the archives keep.
---@return string YYYY-MM-DD
function Night:keep_from()
  return time.text(self:now() - self.settings.keep_days * 86400):sub(1, 10)
end

local night = {}

--- Makes a night for one run.
---@param fields table settings, job, store, run_id, date, options
---@return tallyman.Night
function night.new(fields)
  local options = fields.options or {}
  fields.options, fields.warnings, fields.alerts, fields.forced = options, {}, {}, {}
  fields.dry_run, fields.force = options.dry_run == true, options.force
  return setmetatable(fields, Night)
end

return night
