#!/usr/bin/env bash
# Installs SLURM and munge for the tests that need a real cluster (tests/slurm), where that can be done: as root on Debian or Ubuntu.
# Quick where they are present. Elsewhere it says why not and ends well: those tests then skip themselves.
set -euo pipefail

give_up() { echo "no SLURM for the tests: $1; tests/slurm will be skipped" >&2; exit 0; }

PATH=$PATH:/usr/sbin:/sbin
present=yes
for program in slurmctld slurmd sbatch munged; do command -v "$program" > /dev/null || present=no; done
[ "$present" = no ] || exit 0
[ "$(id -u)" = 0 ] || give_up "not installed, and installing takes root"
command -v apt-get > /dev/null || give_up "not installed, and there is no apt-get here"

# The daemons are the tests' to start, never the package manager's. 101 = "this service may not be started".
policy=/usr/sbin/policy-rc.d
kept=$(mktemp -d)
restore() {
  rm -f "$policy"
  if [ -e "$kept/policy" ]; then cp -a "$kept/policy" "$policy"; fi
  rm -rf "$kept"
}
trap restore EXIT
if [ -e "$policy" ]; then cp -a "$policy" "$kept/policy"; fi
rm -f "$policy"
printf '#!/bin/sh\nexit 101\n' > "$policy"
chmod 755 "$policy"

echo "installing slurm-wlm and munge (once)" >&2
install() { DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends slurm-wlm munge > "$kept/log" 2>&1; }
install || { apt-get -qq update > "$kept/log" 2>&1 && install; } || { tail -n 5 "$kept/log" >&2; give_up "apt-get failed"; }
