#!/usr/bin/env bash
# framehost on Windows: built for it with mingw, run in Wine. Its unit tests; cameras and screens as Wine has
# them, on an X server with a painted background; files and live packets by a Windows ffmpeg; the programs themselves,
# driven from Linux; their installer. Installs what it needs and says so; leaves nothing running.
#
#   tests/windows/run.sh      30 minutes the first time, on 2 cores
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/common.sh
. scripts/common.sh
need_windows

size=1024x600
target=x86_64-pc-windows-gnu
work=$(mktemp -d)
server=
finish() {
    # Only what runs in this prefix.
    [ ! -d "$WINEPREFIX" ] || WINEPREFIX=$WINEPREFIX "$wineserver" -k 2>/dev/null || true
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

wineserver=$(command -v wineserver || echo /usr/lib/wine/wineserver)
export WINEPREFIX=$work/prefix WINEARCH=win64 WINEDEBUG=-all WINE_TOOLS=$windows_tools
# Neither of these asks whether it may be installed.
export WINEDLLOVERRIDES="mscoree=;mshtml="
exec {display_read}< <(exec Xvfb -displayfd 1 -screen 0 "${size}x24" -noreset -nolisten tcp 2>/dev/null)
server=$!
read -r -t 30 display <&"$display_read" || die "Xvfb does not start"
export DISPLAY=:$display

# The distribution's own compiler has the sources of the standard library, from which it is built for Windows.
export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR=${WINDOWS_TARGET_DIR:-$repo/target/windows} CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=1
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=$repo/tests/windows/wine.sh
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
cargo_for_windows() {
    /usr/bin/cargo "$1" --locked -j "${WINDOWS_JOBS:-$(nproc)}" -Z build-std=std,panic_unwind,panic_abort --target "$target" "${@:2}"
}

say "Building for Windows"
cargo_for_windows test --no-run --lib --bins --test elsewhere --test decode 2>&1 | tee "$work/build.log"
if grep -q '^warning: .framehost.' "$work/build.log"; then
    die "it has warnings on Windows"
fi

say "The library's unit tests, in Wine"
tests/windows/wine.sh wineboot --init >/dev/null 2>&1 || die "Wine does not start"
cargo_for_windows test --lib

say "Screens, cameras and files, in Wine"
"$python" tests/windows/paint.py "$DISPLAY"
# Not windows: in Wine 8 xcap lists none, so that test is for a real Windows.
FRAMEHOST_TEST_PAINTED=$size cargo_for_windows test --test elsewhere -- --test-threads=1 --skip a_window

say "Live packets by a Windows ffmpeg, in Wine"
cargo_for_windows test --test decode

say "The programs, in Wine: relay and hub, the loopback port, models, browsers' keys in the registry"
FRAMEHOST_WINDOWS_BIN=$CARGO_TARGET_DIR/$target/debug "$python" -m pytest -c tests/python/pytest.ini tests/windows/test_program.py

say "Their installer, in Wine"
mkdir "$work/programs"
cp "$CARGO_TARGET_DIR/$target"/debug/framehost{,-relay}.exe "$windows_tools"/*.dll "$work/programs"
FRAMEHOST_WINDOWS_BIN=$work/programs tests/windows/installer.sh
