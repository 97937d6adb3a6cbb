"""Writes a submission: OUTPUT/jobs/<number>/ with everything SLURM's host needs, and nothing that only this machine knows.

    submit.sh                     run by the user on the host; options of each array, data only
    site.sh                       the site profile for the nodes, data only
    pipeline.sh task.sh *.sbatch  copies of jobs/, the same for all
    tasks-<stage>.csv             task,campaign,part,parts: what each array task works on
    plan.json                     what was reckoned

Equal inputs give equal bytes: no clock, no host, no absolute path; submit.sh finds OUTPUT from where it lies. So a
submission may be written inside a container, where no command of SLURM exists, and run outside.
"""

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import smlmbatch
from smlmbatch.hpc.asking import Asked, ask_for, wanted_task_s
from smlmbatch.hpc.packing import Load, Packed, pack_chain
from smlmbatch.hpc.site import STAGES, Site, format_time, split_variables
from smlmbatch.hpc.tasks import tasks_text
from smlmbatch.store.units import appears_whole, write_whole

JOBS = "jobs"
SUBMIT = "submit.sh"
_TEMPLATES = ("pipeline.sh", "task.sh", *(f"{stage}.sbatch" for stage in STAGES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """One stage's array: its tasks and what they ask."""

    stage: str
    packed: Packed
    asked: Asked
    throttle: int

    @property
    def spec(self) -> str:
        """What sbatch's --array gets: ids from 1 on, and how many run at once."""
        last = len(self.packed.tasks)
        return f"1-{last}" + (f"%{self.throttle}" if 0 < self.throttle < last else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A chain of arrays for one site, in the order in which they run."""

    site: Site
    arrays: tuple[Array, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(warning for array in self.arrays for warning in array.asked.warnings)


def plan_submission(site: Site, loads: Mapping[str, Sequence[Load]]) -> Submission:
    """Pack what is to do into arrays and settle what each asks.

    Parameters
    ----------
    loads : by stage (names of STAGES), one Load per campaign. "report" counts as a stage whose only field per campaign is its report

    Raises
    ------
    ConfigError
        the profile allows fewer tasks than there are stages with work
    """
    assert set(loads) <= set(STAGES), f"stages are {STAGES}"
    packed = pack_chain(
        {stage: loads.get(stage, ()) for stage in STAGES},
        task_s={stage: wanted_task_s(site, stage) for stage in STAGES},
        cpus={stage: site.of(stage).cpus for stage in STAGES},
        ranks={stage: site.of(stage).ranks for stage in STAGES},
        most_tasks=site.slurm.max_array_size - 1,  # ids begin with 1, and the largest must be below MaxArraySize
        most_jobs=site.slurm.max_submit_jobs,
    )
    return Submission(
        site=site,
        arrays=tuple(
            Array(stage=stage, packed=array, asked=ask_for(site, stage, array), throttle=site.slurm.throttle)
            for stage, array in packed.items()
        ),
    )


# ---- writing


def write_submission(output: Path, submission: Submission) -> Path:
    """Make OUTPUT/jobs/<next number>/ and return it; `submit.sh` in it appears last, so where it is, all is.

    Raises
    ------
    OSError
        OUTPUT can't be written
    """
    assert submission.arrays, "nothing to submit"
    return write_folder(output, submission, templates=_TEMPLATES, site=render_site(submission.site), script=render_submit(submission))


def write_folder(output: Path, submission: Submission, *, templates: Sequence[str], site: str, script: str) -> Path:
    """Make OUTPUT/jobs/<next number>/ of a submission, these templates, the text of site.sh and that of submit.sh."""
    folder = claim_folder(output / JOBS)
    for name in templates:
        write_whole(folder / name, (resources.files(smlmbatch) / "jobs" / name).read_bytes())
    for array in submission.arrays:
        write_whole(folder / f"tasks-{array.stage}.csv", tasks_text(array.packed.tasks).encode("utf-8", "surrogateescape"))
    write_whole(folder / "plan.json", render_plan(submission).encode())
    write_whole(folder / "site.sh", site.encode())
    with appears_whole(folder / SUBMIT) as partial:
        partial.write_text(script)
        partial.chmod(folder.stat().st_mode & 0o777)  # as the umask left the folder
    return folder


def claim_folder(jobs: Path) -> Path:
    """The next free number; who makes the folder has it, so two at once get two."""
    jobs.mkdir(parents=True, exist_ok=True)
    while True:
        number = max((int(path.name) for path in jobs.iterdir() if path.name.isdecimal()), default=0) + 1
        folder = jobs / f"{number:04d}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder


def render_submit(submission: Submission) -> str:
    """The text of submit.sh."""
    largest = max(len(array.packed.tasks) for array in submission.arrays)
    return render_script([array_call(submission.site, array) for array in submission.arrays], largest=largest)


def render_script(calls: Sequence[Sequence[str]], *, largest: int) -> str:
    """The text of a submit.sh that makes these calls of pipeline.sh; `largest` = tasks of the largest array."""
    lines = [
        "#!/usr/bin/env bash",
        "# Hands this analysis to SLURM. Run it where jobs are submitted (a login node), from any folder, without arguments.",
        "# Written by `smlmbatch submit`. Data only: what is done with it stands in pipeline.sh, what was reckoned in plan.json.",
        "set -euo pipefail",
        'here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")',
        'source "$here/pipeline.sh"',
        "",
        f'begin "$here" {largest}',
        *(shlex.join(call) for call in calls),
        "finish",
    ]
    return "\n".join(lines) + "\n"


def array_call(site: Site, array: Array) -> list[str]:
    """`array STAGE SPEC OPTIONS...` of pipeline.sh."""
    return ["array", array.stage, array.spec, *_options(site, array)]


def _options(site: Site, array: Array) -> list[str]:
    ask, asked = site.of(array.stage), array.asked
    named = {
        "time": format_time(asked.time_s),
        **_room(asked),
        "signal": f"USR1@{site.slurm.signal_s}",
        "partition": ask.partition or site.slurm.partition,
        "account": site.slurm.account,
        "qos": site.slurm.qos,
        "gres": ask.gres,
    }
    return [*(f"--{name}={value}" for name, value in named.items() if value), *site.slurm.options, *ask.options]


def _room(asked: Asked) -> dict[str, str]:
    """Cores and memory. --mem is a node's, and how many ranks come to lie on one is SLURM's to choose."""
    if asked.ranks == 1:
        return {"mem": f"{asked.memory_mib}M", "cpus-per-task": str(asked.cpus)}
    of_core_mib = -(-asked.memory_mib // asked.cpus)
    return {"ntasks": str(asked.ranks), "mem-per-cpu": f"{of_core_mib}M", "cpus-per-task": str(asked.cpus)}


def render_site(site: Site) -> str:
    """The text of site.sh; its first argument where it is sourced is the submission's folder."""
    software = site.software
    scratch = "".join(
        shlex.quote(value) if kind == "text" else f'"${{{value}:?scratch folder of the site profile: not set on this node}}"'
        for kind, value in split_variables(software.scratch)
    )
    lines = [
        "# shellcheck shell=bash disable=SC2034",
        "# The site profile, for the nodes; sourced by the templates with the submission's folder as $1.",
        "OUTPUT=${1%/*/*}",
        f"sif={shlex.quote(software.sif)}",
        f"environment={shlex.quote(software.environment)}",
        f"modules=({shlex.join(software.modules)})",
        f"binds=({shlex.join(software.binds)})",
        f"setup=({shlex.join(software.setup)})",
        f"scratch={scratch}",
        f"gpu_stages=({shlex.join(stage for stage in STAGES if site.of(stage).wants_gpu)})",
        f"max_requeues={site.slurm.max_requeues}",
    ]
    return "\n".join(lines) + "\n"


def render_plan(submission: Submission) -> str:
    """The text of plan.json: what was reckoned, array by array, and the whole profile."""
    arrays = [
        {
            "stage": array.stage,
            "array": array.spec,
            "tasks": len(array.packed.tasks),
            "fields": array.packed.fields,
            "longest_task_s": round(array.packed.longest_s, 1),
            "cpu_s": round(array.packed.total_s, 1),
            "longest_unit": array.packed.unit,
            "longest_unit_s": round(array.packed.unit_s, 1),
            "peak_mib": math.ceil(array.packed.peak_mib),
            "asked": {name: getattr(array.asked, name) for name in ("time_s", "memory_mib", "cpus", "ranks")},
        }
        for array in submission.arrays
    ]
    content = {
        "smlmbatch": smlmbatch.__version__,
        "arrays": arrays,
        "warnings": submission.warnings,
        "site": dataclasses.asdict(submission.site),
    }
    return json.dumps(content, indent=1) + "\n"


# ---- telling


def describe(submission: Submission) -> str:
    """A table for people: what each array does, asks and is expected to cost, the limits in force, the warnings."""
    slurm = submission.site.slurm
    head = ("stage", "tasks", "fields", "longest task", "time limit", "memory", "cpus", "CPU hours", "array")
    rows = [head, *(_row(array) for array in submission.arrays), _total(submission)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(_aligned(cell, width, column) for column, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]
    limits = {
        f"tasks in an array: up to {slurm.max_array_size - 1} (slurm.max_array_size)": True,
        f"tasks queued at once: up to {slurm.max_submit_jobs} (slurm.max_submit_jobs)": bool(slurm.max_submit_jobs),
        f"tasks running at once: up to {slurm.throttle} per stage (slurm.throttle)": bool(slurm.throttle),
    }
    lines += ["limits: " + "; ".join(text for text, holds in limits.items() if holds)]
    lines += [f"warning: {warning}" for warning in submission.warnings]
    return "".join(line.rstrip() + "\n" for line in lines)


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column in (0, 8) else cell.rjust(width)


def _row(array: Array) -> tuple[str, ...]:
    packed, asked = array.packed, array.asked
    return (
        array.stage,
        str(len(packed.tasks)),
        str(packed.fields),
        _span(packed.longest_s),
        format_time(asked.time_s),
        f"{asked.memory_mib / 1024:.2f} GiB",
        str(asked.cpus) if asked.ranks == 1 else f"{asked.ranks} x {asked.cpus}",
        f"{packed.total_s / 3600:.2f}",
        array.spec,
    )


def _total(submission: Submission) -> tuple[str, ...]:
    arrays = submission.arrays
    tasks, hours = sum(len(array.packed.tasks) for array in arrays), sum(array.packed.total_s for array in arrays) / 3600
    return ("total", str(tasks), "", _span(sum(array.packed.longest_s for array in arrays)), "", "", "", f"{hours:.2f}", "")


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
