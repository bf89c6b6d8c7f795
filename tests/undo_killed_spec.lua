--- Undo, killed: before any system call that leaves a mark, and run again.
local process = require "tests.support.process"
local shops = require "tests.support.shop"
local tracing = require "tests.support.tracing"

describe("undo, killed at any moment,", function()
  after_each(function() process.clean() end)

  --- A site with a cycle of six products, reset and variance.
  local function site_with_cycle()
    local site = process.site(function(database)
      local shop = shops.new { oms = database }
      shop:facility("NY", "101")
      for i = 1, 6 do
        shop:product("P" .. i, "SKU-" .. i)
        shop:item(tostring(10000 + i), "P" .. i, "NY", 10, 10)
      end
      shop:ship("10001", "2026-11-23 20:00:00", 2)
    end)
    local rows = "facilityId,idType,idValue,availableQty\n"
    for i = 1, 6 do rows = rows .. ("NY,SKU,SKU-%d,7\n"):format(i) end
    site:upload(rows)
    site:jobs("active_products", "filter_inventory", "export_variance", "import_reset",
      "import_variance")
    return site
  end

  local KILLS = tonumber(os.getenv "TALLYMAN_KILLS") or 8
  local CALLS = "write,pwrite64,fdatasync,fsync,ftruncate,unlink"

  --- Undoes under strace; gives the result and the calls.
  local function trace(site, ...)
    return tracing.run(site:command("undo", "1", "--reason", "wrong file"), site.folder, CALLS, ...)
  end

  --- The moments before a call, in equal steps through the run.
  local function moments(log)
    local all, chosen = tracing.calls(log), {}
    for i, call in ipairs(all) do
      if i * KILLS % #all < KILLS then chosen[#chosen + 1] = call.moment end
    end
    return chosen
  end

  it("has done nothing or everything; again, it ends as one run would", function()
    if tracing.lacks() then return pending(tracing.lacks()) end
    local site = site_with_cycle()
    local clean, before = site:copy(), site:dump()
    local result, calls = trace(clean)
    assert.equal(0, result.status, result.err)
    local after, tried = clean:dump(), 0
    for _, moment in ipairs(moments(calls)) do
      local twin = site:copy()
      local killed = trace(twin, "-e", moment)
      assert.equal(process.SIGKILL, killed.signal, killed.err)
      local left = twin:dump()
      assert.truthy(left == before or left == after, moment)
      local again = twin:run("undo", "1", "--reason", "wrong file")
      assert.equal(0, again.status, again.err)
      assert.is_nil(process.difference(after, twin:dump()), moment)
      process.must("rm", "-r", twin.folder)
      tried = tried + 1
    end
    assert.truthy(tried >= KILLS, tried)
  end)
end)
