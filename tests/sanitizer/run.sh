#!/usr/bin/env bash
# The unsafe code that Linux has, with AddressSanitizer: memory that a real Wayland compositor writes, and the buffers of
# the kernel's own virtual camera. Miri interprets none of the system calls that they are about. Installs what it needs
# and says so; leaves nothing running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/common.sh
. scripts/common.sh
need_rust
need_python
need_sway
need_vivid

target=$repo/target/sanitizer
host=$(rustc -vV | sed -n 's/^host: //p')
# Sanitizers are not for every compiler: this one is told that it may.
RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address \
    cargo build --locked --target "$host" --target-dir "$target"
export FRAMEHOST_BIN=$target/$host/debug/framehost
# To its end: who stops reading in the middle makes nm fail.
nm "$FRAMEHOST_BIN" | grep __asan_init >/dev/null || die "the program is without AddressSanitizer"

# Each process that it finds something in writes a report, and ends.
rm -f "$target"/report.*
export ASAN_OPTIONS=log_path=$target/report:detect_leaks=0
"$python" -m pytest --timeout 300 tests/python/test_wayland.py
# The guest's clock counts instructions, of which the sanitizer makes many: the camera's rates are not held there. What
# counts is that the guest is through, and what its programs wrote.
rm -rf "$target/camera"
KEEP=$target/camera tests/camera/run.sh || say "The rates are not judged"
grep ' end' "$target/camera/console" >/dev/null || die "the camera's tests did not come to their end"
for report in "$target"/report.* $(grep -rlaF AddressSanitizer "$target/camera"); do
    [ ! -e "$report" ] || { cat "$report" && die "AddressSanitizer found something"; }
done
