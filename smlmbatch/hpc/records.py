"""What every unit cost: one JSON line per unit in OUTPUT/logs/, written by who made it, read by report, status and submit.

    logs/units-<host>-<pid>.jsonl     {"time": …, "field": …, "stage": …, "wall_s": …, …}  or  {"time": …, "failure": {…}, "trace": …}

Logs are outside the digest set and nothing depends on them: losing them costs estimates, never results.
"""

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRecord:
    """What one unit cost; a line of `logs/`.

    Attributes
    ----------
    bytes : size of the field's source file
    locs : localisations of the field
    rows : rows the unit holds (locs, regions, …)
    started : seconds since 1970
    peak_mib : largest resident memory of the process while it made this unit
    memory_mib : what the process had been told to stay within
    again : of a unit that was there and was made again (`run --force`): "same", "replaced" (it was damaged) or "differs"
    job, task : SLURM's job id and array task ("" and 0 outside one); submission: folder name under OUTPUT/jobs
    """

    field: str
    stage: str
    fingerprint: str = ""
    attempt: str = ""
    bytes: int = 0
    locs: int = 0
    rows: int = 0
    started: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mib: int = 0
    memory_mib: int = 0
    published: bool = True
    again: str = ""
    host: str = ""
    job: str = ""
    task: int = 0
    submission: str = ""


_KINDS: dict[str, Any] = {field.name: (float, int) if field.type is float else field.type for field in dataclasses.fields(UnitRecord)}


def read_records(logs: Path) -> Iterator[UnitRecord]:
    """Records of all units ever made in a campaign, file by file; torn or foreign lines are passed over."""
    for path in sorted(logs.glob("units-*.jsonl")):
        with path.open(errors="replace") as file:
            for line in file:
                record = _parse(line)
                if record is not None:
                    yield record


def _parse(line: str) -> UnitRecord | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or not {"field", "stage"} <= found.keys():
        return None
    values = {name: value for name, value in found.items() if name in _KINDS}
    return UnitRecord(**values) if all(isinstance(value, _KINDS[name]) for name, value in values.items()) else None


class UnitLog:
    """This process's file in `logs/`, made only when there is a line. Written field by field: `status` reads it meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"units-{os.uname().nodename}-{os.getpid()}.jsonl"

    def write(self, *entries: dict[str, Any]) -> None:
        """Append a line per entry."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if entries:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write("".join(json.dumps({"time": now} | entry) + "\n" for entry in entries))
