#!/usr/bin/env bash
# Makes the lock files again from pyproject.toml: exact versions with hashes (torch without: its CPU and CUDA builds share one pin).
# Needs uv (pip install uv) and the package registry. The CPU file is the CUDA file without what only the CUDA build needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
printf 'torch==2.13.0\nsetuptools\n' > "$work/extra.in"

compile() { uv pip compile --quiet --no-header --no-annotate --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 "$@"; }
strip_torch_hashes() { awk '/^torch==/ {print "torch==2.13.0"; skip=1; next} skip && /^    --hash/ {next} {skip=0; print}'; }
banner() { printf '# Made by jobs/lock.sh from pyproject.toml for Python 3.11 on Linux; install with jobs/install.sh.\n'; }

compile pyproject.toml --extra learn "$work/extra.in" -o "$work/cuda.txt"
{ banner; strip_torch_hashes < "$work/cuda.txt"; } > requirements-cuda.lock.txt
compile --no-deps <(grep -E '^[A-Za-z0-9_.-]+==' "$work/cuda.txt" | cut -d' ' -f1 | grep -vE '^(torch|triton|nvidia-.*|cuda-.*)==') -o "$work/cpu.txt"
{ banner; printf 'torch==2.13.0\n'; cat "$work/cpu.txt"; } > requirements-cpu.lock.txt
compile pyproject.toml --extra learn --extra test --extra jobqueue "$work/extra.in" -o "$work/test.txt" --constraint <(grep -oE '^[A-Za-z0-9_.-]+==[^ ]+' "$work/cuda.txt")
cut -d' ' -f1 "$work/cuda.txt" | grep -E '==' | sort > "$work/run.names"
compile --no-deps <(grep -E '^[A-Za-z0-9_.-]+==' "$work/test.txt" | cut -d' ' -f1 | sort | comm -23 - "$work/run.names") -o "$work/testonly.txt"
{ banner; cat "$work/testonly.txt"; } > requirements-test.lock.txt
