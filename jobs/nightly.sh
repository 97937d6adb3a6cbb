#!/usr/bin/env bash
# Submits what is new in an archive of localisation files; for cron or scrontab:  jobs/nightly.sh ARCHIVE OUTPUT PROFILE
#
#   PATH=/usr/local/bin:/usr/bin:/bin:/opt/slurm/bin          # cron's own PATH seldom holds sbatch
#   30 22 * * *  /opt/smlmbatch/jobs/nightly.sh /data/smlm /data/results /opt/smlmbatch/site.toml
#
# Files changed within the last 30 minutes wait for the next night: they may still be being written. Where smlmbatch is an
# image: SMLMBATCH="apptainer run --bind /data /opt/smlmbatch.sif". Says nothing when there is nothing new; a night that
# comes while the one before is still looking through the archive does nothing.
set -euo pipefail
[ $# -eq 3 ] || { echo "usage: jobs/nightly.sh ARCHIVE OUTPUT PROFILE" >&2; exit 2; }
if [ -n "${SMLMBATCH:-}" ]; then
  smlmbatch() { $SMLMBATCH "$@"; } # words, not one path
fi

mkdir -p -- "$2"
exec 9> "$2/.nightly.lock"
flock --nonblock 9 || { echo "nightly.sh: an earlier one is still at it in $2" >&2; exit 0; }
code=0 # 3: some folders are no campaign, for the reasons told; the others are submitted all the same
smlmbatch submit --new-in "$1" "$2" --profile "$3" --settled-minutes 30 > /dev/null || code=$?
# All that hasn't reached SLURM whole: tonight's, and what an earlier night could not submit.
for script in "$2"/jobs/*/submit.sh; do
  if [ -f "$script" ] && ! grep -qs '^report ' "${script%/*}/jobs.txt"; then
    bash -- "$script" 9>&- || code=1
  fi
done
exit "$code"
