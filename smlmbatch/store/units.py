"""Units under their fingerprints: fresh?, attempts with a heartbeat, publishing, failure records, sweeping.

    store/fields/<field key>/<stage>-<fingerprint>.zarr.zip        a published unit
    store/fields/<field key>/<stage>-<fingerprint>.failed.json     its last failure, if it is not published
    store/fields/<field key>/input.json                            the source's sha256, cached
    store/attempts/<host>-<pid>-<token>/                           an attempt's own folder (unit, spill files)

A unit is fresh if its name exists. An attempt writes in its own folder and publishes by linking the finished
file to a name that must not exist: who comes second compares digests and drops his own. So a zombie that
goes on writing, or two runs at once, can't harm anything. Progress is stored nowhere else.
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smlmbatch.errors import InputError, ResourceError, SmlmbatchError

HEARTBEAT_S = 30.0
STALE_AFTER_S = 24 * 3600.0
_SHOWN = 16  # hex digits of a fingerprint in a file name: 64 bits, no collision within a campaign
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


@dataclass(frozen=True, slots=True)
class UnitKey:
    """Which unit: a field's key, a stage, and the fingerprint of all it depends on."""

    field: str
    stage: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a unit could not be made. `kind` is input (not retried), resource or internal (retried next run)."""

    field: str
    stage: str
    fingerprint: str
    kind: str
    path: str
    finding: str
    want: str
    mend: str
    attempt: str


def failure_of_error(key: UnitKey, error: BaseException, *, path: str, attempt: str) -> Failure:
    """A Failure record for an exception caught around one unit."""
    if isinstance(error, InputError):
        finding = error.finding if Path(error.path).name == Path(path).name else f"{error.path}: {error.finding}"
        return Failure(key.field, key.stage, key.fingerprint, "input", path, finding, error.want, error.mend, attempt)
    if isinstance(error, MemoryError):
        want, mend = "enough memory", "run again with more memory, or a smaller --memory"
        return Failure(key.field, key.stage, key.fingerprint, "resource", path, "out of memory", want, mend, attempt)
    if isinstance(error, OSError):
        want, mend = _wanted_of_oserror(error)
        return Failure(key.field, key.stage, key.fingerprint, "resource", path, str(error), want, mend, attempt)
    kind = error.failure_class if isinstance(error, SmlmbatchError) else "internal"
    want, mend = "a finished unit", "run again; if it fails again, report it with logs/"
    return Failure(key.field, key.stage, key.fingerprint, kind, path, f"{type(error).__name__}: {error}", want, mend, attempt)


def _wanted_of_oserror(error: OSError) -> tuple[str, str]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free disk space or quota", "free some space, then run again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "permission to read INPUT and write OUTPUT", "correct the permissions, then run again"
    if error.errno == errno.ENOENT:
        return "the file", "put it back (or plan again), then run again"
    return "a working file system", "run again"


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


class Store:
    """The door to OUTPUT/store. Opening it touches nothing; folders appear when first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # ---- names

    def unit_path(self, key: UnitKey) -> Path:
        return self.field_folder(key.field) / f"{key.stage}-{key.fingerprint[:_SHOWN]}.zarr.zip"

    def field_folder(self, field: str) -> Path:
        return self.root / "fields" / field

    def _failure_path(self, key: UnitKey) -> Path:
        return self.field_folder(key.field) / f"{key.stage}-{key.fingerprint[:_SHOWN]}.failed.json"

    @property
    def attempts(self) -> Path:
        return self.root / "attempts"

    # ---- state

    def is_fresh(self, key: UnitKey) -> bool:
        """Whether the unit is published."""
        return self.unit_path(key).exists()

    def failure(self, key: UnitKey) -> Failure | None:
        """The last recorded failure of exactly this unit, if it is not published."""
        if self.is_fresh(key):
            return None
        try:
            return Failure(**json.loads(self._failure_path(key).read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError):  # torn by a full disk: as good as none, the unit is tried again
            return None

    def forget_failure(self, key: UnitKey) -> None:
        self._failure_path(key).unlink(missing_ok=True)

    def record_failure(self, failure: Failure) -> None:
        key = UnitKey(failure.field, failure.stage, failure.fingerprint)
        text = json.dumps({name: getattr(failure, name) for name in Failure.__slots__}, indent=1)
        write_whole(self._failure_path(key), text.encode("utf-8", "surrogateescape"))

    # ---- attempts

    @contextmanager
    def attempt(self, *, job: str = "", scratch: Path | None = None) -> Iterator[Attempt]:
        """An attempt's folder with a heartbeat, removed at the end whatever happens.

        The folder lies in the store (one file system with the published names); `scratch` only holds
        what is thrown away and is left to the caller.
        """
        token = secrets.token_hex(4)
        folder = self.attempts / f"{socket.gethostname()}-{os.getpid()}-{token}"
        folder.mkdir(parents=True)
        stop = threading.Event()
        beat = threading.Thread(target=_heartbeat, args=(folder / "owner.json", stop), daemon=True)
        try:
            (folder / "owner.json").write_text(json.dumps(_this_process() | {"job": job}))
            beat.start()
            yield Attempt(folder)
        finally:
            stop.set()
            if beat.ident is not None:
                beat.join()
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, key: UnitKey, attempt: Attempt) -> bool:
        """Give the attempt's sealed unit its name. False if an equal one was there first.

        Raises
        ------
        SmlmbatchError
            a unit of this name exists with another digest: a result was not reproducible
        ResourceError
            the attempt's folder was swept away meanwhile
        """
        final = self.unit_path(key)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            _sync(attempt.unit)
            published = _link_new(attempt.unit, final)
        except FileNotFoundError as error:
            raise ResourceError(f"attempt {attempt.name} was swept as abandoned before it could publish") from error
        if not published:
            self._compare(key, attempt)
        _sync(final.parent)
        self._failure_path(key).unlink(missing_ok=True)
        return published

    def _compare(self, key: UnitKey, attempt: Attempt) -> None:
        from smlmbatch.store.arrays import sealed_digest

        ours, theirs = sealed_digest(attempt.unit), sealed_digest(self.unit_path(key))
        if ours != theirs:
            raise SmlmbatchError(f"{key.stage} of {key.field} gave digest {ours[:12]}, but {theirs[:12]} is published: not reproducible")

    # ---- sweeping

    def abandoned_attempts(self, stale_after_s: float = STALE_AFTER_S) -> list[Path]:
        """Attempts whose process is known to have ended, or whose heartbeat is older than `stale_after_s`."""
        try:
            folders = sorted(self.attempts.iterdir())
        except FileNotFoundError:
            return []
        return [folder for folder in folders if _is_abandoned(folder, stale_after_s)]

    def sweep(self, stale_after_s: float = STALE_AFTER_S) -> int:
        """Remove abandoned attempts; returns how many."""
        folders = self.abandoned_attempts(stale_after_s)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return len(folders)

    def files(self) -> Iterator[Path]:
        """Every file under `fields`, published units and records alike, in name order."""
        fields = self.root / "fields"
        for folder in sorted(fields.iterdir()) if fields.exists() else []:
            yield from sorted(folder.iterdir())

    # ---- input hashes

    def input_sha256(self, field: str, path: Path, *, slot: str = "source", check: bool = False) -> str:
        """sha256 of a file the field is made of, cached by (path, size, mtime_ns, inode); `check` reads it anyway."""
        from smlmbatch.provenance import hash_file

        known = None if check else self.cached_sha256(field, path, slot=slot)
        if known is not None:
            return known
        identity = _identity(path)
        digest = hash_file(path)
        cache = self._input_cache(field)
        entries = _read_json(cache) | {slot: {"identity": identity, "sha256": digest}}
        write_whole(cache, json.dumps(entries).encode())
        return digest

    def cached_sha256(self, field: str, path: Path, *, slot: str = "source", trust: bool = False) -> str | None:
        """The hash known of a file if its stat is what it was then, or (`trust`) whatever its stat is now."""
        entry = _read_json(self._input_cache(field)).get(slot)
        if entry is None:
            return None
        return str(entry["sha256"]) if trust or (path.is_file() and entry["identity"] == _identity(path)) else None

    def _input_cache(self, field: str) -> Path:
        return self.field_folder(field) / "input.json"


