"""The files `tasks-<stage>.csv` of a submission: which parts of which campaigns an array task works on.

    task,campaign,part,parts
    1,.,1,12
    2,.,2,12

Several lines may belong to one task: small campaigns share it.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.packing import Share, Task
from smlmbatch.hpc.place import Place

_COLUMNS = ["task", "campaign", "part", "parts"]


def tasks_text(tasks: Sequence[Task]) -> str:
    """The file's content; array ids count from 1."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for number, task in enumerate(tasks, start=1):
        writer.writerows([number, share.campaign, share.part, share.parts] for share in task)
    return out.getvalue()


def read_shares(file: Path, place: Place) -> tuple[Share, ...]:
    """What the file gives the array task that this process is.

    Raises
    ------
    ConfigError
        no array task, no such file, a line that makes no sense, or nothing for this task
    """
    if not place.array_job:
        raise ConfigError(f"--tasks {file} needs a task of a SLURM array (SLURM_ARRAY_TASK_ID isn't set): submit it, or give --part I/N")
    try:
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as opened:
            rows = list(csv.reader(opened))
    except OSError as error:
        raise ConfigError(f"--tasks {file}: can't be read ({error.strerror})") from error
    if not rows or rows[0] != _COLUMNS:
        raise ConfigError(f"--tasks {file}: is no file of tasks; wanted the columns {', '.join(_COLUMNS)}")
    shares = tuple(share for task, share in (_parse(file, row) for row in rows[1:]) if task == place.task)
    if not shares:
        raise ConfigError(f"--tasks {file}: holds nothing for array task {place.task}: submit with the submit.sh beside it")
    return shares


def submission_of(file: Path) -> str:
    """Name of the submission that a file of tasks belongs to, such as `results/jobs/0001 run 1`.

    submit.sh may be run again when its jobs have ended; each time it adds a line to `runs`.
    """
    folder = file.absolute().parent
    try:
        runs = len((folder / "runs").read_text().splitlines())
    except FileNotFoundError:
        runs = 1
    return f"{'/'.join(folder.parts[-3:])} run {runs}"


def _parse(file: Path, row: list[str]) -> tuple[int, Share]:
    try:
        task, campaign, part, parts = row
        share = Share(campaign, int(part), int(parts))
        if campaign and 1 <= share.part <= share.parts:
            return int(task), share
    except ValueError:
        pass
    raise ConfigError(f"--tasks {file}: {','.join(row)!r} is no line task,campaign,part,parts")
