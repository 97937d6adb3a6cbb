#!/usr/bin/env bash
# Makes (or brings up to date) a virtual environment from the lock files:  jobs/install.sh VENV [cpu|cuda] [test]
# Quick if nothing changed. Every package but torch is held to its hash; torch's CPU and CUDA builds share one pin.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: jobs/install.sh VENV [cpu|cuda] [test]" >&2; exit 2; }
venv=$(realpath -m -- "$1"); device=${2:-cpu}; tests=${3:-}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
locks=("requirements-$device.lock.txt")
[ "$tests" = test ] && locks+=(requirements-test.lock.txt)
stamp=$(cat "${locks[@]}" pyproject.toml jobs/install.sh | sha256sum | cut -d' ' -f1; pwd -P)
[ -f "$venv/.smlmbatch-installed" ] && [ "$(cat "$venv/.smlmbatch-installed")" = "$stamp" ] && exit 0

python=""
for candidate in python3.11 python3.12 python3.13 python3; do
  if command -v "$candidate" > /dev/null && "$candidate" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2])' 2> /dev/null; then
    python=$candidate; break
  fi
done
[ -n "$python" ] || { echo "smlmbatch needs Python 3.11 or newer with its venv module (on Debian: apt install python3 python3-venv)" >&2; exit 2; }
[ -x "$venv/bin/python" ] || { echo "making the environment $venv ($("$python" --version))" >&2; "$python" -m venv "$venv"; }

pip() { "$venv/bin/python" -m pip -qq --disable-pip-version-check "$@"; }
hashed=$(mktemp); trap 'rm -f "$hashed"' EXIT
for lock in "${locks[@]}"; do grep -v '^torch==' "$lock"; done > "$hashed"
echo "installing the locked packages (once; minutes on a slow network)" >&2
pip install --no-deps --require-hashes -r "$hashed"
pip install "$(grep '^torch==' "requirements-$device.lock.txt")"
pip install --no-deps --no-build-isolation --editable .
"$venv/bin/python" -m compileall -q smlmbatch
printf '%s' "$stamp" > "$venv/.smlmbatch-installed"
