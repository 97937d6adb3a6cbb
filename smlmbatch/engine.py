"""Works one field through its stages, and a campaign through its fields: the only place that runs stages.

A field's stages run in order in one call, so a worker keeps its files warm; fresh units are passed over.
Whatever goes wrong inside one unit is recorded there and the other fields go on.
"""

import importlib
import resource
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from smlmbatch.config import Config
from smlmbatch.errors import InputError, Interrupted
from smlmbatch.hpc.numerics import pin_caches
from smlmbatch.samples import Field
from smlmbatch.stages import FIELD_STAGES, Inputs, Stage, unit_keys
from smlmbatch.store.units import Attempt, Failure, Store, UnitKey, failure_of_error


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldTask:
    """All a worker needs to bring one field as far as it goes; small and picklable.

    Attributes
    ----------
    root : INPUT folder that paths are relative to
    stages : names of the stages to run; those before them must be fresh or are run too
    retry_failed : try units again whose input failed before
    """

    field: Field
    root: Path
    store: Path
    config: Config
    stages: tuple[str, ...]
    memory_bytes: int
    scratch: Path | None = None
    job: str = ""
    check_inputs: bool = False
    retry_failed: bool = False


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """What one unit cost; a line of `logs/`."""

    field: str
    stage: str
    fingerprint: str
    attempt: str
    rows: int
    wall_s: float
    cpu_s: float
    peak_mib: int
    published: bool


@dataclass(frozen=True, slots=True)
class FieldOutcome:
    """How far a field came: its units' keys, which were made now, and the failure that stopped it.

    `trace` is the traceback of a failure that was not foreseen, for `logs/`.
    """

    field: Field
    keys: Mapping[str, UnitKey]
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
    return (task.root / task.field.path).with_suffix(".yaml") if task.field.format == "picasso" else None


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
    stage, key, attempt_name = FIELD_STAGES[0], unread, ""
    try:
        inputs = read_inputs(task, store)
        store.forget_failure(unread)
        keys = unit_keys(task.field, inputs, task.config)
        for stage in _needed(task.stages):
            key = keys[stage.name]
            if store.is_fresh(key):
                continue
            known = store.failure(key)
            if known is not None and known.kind == "input" and not task.retry_failed:
                return FieldOutcome(task.field, keys, tuple(made), known, source_sha256=inputs.source)
            with store.attempt(job=task.job) as attempt:
                attempt_name = attempt.name
                made.append(_make_unit(task, store, stage, keys, attempt))
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - the one place that keeps a bad field from stopping the batch
        failure = failure_of_error(key, error, path=task.field.path, attempt=attempt_name)
        _try_to_record(store, failure)
        trace = "" if failure.kind == "input" else traceback.format_exc()
        return FieldOutcome(task.field, keys, tuple(made), failure, trace, inputs.source)
    return FieldOutcome(task.field, keys, tuple(made), source_sha256=inputs.source)


def _needed(wanted: Sequence[str]) -> Iterator[Stage]:
    """The wanted stages and all before the last of them, in order."""
    last = max(i for i, stage in enumerate(FIELD_STAGES) if stage.name in wanted)
    yield from FIELD_STAGES[: last + 1]


def _try_to_record(store: Store, failure: Failure) -> None:
    """A full disk may take no record either; the outcome still carries the failure to the end of the run."""
    try:
        store.record_failure(failure)
    except OSError:
        return


def _make_unit(task: FieldTask, store: Store, stage: Stage, keys: Mapping[str, UnitKey], attempt: Attempt) -> UnitRecord:
    from smlmbatch.store.arrays import UnitReader, unit_writer
    from smlmbatch.work import Work

    wall, cpu = time.perf_counter(), time.process_time()
    with ExitStack() as stack:
        upstream = {name: stack.enter_context(UnitReader(store.unit_path(keys[name]))) for name in stage.upstream}
        scratch = stack.enter_context(TemporaryDirectory(dir=task.scratch or attempt.folder, prefix="smlmbatch-"))
        out = stack.enter_context(unit_writer(attempt.unit, stage.name))
        work = Work(
            field=task.field,
            source=task.root / task.field.path,
            outline=task.root / task.field.cell_outline if task.field.cell_outline else None,
            config=task.config,
            upstream=upstream,
            out=out,
            scratch=Path(scratch),
            memory_bytes=task.memory_bytes,
        )
        importlib.import_module(stage.module).run(work)
    published = store.publish(keys[stage.name], attempt)
    return UnitRecord(
        field=task.field.key,
        stage=stage.name,
        fingerprint=keys[stage.name].fingerprint,
        attempt=attempt.name,
        rows=out.rows,
        wall_s=round(time.perf_counter() - wall, 3),
        cpu_s=round(time.process_time() - cpu, 3),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        published=published,
    )


def inspect_field(task: FieldTask, *, trust_cache: bool = False) -> FieldOutcome:
    """Where a field stands, from the store alone: nothing is made, nothing is hashed that the cache doesn't know.

    A field whose source changed or was never hashed has no keys, unless `trust_cache`: then its units are
    those made of the source as it was last seen (INPUT need not be there at all).
    """
    store = Store(task.store)
    unread = store.failure(UnitKey(task.field.key, FIELD_STAGES[0].name, "0" * 64))
    inputs = _cached_inputs(task, store, trust_cache=trust_cache)
    if inputs is None:
        return FieldOutcome(task.field, {}, (), unread)
    keys = unit_keys(task.field, inputs, task.config)
    failures = (store.failure(key) for key in keys.values())
    return FieldOutcome(task.field, keys, (), next((f for f in failures if f is not None), None), source_sha256=inputs.source)


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
