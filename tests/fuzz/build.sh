# For run.sh and coverage.sh, from the repository's root: how a harness is built, into build/fuzz.
HARNESSES="scan filter keyset"
# Comparisons aren't traced: it takes three quarters of the time; the dictionary has the bytes.
SANITIZERS="-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
  -fno-sanitize-coverage=trace-cmp"

# The engine without the host, and without what the harnesses never reach.
engine_sources() { ls src/*.c | grep -vE '/(main|host|host_signals|clock|process|watch|hostkeys|net|ssh|ssh_[a-z]*|sftp|sftp_[a-z]*|pg|pg_[a-z]*|sqlite_rows)\.c$'; }

# Those of the host, and what the harnesses themselves need.
libraries() { echo "$(sed -n 's/^LIBS *:= *//p' Makefile) lua5.4 zlib"; }

# What long inputs add is found by repeating short ones.
longest_input() { [ "$1" = filter ] && echo 700 || echo 1500; }

# Builds a harness with those flags for what it is to measure.
build_with() { # flags, harness, program
  # shellcheck disable=SC2046,SC2086
  clang -O1 -g -std=gnu11 -Wall -Wextra $1 $(pkg-config --cflags $(libraries)) -o "$3" \
    "tests/fuzz/$2_fuzz.c" tests/fuzz/input.c tests/fuzz/oracle.c $(engine_sources) \
    $(pkg-config --libs $(libraries)) -pthread
}

# Builds a harness for fuzzing, unless it is newer than all that it is made of.
build_harness() { # harness
  program=build/fuzz/$1_fuzz
  mkdir -p build/fuzz
  [ -e "$program" ] && [ -z "$(find src tests/fuzz -name '*.[ch]' -newer "$program")" ] ||
    build_with "$SANITIZERS" "$1" "$program"
}
