#!/bin/sh
# Runs the engine's tests of scan, key set and fast lane as 64-bit ARM programs on an emulated
# processor, so that NEON is run and not only compiled. What isn't tested is left out: libcrypto and
# zlib don't exist here for that processor, and of xxHash the header is enough.
#   tests/arm64.sh [FILES]     random files for sieve_test; fewer than it takes on its own
# Debian packages: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
set -u
cd "$(dirname "$0")/.."

files=${1:-60}
build=build/arm64
compiler=${ARM64_CC:-aarch64-linux-gnu-gcc}
emulator=$(command -v qemu-aarch64 || command -v qemu-aarch64-static) || emulator=
if [ -z "$emulator" ] || ! command -v "$compiler" >/dev/null; then
  echo "arm64: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user are needed" >&2
  exit 69
fi

# Its header can't be taken from /usr/include with the headers of this machine's processor.
header=/usr/include/xxhash.h
mkdir -p "$build/include"
ln -sf "$header" "$build/include/xxhash.h"

engine=$(ls src/*.c | grep -vE '/(main|host|host_signals|clock|digest|gzip|hostkeys|net|process|watch|ssh|ssh_[a-z]*|sftp|sftp_[a-z]*|pg|pg_[a-z]*|sqlite_rows)\.c$')
failed=0

for test in keyset scan sieve; do
  echo "== $build/${test}_test"
  # shellcheck disable=SC2086
  if "$compiler" -O2 -g -std=gnu11 -static -DXXH_INLINE_ALL -I"$build/include" \
    "tests/c/${test}_test.c" tests/fuzz/no_digest.c $engine -pthread -o "$build/${test}_test"; then
    case $test in sieve) argument=$files ;; *) argument= ;; esac
    # shellcheck disable=SC2086
    "$emulator" "$build/${test}_test" $argument || failed=1
  else
    echo "0 passed, 1 failed"
    failed=1
  fi
done
exit "$failed"
