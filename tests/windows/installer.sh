#!/usr/bin/env bash
# The installer for Windows: builds it, looks into it, and installs, upgrades and removes it in Wine, for a user whose name
# a careless program trips over. Its programs are stand-ins that write down how they were called. Installs what it needs
# and says so; leaves nothing running.
#
#   tests/windows/installer.sh                              a minute
#   FRAMEHOST_WINDOWS_BIN=DIR tests/windows/installer.sh    and then once more with the framehost.exe and the
#                                                           framehost-relay.exe in DIR, and Chrome's key in the registry
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/common.sh
. scripts/common.sh
need_wine
need_msi_tools

work=$(mktemp -d)
server=
finish() {
    # Only what runs in this prefix.
    [ ! -d "$WINEPREFIX" ] || "$wineserver" -k 2>/dev/null || true
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
wineserver=$(command -v wineserver || echo /usr/lib/wine/wineserver)
export WINEPREFIX=$work/prefix WINEARCH=win64 WINEDEBUG=-all USER="Jörg O'Brien & co"
# Neither of these asks whether it may be installed.
export WINEDLLOVERRIDES="mscoree=;mshtml="
exec {display_read}< <(exec Xvfb -displayfd 1 -screen 0 800x600x24 -noreset -nolisten tcp 2>/dev/null)
server=$!
read -r -t 30 display <&"$display_read" || die "Xvfb does not start"
export DISPLAY=:$display

users=$WINEPREFIX/drive_c/users/$USER/AppData/Local
windows_users="C:\\users\\$USER\\AppData\\Local"
program="\"$windows_users\\Programs\\framehost\\framehost.exe\""
installed=$users/Programs/framehost
called=$work/called

# programs NAME CODE: stand-ins that end with CODE, in $work/NAME; every NAME is another build.
programs() {
    mkdir "$work/$1"
    x86_64-w64-mingw32-gcc -o "$work/$1/framehost.exe" -DCALLED="\"Z:$called\"" -DCODE="$2" -DNAME="$1" tests/windows/called.c
    cp "$work/$1/framehost.exe" "$work/$1/framehost-relay.exe"
    printf '%s\n' "$1" >"$work/$1/library-6.dll"
}
# msi NAME: the installer of those.
msi() { installer/windows/package.sh "$work/$1" "$work/$1" >/dev/null && mv "$work/$1"/*.msi "$work/$1.msi"; }
# msiexec WANTED ARGUMENT...: "works", or "fails".
msiexec() {
    local wanted=$1 code=0 came=works
    shift
    : >"$called"
    timeout 120 "$wine" msiexec "$@" /qn 2>/dev/null || code=$?
    [ "$code" = 0 ] || came=fails
    if [ "$code" = 124 ] || [ "$came" != "$wanted" ]; then die "msiexec $* ended with $code"; fi
}
windows_path() { printf 'Z:%s\n' "${1//\//\\}"; }
# was_called LINE...: the calls since msiexec was started, in order.
was_called() {
    diff <([ $# = 0 ] || printf '%s\n' "$@") "$called" || die "the programs were not called so"
}
registry() { "$wine" reg query "$1" /s 2>/dev/null | tr -d '\r' || true; }
# What "Apps" shows: its entries are in one of these.
apps() {
    local key
    for key in HKCU HKLM; do registry "$key\\Software\\Microsoft\\Windows\\CurrentVersion\\Uninstall"; done
}
# files_are NAME: what is installed, and that it is of the build NAME.
files_are() {
    diff - <(cd "$installed" && find . -type f -printf '%P\n' | sort) <<END || die "other files are installed"
LICENSE-APACHE.txt
LICENSE-MIT.txt
THIRD-PARTY-NOTICES.txt
$(cd "$work/$1" && find . -type f -not -name '*.msi' -printf '%P\n' | sort)
END
    local name
    for name in framehost.exe framehost-relay.exe; do cmp "$installed/$name" "$work/$1/$name" || die "$name is of another build"; done
    [ "$(apps | grep -c 'DisplayName.*framehost$')" = 1 ] || die "Apps does not show framehost once: $(apps)"
}
# Everything that is installed, and everything in the registry that names it, but for the folder of all users' programs.
remains() {
    find "$WINEPREFIX/drive_c" -iname '*framehost*' -o -path '*/windows/Installer/*.msi'
    # Wine writes the registry down when its server ends.
    "$wineserver" -k 2>/dev/null || true
    "$wineserver" -w
    grep -ai framehost "$WINEPREFIX"/*.reg || true
}
nothing_remains() {
    local found
    found=$(remains)
    [ -z "$found" ] || die "$1 leaves: $found"
}

say "The installer's tables"
programs first 0
msi first
table() { msiinfo export "$work/first.msi" "$1" | tail -n +4 | tr -d '\r'; }
sample=$(table CustomAction | sed -n 's/^ForSample\t51\tEXTENSION_ID\t\([a-p]*\)\t$/\1/p')
[ "${#sample}" = 32 ] || die "the sample extension's id is not in it: $(table CustomAction)"
# For one user, without an administrator (8), compressed (2); and the programs' own actions as that user (no 2048).
msiinfo suminfo "$work/first.msi" | grep -q '^Source: 10 ' || die "it is not for one user: $(msiinfo suminfo "$work/first.msi")"
diff - <(table CustomAction | cut -f 1,2,4 | sort) <<END || die "other actions"
ForSample	51	$sample
Register	1042	install --extension-id "[EXTENSION_ID]"
RegisterFirefox	1042	install --firefox-id "[FIREFOX_ID]"
Unregister	1106	uninstall --own
END
# What is replaced goes before what replaces it comes, and is told to browsers when it is there.
diff - <(table InstallExecuteSequence | sort -t "$(printf '\t')" -k 3n | cut -f 1 |
    grep -xE 'FindRelatedProducts|ForSample|RemoveExistingProducts|InstallInitialize|Unregister|RemoveFiles|InstallFiles|Register.*|InstallFinalize' |
    grep -vxE 'RegisterUser|RegisterProduct') <<END || die "another order"
FindRelatedProducts
ForSample
RemoveExistingProducts
InstallInitialize
Unregister
RemoveFiles
InstallFiles
Register
RegisterFirefox
InstallFinalize
END
"$wine" wineboot --init >/dev/null 2>&1 || die "Wine does not start"
[ -d "$users" ] || die "Wine has no user $USER: $(ls "$WINEPREFIX/drive_c/users")"
nothing_remains "Wine itself"

say "It installs for the user, and tells browsers of the sample extension"
msiexec works /i "$(windows_path "$work/first.msi")"
files_are first
was_called "$program install --extension-id \"$sample\""
cmp LICENSE-MIT "$installed/LICENSE-MIT.txt"
grep -q '^windows-registry ' "$installed/THIRD-PARTY-NOTICES.txt" || die "the notices are not those of Windows' crates"

say "Another build of the same version takes its place, and keeps what is registered"
programs second 0
msi second
msiexec works /i "$(windows_path "$work/second.msi")"
files_are second
# Windows tells the one that goes, and Wine 8 does not, so that here it does as if it were removed.
was_called "$program uninstall --own"
msiexec works /x "$(windows_path "$work/second.msi")" UPGRADINGPRODUCTCODE='{11111111-2222-5333-8444-555555555555}'
was_called
msiexec works /i "$(windows_path "$work/second.msi")"

say "An older one does not"
cp "$work/second.msi" "$work/newer.msi"
msibuild "$work/newer.msi" -q "UPDATE \`Property\` SET \`Value\` = '99.0.0' WHERE \`Property\` = 'ProductVersion'"
msibuild "$work/newer.msi" -q "UPDATE \`Property\` SET \`Value\` = '{11111111-2222-5333-8444-555555555555}' WHERE \`Property\` = 'ProductCode'"
msiexec works /i "$(windows_path "$work/newer.msi")"
msiexec fails /i "$(windows_path "$work/first.msi")"
files_are second
was_called

say "Removing it takes back what was registered first, and leaves nothing"
msiexec works /x "$(windows_path "$work/newer.msi")"
was_called "$program uninstall --own"
nothing_remains "msiexec /x"

say "It registers the extensions that it is told"
id=abcdefghijklmnopabcdefghijklmnop
msiexec works /i "$(windows_path "$work/first.msi")" EXTENSION_ID=$id FIREFOX_ID=framehost@example.org
was_called "$program install --extension-id \"$id\"" "$program install --firefox-id \"framehost@example.org\""
msiexec works /x "$(windows_path "$work/first.msi")"
nothing_remains "msiexec /x"

say "What cannot be registered is not installed; a program that is broken can be removed"
programs broken 1
msi broken
msiexec fails /i "$(windows_path "$work/broken.msi")"
was_called "$program install --extension-id \"$sample\""
nothing_remains "an installation that failed"
msiexec works /i "$(windows_path "$work/first.msi")"
cp "$work/broken/framehost.exe" "$installed/"
msiexec works /x "$(windows_path "$work/first.msi")"
was_called "$program uninstall --own"
nothing_remains "removing a broken program"

if [ -z "${FRAMEHOST_WINDOWS_BIN:-}" ]; then
    say "The installer installs, upgrades and removes (with stand-ins; FRAMEHOST_WINDOWS_BIN names the real programs)"
    exit
fi

say "The programs in $FRAMEHOST_WINDOWS_BIN"
mkdir "$work/real"
cp "$FRAMEHOST_WINDOWS_BIN"/framehost{,-relay}.exe "$work/real/"
windows_libraries "$work/real"
msi real
key='HKCU\Software\Google\Chrome'
"$wine" reg add "$key" /f >/dev/null
msiexec works /i "$(windows_path "$work/real.msi")"
files_are real
registry "$key\\NativeMessagingHosts\\com.framehost.host" | grep -aq 'com\.framehost\.host\.json$' ||
    die "Chrome's key names no manifest: $(registry "$key")"
manifest=$(find "$users" -name com.framehost.host.json)
python3 - "$manifest" "$windows_users\\Programs\\framehost\\framehost-relay.exe" "$sample" <<'END' || die "the manifest"
import json, sys
manifest = json.load(open(sys.argv[1], encoding="utf-8"))
assert manifest["path"] == sys.argv[2] and manifest["allowed_origins"] == [f"chrome-extension://{sys.argv[3]}/"], manifest
END
msiexec works /x "$(windows_path "$work/real.msi")"
nothing_remains "msiexec /x"
say "The installer installs, registers and removes framehost itself"
