--- Settings: `return require "tallyman.settings" { ... }` is what a settings.lua consists of.
--- Checks every field, fills in defaults, lets the environment override, and makes names into
--- objects.
local copy = require "tallyman.copy"
local failure = require "tallyman.failure"
local names = require "tallyman.names"
local secrets = require "tallyman.secrets"
local time = require "tallyman.time"
local validate = require "tallyman.validate"

local text, optional_text = { type = "string" }, { type = "string|nil" }
local duration = { type = "string|number", check = validate.duration }
local not_negative = { type = "number", check = validate.not_negative }
local positive = { type = "number", check = function(value)
  if math.type(value) ~= "integer" or value < 1 then
    return ("%s must be a whole number from 1 up"):format(value)
  end
end }
local texts = { type = "table", each = { type = "string" } }
local folder_and_stamp = { type = "string", check = function(value)
  if not value:match "^[^/].*/[^/]+STAMP[^/]*$" then
    return ("'%s' must be FOLDER/NAME with STAMP in the name, behind some text"):format(value)
  end
end }

local sessions = { type = "number", check = function(value)
  if math.type(value) ~= "integer" or value < 1 or value > 8 then
    return ("%s must be a whole number from 1 to 8"):format(value)
  end
end }

--- A shape for URLs of certain kinds, of which one is shown as an example.
local function url_like(example, ...)
  local patterns = { ... }
  return { type = "string", check = function(value)
    for _, pattern in ipairs(patterns) do if value:match(pattern) then return nil end end
    return ("'%s' is no %s"):format(secrets.hide(value), example)
  end }
end

--- PostgreSQL's addresses.
local POSTGRES = { "^postgresql://", "^postgres://", "^service=%S+$" }

--- A shape's check: a local time.
local function check_time(value)
  if not time.parts(value) then
    return ("'%s' is no local time; write it as '2026-11-24 00:00'"):format(value)
  end
end

--- A shape's check: one of these words.
local function one_of(...)
  local words = { ... }
  return function(value)
    for _, word in ipairs(words) do if value == word then return nil end end
    if type(value) == "string" then
      return ("'%s' is none of %s"):format(value, table.concat(words, ", "))
    end
  end
end

--- A guard's level: a limit, or `false` where that level is switched off.
local function level(is_limit)
  return { type = "number|string|boolean", check = function(value)
    if value ~= false then return is_limit(value) end
  end }
end

local duration_level = level(validate.duration)
local percent_level = level(function(value)
  if type(value) ~= "number" or value < 0 or value > 100 then
    return ("'%s' is no percentage from 0 to 100, nor false"):format(tostring(value))
  end
end)

--- A guard with limits of two levels; `false` switches it off.
local function levels(limit, more)
  local fields = { warn = limit, refuse = limit }
  for name, shape in pairs(more or {}) do fields[name] = shape end
  return { type = "table|boolean", fields = fields, check = function(value)
    if value == true then return "must be a table of limits, or false" end
  end }
end

--- A guard that is kept or broken.
local word = { type = "string|boolean", check = function(value)
  if value == true then return "must be 'warn', 'refuse' or false" end
  return value and one_of("warn", "refuse")(value)
end }

local COLUMNS = { "facilityId", "locationSeqId", "idType", "idValue", "availableQty",
  "externalFacilityId", "availableDelta", "varianceReasonId", "comments" }

local column_shapes = {}
for _, column in ipairs(COLUMNS) do column_shapes[column] = optional_text end

local store_url = url_like("postgresql://USER@HOST/DATABASE or service=NAME",
  table.unpack(POSTGRES))
store_url.type = "string|nil"

