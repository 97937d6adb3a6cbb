"""Works one field through its stages, and a campaign through its fields: the only place that runs stages.

A field's stages run in order in one call, so a worker keeps its files warm; fresh units are passed over.
Whatever goes wrong inside one unit is recorded there and the other fields go on.
"""

import dataclasses
import importlib
import os
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from smlmbatch.config import Config
from smlmbatch.errors import InputError, Interrupted, RankLost, was_asked_to_stop
from smlmbatch.hpc.child import WorkerDied
from smlmbatch.hpc.limits import memory_limit_bytes, peak_bytes, reset_peak
from smlmbatch.hpc.numerics import instructions, pin_caches
from smlmbatch.hpc.place import Place
from smlmbatch.hpc.records import UnitRecord
from smlmbatch.methods.chosen import MODELS
from smlmbatch.methods.letters import Seat
from smlmbatch.pick.kept import PICKS
from smlmbatch.provenance import software
from smlmbatch.samples import Field
from smlmbatch.sharing import is_big, leader_of, open_sources
from smlmbatch.stages import FIELD_STAGES, Inputs, Stage, unit_keys, unit_parts
from smlmbatch.store.attempts import Attempt, Errand, UnitKey, scratch_prefix
from smlmbatch.store.units import Failure, Store, failure_of_error

LEAST_MEMORY_BYTES = 256 << 20  # Python and its libraries alone
_SMALLER = 4  # how much smaller the blocks of a second try are
_OVERRUN_LEAST_S, _OVERRUN_SHARE = 30.0, 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldTask:
    """All a worker needs to bring one field as far as it goes; small and picklable.

    Attributes
    ----------
    root : INPUT folder that paths are relative to
    stages : names of the stages to run; those they rest on must be fresh or are run too
    alone : run the named stages alone; a unit whose upstream is not there is left
    force : make units of the named stages again although they are fresh, and compare
    place, submission : where and on whose behalf this runs, for attempts, failures and logs
    begun : when the run of which this is a part began, seconds since 1970
    retry_failed : try units again whose input failed before
    ranks : leave units to all ranks together that have work enough for so many
    seat : where the ranks sit that share such a unit
    """

    field: Field
    root: Path
    store: Path
    config: Config
    stages: tuple[str, ...]
    memory_bytes: int
    scratch: Path | None = None
    place: Place = dataclasses.field(default_factory=Place)
    submission: str = ""
    begun: float = 0.0
    check_inputs: bool = False
    retry_failed: bool = False
    alone: bool = False
    force: bool = False
    ranks: int = 1
    seat: Seat | None = None


@dataclass(frozen=True, slots=True)
class FieldOutcome:
    """How far a field came: its units' keys, stages whose unit is published, units made now, the failure that stopped it.

    `trace` is the traceback of a failure that was not foreseen, for `logs/`.
    """

    field: Field
    keys: Mapping[str, UnitKey]
    fresh: frozenset[str] = frozenset()
    made: tuple[UnitRecord, ...] = ()
    failure: Failure | None = None
    trace: str = ""
    source_sha256: str = ""


def read_inputs(task: FieldTask, store: Store) -> Inputs:
    """Hashes of the field's files, from the cache where their stat is unchanged.

    Raises
    ------
    InputError
        the source or the outline named in the sample sheet is not there
    """
    field, source = task.field, task.root / task.field.path
    if not source.is_file():
        raise InputError(
            source, "the file is not there", "the file of this field", "put it back, or correct the sample sheet and plan again"
        )
    sidecar = sidecar_of(task)
    return Inputs(
        source=store.input_sha256(field.key, source, check=task.check_inputs),
        sidecar=store.input_sha256(field.key, sidecar, slot="sidecar", check=task.check_inputs) if sidecar and sidecar.is_file() else "",
        outline=_outline_hash(task, store),
    )


def sidecar_of(task: FieldTask) -> Path | None:
    """The file that is read besides the source: Picasso's metadata."""
    name = sidecar_name(task.field)
    return task.root / name if name else None


def sidecar_name(field: Field) -> str:
    """Its path, relative to INPUT; "" where the format has none."""
    return str(Path(field.path).with_suffix(".yaml")) if field.format == "picasso" else ""


def _outline_hash(task: FieldTask, store: Store) -> str:
    if not task.field.cell_outline:
        return ""
    outline = task.root / task.field.cell_outline
    if not outline.is_file():
        want = "the outline that the sample sheet names for this field"
        raise InputError(
            outline, "the cell outline is not there", want, "put it back, or empty that cell of the sample sheet and plan again"
        )
    return store.input_sha256(task.field.key, outline, slot="outline", check=task.check_inputs)


