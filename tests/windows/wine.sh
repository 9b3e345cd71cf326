#!/usr/bin/env bash
# Runs a Windows program in Wine: cargo calls it so. WINE_TOOLS: the folder that need_windows has made.
set -euo pipefail
wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
export WINEPATH="Z:${WINE_TOOLS//\//\\}"
exec "$wine" "$@"
