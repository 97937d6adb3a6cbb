#!/usr/bin/env bash
# Hands this analysis to SLURM. Run it where jobs are submitted (a login node), from any folder, without arguments.
# Written by `smlmbatch submit`. Data only: what is done with it stands in pipeline.sh, what was reckoned in plan.json.
set -euo pipefail
here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
source "$here/pipeline.sh"

begin "$here" 40
array ingest 1-40%8 --time=04:00:00 --mem=1536M --cpus-per-task=1 --signal=USR1@120 --partition=cpu --account=core --constraint=avx2
array tile 1-40%8 --time=04:00:00 --mem=1536M --cpus-per-task=1 --signal=USR1@120 --partition=cpu --account=core --constraint=avx2
array quality 1-40%8 --time=04:00:00 --mem=1536M --cpus-per-task=1 --signal=USR1@120 --partition=cpu --account=core --constraint=avx2
array measure 1-28%8 --time=01:40:00 --mem=16384M --cpus-per-task=4 --signal=USR1@120 --partition=gpu --account=core --gres=gpu:a100:1 --constraint=avx2
array embed 1-28%8 --time=01:40:00 --ntasks=4 --mem-per-cpu=2048M --cpus-per-task=1 --signal=USR1@120 --partition=cpu --account=core --constraint=avx2 --gpus-per-task=1
array cluster 1-40%8 --time=04:00:00 --mem=1536M --cpus-per-task=1 --signal=USR1@120 --partition=cpu --account=core --constraint=avx2
array pick 1-40%8 --time=04:00:00 --mem=1536M --cpus-per-task=1 --signal=USR1@120 --partition=cpu --account=core --constraint=avx2
array order 1-40%8 --time=04:00:00 --mem=1536M --cpus-per-task=1 --signal=USR1@120 --partition=cpu --account=core --constraint=avx2
array register 1-40%8 --time=04:00:00 --mem=1536M --cpus-per-task=1 --signal=USR1@120 --partition=cpu --account=core --constraint=avx2
array report 1-1 --time=00:10:00 --mem=1024M --cpus-per-task=1 --signal=USR1@120 --partition=cpu --account=core --constraint=avx2 --mail-type=END '--comment=night'"'"'s work'
finish
