--- The proof: what must be true after a night, asked of the database by queries that share nothing
--- with those that did the booking.
local quantity = require "tallyman.quantity"

local proof = {}

--- Each covered pair with what it has now, and what it must have.
local PAIRS = [[
  WITH own AS (
    SELECT reset_id AS id FROM tallyman_cycle WHERE cycle_id = :cycle_id
    UNION ALL SELECT variance_id FROM tallyman_cycle
      WHERE cycle_id = :cycle_id AND variance_id IS NOT NULL
  ), now AS (
    SELECT i.product_id, i.facility_id, {sum i.TOTAL} AS total
    FROM tallyman_coverage c
    JOIN inventory_item i ON i.product_id = c.product_id AND i.facility_id = c.facility_id
    WHERE c.cycle_id = :cycle_id
    GROUP BY i.product_id, i.facility_id
  ), ledger AS (
    SELECT i.product_id, i.facility_id, {sum d.DIFF} AS booked,
      SUM(CASE WHEN d.physical_inventory_id IN (SELECT id FROM own) THEN {units d.DIFF} ELSE 0 END)
        AS ours
    FROM tallyman_coverage c
    JOIN inventory_item i ON i.product_id = c.product_id AND i.facility_id = c.facility_id
    JOIN inventory_item_detail d ON d.inventory_item_id = i.inventory_item_id
    WHERE c.cycle_id = :cycle_id
    GROUP BY i.product_id, i.facility_id
  )
  SELECT c.product_id, c.facility_id,
    COALESCE(now.total, 0)
      - (COALESCE(ledger.booked, 0) - {units c.BEFORE} - COALESCE(ledger.ours, 0)) AS has,
    {units c.quantity} - :settled * {units c.deduction} AS wanted
  FROM tallyman_coverage c
  LEFT JOIN now ON now.product_id = c.product_id AND now.facility_id = c.facility_id
  LEFT JOIN ledger ON ledger.product_id = c.product_id AND ledger.facility_id = c.facility_id
  WHERE c.cycle_id = :cycle_id
  ORDER BY {bytes c.facility_id}, {bytes c.product_id}]]

--- Each item of the covered pairs: the change of its totals and that of its ledger.
local ITEMS = [[
  SELECT i.inventory_item_id, i.product_id, i.facility_id,
    {units i.quantity_on_hand_total} - COALESCE({units b.qoh_before}, 0) AS qoh_change,
    {units i.available_to_promise_total} - COALESCE({units b.atp_before}, 0) AS atp_change,
    COALESCE((SELECT SUM({units d.quantity_on_hand_diff}) FROM inventory_item_detail d
      WHERE d.inventory_item_id = i.inventory_item_id), 0) - COALESCE({units b.ledger_qoh}, 0)
      AS qoh_booked,
    COALESCE((SELECT SUM({units d.available_to_promise_diff}) FROM inventory_item_detail d
      WHERE d.inventory_item_id = i.inventory_item_id), 0) - COALESCE({units b.ledger_atp}, 0)
      AS atp_booked
  FROM tallyman_coverage c
  JOIN inventory_item i ON i.product_id = c.product_id AND i.facility_id = c.facility_id
  LEFT JOIN tallyman_coverage_item b
    ON b.cycle_id = c.cycle_id AND b.inventory_item_id = i.inventory_item_id
  WHERE c.cycle_id = :cycle_id
  ORDER BY {bytes i.inventory_item_id}]]

