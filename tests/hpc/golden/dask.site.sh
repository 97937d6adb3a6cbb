# shellcheck shell=bash disable=SC2034
# The site profile, for the nodes; sourced by the templates with the submission's folder as $1.
OUTPUT=${1%/*/*}
sif='/opt/images/smlm batch.sif'
environment=''
modules=(apptainer/1.4)
binds=(/gpfs /data:/data:ro)
setup=('ulimit -n 4096' 'export NOTE='"'"'it is'"'"'')
scratch=/local/"${USER:?scratch folder of the site profile: not set on this node}"/"${SLURM_JOB_ID:?scratch folder of the site profile: not set on this node}"
gpu_stages=()
max_requeues=20
serve=(--memory 1075MiB --interface ib0)
lend=(--interface ib0 --lifetime-s 7140 --stagger-s 30)
