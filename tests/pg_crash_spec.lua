--- The imports and undo on PostgreSQL, dying anywhere: killed before each system call that can
--- matter, cut off before and after each message of the protocol, and the server itself crashing.
--- What is left is nothing or everything, and the night, run again, ends as a clean one. A sample of
--- the places by default; all of them with TALLYMAN_KILLS=100000.
local crashes = require "tests.support.crashes"
local pgproxy = require "tests.support.pgproxy"
local postgres = require "tests.support.postgres"
local process = require "tests.support.process"

local SAMPLE = tonumber(os.getenv "TALLYMAN_KILLS") -- of each job's places

local CALLS = { "sendto", "sendmsg", "write", "writev", "pwrite64", "pwritev", "rename", "renameat",
  "renameat2", "fsync", "fdatasync", "ftruncate", "unlink", "unlinkat", "link", "linkat", "mkdir",
  "mkdirat", "rmdir", "connect" }

--- Chooses some of a job's places: the first, the last, what is `dear`, and every kth.
---@generic T
---@param all T[]
---@param count integer how many, if not all
---@param is_dear fun(i: integer): boolean
---@return T[]
local function sample(all, count, is_dear)
  count = SAMPLE or count
  local chosen = {}
  for i, place in ipairs(all) do
    if i == 1 or i == #all or is_dear(i) or i * count % #all < count then
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
  if postgres.lacks() or pgproxy.lacks() then return pending(postgres.lacks() or pgproxy.lacks()) end
  local night, proxy

  setup(function()
    night = crashes.night()
    proxy = pgproxy.start(night.server)
    process.keep()
  end)
  teardown(function()
    night.boss:close()
    postgres.clean()
  end)
  after_each(function() process.clean() end)

  --- Declares a test for each of the night's moments.
  local function each_moment(name, lacks, run)
    for i, job in ipairs { "import_reset", "import_variance", "undo" } do
      it(job .. name, function()
        if lacks and lacks() then return pending(lacks()) end
        run(night.moments[i])
      end)
    end
  end

  -- ---- killed ----

  local function strace_lacks()
    return process.run { "strace", "true" }.status ~= 0 and "needs strace" or nil
  end

  --- Runs an attempt's job under strace; its result, and what it called.
  local function trace(attempt, ...)
    local log = attempt.site.folder .. "/trace"
    local command = { "strace", "-f", "-o", log, "-e", "trace=?" .. table.concat(CALLS, ",?"), ... }
    local job = attempt:command()
    table.move(job, 1, #job, #command + 1, command)
    command.env = job.env
    command.env.ASAN_OPTIONS = "detect_leaks=0" -- which can't work under strace
    return process.run(command), process.read(log)
  end

  --- A place: right before the nth of the calls of a name.
  local function kill_at(call, n)
    return { call = call, n = n, moment = ("inject=%s:signal=KILL:when=%d"):format(call, n) }
  end

  --- The calls of a clean run, and how many of each name.
  local function calls_of(moment)
    local attempt <close> = crashes.attempt(moment)
    local result, log = trace(attempt)
    assert.equal(0, result.status, result.err)
    local all, seen = {}, {}
    for call, text in ("\n" .. log):gmatch "\n%d+ +(%l%w*)(%([^\n]*)" do
      seen[call] = (seen[call] or 0) + 1
      all[#all + 1] = kill_at(call, seen[call])
      all[#all].commits = text:find "COMMIT" ~= nil
    end
    return all, seen
  end

  --- Runs until that place, at which it is killed.
  local function kill(moment, place)
    local attempt <close> = crashes.attempt(moment)
    local result = trace(attempt, "-e", place.moment)
    assert.equal(process.SIGKILL, result.signal, place.moment .. ": " .. result.err)
    attempt:recovers(place.moment)
  end

  --- There was no place more than those.
  local function ends_by_itself(moment, seen)
    for call, count in pairs(seen) do
      local attempt <close> = crashes.attempt(moment)
      local result = trace(attempt, "-e", kill_at(call, count + 1).moment)
      assert.equal(0, result.status, result.err)
    end
  end

  each_moment(" may be killed before any system call", strace_lacks, function(moment)
    local all, seen = calls_of(moment)
    local chosen = sample(all, 8, function(i)
      return all[i].commits or i > 1 and all[i - 1].commits or i < #all and all[i + 1].commits
        or false
    end)
    for _, place in ipairs(chosen) do kill(moment, place) end
    if SAMPLE then ends_by_itself(moment, seen) end
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

  --- Before and after each message; which of these places lose the answer to COMMIT.
  local function places_of(messages)
    local asked, answered = commit_of(messages)
    local places = {}
    for i, message in ipairs(messages) do
      for _, when in ipairs { "before", "after" } do
        local passed = when == "after" and i or i - 1 -- messages that went through
        places[#places + 1] = { way = message.way, number = message.number, when = when,
          what = ("%s %s %d (%s)"):format(when, message.way, message.number, message.kind),
          asked = passed >= asked, answered = passed >= answered, near = math.abs(i - asked) <= 1
            or math.abs(i - answered) <= 1 }
      end
    end
    return places
  end

  --- A run whose connection was lost says what it must, and no more.
  local function says_what_it_knows(result, place, applied)
    local unknown = result.err:find("whether the transaction was committed is unknown", 1, true)
    local none = result.err:find("nothing was", 1, true)
    if place.asked and not place.answered then
      assert.truthy(unknown, place.what .. ": " .. result.err)
    end
    assert.is_true(not (applied and none), place.what .. ": " .. result.err)
    if unknown then assert.equal(69, result.status, place.what) end
    if not place.asked then assert.equal(69, result.status, place.what .. ": " .. result.err) end
    assert.is_true(place.asked or not applied, place.what)
    assert.is_true(applied or not place.answered, place.what)
  end

  --- Loses the connection at a place, and looks at what is left.
  local function cut(moment, place)
    local attempt <close> = crashes.attempt(moment)
    proxy:order(place, "cut")
    local result = process.run(attempt:command(proxy))
    says_what_it_knows(result, place, attempt:recovers(place.what))
  end

  each_moment(" may be cut off before and after any message", nil, function(moment)
    local all = places_of(messages_of(moment))
    local chosen = sample(all, 8, function(i) return all[i].near end)
    for _, place in ipairs(chosen) do cut(moment, place) end
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
    says_what_it_knows(result, place, attempt:recovers(place.what))
  end

  each_moment(" survives that the server crashes", nil, function(moment)
    night.server.options.fsync = true
    night:crash()
    local all = places_of(messages_of(moment))
    local chosen = sample(all, 3, function(i) return all[i].near end)
    for _, place in ipairs(chosen) do crash(moment, place) end
    tell(moment.job, "the server crashed", #chosen, #all)
  end)
end)
