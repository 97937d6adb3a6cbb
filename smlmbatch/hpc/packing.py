"""Packs units of work into array tasks: long enough to be worth a start, few enough for the cluster's limits.

A campaign with work T gets N = ceil(T / a task's room) parts, cut as everywhere: part I is every N-th field of samples.csv
from the I-th on. Parts without work are left out; campaigns of one part share tasks, first fit in the order given.
Where that makes more tasks than a limit allows, tasks get longer until they are few enough. The result follows from
the predictions and the limits alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from smlmbatch.errors import ConfigError

START_S = 2.0  # Python, its libraries and reading the plan, once per task
EFFICIENCY = 0.9  # of each process where several share a task: they wait for the longest unit and for the disk
_GROWTH = 1.1  # of a task's length, when limits want fewer tasks
_OPEN_TASKS = 64  # the last so many are looked through for room; all of them would cost seconds for 10,000 small campaigns
_ROUNDING = 1e-9  # work of 40 tasks' room must not become 41 parts


class Share(NamedTuple):
    """One line of tasks-<stage>.csv: part `part` of `parts` (from 1) of a campaign (folder relative to OUTPUT, "." for OUTPUT)."""

    campaign: str
    part: int
    parts: int


Task = tuple[Share, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one stage has to do in one campaign.

    Attributes
    ----------
    campaign : folder relative to OUTPUT, "." for a single campaign
    fields : what units are called in messages, in the order of samples.csv
    seconds : predicted, one per field; 0.0 = nothing to do
    peak_mib : predicted memory of the hungriest unit
    """

    campaign: str
    fields: Sequence[str]
    seconds: Sequence[float]
    peak_mib: float = 0.0

    def __post_init__(self) -> None:
        assert len(self.fields) == len(self.seconds), "one prediction per field"
        assert all(0 <= s < math.inf for s in self.seconds), "seconds are finite and not negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The tasks of one stage's array, and what is expected of them.

    Attributes
    ----------
    tasks : task K of the array is tasks[K - 1]
    longest_s : of the longest task, start included
    total_s : processor seconds of all, starts included
    fields : units with work
    unit, unit_s : the longest unit, as "campaign: field", and its seconds, with the help of all ranks
    peak_mib : of the hungriest unit
    """

    tasks: tuple[Task, ...]
    longest_s: float
    total_s: float
    fields: int
    unit: str
    unit_s: float
    peak_mib: float


def pack_chain(
    loads: Mapping[str, Sequence[Load]],
    *,
    task_s: Mapping[str, float],
    cpus: Mapping[str, int],
    ranks: Mapping[str, int] | None = None,
    most_tasks: int,
    most_jobs: int = 0,
) -> dict[str, Packed]:
    """The arrays of a whole chain; a stage with nothing to do gets none.

    Parameters
    ----------
    loads : by stage
    task_s, cpus : by stage: the wanted length of a task in seconds, the processes it runs at once (in each rank)
    ranks : by stage, where a task has several
    most_tasks : tasks an array may have
    most_jobs : tasks all arrays may have together, 0 = no limit; beyond it the tasks of all stages get longer by one factor

    Raises
    ------
    ConfigError
        fewer tasks allowed than there are stages with work
    """
    busy = [stage for stage, of_stage in loads.items() if any(any(load.seconds) for load in of_stage)]
    if most_jobs and most_jobs < len(busy):
        raise ConfigError(f"{len(busy)} stages have work and only {most_jobs} tasks are allowed at once: one per stage is the least")
    factor = 1.0
    while True:
        packed = {
            stage: pack_stage(
                loads[stage], task_s=task_s[stage] * factor, most_tasks=most_tasks, cpus=cpus[stage], ranks=(ranks or {}).get(stage, 1)
            )
            for stage in busy
        }
        if not most_jobs or sum(len(array.tasks) for array in packed.values()) <= most_jobs:
            return packed
        factor *= _GROWTH


def pack_stage(loads: Sequence[Load], *, task_s: float, most_tasks: int, cpus: int = 1, ranks: int = 1) -> Packed:
    """The tasks of one stage: at most `most_tasks`, each of about `task_s` seconds or, where that makes too many, longer."""
    assert most_tasks >= 1
    assert task_s > 0
    speed = _speed(cpus * ranks)
    room_s = max(task_s - START_S, 0.1) * speed
    room_s = max(room_s, sum(sum(load.seconds) for load in loads) / most_tasks)  # shorter ones would be too many
    while len(tasks := _fill(loads, room_s)) > most_tasks:
        room_s *= _GROWTH
    return _expect(loads, tasks, processes=cpus * ranks, ranks=ranks)


def _speed(processes: int) -> float:
    """Of so many side by side, in those of one alone."""
    return 1.0 if processes == 1 else processes * EFFICIENCY


def _fill(loads: Sequence[Load], room_s: float) -> list[Task]:
    """Tasks of `room_s` processor seconds each, in the order of the campaigns."""
    tasks: list[list[Share]] = []
    left: list[tuple[int, float]] = []  # (task, room left) of those that campaigns of one part still may join
    for load in loads:
        work_s = sum(load.seconds)
        parts = min(len(load.seconds), math.ceil(work_s / room_s - _ROUNDING))
        if parts > 1:
            tasks += [[Share(load.campaign, part, parts)] for part in range(1, parts + 1) if any(load.seconds[part - 1 :: parts])]
        elif any(load.seconds):
            _fit(Share(load.campaign, 1, 1), work_s, tasks, left, room_s=room_s)
            del left[:-_OPEN_TASKS]
    return [tuple(task) for task in tasks]


def _fit(share: Share, work_s: float, tasks: list[list[Share]], left: list[tuple[int, float]], *, room_s: float) -> None:
    for place, (task, rest) in enumerate(left):
        if work_s <= rest:
            tasks[task].append(share)
            left[place] = (task, rest - work_s)
            return
    tasks.append([share])
    left.append((len(tasks) - 1, room_s - work_s))


def _expect(loads: Sequence[Load], tasks: list[Task], *, processes: int, ranks: int) -> Packed:
    by_campaign = {load.campaign: load for load in loads}
    assert len(by_campaign) == len(loads), "each campaign once"
    busiest = max((load for load in loads if any(load.seconds)), key=lambda load: max(load.seconds), default=None)
    unit_s = max(busiest.seconds) if busiest else 0.0
    speeds = (_speed(processes), _speed(ranks))
    return Packed(
        tasks=tuple(tasks),
        longest_s=max((_task_s(task, by_campaign, speeds) for task in tasks), default=0.0),
        total_s=sum(sum(load.seconds) for load in loads) + START_S * processes * len(tasks),
        fields=sum(s > 0 for load in loads for s in load.seconds),
        unit=f"{busiest.campaign}: {busiest.fields[list(busiest.seconds).index(unit_s)]}" if busiest else "",
        unit_s=unit_s / speeds[1],
        peak_mib=max((load.peak_mib for load in loads if any(load.seconds)), default=0.0),
    )


def _task_s(task: Task, by_campaign: Mapping[str, Load], speeds: tuple[float, float]) -> float:
    """A task ends no sooner than its longest unit, however many processes it has; but ranks share long units. `speeds`: of a whole task,
    and on one unit."""
    units = [s for share in task for s in by_campaign[share.campaign].seconds[share.part - 1 :: share.parts]]
    return START_S + max(sum(units) / speeds[0], max(units) / speeds[1])
