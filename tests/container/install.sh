#!/usr/bin/env bash
# Installs what builds and runs images for the tests (tests/container), where that can be done: as root on Debian or Ubuntu.
# Quick where it is present. Elsewhere it says why not and ends well: those tests then skip themselves.
set -euo pipefail

give_up() { echo "no image builder for the tests: $1; tests/container will be skipped" >&2; exit 0; }

PATH=$PATH:/usr/sbin:/sbin
present=yes
for program in buildah podman runc debootstrap; do command -v "$program" > /dev/null || present=no; done
[ "$present" = no ] || exit 0
[ "$(id -u)" = 0 ] || give_up "not installed, and installing takes root"
command -v apt-get > /dev/null || give_up "not installed, and there is no apt-get here"

echo "installing buildah, podman and debootstrap (once)" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends buildah podman runc debootstrap > "$log" 2>&1; }
install || { apt-get -qq update > "$log" 2>&1 && install; } || { tail -n 5 "$log" >&2; give_up "apt-get failed"; }
