# shellcheck shell=sh
# The folders that are nobody else's. cargo-generate-rpm 0.21 cannot pack them, so that they would not go with the package.
if [ "$1" = 0 ]; then
    rmdir /usr/share/doc/framehost/docs /usr/share/doc/framehost /usr/share/licenses/framehost 2>/dev/null || :
fi
