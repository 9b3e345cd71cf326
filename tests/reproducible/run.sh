#!/usr/bin/env bash
# Builds the last commit twice, in folders of different names and lengths with different homes of cargo, and compares
# the programs. Takes what a release build takes, twice; leaves nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/common.sh
. scripts/common.sh

work=$repo/target/reproducible
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

first=$work/one second="$work/another place, with a longer name"
cargo fetch --locked
home=${CARGO_HOME:-$HOME/.cargo}
mkdir "$work/cargo-home"
# What has been fetched, and from where.
cp -a "$home/registry" "$work/cargo-home/"
for file in config.toml config credentials.toml; do [ ! -e "$home/$file" ] || cp "$home/$file" "$work/cargo-home/"; done

# The second of the first: somebody may commit meanwhile.
git clone --quiet . "$first"
git clone --quiet "$first" "$second"
for clone in "$first" "$second"; do
    say "Building in ${clone##*/}"
    if [ "$clone" = "$second" ]; then export CARGO_HOME=$work/cargo-home; fi
    "$clone/installer/build.sh"
done

programs=0 differences=()
# What differs stays, to be looked into.
kept=$repo/target/reproducible-differences
rm -rf "$kept"
differs() {
    say "$1"
    differences+=("$program")
    mkdir -p "$kept"
    cp "$program" "$kept/${program##*/}.one"
    cp "$second/target/dist/release/${program##*/}" "$kept/${program##*/}.another"
}
for program in "$first"/target/dist/release/framehost*; do
    if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
    programs=$((programs + 1))
    sha256sum "$program" | sed "s,$first/,,"
    for path in "$work" "$home" "$HOME"; do
        ! grep -qaF -- "$path/" "$program" || differs "${program##*/} names $path"
    done
    cmp "$program" "$second/target/dist/release/${program##*/}" || differs "${program##*/} is another one in another folder"
done
[ "$programs" -ge 2 ] || die "there are $programs programs"
[ "${#differences[@]}" = 0 ] || die "see $kept"
say "$programs programs are the same, byte for byte"
