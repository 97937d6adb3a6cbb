# shellcheck shell=bash disable=SC2154
# Sourced by the templates on the compute node, after site.sh, whose data it uses: how smlmbatch is called here, and
# what becomes of a task that was stopped. Nothing is trapped: a signal to srun from a trap ends in SIGKILL of the step.

# No `set -u` here: module systems and the bash of older clusters (empty arrays) don't live with it.
for module_name in "${modules[@]}"; do
  module load "$module_name" || { echo "smlmbatch: can't load module $module_name (software.modules of the site profile)" >&2; exit 1; }
done
for line in "${setup[@]}"; do
  eval "$line" || { echo "smlmbatch: failed: $line (software.setup of the site profile)" >&2; exit 1; }
done

# What is told to every verb that works on fields. Without scratch, temporary files lie inside OUTPUT.
on_node=(--workers "${SLURM_CPUS_PER_TASK:-1}")
if [ -n "$scratch" ]; then
  mkdir -p -- "$scratch"
  on_node+=(--scratch "$scratch")
fi

# csv_quote PATH: for apptainer's --mount, which unlike --bind takes paths with commas and colons.
csv_quote() { printf '"%s"' "${1//\"/\"\"}"; }

# call_of STAGE: sets the array `call`, the command that is smlmbatch on this node.
call_of() {
  if [ -z "$sif" ]; then
    call=("${environment:+$environment/bin/}smlmbatch")
    [ -n "$environment" ] || command -v smlmbatch > /dev/null ||
      { echo "smlmbatch: not on PATH on $(hostname); set software.sif or software.environment in the site profile" >&2; exit 1; }
    return
  fi
  local runtime bind folder
  runtime=$(command -v apptainer || command -v singularity) ||
    { echo "smlmbatch: neither apptainer nor singularity on $(hostname); name their module in the site profile (software.modules)" >&2; exit 1; }
  # Python packages of the user's own, or of a module, must not get into the image.
  unset PYTHONPATH PYTHONHOME
  export PYTHONNOUSERSITE=1
  call=("$runtime" run)
  case " ${gpu_stages[*]} " in *" $1 "*) call+=(--nv) ;; esac
  for folder in "$OUTPUT" ${scratch:+"$scratch"}; do
    call+=(--mount "type=bind,$(csv_quote "src=$folder"),$(csv_quote "dst=$folder")")
  done
  for bind in "${binds[@]}"; do call+=(--bind "$bind"); done
  call+=("$sif")
}

# task STAGE ARGUMENTS...: runs the stage as a step. Stopped in order (75), or killed (over 128; 125: out of memory), the
# task goes back into the queue; otherwise the job ends with the step's code.
# srun: since SLURM 22.05 it doesn't take --cpus-per-task over from sbatch; --export: sites may have set NONE.
task() {
  local code=0
  call_of "$1"
  srun --ntasks=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --export=ALL "${call[@]}" "$@" || code=$?
  # A report that is killed would be killed again: only units have smaller blocks to try.
  if [ "$code" -eq 75 ]; then requeue "$code"
  elif [ "$1" != report ] && { [ "$code" -eq 125 ] || [ "$code" -gt 128 ]; }; then requeue "$code"; fi
  exit "$code"
}

# ranks VERB ARGUMENTS...: the same with one process for each task of the job; they find each other and work as one.
# --kill-on-bad-exit: without one of them the others can do nothing, and over NCCL they may not notice for minutes. It is TERM that
# they get first, which they only take note of, so that who has an error to tell can still tell it. srun ends with the highest code of
# all: over 128 where a rank was killed; 75 where ranks lost one, or stopped in order; else that of the error that ended them.
ranks() {
  local code=0
  call_of "$1"
  if [ -n "$scratch" ] && [ "${SLURM_JOB_NUM_NODES:-1}" -gt 1 ]; then # made on this node only
    srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --export=ALL mkdir -p -- "$scratch"
  fi
  srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --export=ALL "${call[@]}" "$@" || code=$?
  if [ "$code" -eq 75 ] || [ "$code" -eq 125 ] || [ "$code" -gt 128 ]; then requeue "$code"; fi
  exit "$code"
}

# pool MEETING VERB ARGUMENTS...: the verb as one process that deals out, and a `smlmbatch worker` in every other task of the job.
# They are two steps, for a lost worker (--kill-on-bad-exit, --wait) must end neither, and the code that counts is the verb's.
# --exact: side by side. MEETING begins the name of the file by which they meet; it differs from start to start of the job.
pool() {
  local code=0 first others second meeting=$1-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}.json
  rm -rf -- "$1-$SLURM_JOB_ID"-* # of an earlier start that was killed
  shift
  call_of "$1"
  local step=(srun --exact --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0 --wait=0 --export=ALL)
  "${step[@]}" --nodes=1 --ntasks=1 --relative=0 "${call[@]}" "$@" --serve "$meeting" "${serve[@]}" < /dev/null &
  first=$!
  # Not before it has its seat, on this node, where the scratch folder was made.
  until [ -e "$meeting" ] || ! kill -0 "$first" 2> /dev/null; do sleep 0.5; done
  "${step[@]}" --ntasks=$((SLURM_NTASKS - 1)) "${call[@]}" worker "$meeting" ${scratch:+--scratch "$scratch"} "${lend[@]}" < /dev/null &
  others=$!
  wait "$first" || code=$?
  # Workers have been told to leave, and drop their units in order; the end of this script would kill them in the middle of that.
  for ((second = 0; second < 90; second++)); do
    kill -0 "$others" 2> /dev/null || break
    sleep 1
  done
  rm -rf -- "$meeting" "$meeting".*
  if [ "$code" -eq 75 ] || [ "$code" -eq 125 ] || [ "$code" -gt 128 ]; then requeue "$code"; fi
  exit "$code"
}

requeue() {
  local again=$((${SLURM_RESTART_COUNT:-0} + 1)) state
  # Not SLURM_JOB_ID in an array: one task's own id is that of the whole array, and all its tasks would be requeued.
  local job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
  job=${job:-$SLURM_JOB_ID}
  if [ "$again" -gt "$max_requeues" ]; then
    echo "smlmbatch: the step ended with $1; not requeued again after $max_requeues times (slurm.max_requeues)" >&2
    return
  fi
  # Requeueing a job that is being cancelled would bring it back to life.
  state=$(squeue --noheader --jobs="$job" --format=%T) || state=unknown
  if [ "$state" != RUNNING ]; then
    echo "smlmbatch: the step ended with $1; not requeued, for the job is $state" >&2
    return
  fi
  echo "smlmbatch: the step ended with $1; requeueing, $again of at most $max_requeues times" >&2
  scontrol requeue "$job" || echo "smlmbatch: can't requeue; submit again to go on" >&2
}