def _identity(path: Path) -> list[str | int]:
    stat = path.stat()
    return [os.fsencode(path).hex(), stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}


@contextmanager
def appears_whole(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` if the block ends well and is removed if it doesn't."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[:100]}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that it appears whole or not at all."""
    with appears_whole(path) as partial:
        partial.write_bytes(content)


def _link_new(source: Path, final: Path) -> bool:
    """Give `source` the name `final` unless that exists. File systems without hard links get a plain rename:
    equal fingerprints hold equal content, so replacing one by the other between check and rename is harmless."""
    try:
        os.link(source, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if final.exists():
            return False
        source.replace(final)
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems can't sync a folder
            raise
    finally:
        os.close(descriptor)


def _heartbeat(owner: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        with contextlib.suppress(OSError):
            os.utime(owner)


def _this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "space": _process_space(), "pid": os.getpid(), "born": _born(os.getpid())}


def _process_space() -> str:
    """Where a pid has its meaning: this boot of this kernel, this pid namespace. Empty where Linux doesn't say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _born(pid: int) -> str:
    """Start time of a process in clock ticks (tells a reused pid); empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_abandoned(folder: Path, stale_after_s: float) -> bool:
    owner = folder / "owner.json"
    try:
        beat = owner.stat().st_mtime
        process = json.loads(owner.read_text())
    except (OSError, ValueError):  # killed between making the folder and naming its owner
        try:
            return time.time() - folder.stat().st_mtime > stale_after_s
        except FileNotFoundError:
            return False
    if process["space"] == _process_space() != "":
        return bool(_born(process["pid"]) != process["born"])  # here it is known: alive or not
    return time.time() - beat > stale_after_s
