"""Units under their fingerprints: fresh?, publishing, failure records, sweeping what the dead left behind.

    store/fields/<field key>/<stage>-<fingerprint>.zarr.zip        a published unit
    store/fields/<field key>/<stage>-<fingerprint>.failed.json     its last failure, if it is not published
    store/fields/<field key>/input.json                            the source's sha256, cached
    store/attempts/<host>-<pid>-<token>/                           an attempt's own folder (see `store.attempts`)

A unit is fresh if its name exists. An attempt writes in its own folder and publishes by linking the finished
file to a name that must not exist: who comes second compares digests and drops his own. So a zombie that
goes on writing, or two runs at once, can't harm anything. Progress is stored nowhere else.
"""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from smlmbatch.errors import InputError, ResourceError, SmlmbatchError
from smlmbatch.hpc.place import Place
from smlmbatch.store.attempts import (
    STALE_AFTER_S,
    Attempt,
    Errand,
    Owner,
    UnitKey,
    claim_dead,
    half_swept,
    is_dead,
    list_attempts,
    open_attempt,
    read_owner,
    scratch_prefix,
)

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
MOST_TRIES = 2  # within one submission, of a unit that failed for want of memory or disk, or was killed
MOST_LOSSES = 4  # of a unit whose job vanished under it each time
_FULL = 0.8  # of the memory limit in use when last seen: then the kill was for memory


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a unit could not be made. `kind` is input (not retried), resource or internal (tried again, see `given_up`).

    `tries` counts within `submission`; `starved` says that memory ran out or may have, when `memory_mib` were allowed;
    `lost` that the whole job vanished, which a node may have done and the unit have nothing to do with.
    """

    field: str
    stage: str
    fingerprint: str
    kind: str
    path: str
    finding: str
    want: str
    mend: str
    attempt: str
    tries: int = 1
    submission: str = ""
    starved: bool = False
    lost: bool = False
    memory_mib: int = 0

    def given_up(self, submission: str) -> bool:
        """Whether this submission tries the unit no more. Input failures stand until the input or the reader changes."""
        most = MOST_LOSSES if self.lost else MOST_TRIES
        return self.kind == "input" or (self.submission == submission and self.tries >= most)


def failure_of_error(key: UnitKey, error: BaseException, *, path: str, attempt: str) -> Failure:
    """A Failure record for an exception caught around one unit."""
    if isinstance(error, InputError):
        finding = error.finding if Path(error.path).name == Path(path).name else f"{error.path}: {error.finding}"
        return Failure(key.field, key.stage, key.fingerprint, "input", path, finding, error.want, error.mend, attempt)
    if isinstance(error, MemoryError):
        want, mend = "enough memory", "run again with more memory, or a smaller --memory"
        return Failure(key.field, key.stage, key.fingerprint, "resource", path, "out of memory", want, mend, attempt, starved=True)
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


def failure_of_death(owner: Owner, here: Place, *, manner: str = "ended without a word", for_memory: bool = False) -> Failure:
    """A Failure record for a unit whose process was found dead.

    Parameters
    ----------
    here : where the dead were found from
    manner : how the process ended, where that is known
    for_memory : the kernel says that it killed for memory
    """
    errand, key = owner.errand, owner.errand.key
    assert key is not None
    full = 0 < errand.limit_mib * _FULL <= owner.resident_mib
    used = f"{owner.resident_mib} MiB in use" + (f" of {errand.limit_mib} MiB allowed" if errand.limit_mib else "")
    killed = for_memory or full
    then = errand.place
    lost = not killed and then.job != "" and (then.job, then.restart) != (here.job, here.restart)  # found from another start or job
    finding = f"killed for memory ({used})" if killed else f"its process {manner} on {owner.host} ({used} when last seen)"
    want = "enough memory" if killed else "a process that lives to its end"
    mend = "run again with more memory, or a smaller --memory" if killed else "run again; if it ends so again, look for the cause in logs/"
    return Failure(
        key.field,
        key.stage,
        key.fingerprint,
        "resource",
        errand.path,
        finding,
        want,
        mend,
        owner.folder.name,
        submission=errand.submission,
        starved=not lost,  # also where it isn't sure: smaller blocks do no harm
        lost=lost,
        memory_mib=errand.memory_mib,
    )


class Store:
    """The door to OUTPUT/store. Opening it touches nothing; folders appear when first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # ---- names

    def unit_path(self, key: UnitKey) -> Path:
        return self.field_folder(key.field) / key.unit_name

    def field_folder(self, field: str) -> Path:
        return self.root / "fields" / field

    def _failure_path(self, key: UnitKey) -> Path:
        return self.field_folder(key.field) / key.failure_name

    @property
    def attempts(self) -> Path:
        return self.root / "attempts"

    # ---- state

    def is_fresh(self, key: UnitKey) -> bool:
        """Whether the unit is published."""
        return self.unit_path(key).exists()

    def names(self, field: str) -> frozenset[str]:
        """Names of all files of a field: one look at the folder instead of one per unit (cluster file systems are slow at looks)."""
        try:
            return frozenset(os.listdir(f"{self.root}/fields/{field}"))
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()

    def failure(self, key: UnitKey, names: frozenset[str] | None = None) -> Failure | None:
        """The last recorded failure of exactly this unit, if it is not published. `names` as of `names`, if known."""
        if names is not None and key.failure_name not in names:
            return None
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

    def record_failure(self, failure: Failure) -> Failure:
        """Write a failure down, counting the tries of one submission; returns it as written."""
        key = UnitKey(failure.field, failure.stage, failure.fingerprint)
        before = self.failure(key)
        if before is not None and failure.attempt and before.attempt == failure.attempt:
            return before  # its death was written down already, by who swept it: this is a zombie that noticed
        if before is not None and failure.submission and before.submission == failure.submission:
            failure = replace(failure, tries=before.tries + 1)
        text = json.dumps(asdict(failure), indent=1)
        write_whole(self._failure_path(key), text.encode("utf-8", "surrogateescape"))
        return failure

    # ---- attempts

    def attempt(self, errand: Errand | None = None) -> AbstractContextManager[Attempt]:
        """An attempt's folder with a heartbeat, removed at the end whatever happens.

        It lies in the store: one file system with the published names.
        """
        return open_attempt(self.attempts, errand or Errand())

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

    def publish_again(self, key: UnitKey, attempt: Attempt) -> Literal["", "same", "replaced", "differs"]:
        """Hold a unit that was made again against the published one: "" if there was none and it is published now.

        A whole unit is never replaced, for others may be reading it and later stages rest on it: one that "differs" is dropped,
        and the caller must say that the result is not reproducible. A damaged one is "replaced".

        Raises
        ------
        ResourceError
            the attempt's folder was swept away meanwhile
        """
        from smlmbatch.store.arrays import sealed_digest, whole_digest

        final = self.unit_path(key)
        if not final.exists():
            self.publish(key, attempt)
            return ""
        theirs = whole_digest(final)
        try:
            if theirs is not None:
                return "same" if sealed_digest(attempt.unit) == theirs else "differs"
            _sync(attempt.unit)
            attempt.unit.replace(final)
        except FileNotFoundError as error:
            raise ResourceError(f"attempt {attempt.name} was swept as abandoned before it could publish") from error
        _sync(final.parent)
        return "replaced"

    def _compare(self, key: UnitKey, attempt: Attempt) -> None:
        from smlmbatch.store.arrays import sealed_digest

        ours, theirs = sealed_digest(attempt.unit), sealed_digest(self.unit_path(key))
        if ours != theirs:
            raise SmlmbatchError(f"{key.stage} of {key.field} gave digest {ours[:12]}, but {theirs[:12]} is published: not reproducible")

    # ---- sweeping

    def abandoned_attempts(self, here: Place | None = None, stale_after_s: float = STALE_AFTER_S) -> list[Path]:
        """Attempts whose process is known to have ended, or whose heartbeat is older than `stale_after_s`."""
        dead = [folder for folder in list_attempts(self.attempts) if is_dead(folder, here or Place(), stale_after_s)]
        return dead + half_swept(self.attempts, stale_after_s)

    def sweep(
        self,
        here: Place | None = None,
        *,
        scratch: Path | None = None,
        manner: str = "ended without a word",
        for_memory: bool = False,
        stale_after_s: float = STALE_AFTER_S,
    ) -> list[Failure]:
        """Remove abandoned attempts and what they left in `scratch`, writing down the death of those that were making a unit.

        Returns these deaths; for `manner` and `for_memory` see `failure_of_death`.
        """
        deaths: dict[UnitKey, Failure] = {}
        for folder in self.abandoned_attempts(here, stale_after_s):
            for left in scratch.glob(f"{scratch_prefix()}{folder.name}-*") if scratch is not None else ():
                shutil.rmtree(left, ignore_errors=True)
            owner, claimed = read_owner(folder), claim_dead(folder)
            if claimed is None:
                continue
            if owner is not None and owner.errand.key is not None and not self.is_fresh(owner.errand.key):
                deaths[owner.errand.key] = failure_of_death(owner, here or Place(), manner=manner, for_memory=for_memory)
            shutil.rmtree(claimed, ignore_errors=True)
        return [self.record_failure(death) for death in deaths.values()]  # one per unit, however often a pool tried it

    def owners(self) -> list[Owner]:
        """Who is at work on which unit, living or not."""
        return [owner for owner in map(read_owner, list_attempts(self.attempts)) if owner is not None and owner.errand.key is not None]

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
        try:
            return str(entry["sha256"]) if trust or entry["identity"] == _identity(path) else None
        except OSError:  # it is not there, or can't be looked at
            return None

    def known_inputs(self, field: str) -> dict[str, tuple[str, int]]:
        """(sha256, bytes) of the files the field was made of when they were last read, by slot."""
        entries = _read_json(self._input_cache(field))
        return {slot: (str(entry["sha256"]), int(entry["identity"][1])) for slot, entry in entries.items()}

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
