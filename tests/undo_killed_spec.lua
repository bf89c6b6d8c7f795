--- Undo, killed: before any system call that leaves a mark, and run again.
local process = require "tests.support.process"
local shops = require "tests.support.shop"

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
    local log = site.folder .. "/trace"
    local command = { "strace", "-f", "-o", log, "-e", "trace=" .. CALLS, ... }
    for _, word in ipairs(site:command("undo", "1", "--reason", "wrong file")) do
      command[#command + 1] = word
    end
    command.env = { ASAN_OPTIONS = "detect_leaks=0" } -- which can't work under strace
    for name, value in pairs(site.env) do command.env[name] = value end
    return process.run(command), process.read(log)
  end

  --- The moments before a call, in equal steps through the run.
  local function moments(calls)
    local all, seen, chosen = {}, {}, {}
    for call in ("\n" .. calls):gmatch "\n%d+ +(%l%w*)%(" do
      seen[call] = (seen[call] or 0) + 1
      all[#all + 1] = ("inject=%s:signal=KILL:when=%d"):format(call, seen[call])
    end
    for i, moment in ipairs(all) do
      if i * KILLS % #all < KILLS then chosen[#chosen + 1] = moment end
    end
    return chosen
  end

  it("has done nothing or everything; again, it ends as one run would", function()
    if process.run { "strace", "true" }.status ~= 0 then return pending "needs strace" end
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
