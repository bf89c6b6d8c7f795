#!/bin/sh
# Fuzzes the engine against the slow reader: each harness from its committed corpus and from what
# earlier runs have grown below build/fuzz/corpus.
#   tests/fuzz/run.sh [SECONDS] [HARNESS...]     SECONDS for all together: 60; all harnesses
# Ends with `N harnesses, N findings` and, for each finding, where the input lies that leads there.
set -u
cd "$(dirname "$0")/../.."

. tests/fuzz/build.sh

seconds=60
case ${1:-} in
  '' | *[!0-9]*) ;;
  *) seconds=$1; shift ;;
esac
[ $# -gt 0 ] || set -- $HARNESSES
share=$((seconds / $#))
[ "$share" -gt 0 ] || share=1

findings=0
finding() { # what
  findings=$((findings + 1))
  echo "FINDING: $*"
}

fuzz() { # harness
  name=$1 grown=build/fuzz/corpus/$1 found=build/fuzz/findings/$1
  build_harness "$name" || { finding "$name can't be built"; return; }
  mkdir -p "$grown" "$found"
  # Leaks are looked for at the end: to look after each input, because Lua's memory grew, is slow.
  UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=quarantine_size_mb=32 \
    "build/fuzz/${name}_fuzz" -max_total_time="$share" -detect_leaks=0 \
    -max_len="$(longest_input "$name")" -timeout=20 -rss_limit_mb=2500 -print_final_stats=1 \
    -dict=tests/fuzz/csv.dict -artifact_prefix="$found/" \
    "$grown" "tests/fuzz/corpus/$name" >"build/fuzz/$name.log" 2>&1
  status=$?
  awk -v name="$name" '
    /stat::number_of_executed_units/ { runs = $2 }
    /stat::average_exec_per_sec/ { rate = $2 }
    /cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") edges = $(i + 1) }
    END { printf "%s: %d runs, %d runs/s, %d edges\n", name, runs, rate, edges }' \
    "build/fuzz/$name.log"
  [ "$status" -ne 0 ] || return 0
  grep -aE '^DIFFERENCE|==ERROR|^SUMMARY|runtime error' "build/fuzz/$name.log" | head -n 5
  reproducer=$(sed -n 's/.*Test unit written to //p' "build/fuzz/$name.log" | tail -n 1)
  finding "$name: ${reproducer:-see build/fuzz/$name.log}"
  [ -z "$reproducer" ] || echo "replay: build/fuzz/${name}_fuzz $reproducer"
}

for harness in "$@"; do fuzz "$harness"; done
echo "$# harnesses, $findings findings"
[ "$findings" -eq 0 ]
