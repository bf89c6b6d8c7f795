-- The OMS of the worked example as the night of 2026-11-24 finds it: an order for 2 A, 2 B and
-- 2 C came in on the 23rd, A and B shipped from New York, C waits. For SQLite and PostgreSQL,
-- into the tables of ../oms/schema.sql; all times are UTC.

INSERT INTO facility (facility_id, facility_type_id, facility_name, external_id) VALUES
  ('NEW_YORK', 'RETAIL_STORE', 'New York', 'S001'),
  ('NASHVILLE', 'RETAIL_STORE', 'Nashville', 'S002');

INSERT INTO product (product_id, internal_name) VALUES
  ('A', 'Product A'), ('B', 'Product B'), ('C', 'Product C');

INSERT INTO good_identification
  (product_id, good_identification_type_id, id_value, from_date) VALUES
  ('A', 'SKU', 'SKU-A', '2026-01-01 00:00:00'),
  ('B', 'SKU', 'SKU-B', '2026-01-01 00:00:00'),
  ('C', 'SKU', 'SKU-C', '2026-01-01 00:00:00');

INSERT INTO shopify_shop_product (shop_id, product_id, shopify_product_id) VALUES
  ('10000', 'A', '7190000000001'), ('10000', 'B', '7190000000002'),
  ('10000', 'C', '7190000000003');

-- Totals: New York 8, 8, 0 (two each have left of A and B); Nashville 10, 10, 0.
INSERT INTO inventory_item
  (inventory_item_id, inventory_item_type_id, product_id, facility_id, location_seq_id,
   quantity_on_hand_total, available_to_promise_total) VALUES
  ('10000', 'NON_SERIAL_INV_ITEM', 'A', 'NEW_YORK', 'TLTLTLLL01', 8, 8),
  ('10001', 'NON_SERIAL_INV_ITEM', 'B', 'NEW_YORK', 'TLTLTLLL01', 8, 8),
  ('10002', 'NON_SERIAL_INV_ITEM', 'C', 'NEW_YORK', 'TLTLTLLL01', 0, 0),
  ('10003', 'NON_SERIAL_INV_ITEM', 'A', 'NASHVILLE', 'TLTLTLLL01', 10, 10),
  ('10004', 'NON_SERIAL_INV_ITEM', 'B', 'NASHVILLE', 'TLTLTLLL01', 10, 10),
  ('10005', 'NON_SERIAL_INV_ITEM', 'C', 'NASHVILLE', 'TLTLTLLL01', 0, 0);

-- The ledger: both stores start the day with 10, 10, 0.
INSERT INTO inventory_item_detail
  (inventory_item_id, inventory_item_detail_seq_id, effective_date,
   quantity_on_hand_diff, available_to_promise_diff, description) VALUES
  ('10000', '00001', '2026-11-23 08:00:00', 10, 10, 'at the start'),
  ('10001', '00001', '2026-11-23 08:00:00', 10, 10, 'at the start'),
  ('10003', '00001', '2026-11-23 08:00:00', 10, 10, 'at the start'),
  ('10004', '00001', '2026-11-23 08:00:00', 10, 10, 'at the start');

-- 15:00: the order. A and B are reserved, which lowers ATP; C is parked, unreserved.
INSERT INTO order_header (order_id, order_type_id, status_id, order_date, external_id) VALUES
  ('10000', 'SALES_ORDER', 'ORDER_APPROVED', '2026-11-23 15:00:00', '5120000000001');

INSERT INTO order_item
  (order_id, order_item_seq_id, product_id, quantity, cancel_quantity, status_id) VALUES
  ('10000', '00001', 'A', 2, 0, 'ITEM_COMPLETED'),
  ('10000', '00002', 'B', 2, 0, 'ITEM_COMPLETED'),
  ('10000', '00003', 'C', 2, 0, 'ITEM_APPROVED');

INSERT INTO inventory_item_detail
  (inventory_item_id, inventory_item_detail_seq_id, effective_date,
   quantity_on_hand_diff, available_to_promise_diff, order_id, order_item_seq_id,
   description) VALUES
  ('10000', '00002', '2026-11-23 15:00:00', 0, -2, '10000', '00001', 'reserved'),
  ('10001', '00002', '2026-11-23 15:00:00', 0, -2, '10000', '00002', 'reserved');

-- 18:00: A and B ship, which lowers QOH. Retail Pro hears of the order once C has shipped too.
INSERT INTO shipment (shipment_id, status_id, origin_facility_id) VALUES
  ('10000', 'SHIPMENT_SHIPPED', 'NEW_YORK');

INSERT INTO shipment_item (shipment_id, shipment_item_seq_id, product_id, quantity) VALUES
  ('10000', '00001', 'A', 2),
  ('10000', '00002', 'B', 2);

INSERT INTO item_issuance
  (item_issuance_id, order_id, order_item_seq_id, ship_group_seq_id, inventory_item_id,
   shipment_id, shipment_item_seq_id, issued_date_time, quantity, cancel_quantity) VALUES
  ('10000', '10000', '00001', '00001', '10000', '10000', '00001', '2026-11-23 18:00:00', 2, 0),
  ('10001', '10000', '00002', '00001', '10001', '10000', '00002', '2026-11-23 18:00:00', 2, 0);

INSERT INTO inventory_item_detail
  (inventory_item_id, inventory_item_detail_seq_id, effective_date,
   quantity_on_hand_diff, available_to_promise_diff, order_id, order_item_seq_id,
   shipment_id, shipment_item_seq_id, description) VALUES
  ('10000', '00003', '2026-11-23 18:00:00', -2, 0, '10000', '00001', '10000', '00001', 'shipped'),
  ('10001', '00003', '2026-11-23 18:00:00', -2, 0, '10000', '00002', '10000', '00002', 'shipped');

-- Where OFBiz takes new ids from: the next free numbers.
INSERT INTO sequence_value_item (seq_name, seq_id) VALUES
  ('InventoryItem', 10006), ('PhysicalInventory', 10000);

INSERT INTO variance_reason (variance_reason_id, description) VALUES
  ('VAR_EXT_RESET', 'Reset by an external system'), ('VAR_LOST', 'Lost'),
  ('VAR_FOUND', 'Found'), ('VAR_DAMAGED', 'Damaged'), ('VAR_STOLEN', 'Stolen'),
  ('POS_SALE', 'Sold in a store'), ('MISMATCH', 'Counts differ'),
  ('NOT_IN_STOCK', 'Not in stock'),
  ('UNACK_SHIPMENT', 'Shipped, not acknowledged by the POS');
