--- Coverage: the pairs that a filtered file decides, with their totals, deltas and deductions. All
--- of it in sets, on temporary tables, inside the reset's transaction.
local cycle = require "tallyman.cycle"
local quantity = require "tallyman.quantity"

local coverage = {}

-- PostgreSQL joins whole tables without an index, and would have to keep one up with every update.
local TABLES = [[
  CREATE TEMPORARY TABLE IF NOT EXISTS tallyman_counted (
    line integer NOT NULL {sqlite PRIMARY KEY},
    product_id varchar(20) NOT NULL,
    facility_id varchar(20) NOT NULL,
    location text,
    units bigint NOT NULL
  );
  CREATE TEMPORARY TABLE IF NOT EXISTS tallyman_item (
    item_id varchar(20) NOT NULL {sqlite PRIMARY KEY},
    line integer NOT NULL,
    qoh bigint NOT NULL,
    atp bigint NOT NULL,
    ledger_qoh bigint NOT NULL,
    ledger_atp bigint NOT NULL,
    last_seq bigint NOT NULL
  );
  CREATE TEMPORARY TABLE IF NOT EXISTS tallyman_recent (
    line integer NOT NULL,
    inventory_item_id varchar(20) NOT NULL,
    inventory_item_detail_seq_id varchar(20) NOT NULL,
    effective_date timestamp,
    quantity_on_hand_diff numeric(18,6),
    available_to_promise_diff numeric(18,6),
    reason_enum_id varchar(60),
    physical_inventory_id varchar(20),
    shipment_id varchar(20)
  );
  CREATE TEMPORARY TABLE IF NOT EXISTS tallyman_pair (
    line integer NOT NULL {sqlite PRIMARY KEY},
    product_id varchar(20) NOT NULL,
    facility_id varchar(20) NOT NULL,
    location text,
    units bigint NOT NULL,
    item_id varchar(20),
    created integer NOT NULL,
    qoh bigint NOT NULL,
    atp bigint NOT NULL,
    ledger_qoh bigint NOT NULL,
    ledger_atp bigint NOT NULL,
    delta bigint NOT NULL,
    deduction bigint NOT NULL
  );
  CREATE TEMPORARY TABLE IF NOT EXISTS tallyman_uncounted (reason varchar(60) PRIMARY KEY);
  CREATE TEMPORARY TABLE IF NOT EXISTS tallyman_ours (id varchar(20) PRIMARY KEY);
  DELETE FROM tallyman_counted;
  DELETE FROM tallyman_item;
  DELETE FROM tallyman_recent;
  DELETE FROM tallyman_pair;
  DELETE FROM tallyman_uncounted;
  DELETE FROM tallyman_ours;
]]

-- ---- several rows for one pair ----

--- Rows that say the same again count once.
local function drop_duplicates(db)
  return db:run [[UPDATE tallyman_row SET dropped = 1 WHERE fault IS NULL AND EXISTS (
    SELECT 1 FROM tallyman_row o WHERE o.fault IS NULL AND o.line < tallyman_row.line
      AND o.product_id = tallyman_row.product_id AND o.facility_id = tallyman_row.facility_id
      AND o.location = tallyman_row.location AND o.units = tallyman_row.units)]]
end

--- What the settings want done with rows that contradict each other: "reject", "last" or "sum".
local function verdict(settings, group, rows)
  local rule = settings.reset.contradiction
  if type(rule) == "string" then return rule end
  local word = rule(rows)
  if word ~= "reject" and word ~= "last" and word ~= "sum" then
    error(("settings: reset.contradiction gave '%s' for product %s; it must give 'reject', "
      .. "'last' or 'sum'"):format(tostring(word), group.product_id), 0)
  end
  return word
end

local SAME_PLACE = [[product_id = :product_id AND facility_id = :facility_id
  AND location = :location]]

--- The rows of one pair and location, for a rule of the settings.
local function rows_of(db, group)
  local rows = db:all([[SELECT line, product_id, facility_id, location, units FROM tallyman_row
    WHERE fault IS NULL AND ]] .. SAME_PLACE .. " ORDER BY line", group)
  for _, row in ipairs(rows) do row.quantity = quantity.text(row.units) end
  return rows
end

