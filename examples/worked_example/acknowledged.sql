-- What happens on 2026-11-25, after two nights: C has arrived in New York and ships at 14:00, so
-- that the order is whole, and at 16:00 Retail Pro acknowledges all of it. All times are UTC.

-- Reserved and shipped. The nights have written to this ledger, so its next number is asked for.
INSERT INTO inventory_item_detail
  (inventory_item_id, inventory_item_detail_seq_id, effective_date,
   quantity_on_hand_diff, available_to_promise_diff, order_id, order_item_seq_id, description)
SELECT '10002',
  substr(CAST(100001 + COALESCE(MAX(CAST(inventory_item_detail_seq_id AS integer)), 0)
    AS varchar(6)), 2),
  '2026-11-25 13:00:00', 0, -2, '10000', '00003', 'reserved'
FROM inventory_item_detail WHERE inventory_item_id = '10002';

INSERT INTO inventory_item_detail
  (inventory_item_id, inventory_item_detail_seq_id, effective_date,
   quantity_on_hand_diff, available_to_promise_diff, order_id, order_item_seq_id,
   shipment_id, shipment_item_seq_id, description)
SELECT '10002',
  substr(CAST(100001 + COALESCE(MAX(CAST(inventory_item_detail_seq_id AS integer)), 0)
    AS varchar(6)), 2),
  '2026-11-25 14:00:00', -2, 0, '10000', '00003', '10001', '00001', 'shipped'
FROM inventory_item_detail WHERE inventory_item_id = '10002';

UPDATE inventory_item
SET quantity_on_hand_total = quantity_on_hand_total - 2,
    available_to_promise_total = available_to_promise_total - 2
WHERE inventory_item_id = '10002';

INSERT INTO shipment (shipment_id, status_id, origin_facility_id) VALUES
  ('10001', 'SHIPMENT_SHIPPED', 'NEW_YORK');

INSERT INTO shipment_item (shipment_id, shipment_item_seq_id, product_id, quantity) VALUES
  ('10001', '00001', 'C', 2);

INSERT INTO item_issuance
  (item_issuance_id, order_id, order_item_seq_id, ship_group_seq_id, inventory_item_id,
   shipment_id, shipment_item_seq_id, issued_date_time, quantity, cancel_quantity) VALUES
  ('10002', '10000', '00003', '00001', '10002', '10001', '00001', '2026-11-25 14:00:00', 2, 0);

UPDATE order_item SET status_id = 'ITEM_COMPLETED'
WHERE order_id = '10000' AND order_item_seq_id = '00003';

UPDATE order_header SET status_id = 'ORDER_COMPLETED' WHERE order_id = '10000';

-- The POS invoices the order as a whole: one row for each line, each with its own shipment.
INSERT INTO order_fulfillment_history
  (order_id, order_item_seq_id, shipment_id, shipment_item_seq_id, external_fulfillment_id,
   created_date) VALUES
  ('10000', '00001', '10000', '00001', 'RP-10000', '2026-11-25 16:00:00'),
  ('10000', '00002', '10000', '00002', 'RP-10000', '2026-11-25 16:00:00'),
  ('10000', '00003', '10001', '00001', 'RP-10000', '2026-11-25 16:00:00');
