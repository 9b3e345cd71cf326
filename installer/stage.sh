#!/bin/sh
# Lays out below DIR what a package of framehost holds, as it will lie below /. For packages of every kind.
#
#   installer/stage.sh PROGRAMS DIR    PROGRAMS: the folder with framehost and framehost-relay, which must run here
#
# Takes python3 and the cargo that built them, whose crates' licence texts go along.
set -eu
LC_ALL=C
export LC_ALL
umask 022

[ $# = 2 ] || {
    printf 'usage: %s PROGRAMS DIR\n' "$0" >&2
    exit 2
}
programs=$1
root=$2
repo=$(dirname -- "$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)")
share=$root/usr/share

put() { install -D -m "$1" -- "$2" "$root/$3"; }

for name in framehost framehost-relay; do
    [ -x "$programs/$name" ] || {
        printf '%s: there is no program %s: build it first (cargo build --release)\n' "$0" "$programs/$name" >&2
        exit 1
    }
    put 755 "$programs/$name" "usr/bin/$name"
done
framehost=$root/usr/bin/framehost

mkdir -p "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d" "$share/man/man1"
"$framehost" completions bash >"$share/bash-completion/completions/framehost"
"$framehost" completions zsh >"$share/zsh/site-functions/_framehost"
"$framehost" completions fish >"$share/fish/vendor_completions.d/framehost.fish"

"$framehost" manual "$share/man/man1"
put 644 "$repo/installer/man/framehost-relay.1" usr/share/man/man1/framehost-relay.1
# clap_mangen 0.3 leaves an empty date out of the title, so that all behind it stands one place too far left.
title='"'$(date --utc --date "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%Y-%m-%d)'" "'$("$framehost" --version)'"'
sed -i "s/^\.TH \([^ ]*\) 1 .*/.TH \1 1 $title/" "$share"/man/man1/*.1
# Neither name nor time: the same page is the same file.
gzip -9n "$share"/man/man1/*.1

put 644 "$repo/installer/systemd/framehost.service" usr/lib/systemd/user/framehost.service
mkdir -p "$share/doc/framehost"
"$repo/installer/notices.py" >"$share/doc/framehost/THIRD-PARTY-NOTICES"
put 644 "$repo/README.md" usr/share/doc/framehost/README.md
for page in "$repo"/docs/*.md; do put 644 "$page" "usr/share/doc/framehost/docs/${page##*/}"; done
