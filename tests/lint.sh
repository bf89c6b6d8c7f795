#!/bin/sh
# Formatting, static analysis, and what design asks of the tree: dependencies point down only, files
# stay short. Each finding is printed; any finding fails.
set -u
cd "$(dirname "$0")/.."
status=0
complain() { printf 'lint: %s\n' "$*"; status=1; }
nothing() { # what is wrong, then the findings
  what=$1
  shift
  [ -z "$*" ] || complain "$what:
$*"
}

clang-format --dry-run --Werror src/*.c src/*.h src/api/*.c src/api/*.h \
  tests/c/*.c tests/c/*.h tests/fuzz/*.c tests/fuzz/*.h tests/bench/*.c || complain "clang-format: run clang-format -i"
cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
  --error-exitcode=1 --suppress=missingIncludeSystem -Isrc src || complain "cppcheck"
luacheck --quiet lua scripts examples tests || complain "luacheck"
build/tallyman check scripts/*.lua >/dev/null || build/tallyman check scripts/*.lua || status=1

nothing "engine files that know Lua" \
  "$(grep -lE 'lua\.h|lauxlib\.h|lua_State' src/*.c src/*.h | grep -v '^src/host')"
nothing "api files that include each other" \
  "$(grep -nE '#include "(csv|file|sqlite|clock)\.' src/api/*.c)"
nothing "the library reads scripts" \
  "$(grep -rnE 'require "settings"|scripts/' lua/tallyman | grep -vE 'script\.lua|testing\.lua|^[^:]*:[0-9]+: *---')"
nothing "files over 400 lines" \
  "$(git ls-files src lua scripts examples tests | grep -E '\.(c|h|lua|sh)$' | xargs wc -l |
    awk '$2 != "total" && $1 > 400')"
nothing "lines over 100 columns" \
  "$(git ls-files src lua scripts examples tests | grep -E '\.(c|h|lua)$' | xargs grep -nE '^.{101}')"

[ "$status" -eq 0 ] && echo "lint: nothing found"
exit "$status"
