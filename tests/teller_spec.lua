--- The teller on a clock of its own: programs that it sends end as the spec says.
local log = require "tallyman.log"
local process = require "tests.support.process"
local store = require "tallyman.store"
local teller = require "tallyman.teller"
local time = require "tallyman.time"

local NIGHT = time.read "2026-11-24 03:10:00"

local history, sent, one

--- A teller whose programs are only written down; they get the numbers 1, 2, 3, ...
local function make(tell)
  local watch = {}
  function watch.start(_, command)
    sent[#sent + 1] = table.concat(command, " ")
    return #sent
  end
  one = teller.new { flow = "night", path = "night.lua", store = history, watch = watch }
  local settings = { pause = 0, again = false }
  for name, value in pairs(tell or {}) do settings[name] = value end
  one:configure({ tell = settings }, "UTC")
end

--- Writes that a night's jobs are over.
local function over(night, at)
  history:change(function()
    history.db:run([[INSERT INTO event (flow, night, job, turn, kind, text, happened_at)
      VALUES ('night', :night, '', 0, 'good', '', :at)]], { night = night, at = time.text(at) })
  end)
end

--- What there is to tell of, besides nights that are over.
local function events()
  local found = {}
  for row in history.db:rows("SELECT * FROM event WHERE kind <> 'good' ORDER BY event_id") do
    found[#found + 1] = ("%s %s %s"):format(row.night, row.kind, row.text)
  end
  return found
end

--- Lets time pass until an instant; every program takes a second, and ends with a code.
local function play(from, to, code)
  local now = from
  while now < to do
    local before = #sent
    local wake = one:work(now)
    for pid = before + 1, #sent do one:ended(pid, code(sent[pid], now), now + 1) end
    now = math.min(#sent > before and now + 1 or wake, to)
  end
end

before_each(function()
  history, sent, log.quiet = store.open(process.folder() .. "/state"), {}, true
  make()
end)
after_each(function()
  log.quiet = nil
  history:close()
  process.clean()
end)

describe("a night that can't be proven", function()
  local function unable() return 69 end

  it("is told of, once, and tried again", function()
    over("2026-11-24", NIGHT)
    play(NIGHT, NIGHT + 300, unable)
    assert.same({}, events())
    play(NIGHT + 300, NIGHT + 7200, unable)
    local expected = { "2026-11-24 unproven its report can't be run: exit code 69" }
    assert.same(expected, events())
    make() -- as after a new start
    play(NIGHT + 7200, NIGHT + 14400, unable)
    assert.same(expected, events())
    local tries = #sent
    play(NIGHT + 14400, NIGHT + 20000, function() return 0 end)
    assert.equal(tries + 1, #sent)
  end)

  it("keeps the next one waiting for no longer than a day", function()
    over("2026-11-24", NIGHT)
    over("2026-11-25", NIGHT + 86400)
    play(NIGHT, NIGHT + 90000, function(command) return command:find "11%-24" and 65 or 70 end)
    assert.match("report 2026%-11%-25$", sent[#sent])
    assert.match("^2026%-11%-25 proof it doesn't come out", events()[2])
    assert.equal(2, #events())
  end)

  it("is what a message says", function()
    make { command = { "mail", "{subject}" } }
    over("2026-11-24", NIGHT)
    play(NIGHT, NIGHT + 7200, function(command) return command:find "^mail" and 0 or 69 end)
    local mails = {}
    for _, command in ipairs(sent) do
      if command:find "^mail" then mails[#mails + 1] = command end
    end
    assert.equal(1, #mails)
    assert.match("^mail night on %S+: the night can't be proven$", mails[1])
  end)
end)

describe("a report", function()
  it("may take an hour", function()
    over("2026-11-24", NIGHT)
    assert.equal(NIGHT + 3600, one:work(NIGHT))
  end)
end)
