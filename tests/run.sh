#!/bin/sh
# Runs every suite and adds up what they counted: the engine's tests (C) and the specs (busted inside
# the host), as built for use and under the sanitizers. The last line is the sum.
#   tests/run.sh            everything
set -u
cd "$(dirname "$0")/.."

passed=0 failed=0 skipped=0
scratch=$(mktemp -d)
[ -d /dev/shm ] && [ -w /dev/shm ] && fast=$(mktemp -d -p /dev/shm) || fast=$(mktemp -d)
trap 'rm -rf "$scratch" "$fast"' EXIT
chmod 755 "$fast" # the specs run some children as nobody
export TMPDIR=$fast

count() { # passed failed skipped, of a suite that exited with $4
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
  # A suite that ends badly without a failed test (a crash, an error while loading) fails all the same.
  if [ "$4" -ne 0 ] && [ "$2" -eq 0 ]; then failed=$((failed + 1)); fi
}

build() { # make's arguments
  echo "== make $*"
  make -s "$@" || { count 0 1 0 0; return 1; }
}

c_test() { # folder of the build, name
  echo "== $1/tests/$2"
  "$1/tests/$2" >"$scratch/out" 2>&1
  status=$?
  cat "$scratch/out"
  set -- $(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$scratch/out" | tail -n 1)
  count "${1:-0}" "${2:-0}" 0 "$status"
}

# Three shares of the specs: those that wait for links and timeouts, those that wait for databases,
# and those that compute.
LINKS='/(sftp|servers|telling|flow_keep|live)[a-z_]*_spec\.lua$'
DATABASES='/(pg|db|lease|tables|dry_run)[a-z_]*_spec\.lua$'
# What the sanitizer build leaves out: rules in Lua and nights on PostgreSQL, whose C code is that of
# the other specs, and for the time's sake large files on long links (run them by hand when
# sftp_lanes.c changes).
ONCE='/(pg_(jobs|races|crash|retailer|demo|locks|store|nights)|lease|tables|dry_run|sftp_lanes|cases|deduction'
ONCE="$ONCE|model|reset|variance|guards|force|undo|undo_killed|timetable|years|keeper|telling|live|docs|readme)_spec"
ONCE="$ONCE\\.lua\$"

share() { # links, databases or others
  case $1 in
    links) ls tests/*_spec.lua | grep -E "$LINKS" ;;
    databases) ls tests/*_spec.lua | grep -E "$DATABASES" ;;
    others) ls tests/*_spec.lua | grep -vE "$LINKS|$DATABASES" ;;
  esac
}

run_share() { # name, host, begin of the names of files for what it prints, specs to leave out
  # shellcheck disable=SC2046
  "$2" test -o plainTerminal $(share "$1" | grep -vE "$4") >"$3.$1" 2>&1
}

rest() { # NEON on an emulated processor, and what a fuzzer makes up in a minute
  tests/arm64.sh >"$scratch/arm64" 2>&1
  echo "$?" >"$scratch/arm64.status"
  tests/fuzz/run.sh 60 >"$scratch/fuzz" 2>&1
  echo "$?" >"$scratch/fuzz.status"
}

count_specs() { # host, the file
  echo "== $1 test: ${2##*.}"
  cat "$2"
  # What failed is said again in the end, where it is seen.
  grep -hA 7 -E '^(Failure|Error) ->' "$2" >>"$scratch/wrong"
  # Busted's closing line doesn't lie, and its absence is a failure.
  set -- $(sed -n 's/^\([0-9]*\) success[es]* \/ \([0-9]*\) failure[s]* \/ \([0-9]*\) error[s]* \/ \([0-9]*\) pending.*/\1 \2 \3 \4/p' "$2" | tail -n 1)
  if [ $# -ne 4 ]; then count 0 1 0 0; else count "$1" $(($2 + $3)) "$4" 0; fi
}

ctests=$(ls tests/c/*_test.c 2>/dev/null | sed 's|.*/\(.*\)\.c|\1|')

targets() { for test in $ctests; do printf '%s/tests/%s ' "$1" "$test"; done; }

# Both builds' specs run at the same time, and after the first what else there is.
plain='' sanitized=''
if build all $(targets build); then
  for test in $ctests; do c_test build "$test"; done
  {
    for name in links databases; do
      run_share "$name" build/tallyman "$scratch/plain" '^$' &
    done
    run_share others build/tallyman "$scratch/plain" '^$'
    wait
    rest
  } &
  plain=$!
fi
if build asan ASAN_TARGETS="$(targets build/asan)"; then
  export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1
  export LSAN_OPTIONS="suppressions=$PWD/tests/leaks.txt:print_suppressions=0"
  for test in $ctests; do c_test build/asan "$test"; done
  run_share links build/asan/tallyman "$scratch/sanitized" "$ONCE" &
  sanitized=$!
  for name in databases others; do
    run_share "$name" build/asan/tallyman "$scratch/sanitized" "$ONCE"
  done
  wait "$sanitized"
  unset ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS
fi
if [ -n "$plain" ]; then
  wait "$plain"
  for name in links databases others; do count_specs build/tallyman "$scratch/plain.$name"; done
fi
if [ -n "$sanitized" ]; then
  for name in links databases others; do
    count_specs build/asan/tallyman "$scratch/sanitized.$name"
  done
fi

[ -n "$plain" ] || rest
echo "== tests/arm64.sh"
cat "$scratch/arm64"
set -- $(awk '/^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 }
  END { print passed + 0, failed + 0 }' "$scratch/arm64")
count "$1" "$2" 0 "$(cat "$scratch/arm64.status")"

# One harness without a finding is one test passed.
echo "== tests/fuzz/run.sh"
cat "$scratch/fuzz"
set -- $(sed -n 's/^\([0-9]*\) harnesses, \([0-9]*\) findings$/\1 \2/p' "$scratch/fuzz")
count $((${1:-0} - ${2:-0})) "${2:-0}" 0 "$(cat "$scratch/fuzz.status")"

[ ! -s "$scratch/wrong" ] || { echo "== what failed"; cat "$scratch/wrong"; }
if [ "$skipped" -gt 0 ]; then
  echo "$passed passed, $failed failed, $skipped skipped"
else
  echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