--- Rows with the same location and different quantities.
local function decide_contradictions(db, settings)
  local groups = db:all [[SELECT product_id, facility_id, location FROM tallyman_row
    WHERE fault IS NULL AND dropped = 0 GROUP BY product_id, facility_id, location
    HAVING COUNT(*) > 1]]
  for _, group in ipairs(groups) do
    local rows = rows_of(db, group)
    local word = verdict(settings, group, rows)
    if word == "reject" then
      db:run([[UPDATE tallyman_row SET fault_field = 'availableQty',
        fault = 'contradictory: rows of one location with different quantities'
        WHERE fault IS NULL AND ]] .. SAME_PLACE, group)
    elseif word == "last" then
      group.line = rows[#rows].line
      db:run([[UPDATE tallyman_row SET dropped = CASE WHEN line = :line THEN 0 ELSE 1 END
        WHERE fault IS NULL AND ]] .. SAME_PLACE, group)
    end
  end
end

--- A pair of which any row was rejected is not covered: its other rows go, too.
local function reject_lost_pairs(db)
  db:run [[UPDATE tallyman_row SET fault = 'another row of this pair was rejected',
      fault_field = 'idValue'
    WHERE fault IS NULL AND EXISTS (SELECT 1 FROM tallyman_row o WHERE o.fault IS NOT NULL
      AND o.product_id = tallyman_row.product_id AND o.facility_id = tallyman_row.facility_id)]]
end

--- Turns resolved rows into what the file counts of each pair: duplicates, contradictions, lost
--- rows, sums.
---@param oms tallyman.Oms
---@return integer duplicates rows that said the same again
function coverage.pair_up(oms)
  local db = oms.db
  db:script(TABLES)
  local duplicates = drop_duplicates(db)
  decide_contradictions(db, oms.settings)
  reject_lost_pairs(db)
  db:run [[INSERT INTO tallyman_counted (line, product_id, facility_id, location, units)
    SELECT r.line, r.product_id, r.facility_id, r.location, pair.units
    FROM (SELECT MIN(line) AS first, SUM(units) AS units FROM tallyman_row
      WHERE fault IS NULL AND dropped = 0 GROUP BY product_id, facility_id) pair
    JOIN tallyman_row r ON r.line = pair.first]]
  oms:analyze "tallyman_counted"
  return duplicates
end

-- ---- totals ----

--- The pairs' items, with their totals, the sums of their ledger and its last number. CROSS JOIN
--- makes SQLite begin with the table before it, which is the smaller one; PostgreSQL doesn't mind.
local ITEMS = [[INSERT INTO tallyman_item (item_id, line, qoh, atp, ledger_qoh, ledger_atp,
    last_seq)
  SELECT i.inventory_item_id, c.line, {units i.quantity_on_hand_total},
    {units i.available_to_promise_total}, {sum d.quantity_on_hand_diff},
    {sum d.available_to_promise_diff},
    COALESCE(MAX({number d.inventory_item_detail_seq_id}), 0)
  FROM tallyman_counted c CROSS JOIN inventory_item i
  LEFT JOIN inventory_item_detail d ON d.inventory_item_id = i.inventory_item_id
  WHERE i.product_id = c.product_id AND i.facility_id = c.facility_id
  GROUP BY i.inventory_item_id, c.line, i.quantity_on_hand_total, i.available_to_promise_total]]

--- Lists the pairs' items as they stand in the OMS now.
---@param oms tallyman.Oms
function coverage.look_up(oms)
  oms.db:run(ITEMS)
  oms:analyze "tallyman_item"
end

-- ---- the deduction ----

--- The ledger rows since the snapshot, and those without a time. An item has years of others, which
--- are read once only, for its sums. Nobody adds any while the items are locked.
local RECENT = [[INSERT INTO tallyman_recent (line, inventory_item_id,
    inventory_item_detail_seq_id, effective_date, quantity_on_hand_diff, available_to_promise_diff,
    reason_enum_id, physical_inventory_id, shipment_id)
  SELECT t.line, d.inventory_item_id, d.inventory_item_detail_seq_id, d.effective_date,
    d.quantity_on_hand_diff, d.available_to_promise_diff, d.reason_enum_id,
    d.physical_inventory_id, d.shipment_id
  FROM tallyman_item t CROSS JOIN inventory_item_detail d
  WHERE d.inventory_item_id = t.item_id
    AND COALESCE({stamp d.effective_date}, '9') > :snapshot]]

--- An issuance s whose goods left for a customer, of a shipment h that counts as shipped.
local SALE = [[item_issuance s
  JOIN order_header o ON o.order_id = s.order_id AND o.order_type_id = 'SALES_ORDER'
  JOIN shipment h ON h.shipment_id = s.shipment_id AND h.status_id IN :shipped]]

--- Acknowledgements of the issuance s.
local ACKNOWLEDGED = [[order_fulfillment_history a WHERE a.order_id = s.order_id
  AND a.order_item_seq_id = s.order_item_seq_id AND a.shipment_id = s.shipment_id]]

--- What the POS can't have known at the snapshot: no acknowledgement at or before it. A null time
--- is long ago.
local UNKNOWN_TO_POS = "NOT EXISTS (SELECT 1 FROM " .. ACKNOWLEDGED .. [[
  AND (a.created_date IS NULL OR {stamp a.created_date} IS NULL
    OR {stamp a.created_date} <= :acknowledged_by))]]

