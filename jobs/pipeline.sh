# shellcheck shell=bash
# Sourced by submit.sh on the host: hands the arrays of one chain to SLURM, each waiting for the one before (afterany: later
# stages do what earlier ones left undone). submit.sh holds the data; this is the same for every submission.

# Messages go to stderr, what was submitted to stdout.
stop() { echo "submit.sh: $*" >&2; exit 1; }

# begin FOLDER LARGEST: looks whether FOLDER can be submitted; LARGEST is the size of its largest array.
begin() {
  submission=$1
  output=${submission%/*/*}
  submitted=
  case $output in
    *[$'\n\\']*) stop "SLURM can't write logs under a folder with a line end or backslash in its name: $output" ;;
  esac
  local tool name
  for tool in sbatch squeue scontrol sha256sum; do
    command -v "$tool" > /dev/null || stop "no $tool here: run this where jobs are submitted (a login node), outside any container"
  done
  # Called from within a job, that job's own memory and cores would contradict what is asked here.
  for name in "${!SLURM_@}"; do
    case $name in SLURM_CONF | SLURM_CONF_SERVER | SLURM_CLUSTERS | SLURM_JWT) ;; *) unset "$name" ;; esac
  done
  campaign=$(printf %s "$output" | sha256sum)
  campaign=${campaign%"${campaign#????????}"}
  check_array_size "$2"
  find_earlier
  mkdir -p -- "$output/logs/slurm"
  echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) ${USER:-$(id -un)}" >> "$submission/runs" # a unit that was given up gets new tries with each run
}

check_array_size() {
  local config most
  config=$(scontrol show config) || stop "scontrol can't reach SLURM; nothing was submitted"
  most=$(sed -n 's/^MaxArraySize *= *\([0-9]*\).*/\1/p' <<< "$config")
  if [ -n "$most" ] && [ "$1" -ge "$most" ]; then
    stop "an array of $1 tasks, but this cluster's MaxArraySize is $most: set slurm.max_array_size = $most in the site profile, then smlmbatch submit again"
  fi
}

# Jobs of this OUTPUT that are queued or running, whoever submitted them: the first array waits for them.
find_earlier() {
  local stage names="" found id
  for stage in ingest tile quality measure embed cluster pick order register report dask; do names+=${names:+,}smlm-$stage-$campaign; done
  found=$(squeue --noheader --name="$names" --format=%F) || stop "squeue can't reach SLURM; nothing was submitted"
  previous=
  while read -r id; do
    [ -n "$id" ] || continue
    if [ -f "$submission/jobs.txt" ] && grep -q " $id\$" "$submission/jobs.txt"; then
      stop "already submitted, and job $id of it is still in the queue. To cancel it: scancel $(ids_of "$submission/jobs.txt")"
    fi
    previous+=${previous:+:}$id
  done < <(sort -un <<< "$found")
  [ -z "$previous" ] || echo "jobs of an earlier submission are in the queue (${previous//:/ }); these will wait for them" >&2
}

ids_of() { cut -d' ' -f2 "$1" | tr '\n' ' '; }

# array STAGE SPEC OPTIONS...: submits one array, to start when the one before has ended, however it ended.
array() {
  local stage=$1 spec=$2 id log=${output//%/%%}/logs/slurm/${submission##*/}-$1-%a.log
  shift 2
  set -- "$@" "$submission/$stage.sbatch" "$submission"
  [ -z "$previous" ] || set -- "--dependency=afterany:$previous" "$@"
  if ! id=$(sbatch --parsable "--job-name=smlm-$stage-$campaign" "--array=$spec" "--output=$log" "$@"); then
    stop "sbatch refused the array of $stage (its reason stands above). ${submitted:+Submitted before it:$submitted. To cancel: scancel$submitted}"
  fi
  id=${id%%;*} # a federation adds the cluster's name
  echo "$stage $id" >> "$submission/jobs.txt"
  submitted+=" $id"
  previous=$id
  echo "$stage $id"
}

finish() {
  local ids=${submitted# }
  printf 'to watch:  squeue -j %s\n           smlmbatch status %q\nto cancel: scancel %s\n' "${ids// /,}" "$output" "$ids" >&2
}
