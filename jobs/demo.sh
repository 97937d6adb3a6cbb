#!/usr/bin/env bash
# From a fresh machine to a report:
#   jobs/demo.sh                               simulates a small campaign into demo/ and analyses it
#   jobs/demo.sh INPUT OUTPUT [options]        analyses your own data; options go to `smlmbatch run`
# Needs Python 3.11 or newer, and the network the first time. A second run takes seconds.
set -euo pipefail
[ $# -ne 1 ] || { echo "usage: jobs/demo.sh [INPUT OUTPUT [options of smlmbatch run]]" >&2; exit 2; }
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
"$repo/jobs/install.sh" "$repo/.venv"
smlmbatch="$repo/.venv/bin/smlmbatch"

if [ $# -eq 0 ]; then
  set -- "$repo/demo/input" "$repo/demo/output"
  "$smlmbatch" simulate "$repo/demo"
fi
code=0
"$smlmbatch" run "$@" > /dev/null || code=$?
if [ -f "$2/report/index.html" ]; then echo "report: $(cd -- "$2" && pwd)/report/index.html" >&2; fi
exit "$code"
