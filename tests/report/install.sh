#!/usr/bin/env bash
# Installs Chromium for the tests that look at the report in a browser (tests/report/test_browser.py), where that can be done: as root on
# Debian or Ubuntu. Quick where it is present. Elsewhere it says why not and ends well: those tests then skip themselves.
set -euo pipefail

give_up() { echo "no Chromium for the tests: $1; tests/report/test_browser.py will be skipped" >&2; exit 0; }

for program in chromium chromium-browser google-chrome; do
  if command -v "$program" > /dev/null; then exit 0; fi
done
[ "$(id -u)" = 0 ] || give_up "not installed, and installing takes root"
command -v apt-get > /dev/null || give_up "not installed, and there is no apt-get here"

echo "installing chromium (once)" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends chromium > "$log" 2>&1; }
install || { apt-get -qq update > "$log" 2>&1 && install; } || { tail -n 5 "$log" >&2; give_up "apt-get failed"; }
