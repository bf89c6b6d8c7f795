-- What has shipped and the POS hasn't acknowledged: the Inventory Variance File.
local settings = require "settings"
local csv_text = require "tallyman.csv_text"
local quantity = require "tallyman.quantity"

local SHIPPED = [[item_issuance s
  JOIN order_header o ON o.order_id = s.order_id AND o.order_type_id = 'SALES_ORDER'
  JOIN shipment h ON h.shipment_id = s.shipment_id AND h.status_id IN :shipped
  JOIN inventory_item i ON i.inventory_item_id = s.inventory_item_id
  WHERE (:since = '' OR {stamp s.issued_date_time} >= :since)
    AND NOT EXISTS (SELECT 1 FROM order_fulfillment_history a
      WHERE a.order_id = s.order_id AND a.order_item_seq_id = s.order_item_seq_id
        AND a.shipment_id = s.shipment_id)]]

local UNACKNOWLEDGED = [[
  SELECT i.product_id, i.facility_id, MIN({bytes i.inventory_item_id}) AS item_id,
    SUM({units s.quantity} - {units s.cancel_quantity}) AS units
  FROM ]] .. SHIPPED .. [[ AND i.product_id IS NOT NULL AND i.facility_id IS NOT NULL
  GROUP BY i.product_id, i.facility_id
  HAVING SUM({units s.quantity} - {units s.cancel_quantity}) <> 0
  ORDER BY {bytes i.facility_id}, {bytes i.product_id}]]

local NOWHERE = "SELECT COUNT(*) FROM " .. SHIPPED
  .. " AND (i.product_id IS NULL OR i.facility_id IS NULL)"

local HEADER = csv_text.line { "facilityId", "locationSeqId", "idType", "idValue",
  "availableDelta", "varianceReasonId", "comments" }

local LOCATION = "SELECT location_seq_id FROM inventory_item WHERE inventory_item_id = :item_id"

---@type tallyman.Job
return {
  name = "export_variance",
  at = "01:30",
  latest = "04:00",

  run = function(night)
    local oms <close> = night:oms()
    local exchange <close> = night:exchange()
    local target <close> = exchange:write(settings.variance.name:name(night:now()))
    local pairs = 0

    local params = { shipped = settings.oms.shipped, since = oms:shipments_since() or "" }
    target:write(HEADER)
    for row in oms:rows(UNACKNOWLEDGED, params) do
      local id_type, id_value = oms:identifier(row.product_id)
      target:write(csv_text.line { row.facility_id, oms:value(LOCATION, row) or "",
        id_type, id_value, quantity.text(-row.units), settings.variance.reason,
        "shipped, not acknowledged" })
      pairs = pairs + 1
    end
    target:commit()

    local nowhere = oms:value(NOWHERE, params)
    if nowhere > 0 then
      night:warn("%d shipments are of inventory items without product or facility", nowhere)
    end
    return { pairs = pairs, file = target.path }
  end,
}
