-- What differs from shop to shop. Every field has a default; README.md lists them all. The
-- environment (TALLYMAN_EXCHANGE, TALLYMAN_OMS, TALLYMAN_STATE, ...) wins over what stands here.
return require "tallyman.settings" {
  exchange = "file:///var/lib/tallyman/exchange",
  state = "/var/lib/tallyman/state",       -- active list and run history, on this host's own disk
  keep_days = 30,                          -- archives and history

  inbound = {
    folder = "inbound",
    name = "ResetInventory*.csv[.gz]",     -- the stamp in the name is the POS's local time
    settled = "60s",                       -- unchanged for so long = complete, without a marker
    markers = { ".done", ".ok" },
  },
  filtered = "filtered/ResetInventoryActive_STAMP.csv",
  rejects = "filtered/Rejects_STAMP_STEP.csv",
  columns = {},                            -- other column names: { availableQty = "ON_HAND" }
  ignore_facilities = {},                  -- stores that the OMS doesn't know

  oms = {
    database = "sqlite:/var/lib/tallyman/oms.db",
    timezone = "UTC",                      -- of the times in its tables
    shipped = { "SHIPMENT_SHIPPED", "SHIPMENT_DELIVERED" },
    stale_days = 45,                       -- older unacknowledged shipments are reported
    lease = "1m",                          -- after it, another host takes over from one that hangs
  },
  pos = { ack_delay = 0, sale_delay = 0 }, -- how much the OMS's times lag the POS's

  reset = {
    method = "exact_qoh",                  -- the file counts what is on the shelf
    contradiction = "reject",              -- or "last", "sum", or function(rows) return ... end
    movement = function(_reason) return true end, -- which ledger reasons count as movements
  },
  variance = {
    name = "variance/InventoryVariance_STAMP.csv",
    reason = "UNACK_SHIPMENT",
    deadline = "3h",                       -- after the reset: then settled without the file
  },
  guards = {                               -- false instead of a limit switches it off
    line_end = "refuse",                   -- the last row lacks it, and the last file had one
    rows = { warn = 90, refuse = 50 },     -- % of the last good night's: fewer is too few
    kept = { warn = 90, refuse = 50 },
    facilities = "refuse",                 -- one of last time is missing
    zero = { warn = 10, refuse = 30 },     -- % of the pairs in stock: more is too much
    change = { by = 50, warn = 10, refuse = 30 }, -- % of pairs that change by more than that
    age = { warn = "12h", refuse = "36h" }, -- since the snapshot
    rejects = { warn = 2, refuse = 10 },   -- % of the rows
    few = 10,                              -- shares of fewer than this say nothing
    -- and your own: function(figures) return nil or "why not" end
  },
}
