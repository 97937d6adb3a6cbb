"""Attempts: the folders in which units are made, who owns them, and how one knows that an owner is dead.

    store/attempts/<host>-<pid>-<token>/     unit.zarr.zip, spill files
        owner.json                           who makes which unit; its time stamp is the heartbeat
        resident                             MiB in use when last looked at, for the verdict on a killed process

An attempt that is found without its process died without a word: killed for memory, by a power cut, at a time limit.
Whoever finds it (`Store.sweep`) claims it by renaming the folder, writes the death down as a failure of its unit,
and removes it.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smlmbatch.hpc.limits import resident_bytes
from smlmbatch.hpc.place import Place

HEARTBEAT_S = 30.0
STALE_AFTER_S = 24 * 3600.0
LIVELY_S = 3 * HEARTBEAT_S  # a heartbeat younger than this is called running
_WATCH_S = 0.5
_GROWTH = 1.1  # resident memory is written down when it grew by a tenth
_SWEPT = ".swept-"
_SHOWN = 16  # hex digits of a fingerprint in a file name: 64 bits, no collision within a campaign


@dataclass(frozen=True, slots=True)
class UnitKey:
    """Which unit: a field's key, a stage, and the fingerprint of all it depends on."""

    field: str
    stage: str
    fingerprint: str

    @property
    def unit_name(self) -> str:
        """File name of the published unit."""
        return f"{self.stage}-{self.fingerprint[:_SHOWN]}.zarr.zip"

    @property
    def failure_name(self) -> str:
        """File name of its failure record."""
        return f"{self.stage}-{self.fingerprint[:_SHOWN]}.failed.json"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one unit: its own folder, in which it may write what it likes; `unit` is what gets published."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def unit(self) -> Path:
        return self.folder / "unit.zarr.zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What an attempt is for, and on whose behalf; written into `owner.json`.

    Attributes
    ----------
    key : the unit, None for a run's own folder
    path : the field's source, as the user knows it
    memory_mib : what the process was told to stay within, limit_mib : what it may use at most (0 = not known)
    submission : folder name under OUTPUT/jobs, or a name of this run's own
    """

    key: UnitKey | None = None
    path: str = ""
    memory_mib: int = 0
    limit_mib: int = 0
    submission: str = ""
    place: Place = field(default_factory=Place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who made an attempt's folder, as read back."""

    folder: Path
    errand: Errand
    host: str
    space: str
    pid: int
    born: str
    beat: float
    resident_mib: int


@contextmanager
def open_attempt(attempts: Path, errand: Errand) -> Iterator[Attempt]:
    """A folder with an owner and a heartbeat, removed at the end whatever happens."""
    folder = attempts / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    stop = threading.Event()
    watch = threading.Thread(target=_keep_alive, args=(folder, stop), daemon=True)
    try:
        (folder / "owner.json").write_text(json.dumps(_this_process() | _to_json(errand)))
        watch.start()
        yield Attempt(folder)
    finally:
        stop.set()
        if watch.ident is not None:
            watch.join()
        shutil.rmtree(folder, ignore_errors=True)


def _to_json(errand: Errand) -> dict[str, Any]:
    key, place = errand.key, errand.place
    return {
        "unit": [key.field, key.stage, key.fingerprint] if key is not None else None,
        "path": os.fsencode(errand.path).hex(),  # a name may hold bytes that are no text
        "memory_mib": errand.memory_mib,
        "limit_mib": errand.limit_mib,
        "submission": errand.submission,
        "job": place.job,
        "array_job": place.array_job,
        "task": place.task,
        "restart": place.restart,
    }


