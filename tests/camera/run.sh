#!/usr/bin/env bash
# Cameras, by a real driver: boots Debian's kernel in QEMU with vivid, the kernel's virtual camera, runs framehost there
# and judges what came of it. Begins with nothing but the program (FRAMEHOST_BIN, or the release build); installs what it
# needs and says so; leaves nothing running.
#
#   tests/camera/run.sh          under two minutes
#   KEEP=DIR tests/camera/run.sh leaves the guest's results in DIR
#
# The guest's clock counts instructions (-icount), so that its time is the same however busy this machine is: rates and
# delays are judged in that time. KVM is not asked for: it would have the host's clock, and is not everywhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/common.sh
. scripts/common.sh

# Real seconds that the guest may take. It is through in 60 on 2 cores with nothing else to do.
limit=${VIVID_TIMEOUT:-700}

program=${FRAMEHOST_BIN:-$repo/target/release/framehost}
[ -x "$program" ] || die "there is no $program: build it first (cargo build --release), or name one in FRAMEHOST_BIN"
need_vivid

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,dev,etc,modules,proc,results,sys,tmp}

# install_program FILE: it, and the libraries that it loads.
install_program() {
    local library
    cp -L "$1" "$root/bin/"
    while read -r library; do
        mkdir -p "$root${library%/*}"
        [ -e "$root$library" ] || cp -L "$library" "$root$library"
    done < <(ldd "$1" 2>/dev/null | grep -o '/[^ ]*')
}
for tool in busybox v4l2-ctl; do install_program "$(command -v "$tool")"; done
install_program "$program"
mv "$root/bin/${program##*/}" "$root/bin/framehost" 2>/dev/null || true
cp "$vivid_kernel"/modules/* "$root/modules/"
cp tests/camera/guest.sh "$root/init"
chmod 755 "$root/init"
(cd "$root" && find . -print0 | cpio --null --create --format=newc --quiet | gzip -1) >"$work/initrd"

say "Booting $(basename "$vivid_kernel") with vivid in QEMU"
started=$SECONDS
code=0
timeout --kill-after=10 "$limit" qemu-system-x86_64 -nodefaults -no-user-config -no-reboot \
    -accel tcg -cpu max -smp 1 -icount shift=0,sleep=off -m 1024 -display none \
    -kernel "$vivid_kernel/vmlinuz" -initrd "$work/initrd" -append "console=ttyS0 panic=-1 quiet" \
    -serial "file:$work/console" -serial "file:$work/results.tar.gz" </dev/null || code=$?
say "The guest took $((SECONDS - started)) s"

mkdir "$work/results"
if ! tar -xzf "$work/results.tar.gz" -C "$work/results" 2>/dev/null; then
    tail -n 40 "$work/console" >&2 || true
    die "the guest brought no results (QEMU ended with $code; 124 means that it took more than $limit s)"
fi
if [ -n "${KEEP:-}" ]; then
    mkdir -p "$KEEP"
    cp -R "$work/results/." "$work/console" "$KEEP/"
fi
python3 tests/camera/check.py "$work/results" || {
    say "The end of the guest's console:" >&2
    tail -n 40 "$work/console" >&2
    exit 1
}