--- What the coverage itself must fulfil, pair by pair: its delta leads to the file's quantity; the
--- reset and the variance have booked delta and -D on the pair's items; those items are the ones
--- that it had then, by the ledgers that the coverage kept of each.
local KEPT = [[
  WITH booked AS (
    SELECT i.product_id, i.facility_id,
      {sum CASE WHEN d.physical_inventory_id = y.reset_id THEN d.quantity_on_hand_diff END}
        AS by_reset,
      {sum CASE WHEN d.physical_inventory_id = y.variance_id THEN d.quantity_on_hand_diff END}
        AS by_variance
    FROM tallyman_cycle y
    JOIN tallyman_coverage c ON c.cycle_id = y.cycle_id
    JOIN inventory_item i ON i.product_id = c.product_id AND i.facility_id = c.facility_id
    JOIN inventory_item_detail d ON d.inventory_item_id = i.inventory_item_id
    WHERE y.cycle_id = :cycle_id
      AND (d.physical_inventory_id = y.reset_id OR d.physical_inventory_id = y.variance_id)
    GROUP BY i.product_id, i.facility_id
  ), kept AS (
    SELECT i.product_id, i.facility_id, {sum b.ledger_qoh} AS qoh, {sum b.ledger_atp} AS atp
    FROM tallyman_coverage_item b
    JOIN inventory_item i ON i.inventory_item_id = b.inventory_item_id
    WHERE b.cycle_id = :cycle_id GROUP BY i.product_id, i.facility_id
  )
  SELECT c.product_id, c.facility_id,
    {units c.delta} - ({units c.quantity} - {units c.TOTAL}) AS misses,
    COALESCE(booked.by_reset, 0) - {units c.delta} AS reset_off,
    COALESCE(booked.by_variance, 0) + :settled * {units c.deduction} AS variance_off,
    COALESCE(kept.qoh, 0) - {units c.ledger_qoh} AS qoh_off,
    COALESCE(kept.atp, 0) - {units c.ledger_atp} AS atp_off
  FROM tallyman_coverage c
  LEFT JOIN booked ON booked.product_id = c.product_id AND booked.facility_id = c.facility_id
  LEFT JOIN kept ON kept.product_id = c.product_id AND kept.facility_id = c.facility_id
  WHERE c.cycle_id = :cycle_id
  ORDER BY {bytes c.facility_id}, {bytes c.product_id}]]

--- Items of the coverage that are gone.
local GONE = [[
  SELECT b.inventory_item_id FROM tallyman_coverage_item b WHERE b.cycle_id = :cycle_id
    AND NOT EXISTS (SELECT 1 FROM inventory_item i
      WHERE i.inventory_item_id = b.inventory_item_id)
  ORDER BY {bytes b.inventory_item_id}]]

--- The cycle's own ledger rows and its variance rows, which must say the same of each item.
local VARIANCES = [[
  SELECT inventory_item_id, {sum qoh} AS qoh, {sum atp} AS atp FROM (
    SELECT d.inventory_item_id, d.quantity_on_hand_diff AS qoh,
      d.available_to_promise_diff AS atp
    FROM tallyman_cycle c JOIN inventory_item_detail d
      ON d.physical_inventory_id = c.reset_id OR d.physical_inventory_id = c.variance_id
    WHERE c.cycle_id = :cycle_id
    UNION ALL SELECT v.inventory_item_id, -v.quantity_on_hand_var, -v.available_to_promise_var
    FROM tallyman_cycle c JOIN inventory_item_variance v
      ON v.physical_inventory_id = c.reset_id OR v.physical_inventory_id = c.variance_id
    WHERE c.cycle_id = :cycle_id) own
  GROUP BY inventory_item_id ORDER BY inventory_item_id]]

---@class tallyman.Proof
---@field pairs integer checked
---@field items integer checked
---@field failures string[] one text for each pair or item that fails

--- Checks what the cycle keeps of itself against what it has booked.
local function check_kept(oms, columns, params, check)
  for row in oms:rows(KEPT:gsub("%u%u%u%u%u+", columns), params) do
    local function of(off, text)
      check(off == 0, "product %s at %s: " .. text, row.product_id, row.facility_id,
        quantity.text(off))
    end
    of(row.misses, "its delta misses the file's quantity by %s")
    of(row.reset_off, "what the reset has booked is off by %s")
    of(row.variance_off, "what the variance has booked is off by %s")
    if row.qoh_off ~= 0 or row.atp_off ~= 0 then
      check(false, "product %s at %s: its items aren't those that the reset covered (their ledgers "
        .. "then: off by %s/%s)", row.product_id, row.facility_id, quantity.text(row.qoh_off),
        quantity.text(row.atp_off))
    end
  end
  for row in oms:rows(GONE, params) do
    check(false, "item %s, which the reset covered, is gone", row.inventory_item_id)
  end
  for row in oms:rows(VARIANCES, params) do
    check(row.qoh == 0 and row.atp == 0, "item %s: its ledger and inventory_item_variance differ "
      .. "by %s/%s", row.inventory_item_id, quantity.text(row.qoh), quantity.text(row.atp))
  end
