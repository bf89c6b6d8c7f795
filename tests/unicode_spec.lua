--- Text that others must be able to read: whatever a file's bytes were, what comes out is UTF-8.
local json = require "dkjson"
local process = require "tests.support.process"
local site = require "tests.support.site"
local unicode = require "tallyman.unicode"

after_each(process.clean)

describe("a text", function()
  it("stays as it is where it is UTF-8, and loses what isn't, byte by byte", function()
    for from, to in pairs { [""] = "", ["caf\u{E9} \u{20AC}\n"] = "caf\u{E9} \u{20AC}\n",
      ["caf\xE9"] = "caf\u{FFFD}", ["\xFF\xFE"] = "\u{FFFD}\u{FFFD}", ["a\0b"] = "a\u{FFFD}b",
      ["\xC3"] = "\u{FFFD}", ["\xED\xA0\x80"] = "\u{FFFD}\u{FFFD}\u{FFFD}",
      ["\xC3\xA9\xC3"] = "\u{E9}\u{FFFD}" } do
      assert.equal(to, unicode.clean(from))
    end
  end)

  it("of random bytes is UTF-8 then", function()
    math.randomseed(1)
    for _ = 1, 500 do
      local bytes = {}
      for i = 1, math.random(40) do bytes[i] = string.char(math.random(0, 255)) end
      local text = unicode.clean(table.concat(bytes))
      assert.truthy(utf8.len(text))
      assert.equal(text, unicode.clean(text))
    end
  end)
end)

describe("JSON", function()
  it("is UTF-8 in the log and on standard output, whatever a job says", function()
    local made = site.new()
    made:own_scripts()
    local path = process.write(made.scripts .. "/odd.lua", [[
      return { name = "odd", run = function(night)
        night:warn("row 3: 'caf\xE9' is no quantity")
        return { ["\xFF"] = 1, text = "\xFE\0" }
      end }]])
    made.env.TALLYMAN_LOG = "json"
    local result = process.tallyman(path, "--json", { env = made.env })
    assert.equal(0, result.status, result.err)
    for line in (result.err .. result.out):gmatch "[^\n]+" do
      assert.truthy(utf8.len(line), line)
      assert.truthy(json.decode(line), line)
    end
    assert.match('"row 3: \'caf\u{FFFD}\' is no quantity"', result.err, 1, true)
    assert.equal(1, json.decode(result.out).figures["\u{FFFD}"])
  end)
end)
