#!/usr/bin/env bash
# Hands this analysis to SLURM. Run it where jobs are submitted (a login node), from any folder, without arguments.
# Written by `smlmbatch submit`. Data only: what is done with it stands in pipeline.sh, what was reckoned in plan.json.
set -euo pipefail
here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
source "$here/pipeline.sh"

begin "$here" 1
array dask 1-1 --time=02:00:00 --nodes=3 --ntasks=7 --mem-per-cpu=1792M --cpus-per-task=1 --signal=USR1@120 --partition=cpu --account=core --constraint=avx2 '--comment=night'"'"'s work'
array report 1-1 --time=00:10:00 --mem=1024M --cpus-per-task=1 --signal=USR1@120 --partition=cpu --account=core --constraint=avx2
finish