def read_owner(folder: Path) -> Owner | None:
    """Who owns an attempt; None where nobody has signed (yet), or the folder is gone."""
    file = folder / "owner.json"
    try:
        beat = file.stat().st_mtime
        found = json.loads(file.read_text())
        unit = found["unit"]
        errand = Errand(
            key=UnitKey(*unit) if unit else None,
            path=os.fsdecode(bytes.fromhex(found["path"])),
            memory_mib=int(found["memory_mib"]),
            limit_mib=int(found["limit_mib"]),
            submission=str(found["submission"]),
            place=Place(job=found["job"], array_job=found["array_job"], task=found["task"], restart=found["restart"]),
        )
        return Owner(
            folder=folder,
            errand=errand,
            host=str(found["host"]),
            space=str(found["space"]),
            pid=int(found["pid"]),
            born=str(found["born"]),
            beat=beat,
            resident_mib=_read_resident(folder),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_resident(folder: Path) -> int:
    try:
        return int((folder / "resident").read_text())
    except (OSError, ValueError):
        return 0


def list_attempts(attempts: Path) -> list[Path]:
    """Every attempt's folder that nobody has claimed for sweeping."""
    try:
        return sorted(path for path in attempts.iterdir() if not path.name.startswith(_SWEPT))
    except FileNotFoundError:
        return []


def claim_dead(folder: Path) -> Path | None:
    """Take a dead attempt for sweeping; None if somebody else was quicker."""
    claimed = folder.with_name(f"{_SWEPT}{secrets.token_hex(4)}-{folder.name}")
    try:
        folder.rename(claimed)
    except OSError:
        return None
    return claimed


def half_swept(attempts: Path, stale_after_s: float) -> list[Path]:
    """Folders whose sweeper was killed in the middle."""
    return [path for path in attempts.glob(f"{_SWEPT}*") if _age_s(path) > stale_after_s] if attempts.exists() else []


# ---- dead or alive


def is_dead(folder: Path, here: Place, stale_after_s: float = STALE_AFTER_S) -> bool:
    """Whether an attempt's process is known to have ended, or has been silent for `stale_after_s`.

    Known: it ran on this machine and is gone; it belongs to an earlier start of the very job that asks, or to a job
    that this one had to wait for. (A zombie that goes on writing notices when it wants to publish.)
    """
    owner = read_owner(folder)
    if owner is None:  # killed between making the folder and signing it
        return _age_s(folder) > stale_after_s
    if owner.space == _process_space() != "" and _is_mine(folder):
        return _born(owner.pid) != owner.born
    return _job_ended(owner.errand.place, here) or time.time() - owner.beat > stale_after_s


def _is_mine(folder: Path) -> bool:
    """Whether this user made a folder. Of others' processes /proc may say nothing (hidepid)."""
    try:
        return folder.stat().st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def _job_ended(then: Place, here: Place) -> bool:
    if not then.job:
        return False
    if then.job == here.job:
        return then.restart < here.restart
    return then.job in here.ended_jobs or (then.array_job != "" and then.array_job in here.ended_jobs)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _keep_alive(folder: Path, stop: threading.Event) -> None:
    """The heartbeat, and the note of how much memory is in use (writes are few: only growth is written)."""
    noted, beat_at = 0, time.monotonic() + HEARTBEAT_S
    while True:
        with contextlib.suppress(OSError):
            now = resident_bytes() >> 20
            if now > noted * _GROWTH:
                (folder / "resident").write_text(str(now))
                noted = now
            if time.monotonic() >= beat_at:
                os.utime(folder / "owner.json")
                beat_at = time.monotonic() + HEARTBEAT_S
        if stop.wait(min(_WATCH_S, HEARTBEAT_S)):
            return


def scratch_prefix() -> str:
    """How the names of spill folders outside the store begin on this machine; the attempt's name follows."""
    return f"smlmbatch-{hashlib.sha256(_process_space().encode()).hexdigest()[:8]}-"


def sweep_scratch(scratch: Path) -> None:
    """Remove spill folders of this user's processes that ended on this machine; their attempts may be swept already."""
    for folder in scratch.glob(f"{scratch_prefix()}*"):
        pid = folder.name.split("-")[-3]
        if _is_mine(folder) and pid.isdecimal() and not _born(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "space": _process_space(), "pid": os.getpid(), "born": _born(os.getpid())}


def _process_space() -> str:
    """Where a pid has its meaning: this boot of this kernel, this pid namespace. Empty where Linux doesn't say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _born(pid: int) -> str:
    """Start time of a process in clock ticks (tells a reused pid); empty if there is none, or it is dead and not buried."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return stat[19] if stat[0] not in "ZX" else ""
    except (OSError, IndexError):
        return ""
