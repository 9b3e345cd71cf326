#!/usr/bin/env bash
# Makes framehost's installer for Windows, an .msi, of programs that are built already.
#
#   installer/windows/package.sh PROGRAMS [OUTPUT]
#
# PROGRAMS: the folder with framehost.exe and framehost-relay.exe; every .dll beside them goes along. OUTPUT: where the
# installer goes (target/packages).
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/common.sh
. scripts/common.sh

[ $# -ge 1 ] || die "which folder has framehost.exe and framehost-relay.exe?"
# from_here PATH: as it was meant where this was started.
from_here() { case $1 in /*) printf '%s\n' "$1" ;; *) printf '%s\n' "$here/$1" ;; esac; }
programs=$(from_here "$1")
output=$(from_here "${2:-$repo/target/packages}")
for name in framehost.exe framehost-relay.exe; do [ -f "$programs/$name" ] || die "there is no program $programs/$name"; done
need_msi_tools

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
installer/notices.py --target x86_64-pc-windows-gnu >"$work/THIRD-PARTY-NOTICES"
shopt -s nullglob
libraries=("$programs"/*.dll)
shopt -u nullglob
libraries=("${libraries[@]##*/}")
# The sample extension's id: see installer/install.sh.
sample=$(python3 -c 'import base64, hashlib, json; key = json.load(open("extension-sample/manifest.json"))["key"]
print("".join(chr(ord("a") + int(digit, 16)) for digit in hashlib.sha256(base64.b64decode(key)).hexdigest()[:32]))')

cp installer/windows/framehost.wxs LICENSE-MIT LICENSE-APACHE "$programs"/framehost{,-relay}.exe "$work/"
{
    printf '<Include>'
    for number in "${!libraries[@]}"; do
        cp "$programs/${libraries[number]}" "$work/"
        printf '<File Id="library%s" Source="%s"/>' "$number" "${libraries[number]}"
    done
    printf '</Include>\n'
} >"$work/libraries.wxi"
# The same files have the same code, and others another: what is installed gives way to none of its own code.
code=$(cat "$work"/* - <<<"$version" | sha256sum)
code=${code:0:8}-${code:8:4}-5${code:13:3}-8${code:17:3}-${code:20:12}

mkdir -p "$output"
msi=$output/framehost-$version-x64.msi
rm -f "$msi"
# wixl leaves the upper bound of a range out of it, whatever it is told.
define=(-D Version="$version" -D NextVersion="${version%.*}.$((${version##*.} + 1))" -D ProductCode="${code^^}" -D SampleId="$sample")
# What wixl does not know it passes over, with a warning.
(cd "$work" && G_DEBUG=fatal-warnings wixl --arch x64 "${define[@]}" --output "$msi" framehost.wxs) || die "the .msi could not be made"
say "$msi $(($(stat -c %s "$msi") >> 10)) KiB"
