std = "lua54"
max_line_length = 100
self = false -- methods keep their shape where they don't need the object
files["tests"] = { std = "lua54+busted" }
files["**/*_spec.lua"] = { std = "lua54+busted" }
files["lua/meta"] = { ignore = { "211", "212", "241" } }
