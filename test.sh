#!/usr/bin/env bash
# Everything that is checked about framehost. CI runs this and nothing else.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
# shellcheck source=scripts/common.sh
. scripts/common.sh

usage() {
    cat <<'END'
Checks framehost. Installs what it needs by itself, and says so: packages of Debian or Ubuntu (with sudo where it has
to), npm packages, Python packages into .venv. It leaves nothing running, and is quick the second time.

  ./test.sh              everything that CI runs (some 55 minutes on 2 cores)
  ./test.sh unit         what needs no browser and no Python packages (15 minutes the first time)
  ./test.sh long         everything, and what takes longer
  ./test.sh STAGE...     these stages, and those they build on
  ./test.sh --list       the stages
END
}

# The stages, the quick ones first. For each: how long it may take (seconds), what it needs, what must have passed
# before it, what it is. How it is done: the function stage_NAME below, run from here with no input and no terminal.
unit=(fmt docs clippy clippy_bare doc test js)
full=("${unit[@]}" build python portal camera browser bench demo fuzz)
long=("${full[@]}" sanitizer deny packages reproducible windows macos kills rounds soak suspend speed proptest repeat)

declare -A limit=() needs=() after=() about=()
stage() { limit[$1]=$2 needs[$1]=$3 after[$1]=$4 about[$1]=$5; }
stage fmt 60 rust_tools "" "Rust sources are formatted"
stage docs 120 docs_tools "" "links, paths, the contract's layout, shell scripts"
stage clippy 900 all_features "" "lints, all features"
stage clippy_bare 900 rust_tools "" "lints, no features"
stage doc 600 rust "" "the Rust documentation builds without warnings"
stage test 1500 rust_tests "" "Rust tests"
stage js 300 node "" "tests of the extension's code without a browser"
stage build 1500 rust "" "the program, as it is released"
stage python 1800 devices build "the Python client; stock ones: gRPC, huggingface_hub, transformers; other users; video files; screens"
stage portal 1500 portal "build test" "screens through the desktop portal, of a real Wayland desktop without a screen"
stage camera 900 vivid build "cameras, by the kernel's own virtual one in a virtual machine"
stage browser 1800 browser build "a real Chromium with the sample extension, a real Firefox with an add-on"
stage bench 2400 bench build "benchmarks run (their numbers are not judged)"
stage demo 600 demo build "the demo"
stage fuzz 1800 fuzzing "" "every fuzz target for a minute (FUZZ_SECONDS), from its kept inputs on"
stage packages 900 packages build "the .deb and the .rpm, installed and removed in a fresh Debian; recipes for others"
stage sanitizer 2400 sanitizer "" "the unsafe code of Linux with AddressSanitizer: a Wayland compositor's memory, a camera's buffers"
stage reproducible 3600 rust "" "the release, built twice in different folders, is the same byte for byte"
stage deny 900 deny "" "licences, sources and versions of the dependencies; advisories where their database can be had"
stage windows 3600 windows "" "the library, the programs and their installer on Windows: built with mingw, run in Wine"
stage macos 1800 macos "" "the library on macOS: type-checked"
stage kills 3600 browser build "200 pulls and imports killed at random moments"
stage rounds 5400 browser build "200 rounds, in each of which a process of a world at work is killed"
stage soak 4500 devices build "an hour of work that has to leave a hub as it was"
stage suspend 900 devices build "processes that are stopped for a minute"
stage speed 900 rust_tests "" "times of the debug build on a machine that does nothing else"
stage proptest 3600 rust_tests "" "Rust property tests, many more cases"
stage repeat 5400 everything build "Python and browser tests five times, to find what fails now and then"

