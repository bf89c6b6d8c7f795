-- The night, in order. Run it with `once`; each job is a process of its own.
return {
  flow = "nightly",
  jobs = {
    "active_products",
    "filter_inventory",
    "export_variance",
    "import_reset",
    "import_variance",
  },
}
