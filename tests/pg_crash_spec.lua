--- The imports and undo on PostgreSQL, dying anywhere: killed before each system call that can
--- matter, cut off before and after each message of the protocol, or with a server that crashes.
--- What is left is nothing or everything, and the night, run again, ends as a clean one. By default
--- at some of the places, with TALLYMAN_KILLS=100000 at all of them.
local crashes = require "tests.support.crashes"
local pgproxy = require "tests.support.pgproxy"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"
local tracing = require "tests.support.tracing"

local KILLS = tonumber(os.getenv "TALLYMAN_KILLS") -- of each job's places, at least
local SOME = { import_reset = 3, import_variance = 3, undo = 1 } -- when that says nothing
local CRASHES = 12 -- of the server, for each job, besides those around COMMIT

local CALLS = "?" .. table.concat({ "sendto", "sendmsg", "write", "writev", "pwrite64", "pwritev",
  "rename", "renameat", "renameat2", "fsync", "fdatasync", "ftruncate", "unlink", "unlinkat",
  "link", "linkat", "mkdir", "mkdirat", "rmdir", "connect" }, ",?")

--- Chooses some of a job's places: those around COMMIT and, if more are wanted, the first, the
--- last, and every kth.
---@generic T
---@param all T[]
---@param count integer how many more, if not all
---@return T[]
local function sample(all, count)
  local chosen = {}
  for i, place in ipairs(all) do
    local is_end = i == 1 or i == #all
    if place.near or count > 0 and (is_end or i * count % #all < count) then
      chosen[#chosen + 1] = place
    end
  end
  return chosen
end

--- Says how much was tried.
local function tell(job, how, tried, all)
  print(("%s: %s at %d of %d places"):format(job, how, tried, all))
end

describe("on PostgreSQL", function()
  local missing = postgres.lacks() or pgproxy.lacks()
  if missing then return pending(missing) end
  local night, proxy

  setup(function()
    night = crashes.night()
    proxy = pgproxy.start(night.server)
    process.keep()
  end)
  teardown(function()
    if night then night.boss:close() end
    postgres.clean()
  end)
  after_each(function() process.clean() end)

  --- Declares a test for each of the night's moments, or the first few.
  local function each_moment(name, run, few)
    for i, job in ipairs { "import_reset", "import_variance", not few and "undo" or nil } do
      it(job .. name, function() run(night.moments[i]) end)
    end
  end

  -- ---- killed ----

  --- Runs an attempt's job under strace; its result, and what it called.
  local function trace(attempt, ...)
    return tracing.run(attempt:command(), attempt.site.folder, CALLS, ...)
  end

  --- The calls of a clean run, and how many of each name.
  local function calls_of(moment)
    local attempt <close> = crashes.attempt(moment)
    local result, log = trace(attempt)
    assert.equal(0, result.status, result.err)
    local all, seen = tracing.calls(log)
    local commit
    for i, call in ipairs(all) do
      if call.text:find "COMMIT" then commit = i end
    end
    for i = commit - 1, commit + 1 do all[i].near = true end
    return all, seen
  end

  --- Runs until that place, at which it is killed.
  local function kill(moment, place)
    local attempt <close> = crashes.attempt(moment)
    local result = trace(attempt, "-e", place.moment)
    assert.equal(process.SIGKILL, result.signal, place.moment .. ": " .. result.err)
    attempt:recovers(place.moment, true)
  end

  --- There was no place more than those.
  local function ends_by_itself(moment, seen)
    for call, count in pairs(seen) do
      local attempt <close> = crashes.attempt(moment)
      local result = trace(attempt, "-e", tracing.moment(call, count + 1))
      assert.equal(0, result.status, result.err)
    end
  end

  each_moment(" may be killed before any system call", function(moment)
    if tracing.lacks() then return pending(tracing.lacks()) end
    local all, seen = calls_of(moment)
    local chosen = sample(all, KILLS or SOME[moment.job])
    for _, place in ipairs(chosen) do kill(moment, place) end
    if KILLS then ends_by_itself(moment, seen) end
    tell(moment.job, "killed", #chosen, #all)
  end)

  -- ---- cut off ----

  --- The messages of a clean run.
  local function messages_of(moment)
    local attempt <close> = crashes.attempt(moment)
    return proxy:record(function()
      local result = process.run(attempt:command(proxy))
      assert.equal(0, result.status, result.err)
    end)
  end

  --- Which message asks for COMMIT, and which says that all of it is done.
  local function commit_of(messages)
    for i, message in ipairs(messages) do
      if message.text == "COMMIT" and message.way == "up" then
        for after = i + 1, #messages do
          if messages[after].kind == "Z" then return i, after end
        end
      end
    end
  end

  --- Before and after each message, and which of these places lose the answer to COMMIT. Between
  --- two messages that go the same way there is one place; where the way turns, there are two: the
  --- second message isn't there yet, or its sender thinks it under way.
  local function places_of(messages)
    local asked, answered = commit_of(messages)
    local places = {}
    local function add(i, when)
      local message, passed = messages[i], when == "after" and i or i - 1
      places[#places + 1] = { way = message.way, number = message.number, when = when,
        what = ("%s %s %d (%s)"):format(when, message.way, message.number, message.kind),
        asked = passed >= asked, answered = passed >= answered,
        near = i >= asked and i <= answered }
    end
    for i, message in ipairs(messages) do
      if i == 1 or messages[i - 1].way ~= message.way then add(i, "before") end
      add(i, "after")
    end
    return places
  end

  --- A run whose connection was lost says what it must, and no more.
  local function says_what_it_knows(result, place, applied)
    local unknown = result.err:find("whether the transaction was committed is unknown", 1, true)
    local nothing = result.err:find("nothing was", 1, true)
    if place.asked and not place.answered then
      assert.truthy(unknown, place.what .. ": " .. result.err)
    end
    assert.is_falsy(applied and nothing, place.what .. ": " .. result.err)
    if unknown then assert.equal(69, result.status, place.what) end
    if not place.asked then assert.equal(69, result.status, place.what .. ": " .. result.err) end
    assert.is_true(place.asked or not applied, place.what)
    assert.is_false(place.answered and (not applied or unknown ~= nil), place.what)
  end

  --- Loses the connection at a place; the result of the job.
  local function cut(attempt, place)
    proxy:order(place, "cut")
    return process.run(attempt:command(proxy))
  end

  --- Loses the connection at each place. Before COMMIT, up to so many runs in a row die in one and
  --- the same night, each leaving what it found, before it is let go on.
  local function cut_all(moment, places, in_a_row)
    local attempt, died
    for i, place in ipairs(places) do
      if not attempt then attempt, died = crashes.attempt(moment), 0 end
      local result, applied = cut(attempt, place), false
      died = died + 1
      if place.asked or died == in_a_row or i == #places or places[i + 1].asked then
        applied = attempt:recovers(place.what, place.near)
        attempt = attempt:close()
      else
        attempt:has_left_nothing(place.what)
      end
      says_what_it_knows(result, place, applied)
    end
  end

  each_moment(" may be cut off before and after any message", function(moment)
    local all = places_of(messages_of(moment))
    local chosen = sample(all, KILLS or SOME[moment.job])
    cut_all(moment, chosen, KILLS and 10 or 1)
    tell(moment.job, "cut off", #chosen, #all)
  end)

  -- ---- the server crashes ----

  --- The server crashes as soon as the place is reached.
  local function crash(moment, place)
    local attempt <close> = crashes.attempt(moment)
    proxy:order(place, "hold")
    local job = process.start(attempt:command(proxy))
    assert.is_true(proxy:await_held(), place.what)
    local result
    night:crash(function() result = job:wait() end)
    says_what_it_knows(result, place, attempt:recovers(place.what, true))
  end

  each_moment(" survives that the server crashes", function(moment)
    night.server.options.fsync = true
    night:crash()
    local all = places_of(messages_of(moment))
    local chosen = sample(all, math.min(KILLS or 0, CRASHES))
    for _, place in ipairs(chosen) do crash(moment, place) end
    tell(moment.job, "the server crashed", #chosen, #all)
  end, true)
end)
