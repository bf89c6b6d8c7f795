--- The real side of a run: an OMS (SQLite, or PostgreSQL where the place has any), the exchange's
--- folders, and the jobs as processes of their own, just as an operator starts them.

local lfs = require "lfs"
local clock = require "model.clock"
local compare = require "model.compare"
local csv = require "model.csv"
local writer = require "model.writer"

---@class model.Driver
local Driver = {}
Driver.__index = Driver

local FOLDERS = { "", "/exchange", "/exchange/inbound", "/exchange/filtered", "/exchange/variance",
  "/exchange/archive", "/state" }

local function write(path, bytes)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(bytes))
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

--- The names in a folder, sorted; none where the folder doesn't exist.
---@param path string
---@return string[]
local function list(path)
  local names = {}
  if lfs.attributes(path, "mode") ~= "directory" then return names end
  for name in lfs.dir(path) do
    if name ~= "." and name ~= ".." then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- OFBiz keeps its next free numbers here.
local SEQUENCES = [[
INSERT INTO sequence_value_item VALUES ('InventoryItem', 10001), ('PhysicalInventory', 10001);
]]

-- A SQLite OMS with its tables: its URL.
local function new_file(place, dir)
  write(dir .. "/oms.db", "")
  local oms <close> = place.db.open("sqlite:" .. dir .. "/oms.db")
  oms:script("BEGIN;" .. read(place.root .. "/examples/oms/schema.sql") .. "COMMIT;")
  return "sqlite:" .. dir .. "/oms.db"
end

---@class model.Place
---@field root string
---@field host string
---@field scripts string
---@field folder string
---@field db table
---@field fresh? fun(): string  gives the URL of a new OMS with its tables
---@field drop? fun(url: string)

--- Folders and database for one run.
---@param place model.Place
---@param run model.Run
---@return model.Driver
local function new(place, run)
  local dir = ("%s/run%d"):format(place.folder, run.seed)
  for _, folder in ipairs(FOLDERS) do assert(lfs.mkdir(dir .. folder)) end
  local url = place.fresh and place.fresh() or new_file(place, dir)
  local oms = place.db.open(url)
  oms:script(SEQUENCES)
  local self = setmetatable({ dir = dir, exchange = dir .. "/exchange", place = place, run = run,
    url = url, oms = oms, writer = writer.new(oms), names = {} }, Driver)
  self.environment = ("TZ=UTC TALLYMAN_OMS='%s' TALLYMAN_EXCHANGE='file://%s' "
    .. "TALLYMAN_STATE='%s/state' TALLYMAN_TIMEZONE='%s' TALLYMAN_RESET_METHOD=%s "
    .. "TALLYMAN_GUARDS=off NO_COLOR=1"):format(url, self.exchange, dir, run.model.zone,
      run.model.method)
  return self
end

function Driver:close()
  self.oms:close()
  if self.place.drop then self.place.drop(self.url) end
end

function Driver:apply(ops)
  self.writer:apply(ops)
end

-- Something that the shell would have to be told about twice: paths in quotes.
local function quoted(path)
  return "'" .. path .. "'"
end

--- Runs a job and returns its exit code; what it printed is kept for the report of a failure.
---@param name string
---@param now integer
---@return integer
function Driver:job(name, now)
  self.before, self.variance_files = compare.dump(self), self:variance_rows()
  local command = ("%s TALLYMAN_NOW=%s exec %s %s >%s 2>&1"):format(self.environment,
    clock.iso(now), quoted(self.place.host),
    quoted(("%s/%s.lua"):format(self.place.scripts, name)), quoted(self.dir .. "/output"))
  local _, how, code = os.execute(command)
  return how == "exit" and code or -code
end

function Driver:output()
  return read(self.dir .. "/output")
end

--- Compares what a job did with what the model says; raises on the first difference.
function Driver:check(name, real, expected, cycle)
  compare.job(self, name, real, expected, cycle)
end

