"""Plans and writes a submission that works by Dask: one job of many workers does all stages of all fields, another the report.

The same folder as that of arrays (see `submit`), with other templates: dask.sbatch and report.sbatch. Several campaigns are
worked through one after another in the one job. Each worker has a core; the job has one seat more, for the scheduler and
the process that deals out. Asked time and memory follow the rules of `asking`.
"""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smlmbatch.hpc.asking import Asked, reckon_memory_mib, reckon_time_s
from smlmbatch.hpc.packing import EFFICIENCY, START_S, Load, Packed, Share
from smlmbatch.hpc.site import STAGES, Site, format_time
from smlmbatch.hpc.submit import Array, Submission, array_call, describe, plan_submission, render_script, render_site, write_folder

DASK = "dask"
_TEMPLATES = ("pipeline.sh", "task.sh", "dask.sbatch", "report.sbatch")
_DASK_MIB = 256  # of a worker and its nanny, beside the process that computes
_UNIT_SHARE, _UNIT_MIB = 0.7, (256, 2048)  # what a unit is told to stay within: a share of what is left, within these bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskSubmission:
    """The chain (dask, unless nothing is to do; report) and how many workers it gets."""

    chain: Submission
    workers: int


def plan_dask(site: Site, loads: Mapping[str, Sequence[Load]]) -> DaskSubmission:
    """Reckon what one job needs for all stages.

    Parameters
    ----------
    loads : as for `submit.plan_submission`: by stage, one Load per campaign
    """
    report = plan_submission(site, {"report": loads.get("report", ())}).arrays
    seconds = _seconds_of_fields(loads)
    workers = min(site.dask.workers, len(seconds))  # a field is one worker's from end to end
    if not workers:
        return DaskSubmission(chain=Submission(site=site, arrays=report), workers=0)
    packed = _pack(loads, seconds, workers)
    array = Array(stage=DASK, packed=packed, asked=_ask(site, packed), throttle=0)
    return DaskSubmission(chain=Submission(site=site, arrays=(array, *report)), workers=workers)


def _seconds_of_fields(loads: Mapping[str, Sequence[Load]]) -> Counter[tuple[str, str]]:
    """(campaign, field) → seconds of all its stages, which one worker does one after another."""
    found: Counter[tuple[str, str]] = Counter()
    for load in (load for stage in STAGES[:-1] for load in loads.get(stage, ())):
        found.update({(load.campaign, name): s for name, s in zip(load.fields, load.seconds, strict=True) if s})
    return found


def _pack(loads: Mapping[str, Sequence[Load]], seconds: Counter[tuple[str, str]], workers: int) -> Packed:
    campaigns = dict.fromkeys(campaign for campaign, _ in seconds)
    (campaign, field), longest_s = seconds.most_common(1)[0]
    total_s = sum(seconds.values())
    return Packed(
        tasks=(tuple(Share(name, 1, 1) for name in campaigns),),
        longest_s=START_S + max(total_s / (workers * EFFICIENCY), longest_s),
        total_s=total_s + START_S * (workers + 1),
        fields=len(seconds),
        unit=f"{campaign}: {field}",
        unit_s=longest_s,
        peak_mib=max(load.peak_mib for stage in STAGES[:-1] for load in loads.get(stage, ())),
    )


def _ask(site: Site, packed: Packed) -> Asked:
    """The memory is one worker's."""
    ask = site.dask
    time_s = min(reckon_time_s(site, packed), ask.time_s)
    warnings = []
    limit = f"dask.time = {format_time(ask.time_s)}"
    if packed.unit_s > ask.time_s:
        warnings.append(
            f"dask: {packed.unit} alone is expected to take {format_time(int(packed.unit_s))}, longer than {limit} allows: raise it"
        )
    elif packed.longest_s > ask.time_s:
        warnings.append(
            f"dask: the job is expected to take {format_time(int(packed.longest_s))}, longer than {limit}: it will be requeued; "
            "raise dask.workers, or the time"
        )
    if 2 * site.slurm.signal_s > ask.time_s:
        warnings.append(
            f"dask: slurm.signal_s = {site.slurm.signal_s} leaves the job less than half of {limit}: lower it, or raise the time"
        )
    memory_mib = ask.memory_mib or reckon_memory_mib(packed) + _DASK_MIB
    return Asked(time_s=time_s, memory_mib=memory_mib, cpus=1, warnings=tuple(warnings))


# ---- writing and telling


def write_dask(output: Path, submission: DaskSubmission) -> Path:
    """Make OUTPUT/jobs/<next number>/ and return it; `submit.sh` in it appears last."""
    site = render_site(submission.chain.site) + _render_arguments(submission)
    return write_folder(output, submission.chain, templates=_TEMPLATES, site=site, script=render_dask(submission))


def render_dask(submission: DaskSubmission) -> str:
    """The text of submit.sh."""
    site = submission.chain.site
    calls = [_dask_call(submission, array) if array.stage == DASK else array_call(site, array) for array in submission.chain.arrays]
    return render_script(calls, largest=1)


def _dask_call(submission: DaskSubmission, array: Array) -> list[str]:
    site = submission.chain.site
    named = {
        "time": format_time(array.asked.time_s),
        "nodes": str(_nodes(submission) or ""),
        "ntasks": str(submission.workers + 1),
        "mem-per-cpu": f"{array.asked.memory_mib}M",
        "cpus-per-task": "1",
        "signal": f"USR1@{site.slurm.signal_s}",
        "partition": site.dask.partition or site.slurm.partition,
        "account": site.slurm.account,
        "qos": site.slurm.qos,
    }
    options = [f"--{name}={value}" for name, value in named.items() if value]
    return ["array", DASK, array.spec, *options, *site.slurm.options, *site.dask.options]


def _nodes(submission: DaskSubmission) -> int:
    """Not more than there are processes, which fewer fields than workers may make few."""
    return min(submission.chain.site.dask.nodes, submission.workers + 1)


def _render_arguments(submission: DaskSubmission) -> str:
    """Lines of site.sh: what the process that deals out and the workers are told."""
    site = submission.chain.site
    interface = ["--interface", site.dask.interface] if site.dask.interface else []
    asked = next((array.asked for array in submission.chain.arrays if array.stage == DASK), None)
    if asked is None:
        return ""
    least, most = _UNIT_MIB
    memory_mib = min(max(int(_UNIT_SHARE * (asked.memory_mib - _DASK_MIB)), least), most)
    # Should SLURM's warning not come: after the time it should have come at, and before the end.
    lifetime_s, stagger_s = asked.time_s - site.slurm.signal_s / 2, site.slurm.signal_s / 4
    lifetime = ["--lifetime-s", f"{lifetime_s:g}", "--stagger-s", f"{stagger_s:g}"] if lifetime_s > stagger_s else []
    serve = ["--memory", f"{memory_mib}MiB", *interface, *([] if site.dask.tls else ["--no-tls"])]
    return f"serve=({shlex.join(serve)})\nlend=({shlex.join([*interface, *lifetime])})\n"


def describe_dask(submission: DaskSubmission) -> str:
    """A table for people, and what the one job is made of."""
    text = describe(submission.chain)
    if submission.workers:
        nodes = f" on {_nodes(submission)} nodes" if _nodes(submission) else ""
        what = f"dask: {submission.workers} workers{nodes}, a core and the memory above each, and one seat more for the scheduler"
        text += what + (" (dask.workers)\n" if submission.workers == submission.chain.site.dask.workers else "; a field is one worker's\n")
    return text