local SINCE = "(:since = '' OR {stamp s.issued_date_time} >= :since)"

--- A ledger row d that is a movement: not ours, not a sale's issuance, of a reason that counts.
local NOT_OURS =
  "NOT EXISTS (SELECT 1 FROM tallyman_ours o WHERE o.id = d.physical_inventory_id)"
local COUNTED = "NOT EXISTS (SELECT 1 FROM tallyman_uncounted u WHERE u.reason = d.reason_enum_id)"
local NOT_A_SALE = "NOT EXISTS (SELECT 1 FROM " .. SALE .. [[
  WHERE s.inventory_item_id = d.inventory_item_id AND s.shipment_id = d.shipment_id)]]

--- Asks the settings' rule about every reason that occurs in the pairs' ledger since the snapshot.
local function ask_about_reasons(oms, params)
  local reasons = oms.db:all([[SELECT DISTINCT reason_enum_id AS reason FROM tallyman_recent
    WHERE reason_enum_id IS NOT NULL AND {stamp effective_date} > :counted_by]], params)
  for _, row in ipairs(reasons) do
    if not oms.settings.reset.movement(row.reason) then
      oms.db:run("INSERT INTO tallyman_uncounted (reason) VALUES (:reason)", row)
    end
  end
end

--- The instants that the deduction compares with, as the OMS writes times.
local function params_of(oms, snapshot)
  local settings = oms.settings
  return {
    snapshot = oms:stamp(snapshot),
    counted_by = oms:stamp(snapshot + settings.pos.sale_delay),
    acknowledged_by = oms:stamp(snapshot + settings.pos.ack_delay),
    shipped = settings.oms.shipped,
    since = oms:shipments_since() or "",
  }
end

local MOVED = "SELECT d.line AS at, -{sum %s} AS units FROM tallyman_recent d"
  .. " WHERE {stamp d.effective_date} > :counted_by AND " .. NOT_OURS .. " AND " .. COUNTED
  .. "%s GROUP BY d.line"

local SHIPPED = [[ UNION ALL SELECT t.line, SUM({units s.quantity} - {units s.cancel_quantity})
  FROM ]] .. SALE .. [[ JOIN tallyman_item t ON t.item_id = s.inventory_item_id
  WHERE ]] .. SINCE .. " AND " .. UNKNOWN_TO_POS .. " GROUP BY t.line"

--- The pairs with what stands in the OMS, delta and deduction. Of a pair's items the one with the
--- smallest id takes the delta.
local PAIRS = [[INSERT INTO tallyman_pair (line, product_id, facility_id, location, units, item_id,
    created, qoh, atp, ledger_qoh, ledger_atp, delta, deduction)
  SELECT c.line, c.product_id, c.facility_id, c.location, c.units, has.item_id, 0,
    COALESCE(has.qoh, 0), COALESCE(has.atp, 0), COALESCE(has.ledger_qoh, 0),
    COALESCE(has.ledger_atp, 0), c.units - COALESCE(has.%s, 0), COALESCE(moved.units, 0)
  FROM tallyman_counted c
  LEFT JOIN (SELECT line AS at, MIN({bytes item_id}) AS item_id, SUM(qoh) AS qoh, SUM(atp) AS atp,
      SUM(ledger_qoh) AS ledger_qoh, SUM(ledger_atp) AS ledger_atp
    FROM tallyman_item GROUP BY line) has ON has.at = c.line
  LEFT JOIN (SELECT at, SUM(units) AS units FROM (%s) part GROUP BY at) moved ON moved.at = c.line]]

--- Computes the pairs, with each one's deduction D from what is committed now. Both parts of D in
--- ONE statement, which sees one state of the database: a shipment's status and an acknowledgement
--- may be committed at any time, for neither touches an item and its lock. Between two statements,
--- an issuance whose shipment turns SHIPPED would be a movement for the first and a shipment for
--- the second: twice.
---@param oms tallyman.Oms
---@param snapshot integer
---@param method "exact_qoh"|"exact_atp"
---@return table params of the queries, for coverage.doubts
function coverage.deduct(oms, snapshot, method)
  local params = params_of(oms, snapshot)
  oms.db:run("INSERT INTO tallyman_ours (id) " .. cycle.ours)
  oms.db:run(RECENT, params)
  oms:analyze "tallyman_recent"
  ask_about_reasons(oms, params)
  if method == "exact_qoh" then
    oms.db:run(PAIRS:format("qoh",
      MOVED:format("d.quantity_on_hand_diff", " AND " .. NOT_A_SALE) .. SHIPPED), params)
  else
    oms.db:run(PAIRS:format("atp", MOVED:format("d.available_to_promise_diff", "")), params)
  end
  oms:analyze "tallyman_pair"
  return params
