--- Documentation stays true: types of the native modules, the README's settings and exit codes.
local host = require "native.host"

local ROOT = host.library .. "/../"

local function read(path)
  local handle <close> = assert(io.open(ROOT .. path, "rb"))
  return handle:read "a"
end

--- Names documented as `function NAME.x` or `function NAME:x` in a meta file, by class variable.
local function documented(name)
  local found = {}
  local meta = read("lua/meta/" .. name .. ".lua")
  for class, member in meta:gmatch "\nfunction ([%w_]+)[.:]([%w_]+)" do
    found[class] = found[class] or {}
    found[class][member] = true
  end
  return found
end

local function members(value)
  local names = {}
  for name, member in pairs(value) do
    if type(member) == "function" then names[name] = true end
  end
  return names
end

--- The methods of a handle's class.
local function methods(class) return members(debug.getregistry()[class].__index) end

local CLASSES = {
  clock = {},
  csv = { Keyset = "native.keyset", Reader = "native.reader" },
  file = { Source = "native.source", Sink = "native.sink" },
  host = {},
  pg = { Connection = "native.pg_connection", Statement = "native.pg_statement" },
  process = { Watch = "native.watch" },
  sftp = { Session = "native.sftp_session" },
  sqlite = { Database = "native.database", Statement = "native.statement" },
}

describe("lua/meta", function()
  for name, classes in pairs(CLASSES) do
    it("documents native." .. name .. " as it is", function()
      local native = require("native." .. name)
      local found = documented(name)
      assert.same(members(native), found[name])
      for class, registry in pairs(classes) do assert.same(methods(registry), found[class]) end
    end)
  end

  it("knows every native module", function()
    for name in pairs(package.preload) do
      local native = name:match "^native%.(.+)$"
      if native then assert.is_table(CLASSES[native], name) end
    end
  end)
end)

describe("README.md", function()
  local readme = read "README.md"

  it("documents every setting", function()
    local function check(shape, prefix)
      for name, field in pairs(shape.fields) do
        local path = prefix .. name
        if field.fields and name ~= "columns" then
          check(field, path .. ".")
        else
          assert.truthy(readme:find("`" .. path .. "`", 1, true), path .. " is not documented")
        end
      end
    end
    check(require "tallyman.settings".shape, "")
  end)

  it("documents every environment variable that overrides a setting", function()
    for variable in pairs(require "tallyman.settings".environment) do
      assert.truthy(readme:find("`" .. variable .. "`", 1, true), variable)
    end
  end)

  it("documents every exit code", function()
    for name, code in pairs(require "tallyman.failure") do
      if math.type(code) == "integer" then
        assert.truthy(readme:find("| " .. code .. " |", 1, true), name)
      end
    end
  end)

  it("names every Debian package of src/deps.sh", function()
    local script = read "src/deps.sh"
    for packages in script:gmatch '_PACKAGES="([^"$]*)"' do
      for name in packages:gmatch "%S+" do
        assert.truthy(readme:find("`" .. name .. "`", 1, true), name .. " is not named")
      end
    end
  end)

  it("names only files that exist", function()
    local exchange = { filtered = true, variance = true, inbound = true, archive = true }
    for folder, rest in readme:gmatch "`([%w_]+)(/[%w_/.-]+%.%l+)`" do
      local path = folder .. rest
      if not exchange[folder] then
        local handle = io.open(ROOT .. path)
        assert.truthy(handle, path)
        handle:close()
      end
    end
  end)
end)
