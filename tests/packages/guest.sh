#!/bin/sh
# What an administrator and a user do with the .deb, in a fresh Debian without a network: run.sh starts it there, as root
# of a process namespace of its own. It ends with an error where a step fails; what the steps brought is in /results, for
# check.py to judge.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
cd /results

name=com.framehost.host.json
chromium_id=$(cat /results/extension-id)

say() { printf '%s\n' "$*"; }
fail() {
    printf 'guest.sh: %s\n' "$*" >&2
    exit 1
}
# tree FILE: every file's kind, permissions, owner, link and, for what is no folder, size and time; not what apt and dpkg
# keep for themselves, and not the user's own home.
tree() {
    find / -xdev \( -path /proc -o -path /results -o -path /tmp -o -path /run -o -path /home -o -path /var/lib/dpkg \
        -o -path /var/lib/apt -o -path /var/cache -o -path /var/log \) -prune \
        -o -type d -printf '%p %y %m %u:%g\n' -o -printf '%p %y %m %u:%g %s %Ts %l\n' | sort >"$1"
}
manifests() { find / -xdev -name "$name" -not -path '/results/*' | sort; }
# same A B WHAT
same() { diff "$1" "$2" || fail "$3"; }
# doctor WHAT [RUNNER...]: as root, or by way of RUNNER.
doctor() {
    what=$1
    shift
    code=0
    "$@" framehost doctor --json >"doctor-$what.json" || code=$?
    say "$code" >"doctor-$what.code"
    "$@" framehost doctor >"doctor-$what.txt" || [ $? = "$code" ] || fail "framehost doctor ends differently with --json"
}
user() { setpriv --reuid tester --regid tester --init-groups env -i PATH="$PATH" HOME=/home/tester LC_ALL=C.UTF-8 "$@"; }
# No HOME: that is what programs that install packages have.
package_program() { env -u HOME "$@" >>packages.log 2>&1 || fail "$* failed: $(tail -n 5 packages.log)"; }

useradd --create-home --shell /bin/sh tester
# Somebody else's host, which has to stay as it is.
mkdir -p /etc/chromium/native-messaging-hosts
say '{"name": "org.example.other"}' >/etc/chromium/native-messaging-hosts/org.example.other.json
tree before

say "apt installs the package with what a fresh Debian has, and no network"
package_program apt-get install -y --no-install-recommends /results/framehost.deb
tree installed
framehost --version >version
[ -z "$(manifests)" ] || fail "the package itself has told browsers: $(manifests)"

say "framehost doctor, before anything is registered, changes nothing"
find /home/tester | sort >home-before
doctor root-before
doctor user-before user
find /home/tester | sort >home-after
same home-before home-after "framehost doctor has written into the user's home"
tree now
same installed now "framehost doctor has changed files"

say "framehost install is root's, for the whole system"
code=0
user framehost install --scope system --extension-id "$chromium_id" >refused.out 2>refused.err || code=$?
[ "$code" != 0 ] || fail "an ordinary user could install for the whole system"
grep -q sudo refused.err || fail "the refusal does not say what to do: $(cat refused.err)"
framehost install --scope system --extension-id "$chromium_id" --firefox-id framehost@example.org --dry-run >dry-run.out
tree now
same installed now "a dry run, or a refused installation, has changed files"
# An administrator's own files may be nobody else's; manifests are everybody's.
(umask 077 && framehost install --scope system --extension-id "$chromium_id" --firefox-id framehost@example.org >install.out)
manifests >list
tree registered
while read -r file; do cp --parents "$file" /results/; done <list
framehost install --scope system --extension-id "$chromium_id" --firefox-id framehost@example.org >install-again.out
tree now
same registered now "installing again has changed files"

say "framehost doctor, afterwards"
doctor root-after
doctor user-after user

say "a browser's start of the relay, as the manifest names it, brings a hub"
relay=$(sed -n 's/.*"path": *"\([^"]*\)".*/\1/p' /etc/chromium/native-messaging-hosts/$name)
hello='{"id": 1, "type": "hello", "protocol": 1, "client": "packages/1.0"}'
{
    # A length of less than 256, little-endian.
    printf "\\$(printf %o ${#hello})\\0\\0\\0%s" "$hello"
    sleep 3
} | user FRAMEHOST_IDLE_EXIT=1 timeout 60 "$relay" "chrome-extension://$chromium_id/" >hello.out 2>hello.err &
tries=100
until user framehost status --json >status.json 2>/dev/null; do
    [ $((tries -= 1)) -gt 0 ] || fail "there is no hub: $(cat hello.err)"
    sleep 0.1
done
doctor user-hub user
wait $! || fail "the relay failed: $(cat hello.err)"
# Who asks for its status keeps it.
hub=$(sed -n 's/.*"pid":\([0-9]*\),"running".*/\1/p' status.json)
tries=100
while kill -0 "$hub" 2>/dev/null; do
    [ $((tries -= 1)) -gt 0 ] || fail "the hub does not leave"
    sleep 0.1
done

say "a newer version keeps what is registered"
package_program dpkg --install /results/framehost.deb
tree now
# The package's own files are new; nothing else is.
grep -F "$name" registered >a
grep -F "$name" now >b
same a b "an upgrade has changed manifests"

say "framehost uninstall takes back what it has written"
framehost uninstall --scope system >uninstall.out
tree now
same installed now "framehost uninstall leaves something"
framehost install --scope system --extension-id "$chromium_id" --firefox-id framehost@example.org >install.out

say "removing the package does so, too"
package_program dpkg --remove framehost
tree now
same before now "dpkg --remove leaves something"
package_program dpkg --purge framehost
tree now
same before now "dpkg --purge leaves something"
dpkg-query --show framehost 2>/dev/null && fail "dpkg still knows of it"

say "a program that is broken does not keep the package from being removed"
package_program dpkg --install /results/framehost.deb
rm /usr/bin/framehost
package_program dpkg --purge framehost
tree now
same before now "dpkg --purge of a broken package leaves something"
