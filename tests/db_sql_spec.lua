--- Named parameters are found where they are, and nowhere else.
local db_sql = require "tallyman.db_sql"

describe("SQL with named parameters", function()
  local CASES = {
    ["SELECT :a, :b, :a"] = "SELECT $1, $2, $1",
    ["SELECT ':a', 'it''s :a', :a"] = "SELECT ':a', 'it''s :a', $1",
    [ [[SELECT E'\' :a', e'\\', :a]] ] = [[SELECT E'\' :a', e'\\', $1]],
    [ [[SELECT 'x\', :a]] ] = [[SELECT 'x\', $1]],
    ['SELECT ":a""", :a'] = 'SELECT ":a""", $1',
    ["SELECT 1 -- :a\n, :b"] = "SELECT 1 -- :a\n, $1",
    ["SELECT /* :a /* :b */ :c */ :d"] = "SELECT /* :a /* :b */ :c */ $1",
    ["SELECT x::text, :a::integer"] = "SELECT x::text, $1::integer",
    ["SELECT $$ :a $$, $x$ :a $$ $x$, :a"] = "SELECT $$ :a $$, $x$ :a $$ $x$, $1",
    ["SELECT a$b$c, :a"] = "SELECT a$b$c, $1",
    ["SELECT list[1:2], list[lo:hi], f(x := :a)"] = "SELECT list[1:2], list[lo:hi], f(x := $1)",
    ["SELECT 5-:a, 4/:b"] = "SELECT 5-$1, 4/$2",
    ["SELECT 'open :a"] = "SELECT 'open :a",
    ["SELECT /* open :a"] = "SELECT /* open :a",
    [""] = "",
  }
  for given, expected in pairs(CASES) do
    it(given:gsub("\n", " "), function() assert.equal(expected, (db_sql.number(given))) end)
  end

  it("can't be mixed with numbered ones", function()
    local ok, message = pcall(db_sql.number, "SELECT $1")
    assert.is_false(ok)
    assert.matches("must be named", message)
  end)
end)
