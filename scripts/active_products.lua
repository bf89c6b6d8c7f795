-- Compile the list of active products: what is sold online, by every identifier valid now.
local csv_text = require "tallyman.csv_text"

local ACTIVE = [[
  SELECT * FROM (SELECT DISTINCT p.product_id, g.good_identification_type_id AS id_type, g.id_value
  FROM product p
  JOIN good_identification g ON g.product_id = p.product_id
  WHERE EXISTS (SELECT 1 FROM shopify_shop_product s WHERE s.product_id = p.product_id)
    AND (p.sales_discontinuation_date IS NULL OR {stamp p.sales_discontinuation_date} > :now)
    AND (g.from_date IS NULL OR {stamp g.from_date} <= :now)
    AND (g.thru_date IS NULL OR {stamp g.thru_date} > :now)
    AND g.good_identification_type_id <> '' AND g.id_value <> ''
) active
  ORDER BY {bytes product_id}, {bytes id_type}, {bytes id_value}]]

---@type tallyman.Job
return {
  name = "active_products",
  at = "01:00",
  latest = "03:00",

  run = function(night)
    local oms <close> = night:oms()
    local list <close> = night:keep "active_products" -- this host's own disk, mode 0600
    local identifiers, products, last = 0, 0, nil

    list:write "productId,idType,idValue\n"
    for row in oms:rows(ACTIVE, { now = oms:stamp(night:now()) }) do
      list:write(csv_text.line { row.product_id, row.id_type, row.id_value })
      identifiers = identifiers + 1
      if row.product_id ~= last then products, last = products + 1, row.product_id end
    end
    list:commit()

    if products == 0 then night:warn "no product is active: the filter will keep nothing" end
    return { products = products, identifiers = identifiers }
  end,
}
