#!/usr/bin/env bash
# Installs what the benchmarks set beside framehost, below target/peers. A benchmark leaves out what is not there, and
# says so.
#
#   benches/peers/install.sh python     mss, numpy and OpenCV, from Python's package index (about 300 MB)
#   benches/peers/install.sh xcap       a program with xcap, which needs headers of the system and 8 minutes on 2 cores
#   benches/peers/install.sh            both
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
# shellcheck source=scripts/common.sh
. scripts/common.sh

[ $# -gt 0 ] || set -- python xcap
for part in "$@"; do
    case $part in
    python) need_python_peers ;;
    xcap) need_xcap_peer ;;
    *) die "no such part: $part" ;;
    esac
done
