#!/bin/sh
# Brings what tallyman needs from Debian: packages of the system's own release by apt-get, and, on
# Debian 12 only, luaposix and libssh2 from Debian 13 (Debian 12's luaposix has no build for Lua 5.4,
# its libssh2 can't log in by an RSA key), unpacked below build/deps and never installed. Run through `make deps`; when all is there it asks nothing.
#
#   src/deps.sh run     what building and running needs
#   src/deps.sh test    also what the tests and the linters need
#   src/deps.sh bench   and the programs that the filter and SFTP are compared with
set -eu

RUN_PACKAGES="gcc libc6-dev make pkg-config tzdata ca-certificates
  liblua5.4-dev libisal-dev zlib1g-dev libsqlite3-dev libxxhash-dev libssl-dev libpq-dev
  lua5.4 lua-busted lua-dkjson lua-filesystem"
NEWER_PACKAGES="lua-posix libssh2-1-dev"
TEST_PACKAGES="lua-check clang-format cppcheck python3 gzip procps strace
  clang libclang-rt-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
  curl openssh-server openssh-client proftpd-core proftpd-mod-crypto python3-asyncssh util-linux perl-base
  postgresql systemd"
BENCH_PACKAGES="llvm mawk miller ripgrep sqlite3 lftp rclone"
# Node.js is often there from elsewhere; Debian's is taken only where none is.
command -v npm >/dev/null 2>&1 || BENCH_PACKAGES="$BENCH_PACKAGES nodejs npm"

here=$(cd "$(dirname "$0")/.." && pwd)
deps=$here/build/deps

say() { printf 'deps: %s\n' "$*" >&2; }
die() { say "$*"; exit 69; }

# As root, directly or through sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null 2>&1; then sudo "$@"
  else die "packages are missing and neither root nor sudo is at hand; ask for: $missing"
  fi
}

# Those of the packages named that are not installed.
missing_of() {
  for package in "$@"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || printf '%s ' "$package"
  done
}

# Installs by apt-get; no service of theirs is started, for the tests start servers of their own.
install_quietly() {
  policy=/usr/sbin/policy-rc.d status=0
  [ -e "$policy" ] && policy='' ||
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' >'$policy' && chmod 755 '$policy'"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
    "$@" >&2 || status=$?
  [ -z "$policy" ] || as_root rm -f "$policy"
  return "$status"
}

install_packages() {
  missing=$(missing_of "$@")
  [ -n "$missing" ] || return 0
  say "installing $missing"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2
  # shellcheck disable=SC2086
  install_quietly $missing || die "apt-get could not install: $missing"
}

debian_version() { . /etc/os-release; printf '%s' "${VERSION_ID:-}"; }

# The address that the machine itself takes Debian 12 from: the first source whose suite is
# bookworm, in one-line files or deb822 files. Other vendors' entries name other suites.
debian_mirror() {
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk '
    $1 == "deb" {
      at = 2
      if ($2 ~ /^\[/) { while ($at !~ /\]$/) at++; at++ }
      if ($(at + 1) == "bookworm" && (" " substr($0, index($0, $(at + 1))) " ") ~ / main /) {
        print $at; exit
      }
    }' | grep . && return 0
  cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v RS= '
    {
      uri = suites = components = ""; enabled = "yes"; types = ""
      count = split($0, lines, "\n")
      for (i = 1; i <= count; i++) {
        if (lines[i] ~ /^#/) continue
        name = value = lines[i]
        sub(/:.*/, "", name); sub(/^[^:]*:[ \t]*/, "", value); name = tolower(name)
        if (name == "uris") { split(value, uris, /[ \t]+/); uri = uris[1] }
        if (name == "suites") suites = " " value " "
        if (name == "components") components = " " value " "
        if (name == "types") types = " " value " "
        if (name == "enabled") enabled = tolower(value)
      }
      if (enabled != "no" && types ~ / deb / && suites ~ / bookworm / && components ~ / main /) {
        print uri; exit
      }
    }' | grep .
}

# Downloads packages of Debian 13 with a private source list and state, and unpacks what is needed of
# them: luaposix's modules, libssh2's header and static library.
fetch_newer() {
  posix=$deps/lib/lua/5.4/posix/unistd.so ssh2=$deps/ssh2/libssh2.a
  [ ! -e "$posix" ] || [ ! -e "$ssh2" ] || return 0
  mirror=$(debian_mirror) || die "no Debian 12 entry in the apt sources: cannot tell the mirror"
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -e "$keyring" ] || { missing=debian-archive-keyring; install_packages debian-archive-keyring; }
  say "fetching Debian 13's $NEWER_PACKAGES"
  work=$deps/trixie
  rm -rf "$work"
  mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/root"
  printf 'deb [signed-by=%s] %s trixie main\n' "$keyring" "$mirror" >"$work/sources.list"
  private="-o Dir::Etc::SourceList=$work/sources.list -o Dir::Etc::SourceParts=$work/parts
    -o Dir::State::Lists=$work/lists -o Dir::Cache=$work/cache -o APT::Sandbox::User="
  # shellcheck disable=SC2086
  apt-get -qq $private update >&2 || die "cannot read Debian 13's package list"
  # shellcheck disable=SC2086
  (cd "$work" && apt-get -qq $private download $NEWER_PACKAGES >&2) ||
    die "cannot download $NEWER_PACKAGES"
  for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
  rm -rf "$deps/lib" "$deps/share" "$deps/ssh2"
  mkdir "$deps/share" "$deps/ssh2"
  mv "$work/root/usr/share/lua" "$deps/share/lua"
  mv "$work"/root/usr/include/libssh2*.h "$work"/root/usr/lib/*/libssh2.a "$deps/ssh2"
  mv "$work"/root/usr/lib/*/ "$deps/lib"
  rm -rf "$work"
}

case ${1:-run} in
  run) packages=$RUN_PACKAGES ;;
  test) packages="$RUN_PACKAGES $TEST_PACKAGES" ;;
  bench) packages="$RUN_PACKAGES $TEST_PACKAGES $BENCH_PACKAGES" ;;
  *) say "usage: src/deps.sh [run|test|bench]"; exit 64 ;;
esac
[ "$(debian_version)" = 12 ] || packages="$packages $NEWER_PACKAGES"
# shellcheck disable=SC2086
install_packages $packages
[ "$(debian_version)" != 12 ] || fetch_newer
