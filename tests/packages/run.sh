#!/usr/bin/env bash
# Packages: makes them, looks at them as distributions' tools do, and installs and removes them in a fresh Debian (or
# Ubuntu) of this machine's release, in namespaces of their own. Begins with nothing but the programs (beside FRAMEHOST_BIN,
# or the release build); installs what it needs and says so; leaves no process and no mount, even if it is killed. Takes
# root, or sudo, for the fresh Debian.
#
#   tests/packages/run.sh           a minute; the first time builds two tools and fetches a Debian
#   KEEP=DIR tests/packages/run.sh  leaves what came of the fresh Debian in DIR
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/common.sh
. scripts/common.sh
PATH=$PATH:/usr/sbin:/sbin

# Seconds that one step may take. The longest, the fresh Debian's, takes 30 on 2 cores with nothing else to do.
limit=300

program=${FRAMEHOST_BIN:-$repo/target/release/framehost}
[ -x "$program" ] || die "there is no $program: build it first (cargo build --release), or name one in FRAMEHOST_BIN"
programs=$(cd "$(dirname "$program")" && pwd)
need_packages

# Always the same folder, so that a run which was killed leaves nothing that the next does not clear away.
work=$repo/target/packages-test
as_root rm -rf "$work"
mkdir -p "$work"
# Mounts are in a mount namespace that is gone with its last process, and so are the processes.
trap 'as_root rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
# In this process group, so that who ends that ends all of it.
within() { timeout --foreground --kill-after=10 "$limit" "$@"; }
within_root() { as_root timeout --foreground --kill-after=10 "$limit" "$@"; }
# same A B WHAT: two lists.
same() { diff "$1" "$2" || die "$3"; }

say "The same programs make the same packages"
within installer/package.sh "$programs" "$work/packages"
within installer/package.sh "$programs" "$work/again" >/dev/null
diff -r "$work/packages" "$work/again" || die "a second time brings other packages"
deb=$(echo "$work"/packages/*.deb) rpm=$(echo "$work"/packages/*.rpm)
rm -rf "$work/again"

say "lintian has nothing against the .deb that is an error or a warning"
# It is no upload to Debian, which would close the wish for the package.
within lintian --allow-root --tag-display-limit 0 --fail-on error,warning \
    --suppress-tags initial-upload-closes-no-bugs "$deb"

say "rpm reads the .rpm, and its digests are right"
within rpm --checksig --nosignature "$rpm"
within rpm --query --package --requires "$rpm" >"$work/requires"
grep -q '^libc\.so\.6(GLIBC' "$work/requires" || die "the .rpm does not ask for the C library: $(cat "$work/requires")"

say "Both hold the same files"
mkdir "$work/deb" "$work/rpm"
dpkg-deb --extract "$deb" "$work/deb"
# It ends with an error where a package does not say how long what it holds is, as cargo-generate-rpm's do not.
rpm2cpio "$rpm" >"$work/cpio" || true
(cd "$work/rpm" && cpio --extract --make-directories --quiet) <"$work/cpio"
# What rpm says is in it, is.
within rpm --query --list --package "$rpm" | sort >"$work/rpm-said"
(cd "$work/rpm" && find . -type f -printf '/%P\n' | sort) >"$work/rpm-files"
same "$work/rpm-said" "$work/rpm-files" "rpm's list is not what the .rpm holds"
# Each distribution's own way with zsh, licences and changes.
listed() { (cd "$1" && find . -type f -not -path '*/doc/*' -not -path '*/licenses/*' -exec sha256sum {} + | sed 's,site-functions,vendor-completions,' | sort -k 2); }
listed "$work/deb" >"$work/deb-listed"
listed "$work/rpm" >"$work/rpm-listed"
same "$work/deb-listed" "$work/rpm-listed" "the .rpm's files are not the .deb's"

say "Arch Linux's package() lays out the same"
# shellcheck source=installer/arch/PKGBUILD
(
    startdir=$repo/installer/arch pkgdir=$work/arch FRAMEHOST_PROGRAMS=$programs
    export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date -r CHANGELOG.md +%s)}
    . installer/arch/PKGBUILD
    package
    grep -qxF "version = \"$pkgver\"" Cargo.toml || die "PKGBUILD is for another version: $pkgver"
)
listed "$work/arch" >"$work/arch-listed"
same "$work/deb-listed" "$work/arch-listed" "PKGBUILD's files are not the .deb's"

say "Both hold the licence texts of what is compiled in"
notices=$work/deb/usr/share/doc/framehost/THIRD-PARTY-NOTICES
cmp "$notices" "$work/rpm/usr/share/licenses/framehost/THIRD-PARTY-NOTICES"
within python3 tests/packages/check_notices.py "$notices"

say "Homebrew's formula is Ruby; Nix's expression is for this version"
ruby -wc installer/homebrew/framehost.rb >/dev/null
# Their own tools would fetch compilers to build with; these only read. Nix asks for its store, which nothing is in.
found=$(nix-instantiate --store dummy:// --eval --expr \
    'import ./installer/nix { pkgs = { rustPlatform.buildRustPackage = made: made.version; }; }' 2>"$work/nix") ||
    die "Nix: $(cat "$work/nix")"
grep -qxF "version = $found" Cargo.toml || die "Nix's expression is for another version: $found"

say "Completions, pages, unit and LaunchAgent are what their readers take"
share=$work/deb/usr/share
bash -n "$share/bash-completion/completions/framehost"
zsh -f -n "$share/zsh/vendor-completions/_framehost"
fish --no-execute "$share/fish/vendor_completions.d/framehost.fish"
(
    # shellcheck disable=SC1091  # not there before
    . "$share/bash-completion/completions/framehost"
    COMP_WORDS=(framehost inst) COMP_CWORD=1 COMPREPLY=()
    _framehost framehost inst framehost
    [ "${COMPREPLY[*]}" = install ] || die "bash completes \"framehost inst\" with \"${COMPREPLY[*]}\""
)
for file in "$share"/man/man1/*.gz; do
    page=$work/$(basename "$file" .gz)
    gzip -dc "$file" >"$page"
    problems=$(man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null; mandoc -T lint -W warning "$page" || true)
    # Of clap_mangen's: an empty line before and after a list of values.
    problems=$(sed '/^$/d; /skipping paragraph macro: br/d' <<<"$problems")
    [ -z "$problems" ] || die "${page##*/}: $problems"
