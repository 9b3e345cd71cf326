# shellcheck shell=sh
# Takes back what `framehost install --scope system` has told browsers, unless another version follows this one. A
# program that does not run may not keep its package from being removed; manifests of another framehost stay.
if [ "$1" = 0 ]; then
    framehost uninstall --scope system --own || echo "framehost: its manifests for browsers may be left" >&2
fi
