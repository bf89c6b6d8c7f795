--- Compares the exchange's folders with the model: names, bytes, rejected lines.

local clock = require "model.clock"
local csv = require "model.csv"

local files = {}

local HEADER = "facilityId,locationSeqId,idType,idValue,availableDelta,varianceReasonId,comments"

-- Names of a folder without the markers.
local function data(driver, folder)
  local names = {}
  for _, name in ipairs(driver:list(folder)) do
    if not name:find "%.done$" and not name:find "%.ok$" then names[#names + 1] = name end
  end
  return names
end

-- One line of a rejects file: the record that it shows, and the column where one can be told.
local function reject(problems, path, row, expected)
  local piece = expected.piece
  problems:same(("%s: record of line %s"):format(path, row.line), row.record,
    (piece.raw:gsub("\r?\n$", "")))
  local column = expected.column and piece.starts[expected.column]
  if column then
    problems:same(("%s: column of line %s"):format(path, row.line), row.column, tostring(column))
  end
end

-- The lines of a rejects file: all that must be there, others only if they may be.
local function rejects(driver, problems, path, required, optional)
  local seen = {}
  if driver:exists(path) then
    local rows, header = csv.rows(driver:read(path))
    problems:same(path .. ": header", table.concat(header, ","), "line,column,reason,record")
    for _, row in ipairs(rows) do
      local line = math.tointeger(tonumber(row.line)) or 0
      local expected = required[line] or optional[line]
      if seen[line] then problems:add("%s: line %d twice", path, line) end
      seen[line] = row.reason
      if expected then
        reject(problems, path, row, expected)
      else
        problems:add("%s: line %d shouldn't be rejected (%s)", path, line, row.reason)
      end
    end
    if not next(seen) then problems:add("%s: has no rows", path) end
  end
  for line, expected in pairs(required) do
    if not seen[line] then
      problems:add("%s: line %d (%s) is missing", path, line, expected.why)
    end
  end
end

local function rejects_name(snapshot, part)
  return ("Rejects_%s_%s.csv"):format(clock.stamp(snapshot), part)
end

local check = {}

function check.active_products() end

function check.filter_inventory(driver, problems)
  local expected = {}
  for _, entry in ipairs(driver.run.jobs.filtered) do
    local path = "filtered/" .. entry.name
    expected[#expected + 1] = entry.name
    if driver:exists(path) and driver:read(path) ~= entry.file.bytes then
      problems:add("%s: is\n%q\nshould be\n%q", path, driver:read(path), entry.file.bytes)
    end
    local name = rejects_name(entry.snapshot, "filter")
    rejects(driver, problems, "filtered/" .. name, entry.rejects, {})
    if next(entry.rejects) then expected[#expected + 1] = name end
  end
  problems:same_list("filtered folder", data(driver, "filtered"), expected)
end

-- The variance file that was just written, or the one that a run seconds ago wrote.
local function fresh_export(driver, problems)
  local name = driver:newest_export()
  local at, now = clock.parse(name), driver.run.now
  if at < now - 15 or at > now + 10 then problems:add("no variance file at %s", clock.sql(now)) end
  return name
end

local function exported(row)
  return ("%s of %s: %d"):format(row.product, row.facility, row.quantity)
end

function check.export_variance(driver, problems)
  local path = "variance/" .. fresh_export(driver, problems)
  local expected, owner, real = {}, {}, {}
  for _, row in ipairs(driver.run.jobs.exported) do
    expected[#expected + 1] = exported(row)
    for key in pairs(row.names) do owner[key], driver.names[key] = row.product, row.product end
  end
  local text = driver:read(path)
  if text:match "^[^\r\n]*" ~= HEADER then problems:add("%s: header %s", path, text) end
  for _, row in ipairs(csv.rows(text)) do
    local key = row.idType .. "|" .. row.idValue
    local delta = math.floor(tonumber(row.availableDelta) * 1e6 + 0.5)
    problems:same("reason of " .. key, row.varianceReasonId, "UNACK_SHIPMENT")
    real[#real + 1] = exported { product = owner[key] or key, facility = row.facilityId,
      quantity = -delta }
  end
  problems:same_list(path, real, expected)
end

local function archive(driver, problems)
  for _, entry in ipairs(driver.run.jobs.archived) do
    local path = ("archive/%s/%s"):format(entry.night, entry.name)
    if not driver:exists(path) then problems:add("%s is missing", path) end
  end
end

-- The identity that the cycle keeps is that of the bytes in the archive.
local function fingerprint(driver, problems, cycle)
  local path = ("%s/archive/%s/%s"):format(driver.exchange, cycle.night, cycle.name)
  local pipe <close> = assert(io.popen(("sha256sum '%s'"):format(path)))
  local real = driver.oms:value("SELECT sha256 FROM tallyman_cycle WHERE cycle_id = :id",
    { id = cycle.id })
  problems:same("SHA-256 of " .. cycle.name, real, (pipe:read "a"):match "%x+")
end

function check.import_reset(driver, problems, cycle)
  if not cycle then return end
  local folder = ("archive/%s/"):format(cycle.night)
  fingerprint(driver, problems, cycle)
  rejects(driver, problems, folder .. rejects_name(cycle.snapshot, "filter"), cycle.dropped, {})
  rejects(driver, problems, folder .. rejects_name(cycle.snapshot, "import"), cycle.rejects,
    cycle.optional)
  local waiting = {}
  for _, entry in ipairs(driver.run.jobs.inbound) do waiting[#waiting + 1] = entry.name end
  problems:same_list("inbound folder", data(driver, "inbound"), waiting)
  problems:same_list("filtered folder", data(driver, "filtered"), {})
  archive(driver, problems)
end

-- How much the file deducts for each pair that it names, in millionths. Its products are known by
-- the names that the export may have given them; a name that ended meanwhile leaves it open.
local function file_says(driver, cycle)
  local says = {}
  for _, row in ipairs(driver.variance_files[cycle.file]) do
    if row.varianceReasonId == "UNACK_SHIPMENT" then
      local oms, now = driver.run.model.oms, driver.run.now
      local product = driver.names[row.idType .. "|" .. row.idValue]
      local valid = row.idType == "PRODUCT_ID" or #oms:named(row.idType, row.idValue, now) == 1
      local delta = row.availableDelta:gsub(",", ".")
      says[product .. "@" .. row.facilityId] = valid
        and -math.floor(tonumber(delta) * 1e6 + 0.5) or "unknown"
    end
  end
  return says
end

local COMMENTS = [[SELECT i.product_id || '@' || i.facility_id AS pair, v.comments AS text
  FROM tallyman_cycle c
  JOIN inventory_item_variance v ON v.physical_inventory_id = c.variance_id
  JOIN inventory_item i ON i.inventory_item_id = v.inventory_item_id
  WHERE c.cycle_id = :id]]

-- The comment of a booked row says what the file deducts, and what came on top.
local function comments(driver, problems, cycle)
  local says, deduction = file_says(driver, cycle), {}
  for _, cover in ipairs(cycle.coverage) do
    deduction[cover.product .. "@" .. cover.facility] = cover.deduction
  end
  for row in driver.oms:rows(COMMENTS, { id = cycle.id }) do
    local file, numbers = says[row.pair] or 0, {}
    for number in row.text:gmatch "%-?%d+%.?%d*" do
      numbers[math.floor(tonumber(number) * 1e6 + 0.5)] = true
    end
    if file ~= "unknown" and not (numbers[file] and numbers[deduction[row.pair] - file]) then
      problems:add("comment of %s: '%s' should say %d and %d", row.pair, row.text, file,
        deduction[row.pair] - file)
    end
  end
end

function check.import_variance(driver, problems, cycle)
  local run = driver.run
  if cycle and cycle.file then comments(driver, problems, cycle) end
  local tonight = clock.night(run.model.zone, run.now)
  archive(driver, problems)
  for _, entry in ipairs(run.jobs.variance) do
    if clock.night(run.model.zone, entry.at) == tonight
      and not driver:exists("variance/" .. entry.name) then
      problems:add("variance/%s was taken away", entry.name)
    end
  end
  for _, entry in ipairs(run.jobs.archived) do
    if entry.name:find "^InventoryVariance" and driver:exists("variance/" .. entry.name) then
      problems:add("variance/%s is still there", entry.name)
    end
  end
end

--- Compares the folders that a job writes to.
---@param driver model.Driver
---@param problems table
---@param name string
---@param cycle table?
function files.check(driver, problems, name, cycle)
  check[name](driver, problems, cycle)
end

return files