end

--- What the report should show beside the sums: each a list of texts.
---@param oms tallyman.Oms
---@param params table what coverage.deduct gave
---@param stale_before number instant
---@return table doubts stale, uncertain, timeless
function coverage.doubts(oms, params, stale_before)
  params.stale_before = oms:stamp(stale_before)
  local deducts_sales = oms.settings.reset.method == "exact_qoh"
  local lags = oms.settings.pos.ack_delay > 0 or oms.settings.pos.sale_delay > 0
  local function list(sql)
    local texts = {}
    for row in oms:rows(sql, params) do texts[#texts + 1] = row.text end
    table.sort(texts)
    return texts
  end
  local sale = "FROM " .. SALE .. [[ JOIN tallyman_item t ON t.item_id = s.inventory_item_id
    JOIN tallyman_pair p ON p.line = t.line]]
  return {
    stale = deducts_sales and list([[SELECT 'order ' || s.order_id || ', shipment '
        || s.shipment_id || ', product ' || p.product_id || ' at ' || p.facility_id AS text ]]
      .. sale .. " WHERE " .. SINCE
      .. " AND " .. UNKNOWN_TO_POS .. [[ AND (s.issued_date_time IS NULL
        OR {stamp s.issued_date_time} IS NULL
        OR {stamp s.issued_date_time} < :stale_before)]]) or {},
    uncertain = lags and list([[SELECT 'ledger row ' || d.inventory_item_id || '/'
        || d.inventory_item_detail_seq_id || ' of ' || d.effective_date AS text
      FROM tallyman_recent d
      WHERE {stamp d.effective_date} > :snapshot AND {stamp d.effective_date} <= :counted_by
        AND ]] .. NOT_OURS .. [[
      UNION ALL SELECT 'acknowledgement of order ' || a.order_id || ' of ' || a.created_date ]]
      .. sale .. [[ JOIN order_fulfillment_history a ON a.order_id = s.order_id
        AND a.order_item_seq_id = s.order_item_seq_id AND a.shipment_id = s.shipment_id
      WHERE {stamp a.created_date} > :snapshot AND {stamp a.created_date} <= :acknowledged_by]])
      or {},
    timeless = list([[SELECT 'ledger row ' || d.inventory_item_id || '/'
        || d.inventory_item_detail_seq_id || ' has no time' AS text
      FROM tallyman_recent d WHERE {stamp d.effective_date} IS NULL
      UNION ALL SELECT 'acknowledgement of order ' || s.order_id || ' has no time' ]] .. sale
      .. [[ JOIN order_fulfillment_history a ON a.order_id = s.order_id
        AND a.order_item_seq_id = s.order_item_seq_id AND a.shipment_id = s.shipment_id
      WHERE {stamp a.created_date} IS NULL
      UNION ALL SELECT 'issuance ' || s.item_issuance_id || ' has no time' ]] .. sale
      .. " WHERE {stamp s.issued_date_time} IS NULL"),
  }
end

-- ---- keeping it ----

--- Stores the coverage of a cycle: pairs with D, and every item as it stands before the bookings.
---@param oms tallyman.Oms
---@param cycle_id integer
function coverage.keep(oms, cycle_id)
  oms.db:run([[INSERT INTO tallyman_coverage (cycle_id, product_id, facility_id, line, quantity,
      qoh_before, atp_before, delta, deduction, ledger_qoh, ledger_atp)
    SELECT :cycle_id, product_id, facility_id, line, {amount units}, {amount qoh}, {amount atp},
      {amount delta}, {amount deduction}, {amount ledger_qoh}, {amount ledger_atp}
    FROM tallyman_pair]], { cycle_id = cycle_id })
  oms.db:run([[INSERT INTO tallyman_coverage_item (cycle_id, inventory_item_id, qoh_before,
      atp_before, ledger_qoh, ledger_atp)
    SELECT CAST(:cycle_id AS integer), item_id, {amount qoh}, {amount atp}, {amount ledger_qoh},
      {amount ledger_atp}
    FROM tallyman_item
    UNION ALL SELECT CAST(:cycle_id AS integer), item_id, 0, 0, 0, 0 FROM tallyman_pair
      WHERE created = 1]],
    { cycle_id = cycle_id })
end

return coverage
