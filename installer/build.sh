#!/usr/bin/env bash
# Builds the programs without the builder's folders in them, of the versions in Cargo.lock: so that the same commit and
# compilers make the same bytes in whichever folder. tests/reproducible/run.sh compares.
#
#   installer/build.sh [TARGET]     TARGET: cargo's folder (target/dist); the programs are in TARGET/release
#
# Takes cargo and a C++ compiler.
set -euo pipefail
target=$(realpath -m -- "${1:-$(dirname -- "${BASH_SOURCE[0]}")/../target/dist}")
cd "$(dirname -- "${BASH_SOURCE[0]}")/.."
repo=$(pwd -P)

# The messages of panics and of C's assertions name source files. The last prefix that fits is the one that counts.
rust=() c=()
remap() {
    rust+=("--remap-path-prefix=$1=$2")
    c+=("$(printf '%q' "-ffile-prefix-map=$1=$2")")
}
remap "$(realpath -- "${CARGO_HOME:-$HOME/.cargo}")" /cargo
remap "$repo" /framehost
remap "$target" /framehost/target
# Neither takes paths with spaces otherwise.
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf '%s' "${rust[*]}")
export CARGO_ENCODED_RUSTFLAGS CC_SHELL_ESCAPED_FLAGS=1 CFLAGS="${c[*]}" CXXFLAGS="${c[*]}" CARGO_TARGET_DIR=$target

exec cargo build --locked --release