def process_field(task: FieldTask) -> FieldOutcome:
    """Bring one field through the wanted stages; never raises for what is wrong with the field."""
    pin_caches(task.store.parent / ".cache")  # on somebody else's worker this is the first chance
    store = Store(task.store)
    unread = UnitKey(task.field.key, FIELD_STAGES[0].name, "0" * 64)
    keys: Mapping[str, UnitKey] = {}
    made: list[UnitRecord] = []
    inputs = Inputs("")
    stage, key, attempt_name, memory, asked_at = FIELD_STAGES[0], unread, "", task.memory_bytes, time.time()
    try:
        inputs = read_inputs(task, store)
        store.forget_failure(unread)
        keys = unit_keys(task.field, inputs, task.config)
        for stage in needed_stages(task):
            key = keys[stage.name]
            if store.is_fresh(key) and not (task.force and stage.name in task.stages):
                continue
            if not all(store.is_fresh(keys[name]) for name in stage.rests_on(task.config)):
                continue  # stages left out on purpose; `run` says so
            known = store.failure(key)
            if known is not None and stands(known, task):
                return FieldOutcome(task.field, keys, _fresh(store, keys), tuple(made), known, source_sha256=inputs.source)
            if _is_left_to_all(task, store, stage, keys):
                continue
            memory, asked_at = allowed_memory(task.memory_bytes, known), time.time()
            with store.attempt(_errand(task, key, memory)) as attempt:
                attempt_name = attempt.name
                origin = unit_parts(task.field, inputs, task.config)[stage.name]
                made.append(_make_unit(replace(task, memory_bytes=memory), store, stage, keys, attempt, origin))
    except RankLost:
        raise
    except Interrupted:
        _note_overrun(task, store, key, attempt_name, asked_at)
        raise
    except Exception as error:
        if was_asked_to_stop(error):
            _note_overrun(task, store, key, attempt_name, asked_at)
            raise Interrupted(str(error)) from error
        failure = failure_of_error(key, error, path=task.field.path, attempt=attempt_name)
        starved = failure.starved or isinstance(error, WorkerDied)  # that of another rank: smaller blocks do no harm
        failure = replace(failure, submission=task.submission, memory_mib=memory >> 20, starved=starved)
        failure = failure if store.is_fresh(key) else _try_to_record(store, failure)  # made again in vain: what was published stands
        trace = "" if failure.kind == "input" else traceback.format_exc()
        return FieldOutcome(task.field, keys, _fresh(store, keys), tuple(made), failure, trace, inputs.source)
    return FieldOutcome(task.field, keys, _fresh(store, keys), tuple(made), source_sha256=inputs.source)


def _note_overrun(task: FieldTask, store: Store, key: UnitKey, attempt: str, asked_at: float) -> None:
    """Write down a unit that alone filled its job."""
    if attempt and _took_all_the_time(task, asked_at):
        _try_to_record(store, _overrun(task, key, attempt, asked_at))


def _is_left_to_all(task: FieldTask, store: Store, stage: Stage, keys: Mapping[str, UnitKey]) -> bool:
    """Whether a unit is for all ranks together, later."""
    if task.ranks == 1 or not stage.shared:
        return False
    upstream = {name: store.unit_path(keys[name]) for name in stage.rests_on(task.config)}
    with open_sources(task.field, task.config, upstream, store=store.root, memory_bytes=task.memory_bytes, place=task.place) as sources:
        return is_big(stage, sources, ranks=task.ranks)


def stands(failure: Failure, task: FieldTask) -> bool:
    """Whether a failure is final for this task: nothing is tried again."""
    return failure.given_up(task.submission) and not (failure.kind == "input" and task.retry_failed)