end

--- Proves a cycle from the database as it is now.
---@param oms tallyman.Oms
---@param cycle tallyman.Cycle
---@return tallyman.Proof
function proof.of(oms, cycle)
  local result = { pairs = 0, items = 0, failures = {} }
  local function check(holds, format, ...)
    if not holds then result.failures[#result.failures + 1] = format:format(...) end
  end
  local qoh = cycle.method == "exact_qoh"
  local columns = { TOTAL = qoh and "quantity_on_hand_total" or "available_to_promise_total",
    DIFF = qoh and "quantity_on_hand_diff" or "available_to_promise_diff",
    BEFORE = qoh and "ledger_qoh" or "ledger_atp" }
  local params = { cycle_id = cycle.cycle_id, settled = cycle.settled_at and 1 or 0 }
  for row in oms:rows(PAIRS:gsub("%u%u%u+", columns), params) do
    result.pairs = result.pairs + 1
    check(row.has == row.wanted, "product %s at %s has %s, must have %s", row.product_id,
      row.facility_id, quantity.text(row.has), quantity.text(row.wanted))
  end
  check(result.pairs == cycle.covered, "%d pairs are covered, of the %d that "
    .. "the reset covered", result.pairs, cycle.covered)
  for row in oms:rows(ITEMS, params) do
    result.items = result.items + 1
    check(row.qoh_change == row.qoh_booked and row.atp_change == row.atp_booked,
      "item %s (product %s at %s): totals changed by %s/%s, its ledger by %s/%s",
      row.inventory_item_id, row.product_id, row.facility_id, quantity.text(row.qoh_change),
      quantity.text(row.atp_change), quantity.text(row.qoh_booked), quantity.text(row.atp_booked))
  end
  check_kept(oms, { TOTAL = qoh and "qoh_before" or "atp_before" }, params, check)
  return result
end

--- What an undone cycle's reset, variance and undo booked on each item; it must sum up to 0.
local UNDONE = [[
  SELECT d.inventory_item_id, SUM({units d.quantity_on_hand_diff}) AS qoh,
    SUM({units d.available_to_promise_diff}) AS atp
  FROM tallyman_cycle c
  JOIN inventory_item_detail d ON d.physical_inventory_id = c.reset_id
    OR d.physical_inventory_id = c.variance_id OR d.physical_inventory_id = c.undo_id
  WHERE c.cycle_id = :cycle_id
  GROUP BY d.inventory_item_id ORDER BY d.inventory_item_id]]

--- Proves that nothing of an undone cycle is left.
---@param oms tallyman.Oms
---@param cycle tallyman.Cycle
---@return { items: integer, failures: string[], comment: string }
function proof.of_undone(oms, cycle)
  local result = { items = 0, failures = {}, comment = oms:value(
    "SELECT general_comments FROM physical_inventory WHERE physical_inventory_id = :undo_id",
    { undo_id = cycle.undo_id or oms.db.null }) or "" }
  for row in oms:rows(UNDONE, { cycle_id = cycle.cycle_id }) do
    result.items = result.items + 1
    if row.qoh ~= 0 or row.atp ~= 0 then
      result.failures[#result.failures + 1] = ("item %s keeps %s/%s of cycle %d"):format(
        row.inventory_item_id, quantity.text(row.qoh), quantity.text(row.atp), cycle.cycle_id)
    end
  end
  return result
end

return proof
