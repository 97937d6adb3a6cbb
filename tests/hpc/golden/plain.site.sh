# shellcheck shell=bash disable=SC2034
# The site profile, for the nodes; sourced by the templates with the submission's folder as $1.
OUTPUT=${1%/*/*}
sif=''
environment=/opt/smlmbatch
modules=()
binds=()
setup=()
scratch=
gpu_stages=()
max_requeues=3
