"""Runs a planned campaign: its fields through their stages, then tables, report and failed.csv.

Knows nothing of how a stage works or where units run (`engine`, `hpc.pool`); talks through a callback.
"""

import csv
import dataclasses
import io
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smlmbatch.analyse.fingerprint import tables_fingerprint
from smlmbatch.campaign import FAILED, Plan
from smlmbatch.engine import FieldOutcome, FieldTask, inspect_field, process_field, stands
from smlmbatch.hpc.child import WorkerDied
from smlmbatch.hpc.place import Place
from smlmbatch.hpc.pool import map_units
from smlmbatch.hpc.records import UnitLog
from smlmbatch.provenance import fingerprint, software
from smlmbatch.report.fingerprint import report_fingerprint
from smlmbatch.stages import FIELD_STAGES
from smlmbatch.store.attempts import Errand, UnitKey, sweep_scratch
from smlmbatch.store.units import Failure, failure_of_error, write_whole
from smlmbatch.work import Campaign, FieldResult

ALL_STAGES = tuple(stage.name for stage in FIELD_STAGES)
_TABLES_VERSION = 1
_REPORT_VERSION = 3
_CIRCUMSTANCES = {"attempt": "", "tries": 0, "submission": "", "memory_mib": 0, "lost": False}  # of a failure, not its substance
Talk = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run; nothing here may change a result.

    Attributes
    ----------
    part : (i, n), 1-based: take every n-th field of samples.csv from the i-th on
    workers, scheduler : see `hpc.pool.map_units`
    memory_bytes : what one process should stay within
    scratch : folder for spill files; None = inside OUTPUT
    place : where this process stands among the processes of a job
    begun : when this process began, seconds since 1970; 0 = now
    submission : what this run is part of (a folder's name under OUTPUT/jobs); "" = only of itself
    """

    stages: tuple[str, ...] = ALL_STAGES
    part: tuple[int, int] = (1, 1)
    workers: int = 1
    scheduler: str = ""
    memory_bytes: int = 2 << 30
    scratch: Path | None = None
    place: Place = field(default_factory=Place)
    submission: str = ""
    begun: float = 0.0
    check_inputs: bool = False
    retry_failed: bool = False


def field_tasks(plan: Plan, options: RunOptions) -> list[FieldTask]:
    """One task per field of the part, in the order of samples.csv."""
    first, n = options.part
    begun = options.begun or time.time()
    return [
        FieldTask(
            field=planned,
            root=plan.root,
            store=plan.store.root,
            config=plan.config,
            stages=options.stages,
            memory_bytes=options.memory_bytes,
            scratch=options.scratch,
            place=options.place,
            submission=options.submission,
            begun=begun,
            check_inputs=options.check_inputs,
            retry_failed=options.retry_failed,
        )
        for planned in plan.fields[first - 1 :: n]
    ]


def run_fields(plan: Plan, options: RunOptions, talk: Talk) -> list[FieldOutcome]:
    """Bring the part's fields through the wanted stages; fresh units are passed over after the cut.

    What failed for want of memory, or was killed, is tried once more with smaller blocks when all else is done.
    """
    options = options if options.submission else replace(options, submission=f"run-{secrets.token_hex(4)}")
    if options.scratch is not None:
        sweep_scratch(options.scratch)
    for death in plan.store.sweep(options.place, scratch=options.scratch):
        talk(f"left unfinished by an earlier process: {death.stage} of {death.field}: {death.finding}")
    tasks = field_tasks(plan, options)
    standing = {task.field.key: inspect_field(task) for task in tasks}
    todo = [task for task in tasks if options.check_inputs or not _is_settled(plan, task, standing[task.field.key], options)]
    _tell_progress(tasks, todo, standing, talk)
    log = UnitLog(plan.output / "logs")
    for smaller in (False, True):
        counter = _Counter(len(todo))
        for task, outcome in _work(plan, todo, options):
            _log_outcome(log, outcome)
            _report_outcome(outcome, counter.next(), talk)
            standing[task.field.key] = outcome
        todo = [task for task in todo if not smaller and _deserves_another_try(standing[task.field.key], task)]
        if todo:
            talk(f"fields to try once more, with smaller blocks: {len(todo)}")
    return list(standing.values())


def _work(plan: Plan, todo: Sequence[FieldTask], options: RunOptions) -> Iterator[tuple[FieldTask, FieldOutcome]]:
    """Process the fields wherever they are to run; what comes back is how far each came."""
    with ExitStack() as stack:
        scratch = options.scratch or plan.output
        if todo and options.scheduler:  # Dask's files lie in an attempt of the run's own, swept like any other
            scratch = stack.enter_context(plan.store.attempt(Errand(submission=options.submission, place=options.place))).folder
        deaths: dict[str, Failure] = {}
        for task, result in map_units(process_field, todo, workers=options.workers, scheduler=options.scheduler, scratch=scratch):
            yield task, _died(plan, task, result, options, deaths) if isinstance(result, BaseException) else result


def _deserves_another_try(outcome: FieldOutcome, task: FieldTask) -> bool:
    failure = outcome.failure
    return failure is not None and failure.starved and failure.submission == task.submission and not failure.given_up(task.submission)


def _tell_progress(tasks: Sequence[FieldTask], todo: Sequence[FieldTask], standing: Mapping[str, FieldOutcome], talk: Talk) -> None:
    """How much is to do; and what is passed over because a stage before it failed, by name."""
    talk(f"{len(tasks) - len(todo)} of {len(tasks)} fields are done, {len(todo)} to do")
    busy = {task.field.key for task in todo}
    for task in tasks:
        failure = standing[task.field.key].failure
        if failure is not None and task.field.key not in busy:
            talk(f"skipped  {failure.field}: {failure.stage} failed: {failure.path!r}: {failure.finding}")


def _is_settled(plan: Plan, task: FieldTask, outcome: FieldOutcome, options: RunOptions) -> bool:
    """Whether nothing is left to do: all wanted units fresh, or a failure that stands."""
    if outcome.failure is not None:
        return bool(outcome.keys) and stands(outcome.failure, task)
    return bool(outcome.keys) and outcome.fresh.issuperset(task.stages)


def _died(plan: Plan, task: FieldTask, error: BaseException, options: RunOptions, deaths: dict[str, Failure]) -> FieldOutcome:
    """The outcome of a field whose process did not come back: its attempt tells which unit it was at, and its memory.

    `deaths` holds what was found so far and not asked for: of two that die at once, one finds the attempts of both.
    """
    manner, for_memory = (error.manner, error.for_memory) if isinstance(error, WorkerDied) else (f"ended: {error}", False)
    found = plan.store.sweep(options.place, scratch=options.scratch, manner=manner, for_memory=for_memory)
    deaths |= {death.field: death for death in found}
    before = inspect_field(task)
    failure = deaths.pop(task.field.key, None)
    if failure is None and before.failure is not None and isinstance(error, WorkerDied) and f"-{error.pid}-" in before.failure.attempt:
        failure = before.failure  # another process on this machine swept it first
    if failure is None:
        missing = [key for stage, key in before.keys.items() if stage not in before.fresh]
        key = missing[0] if missing else UnitKey(task.field.key, FIELD_STAGES[0].name, "0" * 64)
        failure = failure_of_error(key, error, path=task.field.path, attempt="")
        memory_mib = task.memory_bytes >> 20
        failure = plan.store.record_failure(replace(failure, submission=task.submission, starved=True, memory_mib=memory_mib))
    return replace(before, failure=failure, trace=repr(error))


class _Counter:
    """[3/40] and so on."""

    def __init__(self, n: int) -> None:
        self._count, self._n = 0, n

    def next(self) -> str:
        self._count += 1
        return f"[{self._count}/{self._n}]"


def _report_outcome(outcome: FieldOutcome, counter: str, talk: Talk) -> None:
    for unit in outcome.made:
        talk(f"{counter} {unit.stage:<8} {unit.field}  {unit.rows:,} rows  {unit.wall_s:.2f} s  peak {unit.peak_mib} MiB")
    if outcome.failure is not None:
        failure = outcome.failure
        talk(f"{counter} FAILED   {failure.field} ({failure.stage}): {failure.path!r}: {failure.finding}")


def _log_outcome(log: UnitLog, outcome: FieldOutcome) -> None:
    entries: list[dict[str, Any]] = [dataclasses.asdict(unit) for unit in outcome.made]
    if outcome.failure is not None:
        entries.append({"failure": dataclasses.asdict(outcome.failure), "trace": outcome.trace})
    log.write(*entries)


# ---- the campaign's end


def collect(plan: Plan, outcomes: Sequence[FieldOutcome]) -> Campaign:
    """What analyse and report look at: published units and failures of every field."""
    results = []
    for outcome in outcomes:
        units = {name: plan.store.unit_path(key) for name, key in outcome.keys.items() if name in outcome.fresh}
        results.append(FieldResult(field=outcome.field, units=units, failure=outcome.failure))
    return Campaign(output=plan.output, config=plan.config, fields=tuple(results), ignored=plan.ignored)


def finish(plan: Plan, outcomes: Sequence[FieldOutcome], talk: Talk) -> Campaign:
    """Write tables, report and failed.csv of what there is; what is up to date stays untouched."""
    campaign = collect(plan, outcomes)
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    _write_failed(plan.output / FAILED, failures)
    _warn_of_twins(outcomes, talk)
    state = [[_labels(outcome), _unit_state(outcome)] for outcome in outcomes]
    tables = fingerprint(version=_TABLES_VERSION, fields=state)
    page = fingerprint(
        version=_REPORT_VERSION,
        tables=tables,
        failures=[dataclasses.asdict(f) | _CIRCUMSTANCES for f in failures],
        ignored=list(plan.ignored),
        config=dataclasses.asdict(plan.config),
    )
    if tables_fingerprint(plan.output) != tables:
        from smlmbatch.analyse.tables import write_tables

        write_tables(campaign, fingerprint=tables)
        talk(f"tables   {plan.output / 'tables'}")
    if report_fingerprint(plan.output) != page:
        from smlmbatch.report.html import write_report

        write_report(campaign, fingerprint=page, input_name=plan.root.name, software=software(), run=_run_facts(outcomes))
    return campaign


def _warn_of_twins(outcomes: Sequence[FieldOutcome], talk: Talk) -> None:
    """Two files of equal content are one measurement counted twice."""
    first: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.source_sha256:
            other = first.setdefault(outcome.source_sha256, outcome.field.path)
            if other != outcome.field.path:
                talk(f"warning: {outcome.field.path} has the same content as {other}")


def _labels(outcome: FieldOutcome) -> list[object]:
    field = outcome.field
    return [
        field.key,
        field.path,
        field.format,
        field.name,
        field.condition,
        field.replicate,
        field.batch,
        [list(pair) for pair in field.labels],
    ]


def _unit_state(outcome: FieldOutcome) -> list[object]:
    units = [key.fingerprint if stage in outcome.fresh else "" for stage, key in outcome.keys.items()]
    return [units, outcome.failure.stage if outcome.failure else ""]


def _run_facts(outcomes: Sequence[FieldOutcome]) -> dict[str, object]:
    made = Counter(unit.stage for outcome in outcomes for unit in outcome.made)
    return {"finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "units_made": dict(made)}


_FAILED_COLUMNS = ("field", "path", "stage", "kind", "finding", "want", "mend", "attempt", "fingerprint")


def _write_failed(path: Path, failures: Sequence[Failure]) -> None:
    """`failed.csv`: field, what was found, what was wanted, how to mend it. Always there, empty if all is well."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_FAILED_COLUMNS)
    writer.writerows([getattr(failure, name) for name in _FAILED_COLUMNS] for failure in failures)
    write_whole(path, out.getvalue().encode("utf-8", "surrogateescape"))
