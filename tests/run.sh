#!/usr/bin/env bash
# The test command:  tests/run.sh [--all] [pytest arguments]
# Installs what the tests need, then lint, format, types, tests. --all adds the slow tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${SMLMBATCH_TEST_VENV:-.venv-test}
select=(-m "not slow")
if [ "${1:-}" = --all ]; then select=(); shift; ./tests/slurm/install.sh; ./tests/report/install.sh; fi

./jobs/install.sh "$venv" cpu test
bin=$(realpath "$venv")/bin
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy"
export MPLCONFIGDIR=${MPLCONFIGDIR:-$bin/../matplotlib-cache}
"$bin/python" -m pytest "${select[@]}" "$@"