need_docs_tools() {
    need_command python3 python3
    need_command shellcheck shellcheck
}
# The browser tests run Python workers, too, decode with ffmpeg what is no H.264, and look at an X server's screen.
need_browser() {
    need_python
    need_chromium
    need_firefox
    need_ffmpeg
    need_screen
}
need_rust_tests() {
    need_rust
    need_pipewire_headers
    need_ffmpeg
    need_screen
}
need_all_features() {
    need_rust_tools
    need_pipewire_headers
}
need_portal() {
    need_python
    need_rust
    need_pipewire_headers
    need_wayland_desktop
}
need_sanitizer() {
    need_devices
    need_vivid
}
need_deny() {
    need_rust
    need_cargo_tool cargo-deny
}
need_devices() {
    need_python
    need_ffmpeg
    need_screen
    need_sway
    # A clock that tests may set.
    need_command faketime faketime
}
need_bench() {
    need_python
    need_rust_tests
    need_python_peers
    need_command nginx nginx-light
    need_command curl curl
    need_chromium
}
need_everything() {
    need_browser
    need_devices
}
need_demo() {
    need_rust
    need_browser
}

stage_fmt() { cargo fmt --all --check; }
stage_docs() {
    python3 scripts/check-docs.py && shellcheck --external-sources --severity=style test.sh demo.sh .ci/run scripts/*.sh \
        installer/{,rpm/,windows/}*.sh installer/debian/prerm installer/arch/{PKGBUILD,*.install} \
        tests/camera/run.sh tests/{packages,reproducible,sanitizer,windows,macos}/*.sh fuzz/run.sh benches/peers/*.sh
}
stage_clippy() { cargo clippy --locked --workspace --all-targets --all-features -- -D warnings; }
stage_clippy_bare() { cargo clippy --locked --workspace --all-targets --no-default-features -- -D warnings; }
stage_doc() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps; }
stage_test() { cargo test --locked --workspace --all-features; }
stage_js() { node_test tests/js; }
stage_build() { cargo build --locked --release; }
stage_python() { "$python" -m pytest tests/python --ignore=tests/python/test_portal.py; }
# The program for the portal, which the Rust tests have built, beside the released one without it, as people have them.
stage_portal() { FRAMEHOST_PORTAL_BIN=$repo/target/debug/framehost-portal "$python" -m pytest tests/python/test_portal.py; }
stage_camera() { tests/camera/run.sh; }
stage_browser() { node_test tests/browser; }
stage_bench() {
    export FRAMEHOST_BENCH=quick
    cargo run --locked --release -p framehost-benches && "$python" benches/models.py --quick && node tests/browser/speed.mjs
}
stage_kills() { FRAMEHOST_KILLS=200 "$python" -m pytest -s --timeout 3000 tests/python/test_kills.py; }
# Here nobody may wait for longer than two seconds: of all stages, the one that a busy machine makes fail.
stage_rounds() { FRAMEHOST_ROUNDS=200 FRAMEHOST_HANG_SECONDS=2 node --test tests/browser/supervisor.test.mjs; }
stage_soak() { FRAMEHOST_SOAK=3600 "$python" -m pytest -s tests/python/test_soak.py; }
stage_suspend() { FRAMEHOST_SUSPEND=60 "$python" -m pytest --timeout 300 tests/python/test_suspended.py; }
stage_demo() { ./demo.sh; }
stage_packages() { tests/packages/run.sh; }
stage_sanitizer() { tests/sanitizer/run.sh; }
stage_reproducible() { tests/reproducible/run.sh; }
# Advisories are fetched from where only some machines get to; all else needs nothing from outside.
stage_deny() {
    cargo deny --locked check licenses bans sources || return
    if cargo deny --locked fetch db; then
        cargo deny --locked check advisories
    else
        say "The database of advisories cannot be had here: they were not looked at"
    fi
}
stage_fuzz() { fuzz/run.sh; }
stage_windows() { tests/windows/run.sh; }
stage_macos() { tests/macos/check.sh; }
stage_speed() { FRAMEHOST_JUDGE_SPEED=1 cargo test --locked --all-features --test speed; }
stage_proptest() { PROPTEST_CASES=50000 cargo test --locked --release; }
stage_repeat() {
    local round
    for round in 1 2 3 4 5; do
        say "Round $round of 5"
        stage_python && stage_browser || return
    done
}

# node's test runner on the test files of a folder. It takes folders differently from version to version: name files.
node_test() {
    local files=()
    readarray -d '' files < <(find "$1" -name node_modules -prune -o -name '*.test.*js' -print0 | sort -z)
    if [ "${#files[@]}" = 0 ]; then
        say "no tests in $1" >&2
        return 1
    fi
    # One after another: two browsers at once on two cores measure each other.
    local one_by_one=()
    node --help | grep -q -- --test-concurrency && one_by_one=(--test-concurrency=1)
    node --test "${one_by_one[@]}" "${files[@]}"
}

# From here on: choosing, running and counting.

if [ "${1:-}" = __stage ]; then
    # The release build is what the other stages test.
    export FRAMEHOST_BIN=${FRAMEHOST_BIN:-$repo/target/release/framehost}
    "stage_$2"
    exit
fi

chosen=()
choose() {
    local name=$1 before
    [ -n "${limit[$name]:-}" ] || die "no stage is called $name; ./test.sh --list names them"
    for before in ${after[$name]}; do choose "$before"; done
    case " ${chosen[*]:-} " in
    *" $name "*) ;;
    *) chosen+=("$name") ;;
    esac
}
[ $# -gt 0 ] || set -- "${full[@]}"
for word in "$@"; do
    case $word in
    -h | --help)
        usage
        exit
        ;;
    --list)
        for name in "${long[@]}"; do printf '%-12s %s (at most %s s)\n' "$name" "${about[$name]}" "${limit[$name]}"; done
        exit
        ;;
    all) for name in "${full[@]}"; do choose "$name"; done ;;
    unit) for name in "${unit[@]}"; do choose "$name"; done ;;
    long) for name in "${long[@]}"; do choose "$name"; done ;;
    *) choose "$word" ;;
    esac
done

declare -A result=() seconds=()
group=

# A stage is a process group, so that nothing of it stays.
end_group() {
    [ -n "$group" ] || return
    kill -TERM -- "-$group" 2>/dev/null
    local tries=20
    while kill -0 -- "-$group" 2>/dev/null && [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; done
    kill -KILL -- "-$group" 2>/dev/null
    group=
}

finish() {
    local code=$? passed=0 failed=0 name
    trap - EXIT HUP INT TERM
    end_group
    heading "Stages"
    for name in "${chosen[@]}"; do
        : "${result[$name]:=did not run}"
        if [ "${result[$name]}" = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
        printf '%-12s %5s s  %s\n' "$name" "${seconds[$name]:--}" "${result[$name]}"
    done
    say "$passed passed, $failed failed"
    [ "$failed" = 0 ] || [ "$code" != 0 ] || code=1
    exit "$code"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

run() {
    local name=$1 before code started=$SECONDS
    for before in ${after[$name]}; do
        if [ "${result[$before]:-}" != passed ]; then
            result[$name]="did not run: $before has not passed"
            return
        fi
    done
    heading "$name: ${about[$name]}"
    timeout --kill-after=15 "${limit[$name]}" bash test.sh __stage "$name" </dev/null &
    group=$!
    wait "$group"
    code=$?
    end_group
    seconds[$name]=$((SECONDS - started))
    case $code in
    0) result[$name]=passed ;;
    124 | 137) result[$name]="failed: not done after ${limit[$name]} s" ;;
    *) result[$name]="failed: exit code $code" ;;
    esac
    say "-- $name: ${result[$name]} (${seconds[$name]} s)"
}

# What is needed is installed before a stage's time begins, and in the foreground: sudo may ask for a password.
for name in "${chosen[@]}"; do
    if ! (need_"${needs[$name]}"); then
        result[$name]="did not run: what it needs is not there"
        say "-- $name: ${result[$name]}"
        continue
    fi
    # Once more in this shell, for what it exports; everything is there now.
    need_"${needs[$name]}"
    run "$name"
done
