#!/usr/bin/env bash
# Hands this analysis to SLURM. Run it where jobs are submitted (a login node), from any folder, without arguments.
# Written by `smlmbatch submit`. Data only: what is done with it stands in pipeline.sh, what was reckoned in plan.json.
set -euo pipefail
here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
source "$here/pipeline.sh"

begin "$here" 101
array ingest 1-101 --time=01:40:00 --mem=1536M --cpus-per-task=1 --signal=USR1@60 --qos=long
array tile 1-101 --time=01:40:00 --mem=1536M --cpus-per-task=1 --signal=USR1@60 --qos=long
array quality 1-101 --time=01:40:00 --mem=1536M --cpus-per-task=1 --signal=USR1@60 --qos=long
array measure 1-101 --time=01:40:00 --mem=1536M --cpus-per-task=1 --signal=USR1@60 --qos=long
array embed 1-101 --time=01:40:00 --mem=1536M --cpus-per-task=1 --signal=USR1@60 --qos=long
array cluster 1-101 --time=01:40:00 --mem=1536M --cpus-per-task=1 --signal=USR1@60 --qos=long
array pick 1-101 --time=01:40:00 --mem=1536M --cpus-per-task=1 --signal=USR1@60 --qos=long
array order 1-101 --time=01:40:00 --mem=1536M --cpus-per-task=1 --signal=USR1@60 --qos=long
array register 1-101 --time=01:40:00 --mem=1536M --cpus-per-task=1 --signal=USR1@60 --qos=long
array report 1-1 --time=00:10:00 --mem=1024M --cpus-per-task=1 --signal=USR1@60 --qos=long
finish
