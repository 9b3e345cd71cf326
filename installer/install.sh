#!/bin/sh
# Installs framehost for the user who runs this: the program, and its registration with browsers.
set -eu
LC_ALL=C
export LC_ALL
umask 022

usage() {
    cat <<'END'
Installs framehost for you (not for the whole machine) and tells your browsers about it.

  ./install.sh                 build or find framehost, copy it to ~/.local/bin, register it
  ./install.sh --uninstall     take both back

  --extension-id ID    an extension that may start framehost; may be repeated
                       (unless given: the sample extension's)
  --firefox-id ID      the same for Firefox and its like: name@example.org or {GUID}; may be repeated
  --browser NAME       only this browser: chrome, chromium, edge, brave, firefox, ... (docs/install.md has them all);
                       may be repeated (unless given: those that you have)
  --user-data-dir DIR  a browser that you start with --user-data-dir=DIR, and only that; may be repeated
  --prefix DIR         copy to DIR/bin instead of ~/.local/bin
  --binary FILE        install this program instead of building one
  --help               this text
END
}

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}
# POSIX sh has no lists: options for framehost are kept as one shell-quoted string.
quote() { printf "'%s' " "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
repo=$(dirname -- "$here")
uninstall=no
prefix=
binary=
extension_options=
browser_options=

while [ $# -gt 0 ]; do
    option=$1
    case $option in
    --help | -h)
        usage
        exit 0
        ;;
    --uninstall)
        uninstall=yes
        shift
        continue
        ;;
    --*=*)
        value=${option#*=}
        option=${option%%=*}
        shift
        ;;
    *)
        [ $# -ge 2 ] || fail "$option: an unknown option, or its value is missing; --help lists them"
        value=$2
        shift 2
        ;;
    esac
    [ -n "$value" ] || fail "$option needs a value"
    case $option in
    --extension-id) extension_options="$extension_options--extension-id $(quote "$value")" ;;
    --firefox-id) extension_options="$extension_options--firefox-id $(quote "$value")" ;;
    --browser) browser_options="$browser_options--browser $(quote "$value")" ;;
    --user-data-dir) browser_options="$browser_options--user-data-dir $(quote "$value")" ;;
    --prefix) prefix=$value ;;
    --binary) binary=$value ;;
    *) fail "unknown option $option; --help lists them" ;;
    esac
done

if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ]; then
    fail "run this as $SUDO_USER, without sudo: it installs for one user, and it would be root now"
fi
[ -n "${HOME:-}" ] || fail "HOME is not set, so there is no place to install to"
[ -n "$prefix" ] || prefix=$HOME/.local
case $prefix in
/*) ;;
*) prefix=$(pwd)/$prefix ;;
esac
installed=$prefix/bin/framehost
case $binary in
'' | /*) ;;
*) binary=$(pwd)/$binary ;;
esac

# The id of an unpacked extension with a "key": the first 32 hex digits of the key's SHA-256, 0-f written as a-p.
sample_extension_id() {
    manifest=$repo/extension-sample/manifest.json
    [ -f "$manifest" ] || manifest=$here/extension-sample/manifest.json
    [ -f "$manifest" ] || return 1
    key=$(tr -d '\n' <"$manifest" | sed -n 's/.*"key"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p')
    [ -n "$key" ] || return 1
    printf '%s' "$key" | base64 -d | sha256sum | cut -c 1-32 | tr '0-9a-f' 'a-p'
}

find_cargo() {
    if command -v cargo >/dev/null 2>&1; then
        command -v cargo
    elif [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        printf '%s\n' "${CARGO_HOME:-$HOME/.cargo}/bin/cargo"
    else
        return 1
    fi
}

if [ "$uninstall" = yes ]; then
    program=$installed
    [ -x "$program" ] || program=$binary
    if [ -z "$program" ] || [ ! -x "$program" ]; then fail "framehost is not installed in $prefix/bin"; fi
    say "Taking back framehost's registration:"
    # The string is made of words that quote() wrote.
    eval "\"\$program\" uninstall $browser_options"
    if [ -z "$browser_options" ]; then
        for file in "$installed" "$installed-relay" "$installed-portal"; do
            [ -f "$file" ] || continue
            say "remove $file"
            rm -f -- "$file"
        done
    fi
    say "Done."
    exit 0
fi

if [ -z "$extension_options" ]; then
    sample=$(sample_extension_id) || fail "the sample extension is not here; say which extension may start framehost: --extension-id ID"
    extension_options="--extension-id $(quote "$sample")"
    say "No --extension-id was given: framehost is for the sample extension, $sample."
fi

if [ -n "$binary" ]; then
    [ -f "$binary" ] || fail "there is no program $binary"
elif [ -f "$here/framehost" ]; then
    binary=$here/framehost
elif [ -f "$repo/Cargo.toml" ] && cargo=$(find_cargo); then
    say "Building framehost (the first time takes some minutes) ..."
    features=camera,screen,h264
    # The camera's library is made from the kernel's headers, which needs libclang.
    found=$(find /usr/lib /usr/lib64 -maxdepth 4 \( -name 'libclang.so*' -o -name 'libclang-[0-9]*.so*' \) 2>/dev/null | head -n 1)
    if [ -z "${LIBCLANG_PATH:-}$found" ]; then
        say "libclang is missing, so this framehost will have no cameras (Debian, Ubuntu: apt install libclang-dev)"
        features=screen,h264
    fi
    # The program for Wayland desktops' screens is made from libpipewire's headers, which needs libclang, too.
    if [ "$features" != screen,h264 ] && pkg-config --atleast-version=0.3.65 libpipewire-0.3 2>/dev/null; then
        features=$features,portal
    fi
    "$cargo" build --release --locked --no-default-features --features "$features" \
        --manifest-path "$repo/Cargo.toml" --target-dir "$repo/target"
    binary=$repo/target/release/framehost
elif [ -f "$repo/target/release/framehost" ]; then
    binary=$repo/target/release/framehost
else
    fail "there is no framehost beside this script, and no Rust to build it with: install Rust (rustup), or give --binary FILE"
fi

case $binary in
*-relay | *-portal) fail "$binary is a part of framehost; name framehost itself, which is beside it" ;;
esac

mkdir -p -- "$prefix/bin"
new=$installed.$$.tmp
trap 'rm -f -- "$new"' EXIT
trap 'exit 1' HUP INT TERM
# The program, beside it the small one that browsers start, and the one that asks the desktop for its screens.
for suffix in '' -relay -portal; do
    [ -f "$binary$suffix" ] || continue
    say "copy $binary$suffix to $installed$suffix"
    # Beside its place, then renamed: the program that is replaced may be running.
    cp -- "$binary$suffix" "$new"
    chmod 755 -- "$new"
    if [ -z "$suffix" ]; then
        said=$("$new" --version 2>&1 </dev/null) || fail "$binary does not start here: $said"
        case $said in
        'framehost '*) ;;
        *) fail "$binary is not framehost" ;;
        esac
    fi
    mv -f -- "$new" "$installed$suffix"
done

# The string is made of words that quote() wrote.
eval "\"\$installed\" install $extension_options $browser_options"

say "Done. A browser that is running needs no restart."
case ":${PATH:-}:" in
*":$prefix/bin:"*) ;;
*) [ "$prefix" != "$HOME/.local" ] || say "To type framehost in a terminal, add $prefix/bin to your PATH. The browser does not need that." ;;
esac
