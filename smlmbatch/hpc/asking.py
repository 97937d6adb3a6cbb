"""What an array asks of SLURM: time and memory, from what is expected of its tasks and what the profile allows.

Asked time: three times the longest task, the warning ahead of the limit, five minutes for the start; up to the profile's
`time`. Asked memory: 1.3 times the hungriest unit and 300 MiB for Python and its libraries, per process. Asking too little
costs a requeue or a kill, asking too much costs waiting in the queue.
"""

import math
from dataclasses import dataclass

from smlmbatch.hpc.packing import Packed
from smlmbatch.hpc.site import Site, StageAsk, format_time

_TIME_FACTOR = 3  # predictions of a stage never run before are good within this
_START_S = 300  # modules, a cold file system, an image to mount
_STEP_S = 300
_MEMORY_FACTOR = 1.3
_PYTHON_MIB = 300
_RANK_MIB = 512  # of a rank's first process, which holds torch to meet the others and makes no units
_STEP_MIB = 256
_LEAST_MIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Time limit, ranks of a task, memory and processes of each rank, and what the user should know beforehand."""

    time_s: int
    memory_mib: int
    cpus: int
    ranks: int = 1
    warnings: tuple[str, ...] = ()


def wanted_task_s(site: Site, stage: str) -> float:
    """The wanted length of a task: the profile's, but within a third of the time limit, for the limit is asked threefold."""
    return min(site.slurm.task_minutes * 60, site.of(stage).time_s / _TIME_FACTOR)


def ask_for(site: Site, stage: str, packed: Packed) -> Asked:
    """What the array of one stage asks."""
    ask = site.of(stage)
    return Asked(
        time_s=min(reckon_time_s(site, packed), ask.time_s),
        memory_mib=ask.memory_mib or max(reckon_memory_mib(packed) * ask.cpus + (_RANK_MIB if ask.ranks > 1 else 0), _LEAST_MIB),
        cpus=ask.cpus,
        ranks=ask.ranks,
        warnings=_warnings(ask, stage, packed) + _signal_warning(site, ask, stage),
    )


def reckon_time_s(site: Site, packed: Packed) -> int:
    """The time a task should be given."""
    return _up(_TIME_FACTOR * packed.longest_s + site.slurm.signal_s + _START_S, _STEP_S)


def reckon_memory_mib(packed: Packed) -> int:
    """The memory one process should be given."""
    return _up(_MEMORY_FACTOR * packed.peak_mib + _PYTHON_MIB, _STEP_MIB)


def _signal_warning(site: Site, ask: StageAsk, stage: str) -> tuple[str, ...]:
    """SLURM may send the warning up to a minute early, and a task that is warned at once gets nothing done."""
    if 2 * site.slurm.signal_s <= ask.time_s:
        return ()
    signal, limit = site.slurm.signal_s, format_time(ask.time_s)
    return (f"{stage}: slurm.signal_s = {signal} leaves tasks less than half of stage.{stage}.time = {limit}: lower it, or raise the time",)


def _warnings(ask: StageAsk, stage: str, packed: Packed) -> tuple[str, ...]:
    limit = f"stage.{stage}.time = {format_time(ask.time_s)}"
    if packed.unit_s > ask.time_s:
        needs = format_time(math.ceil(packed.unit_s))
        return (f"{stage}: {packed.unit} alone is expected to take {needs}, longer than {limit} allows: raise it",)
    if packed.longest_s > ask.time_s:
        needs, times = format_time(math.ceil(packed.longest_s)), math.ceil(packed.longest_s / ask.time_s) - 1
        return (f"{stage}: the longest task is expected to take {needs}, longer than {limit}: it will be requeued about {times} times",)
    return ()


def _up(value: float, step: int) -> int:
    return math.ceil(value / step) * step