done
for command in hub install doctor models-pull; do [ -f "$share/man/man1/framehost-$command.1.gz" ] || die "there is no page for $command"; done
# Its program is not at its place here.
sed "s,/usr/bin/framehost,$program," "$work/deb/usr/lib/systemd/user/framehost.service" >"$work/framehost.service"
problems=$(XDG_RUNTIME_DIR=$work systemd-analyze --user --man=no verify "$work/framehost.service" 2>&1) || die "the unit: $problems"
[ -z "$problems" ] || die "the unit: $problems"
python3 -c 'import plistlib, sys; agent = plistlib.load(open(sys.argv[1], "rb")); assert agent["Label"] + ".plist" == sys.argv[1].split("/")[-1] and agent["ProgramArguments"][1:] == ["hub"], agent' \
    installer/macos/com.framehost.hub.plist

# The sample extension's id: see installer/install.sh.
extension_id=$(python3 -c 'import base64, hashlib, json; key = json.load(open("extension-sample/manifest.json"))["key"]
print("".join(chr(ord("a") + int(digit, 16)) for digit in hashlib.sha256(base64.b64decode(key)).hexdigest()[:32]))')

# fresh NAME: a copy of the fresh Debian.
fresh() {
    as_root cp -a --reflink=auto "$debian_root" "$work/$1"
    as_root mkdir "$work/$1/results"
}
# inside NAME COMMAND...: as root in that Debian, in namespaces of its own, with a loopback interface and no other.
inside() {
    local root=$work/$1
    shift
    # shellcheck disable=SC2016  # the inner shell's own
    within_root unshare --mount --pid --net --ipc --uts --fork --kill-child --mount-proc="$root/proc" \
        sh -c 'ip link set lo up && exec "$@"' sh "$@" </dev/null
}

say "The .deb in a fresh $(basename "$debian_root")"
fresh deb-root
as_root cp "$deb" "$work/deb-root/results/framehost.deb"
as_root cp tests/packages/guest.sh "$work/deb-root/results/"
printf '%s\n' "$extension_id" | as_root tee "$work/deb-root/results/extension-id" >/dev/null
code=0
inside deb-root chroot "$work/deb-root" sh /results/guest.sh || code=$?
if [ -n "${KEEP:-}" ]; then
    mkdir -p "$KEEP"
    as_root cp -R "$work/deb-root/results/." "$KEEP/"
fi
[ "$code" = 0 ] || die "what was done in the fresh Debian failed ($code; 124 means that it took more than $limit s)"
python3 tests/packages/check.py "$work/deb-root/results" "$extension_id"
as_root rm -rf "$work/deb-root"

say "The .rpm, by rpm, in another"
fresh rpm-root
# Without --nodeps it would look for the C library in its own database, which is empty here.
rpm_in() { inside rpm-root rpm --root "$work/rpm-root" --nodeps --force-debian "$@"; }
files() {
    as_root find "$work/rpm-root" -xdev \( -path '*/var/lib/rpm' -o -path '*/.rpmdb' -o -path '*/results' \) -prune \
        -o -type d -printf '%P %y %m\n' -o -printf '%P %y %m %s\n' | sort
}
# Folders that belong to other packages where rpm is at home.
as_root mkdir -p "$work/rpm-root"/usr/{lib/systemd/user,share/{fish/vendor_completions.d,zsh/site-functions,licenses}}
files >"$work/rpm-before"
rpm_in --install "$rpm"
inside rpm-root chroot "$work/rpm-root" framehost install --scope system --extension-id "$extension_id" >/dev/null
[ -f "$work/rpm-root/etc/opt/chrome/native-messaging-hosts/com.framehost.host.json" ] || die "the .rpm's framehost has not installed"
rpm_in --install --replacepkgs "$rpm"
[ -f "$work/rpm-root/etc/opt/chrome/native-messaging-hosts/com.framehost.host.json" ] || die "the same .rpm again has taken manifests away"
rpm_in --erase framehost >/dev/null
files >"$work/rpm-after"
same "$work/rpm-before" "$work/rpm-after" "rpm --erase leaves something"

say "Both packages install, register, and leave nothing behind"
