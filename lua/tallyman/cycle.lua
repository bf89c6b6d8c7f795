--- Cycles: one applied reset together with the variance that belongs to it. Here are
--- the questions that the rules of identity ask of them; tallyman.tables has the tables.
local time = require "tallyman.time"

local cycle = {}

--- The ids that make a ledger row ours, as a subquery.
cycle.ours = [[
  SELECT reset_id FROM tallyman_cycle
  UNION ALL SELECT variance_id FROM tallyman_cycle WHERE variance_id IS NOT NULL
  UNION ALL SELECT undo_id FROM tallyman_cycle WHERE undo_id IS NOT NULL
]]

---@class tallyman.Cycle
---@field cycle_id integer
---@field snapshot integer instant
---@field sha256 string of the filtered file
---@field file_name string
---@field business_date string
---@field method "exact_qoh"|"exact_atp"
---@field reset_at integer instant
---@field reset_id string
---@field covered integer pairs
---@field settled_at? string UTC
---@field settled_by? "file"|"deadline"|"next reset"
---@field variance_id? string
---@field variance_file? string
---@field undone_at? string UTC
---@field undo_id? string

--- Makes times into instants.
local function read(row)
  if not row then return nil end
  row.snapshot = time.read(row.snapshot)
  row.reset_at = time.read(row.reset_at)
  return row
end

--- The newest cycle that wasn't undone.
---@param db tallyman.Database
---@return tallyman.Cycle?
function cycle.newest(db)
  return read(db:one [[SELECT * FROM tallyman_cycle WHERE undone_at IS NULL
    ORDER BY snapshot DESC, cycle_id DESC LIMIT 1]])
end

--- The newest cycle of a night.
---@param db tallyman.Database
---@param date string business date
---@return tallyman.Cycle?
function cycle.of_night(db, date)
  return read(db:one([[SELECT * FROM tallyman_cycle
    WHERE undone_at IS NULL AND business_date = :date
    ORDER BY snapshot DESC, cycle_id DESC LIMIT 1]], { date = date }))
end

--- A cycle by its number, undone or not.
---@param db tallyman.Database
---@param cycle_id integer
---@return tallyman.Cycle?
function cycle.by_number(db, cycle_id)
  if cycle_id > 2147483647 then return nil end -- no integer of PostgreSQL
  return read(db:one("SELECT * FROM tallyman_cycle WHERE cycle_id = :id", { id = cycle_id }))
end

--- The undone cycles of a night, oldest first.
---@param db tallyman.Database
---@param date string business date
---@return tallyman.Cycle[]
function cycle.undone_of_night(db, date)
  local found = db:all([[SELECT * FROM tallyman_cycle
    WHERE undone_at IS NOT NULL AND business_date = :date ORDER BY cycle_id]], { date = date })
  for _, row in ipairs(found) do read(row) end
  return found
end

--- Records that a cycle is undone, once.
---@param db tallyman.Database
---@param cycle_id integer
---@param undone_at number
---@return boolean done false: somebody else was first
function cycle.undo(db, cycle_id, undone_at)
  return db:run([[UPDATE tallyman_cycle SET undone_at = :at
    WHERE cycle_id = :id AND undone_at IS NULL]],
    { id = cycle_id, at = time.text(undone_at) }) == 1
end

--- Records the physical inventory under which a cycle was undone.
---@param db tallyman.Database
---@param cycle_id integer
---@param undo_id string
function cycle.undone_by(db, cycle_id, undo_id)
  db:run("UPDATE tallyman_cycle SET undo_id = :undo_id WHERE cycle_id = :id",
    { id = cycle_id, undo_id = undo_id })
end

--- The applied cycle with this identity.
---@param db tallyman.Database
---@param snapshot integer
---@param sha256 string
---@return tallyman.Cycle?
function cycle.same(db, snapshot, sha256)
  return read(db:one([[SELECT * FROM tallyman_cycle WHERE undone_at IS NULL
    AND snapshot = :snapshot AND sha256 = :sha256]],
    { snapshot = time.text(snapshot), sha256 = sha256 }))
end

--- The number of the next cycle.
---@param db tallyman.Database
---@return integer cycle_id
function cycle.next_number(db)
  return db:value "SELECT COALESCE(MAX(cycle_id), 0) + 1 FROM tallyman_cycle"
end

--- Records a cycle.
---@param db tallyman.Database
---@param fields table cycle_id, snapshot, sha256, file_name, business_date, method, reset_at,
--- reset_id, covered
function cycle.insert(db, fields)
  db:run([[INSERT INTO tallyman_cycle (cycle_id, snapshot, sha256, file_name, business_date, method,
      reset_at, reset_id, covered)
    VALUES (:number, :snapshot, :sha256, :file_name, :business_date, :method, :reset_at,
      :reset_id, :covered)]],
    { number = fields.cycle_id, snapshot = time.text(fields.snapshot), sha256 = fields.sha256,
      file_name = fields.file_name, business_date = fields.business_date, method = fields.method,
      reset_at = time.text(fields.reset_at), reset_id = fields.reset_id,
      covered = fields.covered })
end

--- Records that a cycle's variance is booked.
---@param db tallyman.Database
---@param cycle_id integer
---@param fields table settled_at, settled_by, variance_id, variance_file?
function cycle.settle(db, cycle_id, fields)
  db:run([[UPDATE tallyman_cycle SET settled_at = :at, settled_by = :by, variance_id = :id,
    variance_file = :file WHERE cycle_id = :cycle_id AND settled_at IS NULL]],
    { at = time.text(fields.settled_at), by = fields.settled_by, id = fields.variance_id,
      file = fields.variance_file or db.null, cycle_id = cycle_id })
end

return cycle