def allowed_memory(memory_bytes: int, known: Failure | None) -> int:
    """What a unit may use: less than asked for if it ran out of memory, or was killed, before."""
    return max(LEAST_MEMORY_BYTES, memory_bytes // _SMALLER) if known is not None and known.starved else memory_bytes


def _took_all_the_time(task: FieldTask, since: float) -> bool:
    """Whether one unit alone filled a batch job up to the signal: started again, it would do so for ever."""
    age_s = time.time() - task.begun
    return task.place.job != "" and age_s > _OVERRUN_LEAST_S and time.time() - since > _OVERRUN_SHARE * age_s


def _overrun(task: FieldTask, key: UnitKey, attempt: str, since: float) -> Failure:
    finding = f"not finished when the job was asked to stop, after {time.time() - since:.0f} s"
    want, mend = "a job that lasts longer than its longest unit", "raise `time` of this stage in the site profile, then submit again"
    return Failure(
        key.field, key.stage, key.fingerprint, "resource", task.field.path, finding, want, mend, attempt, submission=task.submission
    )


def _errand(task: FieldTask, key: UnitKey, memory_bytes: int) -> Errand:
    return Errand(
        key=key,
        path=task.field.path,
        memory_mib=memory_bytes >> 20,
        limit_mib=memory_limit_bytes() >> 20,
        submission=task.submission,
        place=task.place,
    )


def needed_stages(task: FieldTask) -> list[Stage]:
    """The wanted stages and, unless they are to run alone, all that they rest on; in order."""
    names = set(task.stages)
    for stage in () if task.alone else reversed(FIELD_STAGES):
        if stage.name in names:
            names.update(stage.rests_on(task.config))
    return [stage for stage in FIELD_STAGES if stage.name in names]


@lru_cache(maxsize=1)
def made_by() -> Mapping[str, str]:
    """Versions and pinned instruction set: what may explain that a result can't be made again elsewhere."""
    return MappingProxyType(software() | {"instructions": instructions()})


def _try_to_record(store: Store, failure: Failure) -> Failure:
    """A full disk may take no record either; the outcome still carries the failure to the end of the run."""
    try:
        return store.record_failure(failure)
    except OSError:
        return failure


def _make_unit(
    task: FieldTask, store: Store, stage: Stage, keys: Mapping[str, UnitKey], attempt: Attempt, origin: Mapping[str, Any]
) -> UnitRecord:
    from smlmbatch.store.arrays import UnitReader, unit_writer
    from smlmbatch.work import OneProcess, Work

    seat = task.seat if stage.shared else None
    team = leader_of(stage, task.field, task.config, keys, seat=seat, memory_bytes=task.memory_bytes) if seat else OneProcess()
    source = task.root / task.field.path
    started, wall, cpu = time.time(), time.perf_counter(), time.process_time()
    reset_peak()
    with ExitStack() as stack:
        upstream = {name: stack.enter_context(UnitReader(store.unit_path(keys[name]))) for name in stage.rests_on(task.config)}
        scratch = stack.enter_context(TemporaryDirectory(dir=task.scratch or attempt.folder, prefix=f"{scratch_prefix()}{attempt.name}-"))
        out = stack.enter_context(unit_writer(attempt.unit, stage.name))
        out.made_of, out.made_by = origin, made_by()
        work = Work(
            field=task.field,
            source=source,
            outline=task.root / task.field.cell_outline if task.field.cell_outline else None,
            config=task.config,
            upstream=upstream,
            out=out,
            scratch=Path(scratch),
            memory_bytes=task.memory_bytes,
            models=task.store.parent / MODELS,
            picks=task.store.parent / PICKS,
            place=task.place,
            team=team,
        )
        importlib.import_module(stage.module).run(work)
    if task.force:
        again = store.publish_again(keys[stage.name], attempt)
        published = again in ("", "replaced")
    else:
        again, published = "", store.publish(keys[stage.name], attempt)
    return record_of(
        keys[stage.name],
        attempt=attempt.name,
        bytes=source.stat().st_size if source.exists() else 0,
        locs=upstream["ingest"].attrs["n"] if "ingest" in upstream else out.rows,
        rows=out.rows,
        started=started,
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
        memory_bytes=task.memory_bytes,
        published=published,
        again=again,
        place=task.place,
        submission=task.submission,
    )


def record_of(key: UnitKey, *, place: Place, memory_bytes: int, **spent: Any) -> UnitRecord:
    """What a unit cost that this process has just made; `spent`: the other values of `UnitRecord`."""
    spent |= {name: round(spent[name], 3) for name in ("started", "wall_s", "cpu_s")}
    return UnitRecord(
        field=key.field,
        stage=key.stage,
        fingerprint=key.fingerprint,
        peak_mib=peak_bytes() >> 20,
        memory_mib=memory_bytes >> 20,
        host=os.uname().nodename,
        job=place.array_job or place.job,
        task=place.task,
        **spent,
    )


def inspect_field(task: FieldTask, *, trust_cache: bool = False) -> FieldOutcome:
    """Where a field stands, from the store alone: nothing is made, nothing is hashed that the cache doesn't know.

    A field whose source changed or was never hashed has no keys, unless `trust_cache`: then its units are
    those made of the source as it was last seen (INPUT need not be there at all).
    """
    store = Store(task.store)
    names = store.names(task.field.key)
    unread = store.failure(UnitKey(task.field.key, FIELD_STAGES[0].name, "0" * 64), names)
    inputs = _cached_inputs(task, store, trust_cache=trust_cache) if names else None
    if inputs is None:
        return FieldOutcome(task.field, {}, failure=unread)
    keys = unit_keys(task.field, inputs, task.config)
    failures = (store.failure(key, names) for key in keys.values())
    return FieldOutcome(
        task.field,
        keys,
        _fresh(store, keys, names),
        failure=next((f for f in failures if f is not None), None),
        source_sha256=inputs.source,
    )


def _fresh(store: Store, keys: Mapping[str, UnitKey], names: frozenset[str] | None = None) -> frozenset[str]:
    """Stages whose current unit is published."""
    if not keys:
        return frozenset()
    names = store.names(next(iter(keys.values())).field) if names is None else names
    return frozenset(stage for stage, key in keys.items() if key.unit_name in names)


def _cached_inputs(task: FieldTask, store: Store, *, trust_cache: bool) -> Inputs | None:
    """Hashes from the cache; None if one that is needed is unknown. Trusted, what is known counts, there or not."""
    files = {"source": task.root / task.field.path, "sidecar": sidecar_of(task)}
    if task.field.cell_outline:
        files["outline"] = task.root / task.field.cell_outline
    hashes = {}
    for slot, path in files.items():
        if path is None:
            continue
        known = store.cached_sha256(task.field.key, path, slot=slot, trust=trust_cache)
        if known is not None:
            hashes[slot] = known
        elif slot == "source" or (not trust_cache and (path.is_file() or slot == "outline")):
            return None
    return Inputs(**hashes)
