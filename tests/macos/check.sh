#!/usr/bin/env bash
# Type-checks everything for macOS, where nothing of it can be run here: the standard library from the distribution's
# sources, and stubs for the C compiler, as nothing is linked.
#
#   tests/macos/check.sh      10 minutes the first time, on 2 cores
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/common.sh
. scripts/common.sh
need_macos

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# They make the file that they are asked for, and nothing in it.
cat >"$work/cc" <<'END'
#!/bin/sh
while [ $# -gt 0 ]; do
    [ "$1" != -o ] || : >"$2"
    shift
done
END
cat >"$work/ar" <<'END'
#!/bin/sh
for word; do case $word in *.a) : >"$word" ;; esac; done
END
chmod 755 "$work/cc" "$work/ar"

export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR=${MACOS_TARGET_DIR:-$repo/target/macos}
export CC_aarch64_apple_darwin=$work/cc CXX_aarch64_apple_darwin=$work/cc AR_aarch64_apple_darwin=$work/ar
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
/usr/bin/cargo check --locked -j "${MACOS_JOBS:-$(nproc)}" -Z build-std=std,panic_unwind,panic_abort --target aarch64-apple-darwin \
    --no-default-features --features camera,screen --lib --bins --test elsewhere 2>&1 | tee "$work/check.log"
if grep -q '^warning: .framehost.' "$work/check.log"; then
    die "it has warnings on macOS"
fi
