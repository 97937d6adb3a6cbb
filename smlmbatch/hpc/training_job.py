"""Writes a job that trains a model: MODEL/jobs/<number>/ with everything SLURM's host needs, as `submit` does for an analysis.

submit.sh            run by the user on the host, with further options of sbatch: how many ranks, which GPUs, how long
site.sh              the site profile for the nodes, data only
task.sh train.sbatch copies of jobs/, the same for all
recipe.toml          all settings of the recipe, so that the job needs no file but these
"""

import shlex
from importlib import resources
from pathlib import Path

import smlmbatch
from smlmbatch.hpc.site import Site
from smlmbatch.hpc.submit import JOBS, SUBMIT, claim_folder, render_site
from smlmbatch.store.units import appears_whole, write_whole

_TEMPLATES = ("task.sh", "train.sbatch")


def write_training(model: Path, site: Site, *, recipe: str, arguments: tuple[str, ...]) -> Path:
    """Make MODEL/jobs/<next number>/ and return its submit.sh, which appears last.

    Parameters
    ----------
    recipe : text of recipe.toml
    arguments : what `smlmbatch train` gets beside the recipe and the folder, the method first
    """
    folder = claim_folder(model / JOBS)
    for name in _TEMPLATES:
        write_whole(folder / name, (resources.files(smlmbatch) / "jobs" / name).read_bytes())
    write_whole(folder / "recipe.toml", recipe.encode())
    # --nv where there is no GPU is a line of warning
    write_whole(folder / "site.sh", (render_site(site) + "gpu_stages+=(train)\n").encode())
    with appears_whole(folder / SUBMIT) as partial:
        partial.write_text(_render_submit(site, arguments))
        partial.chmod(folder.stat().st_mode & 0o777)
    return folder / SUBMIT


def _render_submit(site: Site, arguments: tuple[str, ...]) -> str:
    named = {"partition": site.slurm.partition, "account": site.slurm.account, "qos": site.slurm.qos}
    options = [f"--signal=USR1@{site.slurm.signal_s}", *(f"--{name}={value}" for name, value in named.items() if value)]
    lines = [
        "#!/usr/bin/env bash",
        "# Hands this training to SLURM. Run it where jobs are submitted; what follows it are options of sbatch:",
        "#   bash submit.sh --ntasks=4 --time=02:00:00            four ranks on CPUs",
        "#   bash submit.sh --ntasks=2 --gpus-per-node=2          two ranks on one node, a GPU each",
        "#   bash submit.sh --nodes=2 --ntasks-per-node=4 --gpus-per-node=4    eight ranks on two nodes",
        "# Written by `smlmbatch train --profile`. Data only: what is done with it stands in train.sbatch and task.sh.",
        "set -euo pipefail",
        'here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")',
        'exec sbatch --parsable --job-name=smlm-train "--output=${here//%/%%}/train.log" \\',
        f"  {shlex.join([*options, *site.slurm.options])} \\",
        f'  "$@" "$here/train.sbatch" "$here" {shlex.join(arguments)} --recipe "$here/recipe.toml"',
    ]
    return "\n".join(lines) + "\n"
