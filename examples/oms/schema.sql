-- The tables of the OMS (OFBiz's names) that tallyman reads and writes, for rehearsals and tests.
-- One text for SQLite and PostgreSQL. A real OMS has these tables already, with many more columns.
-- Times are UTC without a zone; in SQLite they are text, YYYY-MM-DD HH:MM:SS[.fff].

CREATE TABLE facility (
  facility_id varchar(20) NOT NULL PRIMARY KEY,
  facility_type_id varchar(20),
  facility_name varchar(100),
  external_id varchar(60)
);
CREATE INDEX facility_external ON facility (external_id);

CREATE TABLE product (
  product_id varchar(20) NOT NULL PRIMARY KEY,
  internal_name varchar(255),
  sales_discontinuation_date timestamp
);

CREATE TABLE good_identification (
  good_identification_type_id varchar(20),
  product_id varchar(20),
  id_value varchar(255),
  from_date timestamp,
  thru_date timestamp
);
CREATE INDEX good_identification_value ON good_identification (id_value);
CREATE INDEX good_identification_product ON good_identification (product_id);

CREATE TABLE shopify_shop_product (
  shop_id varchar(20),
  product_id varchar(20),
  shopify_product_id varchar(60)
);
CREATE INDEX shopify_shop_product_product ON shopify_shop_product (product_id);

CREATE TABLE inventory_item (
  inventory_item_id varchar(20) NOT NULL PRIMARY KEY,
  inventory_item_type_id varchar(20),
  product_id varchar(20),
  facility_id varchar(20),
  location_seq_id varchar(20),
  quantity_on_hand_total numeric(18,6),
  available_to_promise_total numeric(18,6)
);
CREATE INDEX inventory_item_pair ON inventory_item (product_id, facility_id);

CREATE TABLE inventory_item_detail (
  inventory_item_id varchar(20) NOT NULL,
  inventory_item_detail_seq_id varchar(20) NOT NULL,
  effective_date timestamp,
  quantity_on_hand_diff numeric(18,6),
  available_to_promise_diff numeric(18,6),
  reason_enum_id varchar(20),
  order_id varchar(20),
  order_item_seq_id varchar(20),
  shipment_id varchar(20),
  shipment_item_seq_id varchar(20),
  physical_inventory_id varchar(20),
  description varchar(255),
  PRIMARY KEY (inventory_item_id, inventory_item_detail_seq_id)
);
CREATE INDEX inventory_item_detail_date ON inventory_item_detail (effective_date);
CREATE INDEX inventory_item_detail_physical ON inventory_item_detail (physical_inventory_id);

CREATE TABLE physical_inventory (
  physical_inventory_id varchar(20) NOT NULL PRIMARY KEY,
  physical_inventory_date timestamp,
  party_id varchar(20),
  general_comments varchar(255)
);

CREATE TABLE variance_reason (
  variance_reason_id varchar(20) NOT NULL PRIMARY KEY,
  description varchar(255)
);

CREATE TABLE inventory_item_variance (
  inventory_item_id varchar(20) NOT NULL,
  physical_inventory_id varchar(20) NOT NULL,
  variance_reason_id varchar(20),
  available_to_promise_var numeric(18,6),
  quantity_on_hand_var numeric(18,6),
  comments varchar(255),
  PRIMARY KEY (inventory_item_id, physical_inventory_id)
);

CREATE TABLE sequence_value_item (
  seq_name varchar(60) NOT NULL PRIMARY KEY,
  seq_id numeric(20,0)
);

CREATE TABLE order_header (
  order_id varchar(20) NOT NULL PRIMARY KEY,
  order_type_id varchar(20),
  status_id varchar(20),
  order_date timestamp,
  external_id varchar(60)
);

CREATE TABLE order_item (
  order_id varchar(20) NOT NULL,
  order_item_seq_id varchar(20) NOT NULL,
  product_id varchar(20),
  quantity numeric(18,6),
  cancel_quantity numeric(18,6),
  status_id varchar(20),
  PRIMARY KEY (order_id, order_item_seq_id)
);

CREATE TABLE shipment (
  shipment_id varchar(20) NOT NULL PRIMARY KEY,
  status_id varchar(20),
  origin_facility_id varchar(20)
);

CREATE TABLE shipment_item (
  shipment_id varchar(20) NOT NULL,
  shipment_item_seq_id varchar(20) NOT NULL,
  product_id varchar(20),
  quantity numeric(18,6),
  PRIMARY KEY (shipment_id, shipment_item_seq_id)
);

CREATE TABLE item_issuance (
  item_issuance_id varchar(20) NOT NULL PRIMARY KEY,
  order_id varchar(20),
  order_item_seq_id varchar(20),
  ship_group_seq_id varchar(20),
  inventory_item_id varchar(20),
  shipment_id varchar(20),
  shipment_item_seq_id varchar(20),
  issued_date_time timestamp,
  quantity numeric(18,6),
  cancel_quantity numeric(18,6)
);
CREATE INDEX item_issuance_item ON item_issuance (inventory_item_id, shipment_id);

-- OFBiz keys this table by order item and shipment item; several rows for one shipment happen.
CREATE TABLE order_fulfillment_history (
  order_id varchar(20),
  order_item_seq_id varchar(20),
  shipment_id varchar(20),
  shipment_item_seq_id varchar(20),
  external_fulfillment_id varchar(60),
  comments varchar(255),
  created_date timestamp
);
CREATE INDEX order_fulfillment_history_item
  ON order_fulfillment_history (order_id, order_item_seq_id, shipment_id);
