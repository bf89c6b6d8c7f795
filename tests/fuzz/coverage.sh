#!/bin/sh
# Which lines of the scan, the filter and what both stand on the committed corpus reaches: a line a
# file, then the lines that no input has reached.
#   tests/fuzz/coverage.sh [HARNESS...]
# Debian packages: clang llvm liblua5.4-dev
set -eu
cd "$(dirname "$0")/../.."

. tests/fuzz/build.sh

[ $# -gt 0 ] || set -- $HARNESSES
build=build/fuzz/coverage
files=$(ls src/scan.c src/header.c src/record.c src/filter.c src/rejects.c src/sift*.[ch] \
  src/sieve.c src/pool.c src/keyset.[ch] src/keys.c | grep -v sift_neon)
rm -rf "$build"
mkdir -p "$build"

objects=
for harness in "$@"; do
  program=$build/${harness}_fuzz
  build_with "-fsanitize=fuzzer -fprofile-instr-generate -fcoverage-mapping" "$harness" "$program"
  LLVM_PROFILE_FILE=$build/$harness.profraw TALLYMAN_TESTS=tests \
    "$program" -runs=0 -max_len=100000 "tests/fuzz/corpus/$harness" >"$build/$harness.log" 2>&1 || {
    echo "$harness fails with its own corpus: see $build/$harness.log"
    exit 1
  }
  objects="$objects${objects:+ -object }$program"
done

llvm-profdata merge -o "$build/all.profdata" "$build"/*.profraw
# shellcheck disable=SC2086
llvm-cov export -format=lcov -instr-profile "$build/all.profdata" $objects $files >"$build/lcov"
awk -F'[:,]' '
  # The same line may be there several times: of a header, once for each file that includes it.
  /^SF:/ { file = $0; sub(/.*\/src\//, "src/", file) }
  /^DA:/ {
    seen[file, $2] += $3
    if ((file, $2) in known) next
    known[file, $2]
    lines[file]++
    if ($2 > last[file]) last[file] = $2
  }
  END {
    for (file in lines) {
      missed = 0
      for (n = 1; n <= last[file]; n++)
        if ((file, n) in known && seen[file, n] == 0) { missed++; print "missed " file ":" n }
      printf "lines %s %d of %d, %.1f %%\n", file, lines[file] - missed, lines[file],
        100 * (lines[file] - missed) / lines[file]
    }
  }' "$build/lcov" | sort -t: -k1,1 -k2,2n >"$build/report"
sed -n 's/^lines //p' "$build/report"
echo
grep '^missed ' "$build/report" | sed 's/^missed //' | while IFS=: read -r file line; do
  printf '%s:%s: %s\n' "$file" "$line" "$(sed -n "${line}p" "$file")"
done