---@type tallyman.Shape
local SHAPE = { type = "table", fields = {
  timezone = { type = "string|nil", check = validate.zone },
  exchange = url_like("file:///DIR or sftp://USER@HOST/DIR", "^file:///", "^sftp://"),
  sftp = { type = "table", fields = {
    key = optional_text, known_hosts = optional_text, passphrase_file = optional_text,
    password_file = optional_text, ciphers = optional_text, connect_seconds = positive,
    login_seconds = positive, idle_seconds = positive, transfer_seconds = positive,
    attempts = not_negative, sessions = sessions,
  } },
  state = { type = "string", check = function(value)
    if value:sub(1, 1) ~= "/" then return ("'%s' must be an absolute path"):format(value) end
  end },
  store = store_url,
  keep_days = not_negative,
  max_record = not_negative,
  columns = { type = "table", fields = column_shapes },
  id_types = texts,
  ignore_facilities = texts,
  filtered = folder_and_stamp,
  rejects = folder_and_stamp,
  archive = text,
  inbound = { type = "table", fields = {
    folder = text, name = text, settled = duration, markers = texts,
  } },
  oms = { type = "table", fields = {
    database = url_like("sqlite:PATH, postgresql://USER@HOST/DATABASE or service=NAME",
      "^sqlite:.", table.unpack(POSTGRES)),
    timezone = { type = "string", check = validate.zone }, shipped = texts,
    stale_days = not_negative, shipments_since = { type = "string|nil", check = check_time },
    lease = { type = "string|number", check = function(value)
      local seconds = validate.seconds(value)
      if not seconds then return validate.duration(value) end
      if seconds < 0.1 or seconds > 86400 then return "must be from 0.1 (seconds) to 1d" end
    end },
  } },
  pos = { type = "table", fields = { ack_delay = duration, sale_delay = duration } },
  reset = { type = "table", fields = {
    method = { type = "string", check = one_of("exact_qoh", "exact_atp") },
    contradiction = { type = "string|function", check = one_of("reject", "last", "sum") },
    movement = { type = "function" },
  } },
  variance = { type = "table", fields = { name = folder_and_stamp, reason = text,
    deadline = duration } },
  tell = { type = "table", fields = {
    command = { type = "table|nil", each = text }, webhook_file = optional_text,
    ping_file = optional_text, pause = duration, again = { type = "string|number|boolean",
      check = level(validate.duration).check }, metrics = optional_text,
  } },
  guards = { type = "table", items = { type = "function" }, fields = {
    line_end = word, facilities = word, age = levels(duration_level), few = not_negative,
    rows = levels(percent_level), kept = levels(percent_level), zero = levels(percent_level),
    change = levels(percent_level, { by = not_negative }), rejects = levels(percent_level),
  } },
} }

local DEFAULTS = {
  exchange = "file:///var/lib/tallyman/exchange",
  sftp = { connect_seconds = 20, login_seconds = 30, idle_seconds = 60, transfer_seconds = 3600,
    attempts = 10, sessions = 4 },
  state = "/var/lib/tallyman/state",
  keep_days = 30,
  max_record = 1048576,
  columns = {},
  id_types = { "SKU", "UPCA", "SHOPIFY_PROD_ID" },
  ignore_facilities = {},
  filtered = "filtered/ResetInventoryActive_STAMP.csv",
  rejects = "filtered/Rejects_STAMP_STEP.csv",
  archive = "archive",
  inbound = { folder = "inbound", name = "ResetInventory*.csv[.gz]", settled = 60,
    markers = { ".done", ".ok" } },
  oms = { database = "sqlite:/var/lib/tallyman/oms.db", timezone = "UTC", stale_days = 45,
    lease = "1m", shipped = { "SHIPMENT_SHIPPED", "SHIPMENT_DELIVERED" } },
  pos = { ack_delay = 0, sale_delay = 0 },
  reset = { method = "exact_qoh", contradiction = "reject",
    movement = function(_) return true end },
  variance = { name = "variance/InventoryVariance_STAMP.csv", reason = "UNACK_SHIPMENT",
    deadline = "3h" },
  tell = { pause = "5m", again = "6h" },
  guards = { line_end = "refuse", facilities = "refuse", few = 10,
    rows = { warn = 90, refuse = 50 }, kept = { warn = 90, refuse = 50 },
    zero = { warn = 10, refuse = 30 }, change = { by = 50, warn = 10, refuse = 30 },
    age = { warn = "12h", refuse = "36h" }, rejects = { warn = 2, refuse = 10 } },
}

