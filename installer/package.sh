#!/usr/bin/env bash
# Makes framehost's packages, .deb and .rpm, of programs that are built already. Cargo.toml says what is in them.
#
#   installer/package.sh [PROGRAMS [OUTPUT]]
#
# PROGRAMS: the folder with framehost and framehost-relay (target/release). OUTPUT: where the packages go
# (target/packages). The same programs and the same commit make the same packages, byte for byte: every time in them is
# the commit's (or SOURCE_DATE_EPOCH).
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/common.sh
. scripts/common.sh

# from_here PATH: as it was meant where this was started.
from_here() { case $1 in /*) printf '%s\n' "$1" ;; *) printf '%s\n' "$here/$1" ;; esac; }
programs=$(from_here "${1:-$repo/target/release}")
output=$(from_here "${2:-$repo/target/packages}")
# Cargo.toml names this folder.
files=target/package-files

need_package_tools
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    # Without git it is an archive, whose files are as old as the release.
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date -r CHANGELOG.md +%s)
fi
export SOURCE_DATE_EPOCH

rm -rf "$files"
trap 'rm -rf "$files"' EXIT
installer/stage.sh "$programs" "$files"
mkdir -p "$output"
rm -f "$output"/framehost_*.deb "$output"/framehost-*.rpm

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)
cat >"$files/changelog" <<TEXT
framehost ($version-1) unstable; urgency=medium

  * What is new is in /usr/share/doc/framehost/changelog.gz.

 -- $maintainer  $(date --utc --date "@$SOURCE_DATE_EPOCH" '+%a, %d %b %Y %H:%M:%S +0000')
TEXT
gzip -9n <CHANGELOG.md >"$files/changelog.gz"

# Neither builds anything: the programs are there.
cargo-deb --no-build --no-strip --quiet --output "$output/" >/dev/null || die "the .deb could not be made"
cargo-generate-rpm --auto-req builtin --output "$output/" || die "the .rpm could not be made"
for package in "$output"/framehost[_-]"$version"-1*; do say "$package ($(($(stat -c %s "$package") >> 10)) KiB)"; done
