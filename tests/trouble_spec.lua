--- The jobs under trouble, as processes: killed at any moment, with files, folders, disks and
--- databases that are broken, missing, locked or full.
local process = require "tests.support.process"
local shops = require "tests.support.shop"
local tracing = require "tests.support.tracing"

local HEADER = "facilityId,locationSeqId,idType,idValue,availableQty,comments\n"
local FILTERED = "filtered/ResetInventoryActive_20261123T220000Z.csv"
local INBOUND = "inbound/ResetInventory_20261123_220000.csv"

--- A shop with eight products; the first has shipped 2 unacknowledged, the last has no item yet.
local function fill(oms)
  local shop = shops.of_eight(oms)
  shop:ship("10001", "2026-11-23 20:00:00", 2)
end

--- An inbound file of these products, and of two rows that the import rejects or the filter drops.
local function counts(quantity, more)
  local rows = { HEADER }
  for i = 1, 8 do rows[#rows + 1] = ("NY,,SKU,SKU-%d,%d,\n"):format(i, quantity or 9) end
  return table.concat(rows) .. "NOWHERE,,SKU,SKU-1,3,\nNY,,SKU,OTHER,3,\n" .. (more or "")
end

--- A site at which the jobs named have run.
local function site_after(...)
  local site = process.site(fill)
  site:upload(counts())
  site:jobs(...)
  return site
end

local BEFORE = {
  active_products = {}, export_variance = {}, filter_inventory = { "active_products" },
  import_reset = { "active_products", "filter_inventory" },
  import_variance = { "active_products", "filter_inventory", "export_variance", "import_reset" },
}

local ready = {} -- sites, each in front of a job

--- A site of its own in front of a job.
local function site_before(job) return ready[job]:copy() end

--- A failed run says what is wrong in one line besides warnings, without a password, and its code.
local function assert_fails(result, code, text)
  local said = result.err:gsub("[^\n]*: warning: [^\n]*\n", "")
  assert.equal(code, result.status, result.err)
  assert.matches("^[^\n]+\n$", said)
  assert.truthy(said:find(text, 1, true), said)
  assert.falsy(result.err:find "secret")
  assert.equal("", result.out)
end

--- Runs a job that must fail and leave everything as it was.
local function fails(site, job, code, text)
  local before = site:everything()
  assert_fails(site:run(job), code, text)
  assert.is_nil(process.difference(before, site:everything()))
end

--- Runs a job that has nothing to do any more.
local function says_nothing_to_do(site, job)
  local before = site:everything()
  local result = site:run(job)
  assert.equal(0, result.status, result.err)
  assert.matches("nothing to do", result.err)
  assert.is_nil(process.difference(before, site:everything()))
end

--- Another process holds the OMS's lock.
local function hold(site)
  local holder = process.start { process.host, "-e",
    ("require 'tallyman.db'.open 'sqlite:%s/oms.db':transaction(function()\n"
    .. "print 'held' require 'native.clock'.sleep(100) end)"):format(site.folder) }
  process.eventually(function() return holder:out() == "held\n" end)
  return holder
end

local locked -- a job that waits for a lock for as long as it may, meanwhile
setup(function()
  for job, before in pairs(BEFORE) do ready[job] = site_after(table.unpack(before)) end
  local site = site_before "import_reset"
  locked = { site = site, holder = hold(site), job = process.start(site:command "import_reset") }
  process.keep()
end)
teardown(function() process.clean(true) end)
after_each(function() process.clean() end)

describe("a job says in one line what it lacks", function()
  local function lacks(what, job, code, text, prepare)
    it(("%s: %s answers %d"):format(what, job, code), function()
      local site = site_before(job)
      prepare(site)
      fails(site, job, code, text:gsub("@", site.folder))
    end)
  end

  lacks("no inbound folder", "filter_inventory", 66, "inbound",
    function(site) process.must("rm", "-r", site.exchange .. "/inbound") end)
  for _, job in ipairs { "filter_inventory", "export_variance", "import_reset" } do
    lacks("no exchange", job, 66, "@/exchange",
      function(site) os.rename(site.exchange, site.exchange .. ".away") end)
  end
  for _, job in ipairs { "active_products", "export_variance", "import_reset" } do
    lacks("no OMS database", job, 69, "@/oms.db",
      function(site) os.remove(site.folder .. "/oms.db") end)
    lacks("no database in its place", job, 65, "@/oms.db",
      function(site) process.write(site.folder .. "/oms.db", ("text\n"):rep(1000)) end)
  end

  local function receives(what, bytes, text)
    lacks(what, "filter_inventory", 65, text, function(site) site:upload(bytes) end)
  end
  receives("an empty file", "", INBOUND)
  receives("a header without the key", "facilityId,idType,availableQty\nNY,SKU,1\n", "idValue")
  receives("a file cut off in a row", counts(9, "NY,,SKU,SKU-1,1,\nNY"), INBOUND .. ":13:")
  receives("a quote never closed", counts(9, 'NY,,SKU,SKU-1,1,"oh\nNY,,SKU,SKU-2,1,\n'),
    INBOUND .. ":12:")

  local function misnames(name, value, job, text, code)
    lacks(name .. "=" .. value, job, code or 78, text, function(site) site.env[name] = value end)
  end
  misnames("TALLYMAN_OMS", "postgresql://u:secret@127.0.0.1:1/x", "active_products", "connect", 69)
  misnames("TALLYMAN_EXCHANGE", "sftp://user:secret@host:22/dir", "filter_inventory", "no place")
  misnames("TALLYMAN_EXCHANGE", "/exchange", "filter_inventory", "file:///DIR")
  misnames("TALLYMAN_TIMEZONE", "Mars/Olympus", "filter_inventory", "Mars/Olympus")
  misnames("TALLYMAN_RESET_METHOD", "exact", "import_reset", "TALLYMAN_RESET_METHOD")
  misnames("TALLYMAN_STATE", "here/state", "active_products", "here/state")

  it("but nothing of a file with a header only: a file like it, and 0", function()
    local site = site_before "filter_inventory"
    site:upload(HEADER)
    site:jobs "filter_inventory"
    assert.equal(HEADER, process.read(site.exchange .. "/" .. FILTERED))
  end)
end)

describe("without permission", function()
  local place -- a copy of the host and its scripts that everybody can reach
  setup(function()
    place = process.folder "/tmp"
    process.run { "cp", "-r", "--parents", "lua", "scripts", "build/deps", place,
      cwd = process.root } -- without build/deps on a Debian that needs none
    process.must("install", "-D", process.host, place .. "/build/tallyman")
    process.must("chmod", "-R", "a+rX", place)
    process.keep()
  end)

  --- Makes the site belong to somebody without rights and be run by him: root may read everything.
  local function disarm(site)
    if not process.is_root then return end
    process.must("chown", "-R", "nobody:", site.folder)
    site.host, site.scripts, site.as = place .. "/build/tallyman", place .. "/scripts", 65534
  end

  local function forbidden(what, job, mode, path, text)
    it(("%s: %s answers 77"):format(what, job), function()
      local site = site_before(job)
      disarm(site)
      process.must("sh", "-c", ("chmod %s %s/%s"):format(mode, site.folder, path))
      if process.is_root then return fails(site, job, 77, text) end
      assert_fails(site:run(job), 77, text)
    end)
  end

  forbidden("an inbound file", "filter_inventory", "0", "exchange/" .. INBOUND, INBOUND)
  forbidden("the inbound folder", "filter_inventory", "0", "exchange/inbound", "inbound")
  forbidden("a folder to write to", "export_variance", "0555", "exchange", "variance")
  forbidden("the active list", "filter_inventory", "0", "state/*/active_products.csv", "active")
  forbidden("a state folder to write to", "filter_inventory", "0555", "state", "/state")
  forbidden("a state folder to enter", "filter_inventory", "0", "state", "/state")
  forbidden("an OMS to read", "import_reset", "0", "oms.db", "oms.db")
  forbidden("an OMS to write to", "import_reset", "0444", "oms.db", "oms.db")

  it("to write in another user's state folder: status answers 77, and says who may look", function()
    if not process.is_root then return pending "needs root" end
    local site = site_before "filter_inventory"
    disarm(site)
    process.must("chown", "-R", "root:", site.folder .. "/state")
    process.must("chmod", "-R", "a+rX", site.folder .. "/state")
    assert_fails(site:run("nightly", "status"), 77, "history.db")
    assert.match("only the user whose state folder it is can look at it",
      site:run("nightly", "status").err, 1, true)
  end)
end)

describe("on a full disk", function()
  for job, text in pairs { filter_inventory = FILTERED:match "[^/]+$", import_reset = "oms.db" } do
    it(job .. " answers 74, leaves nothing behind and goes through when there is room", function()
      local site = process.site(fill)
      site:upload(HEADER .. ("NY,,SKU,SKU-1,9,%s\n"):format(("x"):rep(200)):rep(400))
      site:jobs(table.unpack(BEFORE[job]))
      local before = site:everything()
      assert_fails(process.run { "sh", "-c", 'ulimit -f 100; exec "$@"', "sh", env = site.env,
        table.unpack(site:command(job)) }, 74, text)
      assert.is_nil(process.difference(before, site:everything()))
      site:jobs(job)
    end)
  end

  it("a target without space: 74, and nothing of it stays", function()
    local site = site_before "filter_inventory"
    local target = site.exchange .. "/filtered"
    process.must("mkdir", target)
    if process.run { "mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", target }.status ~= 0 then
      return pending "needs the right to mount"
    end
    finally(function() process.run { "umount", target } end)
    site:upload(HEADER .. ("NY,,SKU,SKU-1,9,%s\n"):format(("x"):rep(200)):rep(100))
    assert_fails(site:run "filter_inventory", 74, "No space left on device")
    assert.same({ INBOUND, INBOUND .. ".done" }, site:files(true))
  end)
end)

describe("identity and input", function()
  it("no inbound file: 75, and 0 once tonight's reset is applied", function()
    local site = process.site(fill)
    site:jobs "active_products"
    fails(site, "filter_inventory", 75, "no input")
    fails(site, "import_reset", 75, "no input")
    fails(site, "import_variance", 75, "no reset was ever applied")
    says_nothing_to_do(site_before "import_variance", "filter_inventory")
  end)

  it("a reset run twice, at once or later, is applied once; its variance has no file", function()
    local site = site_before "import_reset"
    local holder, twins = hold(site), {}
    for i = 1, 2 do twins[i] = process.start(site:command "import_reset") end
    process.eventually(function() return false end, 0.2) -- both have seen the file and wait
    holder:kill()
    for _, twin in ipairs(twins) do assert.equal(0, twin:wait().status, twin:err()) end
    says_nothing_to_do(site, "import_reset")
    fails(site, "import_variance", 75, "variance file")
    site:upload(counts(), "again_20261123_220000")
    site:jobs("filter_inventory", "import_reset")
    assert.equal(ready.import_variance:dump(), site:dump())
  end)

  it("an older snapshot, the same with other bytes and a future one: 3", function()
    for stamp, text in pairs { ["20261123_210000"] = "older", ["20261123_220000"] = "other bytes",
      ["20261124_021100"] = "future" } do
      local site = site_before "import_variance"
      site:upload(counts(7), stamp)
      site:jobs "filter_inventory"
      fails(site, "import_reset", 3, text)
    end
  end)

  it("another active list finds other bytes under the filtered file's name: 73", function()
    local site = site_after("active_products", "filter_inventory")
    do
      local oms <close> = site:oms()
      oms:run "DELETE FROM shopify_shop_product WHERE product_id = 'P2'"
    end
    site:jobs "active_products"
    fails(site, "filter_inventory", 73, FILTERED)
  end)

  it("a locked OMS: 75 once it has waited, and nothing booked", function()
    local before = locked.site:everything()
    assert_fails(locked.job:wait(), 75, "locked")
    assert.is_nil(process.difference(before, locked.site:everything()))
    locked.holder:kill():wait()
    locked.site:jobs "import_reset"
  end)
end)

describe("files", function()
  it("left behind go when they are over a day old; another run's young one stays", function()
    local site = site_before "filter_inventory"
    local folder = site.exchange .. "/filtered/"
    process.write(folder .. ".old.csv.RUN.part", "")
    process.write(folder .. ".young.csv.RUN.part", "")
    process.must("touch", "-d", "25 hours ago", folder .. ".old.csv.RUN.part")
    process.must("touch", "-d", "23 hours ago", folder .. ".young.csv.RUN.part")
    site:jobs "filter_inventory"
    assert.same({ "filtered/.young.csv.RUN.part", FILTERED, INBOUND, INBOUND .. ".done" },
      site:files(true))
  end)

  it("without a marker are taken unless they grow between two looks", function()
    for _, growing in ipairs { false, true } do
      local site = site_before "filter_inventory"
      site:own_scripts()
      process.must("sed", "-i", 's/settled = "60s"/settled = 0.4/', site.scripts .. "/settings.lua")
      local path = site.exchange .. "/" .. INBOUND
      os.remove(path .. ".done")
      local job = process.start(site:command "filter_inventory")
      process.eventually(function()
        if growing then assert(io.open(path, "ab")):write("x"):close() end
        return job:poll()
      end)
      assert.equal(growing and 75 or 0, job:wait().status, job:err())
    end
  end)

  it("of active products are their user's alone and made again where missing", function()
    local site = site_before "filter_inventory"
    local list = process.must("find", site.state, "-name", "active_products.csv"):match "[^\n]+"
    assert.equal("600\n", process.must("stat", "-c", "%a", list))
    local bytes = process.read(list)
    os.remove(list)
    local result = site:run "filter_inventory"
    assert.equal(0, result.status, result.err)
    assert.matches("warning: [^\n]*active_products", result.err)
    assert.equal(bytes, process.read(list))
  end)

  it("of an applied reset are archived; archives go after keep_days", function()
    local site = site_before "import_reset"
    site:upload(counts(), "20261122_220000")
    for _, path in ipairs { "2026-10-24/x.csv", "2026-10-24/below/.hidden", "2026-10-26/x.csv",
      "other/x.csv" } do
      process.write(site.exchange .. "/archive/" .. path, "x")
    end
    site:jobs "import_reset"
    local tonight = "archive/2026-11-24/"
    assert.same({ "archive/2026-10-26/x.csv", tonight .. "Rejects_20261123T220000Z_import.csv",
      tonight .. "ResetInventoryActive_20261123T220000Z.csv",
      tonight .. "ResetInventory_20261122_220000.csv",
      tonight .. "ResetInventory_20261123_220000.csv", "archive/other/x.csv" }, site:files())
  end)
end)

describe("killed at any moment,", function()
  local KILLS = tonumber(os.getenv "TALLYMAN_KILLS") or 6 -- of each job, at least
  local CALLS = "write,pwrite64,fdatasync,fsync,ftruncate,unlink,rename,renameat2,mkdir"

  --- Runs a job under strace; gives its result and what it called.
  local function trace(site, job, ...)
    return tracing.run(site:command(job), site.folder, CALLS, ...)
  end

  --- The moments before a job changes something on disk: some, and all that follow a renaming.
  local function moments(site, job)
    local chosen = {}
    local result, log = trace(site, job)
    assert.equal(0, result.status, result.err)
    local all = tracing.calls(log)
    for i, call in ipairs(all) do
      local renamed = i > 1 and all[i - 1].name:find "^rename"
      if renamed or i * KILLS % #all < KILLS then chosen[#chosen + 1] = call.moment end
    end
    return chosen
  end

  --- Runs a job until a moment at which it is killed.
  local function kill(site, job, moment)
    local result = trace(site, job, "-e", moment)
    assert.equal(process.SIGKILL, result.signal, result.err)
  end

  --- A kill leaves nothing or everything; one run more makes it everything, another does nothing.
  local function is_atomic(job)
    local site = site_before(job)
    local before, clean = site:dump(), site:copy()
    local points = moments(clean, job)
    local after, files = clean:dump(), clean:files()
    for _, moment in ipairs(points) do
      local twin = site:copy()
      kill(twin, job, moment)
      local left = twin:dump()
      assert.truthy(left == before or left == after, moment)
      twin:jobs(job)
      assert.is_nil(process.difference(after, twin:dump()), moment)
      assert.same(files, twin:files(), moment)
      says_nothing_to_do(twin, job)
    end
  end

  local function filter_is_atomic()
    local site = site_before "filter_inventory"
    site:upload(HEADER .. ("NY,,SKU,SKU-1,9,\nNY,,SKU,X,9,\n"):rep(100000))
    local clean, path = site:copy(), "/" .. FILTERED
    local points = moments(clean, "filter_inventory")
    local whole = process.read(clean.exchange .. path)
    for _, moment in ipairs(points) do
      local twin = site:copy()
      kill(twin, "filter_inventory", moment)
      local found = process.read(twin.exchange .. path)
      assert.truthy(found == nil or found == whole, moment)
      twin:jobs "filter_inventory"
      assert.truthy(process.read(twin.exchange .. path) == whole, moment)
      assert.same(clean:files(), twin:files(), moment)
      process.must("rm", "-r", twin.folder) -- a disk in memory is small
    end
  end

  local function test(name, run, job)
    it(name, function()
      if tracing.lacks() then return pending(tracing.lacks()) end
      run(job)
    end)
  end
  for _, job in ipairs { "import_reset", "import_variance" } do
    test(job .. " has done nothing or everything; again, it ends as one run would", is_atomic, job)
  end
  test("filter_inventory leaves nothing or a whole file; again, it ends", filter_is_atomic)
end)