--- Which environment variable overrides which field.
local ENVIRONMENT = {
  TALLYMAN_EXCHANGE = { "exchange" },
  TALLYMAN_SSH_KEY = { "sftp", "key" },
  TALLYMAN_KNOWN_HOSTS = { "sftp", "known_hosts" },
  TALLYMAN_STATE = { "state" },
  TALLYMAN_STORE = { "store" },
  TALLYMAN_TIMEZONE = { "timezone" },
  TALLYMAN_OMS = { "oms", "database" },
  TALLYMAN_RESET_METHOD = { "reset", "method" },
}

--- Lists replace the default's, tables with known names are filled in from it.
local function merge(given, defaults, shape)
  local result = copy(given)
  for key, default in pairs(defaults) do
    local field = shape.fields and shape.fields[key]
    if result[key] == nil then
      result[key] = copy(default)
    elseif type(result[key]) == "table" and field and field.fields then
      result[key] = merge(result[key], default, field)
    end
  end
  return result
end

--- Puts the environment's values in; wrong ones are problems that bear the variable's name.
local function override(settings, getenv)
  local problems = {}
  for variable, path in pairs(ENVIRONMENT) do
    local value = getenv(variable)
    local holder, shape, name = settings, SHAPE, path[#path]
    if #path == 2 then holder, shape = settings[path[1]], SHAPE.fields[path[1]] end
    if value and value ~= "" and type(holder) == "table" then
      local wrong = shape.fields[name].check and shape.fields[name].check(value)
      if wrong then
        problems[#problems + 1] = ("%s: %s"):format(variable, wrong)
      else
        holder[name] = value
      end
    end
  end
  return problems
end

--- The limits of an age in seconds.
local function finish_age(age)
  for name, limit in pairs(age or {}) do age[name] = limit and validate.seconds(limit) end
end

--- Makes texts into what the library works with.
local function finish(settings)
  local inbound = settings.inbound
  settings.inbound = names.inbound { folder = inbound.folder, glob = inbound.name,
    settled = validate.seconds(inbound.settled), markers = inbound.markers,
    zone = settings.timezone }
  settings.filtered = names.stamped(settings.filtered)
  settings.filter_rejects = names.stamped((settings.rejects:gsub("STEP", "filter")))
  settings.import_rejects = names.stamped((settings.rejects:gsub("STEP", "import")))
  settings.variance.name = names.stamped(settings.variance.name)
  settings.variance.deadline = validate.seconds(settings.variance.deadline)
  settings.oms.lease = validate.seconds(settings.oms.lease)
  finish_age(settings.guards.age)
  settings.pos.ack_delay = validate.seconds(settings.pos.ack_delay)
  settings.pos.sale_delay = validate.seconds(settings.pos.sale_delay)
  for _, column in ipairs(COLUMNS) do
    settings.columns[column] = settings.columns[column] or column
  end
  return settings
end

---@class tallyman.Settings see README.md for the table of fields
local Settings = {}

--- Makes settings from what a settings.lua gives.
---@param given table
---@param getenv? fun(name: string): string? for tests; os.getenv by default
---@return tallyman.Settings
local function new(given, getenv)
  local file = package.searchpath("settings", package.path) or "settings"
  local settings = merge(type(given) == "table" and given or {}, DEFAULTS, SHAPE)
  local problems = override(settings, getenv or os.getenv)
  local own = validate.problems(settings, SHAPE, validate.place(file))
  table.move(own, 1, #own, #problems + 1, problems)
  if type(given) ~= "table" then table.insert(problems, file .. ": settings must be a table") end
  if #problems > 0 then failure.raise(failure.configuration, table.concat(problems, "\n")) end
  return setmetatable(finish(settings), Settings)
end

--- Whether a value is what the constructor gives.
local function is_settings(value) return getmetatable(value) == Settings end

return setmetatable({ shape = SHAPE, environment = ENVIRONMENT, is = is_settings },
  { __call = function(_, ...) return new(...) end })
