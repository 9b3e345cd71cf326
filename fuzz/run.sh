#!/usr/bin/env bash
# Every fuzz target for FUZZ_SECONDS (60) from its kept corpus on, with AddressSanitizer and overflow checks, twice as
# many at once as there are processors. Installs what it needs and says so; leaves nothing running.
#
#   fuzz/run.sh               all of them
#   fuzz/run.sh TARGET...     these
#
# A finding is in target/fuzz/artifacts/TARGET: mend it, and keep the file in fuzz/corpus/TARGET.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/common.sh
. scripts/common.sh
need_fuzzing

out=$repo/target/fuzz
# cargo-fuzz knows no --locked.
cargo fetch --locked --manifest-path fuzz/Cargo.toml
# One unit for each crate, as is usual, makes somewhat faster targets and takes ten minutes more to compile.
# Sanitizers are not for every compiler: this one is told that it may.
export RUSTC_BOOTSTRAP=1
# libFuzzer is C++, and the program's way of linking that library (.cargo/config.toml) is not for it.
CXXSTDLIB_x86_64_unknown_linux_gnu=stdc++ CXXSTDLIB_aarch64_unknown_linux_gnu=stdc++ \
    cargo fuzz build --codegen-units 16 --target-dir "$out"
host=$(rustc -vV | sed -n 's/^host: //p')

targets=("$@")
[ $# -gt 0 ] || readarray -t targets < <(cargo fuzz list)
[ "${#targets[@]}" -gt 0 ] || die "no fuzz targets"

fuzz_one() {
    local target=$1
    mkdir -p "$out/corpus/$target" "$out/artifacts/$target"
    # What it learns goes into the first folder alone; the kept corpus stays as it is.
    "$out/$host/release/$target" -artifact_prefix="$out/artifacts/$target/" -max_total_time="${FUZZ_SECONDS:-60}" \
        -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -verbosity=0 \
        "$out/corpus/$target" "fuzz/corpus/$target" >"$out/$target.log" 2>&1
}

# Whatever ends this ends them.
trap 'kill "${running[@]##*:}" 2>/dev/null || true' EXIT

broken=()
failed() { broken+=("$1"); }
running=()
# The target that was started first, which ends about first.
await_one() {
    local target=${running[0]%%:*} executed
    if wait "${running[0]##*:}"; then
        executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$target.log")
        printf '%-12s %s inputs\n' "$target" "${executed:-no}"
        [ "${executed:-0}" -gt 0 ] || failed "$target"
    else
        tail -n 40 "$out/$target.log"
        failed "$target"
    fi
    running=("${running[@]:1}")
}
at_once=$((2 * $(nproc)))
for target in "${targets[@]}"; do
    [ "${#running[@]}" -lt "$at_once" ] || await_one
    fuzz_one "$target" &
    running+=("$target:$!")
done
while [ "${#running[@]}" -gt 0 ]; do await_one; done
[ "${#broken[@]}" = 0 ] || die "failed: ${broken[*]}"