-- A file in a folder, with its modification time and its marker.
function Driver:put(entry)
  local plain = self.exchange .. "/inbound/" .. entry.name:gsub("%.gz$", "")
  write(plain, entry.file.bytes)
  local path = self.exchange .. "/inbound/" .. entry.name
  if path ~= plain then assert(os.execute("gzip -n -f " .. quoted(plain))) end
  assert(lfs.touch(path, entry.mtime, entry.mtime))
  write(path .. (entry.mtime % 2 == 0 and ".done" or ".ok"), "")
end

function Driver:place_filtered(entry)
  write(self.exchange .. "/filtered/" .. entry.name, entry.file.bytes)
end

function Driver:remove(name)
  assert(os.remove(self.exchange .. "/" .. name))
end

function Driver:clean()
  for _, folder in ipairs { "inbound", "filtered" } do
    for _, name in ipairs(self:list(folder)) do self:remove(folder .. "/" .. name) end
  end
end

---@return string[]
function Driver:list(folder)
  return list(self.exchange .. "/" .. folder)
end

---@return string
function Driver:read(name)
  return read(self.exchange .. "/" .. name)
end

---@return boolean
function Driver:exists(name)
  return lfs.attributes(self.exchange .. "/" .. name, "mode") ~= nil
end

--- The newest variance file's name.
---@return string
function Driver:newest_export()
  local best
  for _, name in ipairs(self:list "variance") do
    if name:find "^InventoryVariance_.*%.csv$" then best = name end
  end
  return best or error("no variance file was written", 0)
end

--- The rows of each variance file, by its name.
---@return table<string, table[]>
function Driver:variance_rows()
  local rows = {}
  for _, name in ipairs(self:list "variance") do
    local text = self:read("variance/" .. name):gsub("^\xEF\xBB\xBF", "")
    rows[name] = csv.rows(text, text:match "[,;\t]")
  end
  return rows
end

--- The item that a job made for a pair that had none.
---@return string
function Driver:made(cover)
  return self.oms:value([[SELECT inventory_item_id FROM inventory_item
    WHERE product_id = :product AND facility_id = :facility]],
    { product = cover.product, facility = cover.facility })
    or error(("no item was made for %s at %s"):format(cover.product, cover.facility), 0)
end

local STYLES = {
  plain = { delimiter = ",", eol = "\n", bom = "" },
  windows = { delimiter = ";", eol = "\r\n", bom = "\xEF\xBB\xBF", comma = true },
  tabs = { delimiter = "\t", eol = "\n", bom = "" },
}

local function line(style, fields)
  local list_ = {}
  for i, field in ipairs(fields) do
    local must = field:find(style.delimiter, 1, true) or field:find '[",;\n]'
    list_[i] = must and '"' .. field:gsub('"', '""') .. '"' or field
  end
  return table.concat(list_, style.delimiter) .. style.eol
end

local function written(style, row, header)
  local fields = {}
  for i, name in ipairs(header) do
    local value = row[name] or ""
    if name == "availableDelta" and style.comma then value = value:gsub("%.", ",") end
    fields[i] = value
  end
  return line(style, fields)
end

--- Rewrites a variance file with rows added; of the others one may be changed and one forgotten.
function Driver:edit(entry, how)
  local name, style = "variance/" .. entry.name, STYLES[how.style]
  local rows, header = csv.rows(self:read(name))
  if how.change and rows[1] then rows[1].availableDelta = "-77" end
  if how.forget then table.remove(rows) end
  for _, row in ipairs(entry.added) do
    rows[#rows + 1] = { facilityId = row.facility, idType = row.id.kind, idValue = row.id.value,
      availableDelta = ("%.6f"):format(row.delta / 1e6), varianceReasonId = row.reason,
      comments = "counted by hand, twice" }
  end
  local text = { style.bom, line(style, header) }
  for _, row in ipairs(rows) do text[#text + 1] = written(style, row, header) end
  write(self.exchange .. "/" .. name, table.concat(text))
end

return { new = new }
