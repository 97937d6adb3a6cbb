"""Runs a planned campaign: its fields through their stages, then tables, report and failed.csv.

Knows nothing of how a stage works or where units run (`engine`, `hpc.pool`); talks through a callback.
"""

import csv
import dataclasses
import io
import secrets
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smlmbatch.analyse.fingerprint import EMBEDDING_NAMES, tables_fingerprint
from smlmbatch.campaign import FAILED, Plan, note_finish
from smlmbatch.engine import FieldOutcome, FieldTask, inspect_field, needed_stages, process_field, stands
from smlmbatch.hpc.child import WorkerDied
from smlmbatch.hpc.place import Place
from smlmbatch.hpc.pool import map_units
from smlmbatch.hpc.records import UnitLog
from smlmbatch.methods.letters import Seat
from smlmbatch.ordering import (
    ORDER,
    REGISTER,
    CampaignTask,
    Made,
    OrderState,
    bins_to_make,
    make_bins,
    make_order,
    order_state,
    order_units,
)
from smlmbatch.provenance import fingerprint, software
from smlmbatch.report.fingerprint import report_fingerprint
from smlmbatch.selection import Selection, choose
from smlmbatch.stages import FIELD_STAGES
from smlmbatch.store.attempts import Errand, UnitKey, sweep_scratch
from smlmbatch.store.units import Failure, failure_of_error, write_whole
from smlmbatch.work import Campaign, FieldResult

ALL_STAGES = tuple(stage.name for stage in FIELD_STAGES)
REPORT = "report"  # the campaign's end, tables included, as --only and --skip call it
_TABLES_VERSION = 7
_EMBEDDINGS_VERSION = 1
_REPORT_VERSION = 9
_EMBEDDED = ("measure", "embed")  # stages whose units the tables of embeddings are made of
_CIRCUMSTANCES = {"attempt": "", "tries": 0, "submission": "", "memory_mib": 0, "lost": False}  # of a failure, not its substance
Talk = Callable[[str], None]
_MOST_NAMED = 20


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
    stages, alone, force : see `engine.FieldTask`
    selection : which fields to work on, chosen after the cut into parts
    stop_on_first_error : begin no further field after the first that fails for good
    keys : work on no fields but these, None = on all that are chosen
    ranks, seat : see `engine.FieldTask`
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
    selection: Selection = field(default_factory=Selection)
    alone: bool = False
    force: bool = False
    stop_on_first_error: bool = False
    keys: frozenset[str] | None = None
    ranks: int = 1
    seat: Seat | None = None


def field_tasks(plan: Plan, options: RunOptions) -> list[FieldTask]:
    """One task per chosen field of the part, in the order of samples.csv.

    Raises
    ------
    ConfigError
        the selection makes no sense, or chooses no field of the campaign
    """
    first, n = options.part
    chosen = choose(plan.fields, options.selection)
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
            alone=options.alone,
            force=options.force,
            ranks=options.ranks,
            seat=options.seat,
        )
        for planned in plan.fields[first - 1 :: n]
        if planned.key in chosen and (options.keys is None or planned.key in options.keys)
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
        counter, stopped = _Counter(len(todo)), False
        with closing(_work(plan, todo, options, talk)) as results:
            for task, outcome in results:
                _log_outcome(log, outcome)
                _report_outcome(outcome, counter.next(), talk)
                standing[task.field.key] = outcome
                final = outcome.failure is not None and (smaller or not _deserves_another_try(outcome, task))
                if options.stop_on_first_error and final:
                    stopped = True
                    break
        if stopped:
            talk(f"stopped at the first failed field; fields not worked on: {counter.left}")
            break
        todo = [task for task in todo if not smaller and _deserves_another_try(standing[task.field.key], task)]
        if todo:
            talk(f"fields to try once more, with smaller blocks: {len(todo)}")
    _tell_waiting(plan, list(standing.values()), options, talk)
    return list(standing.values())


def _work(plan: Plan, todo: Sequence[FieldTask], options: RunOptions, talk: Talk) -> Generator[tuple[FieldTask, FieldOutcome], None, None]:
    """Process the fields wherever they are to run; what comes back is how far each came."""
    with ExitStack() as stack:
        scratch = options.scratch or plan.output
        if todo and options.scheduler:  # Dask's files lie in an attempt of the run's own, swept like any other
            scratch = stack.enter_context(plan.store.attempt(Errand(submission=options.submission, place=options.place))).folder
        deaths: dict[str, Failure] = {}
        needs = [path for path in (plan.root, plan.store.root, options.scratch) if path is not None]
        workers, scheduler = options.workers, options.scheduler
        units = map_units(process_field, todo, workers=workers, scheduler=scheduler, scratch=scratch, needs=needs, talk=talk)
        for task, result in stack.enter_context(closing(units)):
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
            talk(f"skipped  {failure.field}: {failure.stage} failed: {failure.path!r}: {failure.finding}. To mend it: {failure.mend}")


def _tell_waiting(plan: Plan, outcomes: Sequence[FieldOutcome], options: RunOptions, talk: Talk) -> None:
    """Units that were not made because what they rest on was left out and is not there."""
    for stage in (stage for stage in FIELD_STAGES if options.alone and stage.name in options.stages):
        waiting = [o.field.path for o in outcomes if o.failure is None and o.keys and stage.name not in o.fresh]
        left_out = [name for name in stage.rests_on(plan.config) if name not in options.stages]
        for path in waiting[:_MOST_NAMED] if left_out else ():
            talk(f"waits    {path}: {stage.name} needs {' and '.join(left_out)}, left out and not there")
        if left_out and waiting[_MOST_NAMED:]:
            talk(f"waits    and {len(waiting) - _MOST_NAMED} more fields")


def _is_settled(plan: Plan, task: FieldTask, outcome: FieldOutcome, options: RunOptions) -> bool:
    """Whether nothing is left to do: all wanted units fresh, or a failure that stands in a stage that is needed."""
    needed = {stage.name for stage in needed_stages(task)}
    if outcome.failure is not None and outcome.failure.stage in needed:
        return bool(outcome.keys) and stands(outcome.failure, task)
    return bool(outcome.keys) and outcome.fresh.issuperset(task.stages) and not options.force


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

    @property
    def left(self) -> int:
        return self._n - self._count

    def next(self) -> str:
        self._count += 1
        return f"[{self._count}/{self._n}]"


def _report_outcome(outcome: FieldOutcome, counter: str, talk: Talk) -> None:
    for unit in outcome.made:
        talk(
            f"{counter} {unit.stage:<8} {unit.field}  {unit.rows:,} rows  {unit.wall_s:.2f} s  peak {unit.peak_mib} MiB{_AGAIN[unit.again]}"
        )
    if outcome.failure is not None:
        failure = outcome.failure
        what = f"{failure.path!r}: {failure.finding}. To mend it: {failure.mend}"
        talk(f"{counter} FAILED   {failure.field} ({failure.stage}): {what}")


_AGAIN = {
    "": "",
    "same": "  made again: same digest",
    "replaced": "  made again: the published file was damaged and is replaced",
    "differs": "  NOT REPRODUCIBLE: made again, it has another digest; what is published stays",
}


def _log_outcome(log: UnitLog, outcome: FieldOutcome) -> None:
    entries: list[dict[str, Any]] = [dataclasses.asdict(unit) for unit in outcome.made]
    if outcome.failure is not None:
        entries.append({"failure": dataclasses.asdict(outcome.failure), "trace": outcome.trace})
    log.write(*entries)


# ---- the campaign's end


def whole_campaign(plan: Plan, outcomes: Sequence[FieldOutcome], options: RunOptions) -> list[FieldOutcome]:
    """Where every field stands after a run of some fields or stages: of what it didn't work on, the store tells (INPUT may be away)."""
    if not options.selection and not options.alone:
        return list(outcomes)
    ran = {outcome.field.key: outcome for outcome in outcomes}
    whole = []
    for task in field_tasks(plan, RunOptions()):
        outcome = ran.get(task.field.key)
        if outcome is None:
            outcome = inspect_field(task, trust_cache=True)
        elif options.alone and outcome.keys and outcome.failure is None:
            outcome = replace(outcome, failure=inspect_field(task, trust_cache=True).failure)
        whole.append(outcome)
    return whole


def run_order(
    plan: Plan, outcomes: Sequence[FieldOutcome], options: RunOptions, talk: Talk, *, stages: Sequence[str]
) -> tuple[OrderState, int]:
    """Make the units of the whole campaign: its particles in order, and their bins; of these those of the part.

    Returns where they stand, and how many came out otherwise when they were made again.

    Parameters
    ----------
    outcomes : of all fields
    stages : of `ordering.CAMPAIGN_STAGES`, which to make
    """
    options = options if options.submission else replace(options, submission=f"run-{secrets.token_hex(4)}")
    log = UnitLog(plan.output / "logs")
    state = order_state(plan, outcomes)
    if state.order is None or not stages:
        return state, 0
    campaign, unlike = collect(plan, outcomes), 0
    if ORDER in stages:
        for task, made in make_order(plan, campaign, state, outcomes=outcomes, options=options, talk=talk):
            _tell_made(log, task, made, talk, counter="[1/1]")
            unlike += made.record is not None and made.record.again == "differs"
        state = order_state(plan, outcomes)
    if REGISTER in stages:
        to_make = len(bins_to_make(state, options))
        for done, (task, made) in enumerate(make_bins(plan, campaign, state, options=options, talk=talk), start=1):
            _tell_made(log, task, made, talk, counter=f"[{done}/{to_make}]")
            unlike += made.record is not None and made.record.again == "differs"
        state = order_state(plan, outcomes)
    return state, unlike


def _tell_made(log: UnitLog, task: CampaignTask, made: Made, talk: Talk, *, counter: str) -> None:
    """A line for the user and one for the log."""
    what = f"{task.key.stage:<8} {'campaign' if task.bin is None else f'{task.bin.name} bin {task.bin.number}'}"
    if made.record is not None:
        record = made.record
        talk(f"{counter} {what}  {record.rows:,} rows  {record.wall_s:.2f} s  peak {record.peak_mib} MiB{_AGAIN[record.again]}")
        log.write(dataclasses.asdict(record))
    if made.failure is not None:
        talk(f"{counter} FAILED   {what}: {made.failure.finding}. To mend it: {made.failure.mend}")
        log.write({"failure": dataclasses.asdict(made.failure), "trace": made.trace})


def collect(plan: Plan, outcomes: Sequence[FieldOutcome], state: OrderState | None = None) -> Campaign:
    """What analyse and report look at: published units and failures of every field, and of the campaign itself."""
    results = []
    for outcome in outcomes:
        units = {name: plan.store.unit_path(key) for name, key in outcome.keys.items() if name in outcome.fresh}
        results.append(FieldResult(field=outcome.field, units=units, failure=outcome.failure))
    order = order_units(plan, state) if state is not None else None
    return Campaign(output=plan.output, config=plan.config, fields=tuple(results), ignored=plan.ignored, order=order)


def finish(plan: Plan, outcomes: Sequence[FieldOutcome], talk: Talk, *, force: bool = False) -> Campaign:
    """Write tables, report and failed.csv of what there is; what is up to date stays untouched, unless `force`."""
    order = order_state(plan, outcomes)
    campaign = collect(plan, outcomes, order)
    failures = [*(outcome.failure for outcome in outcomes if outcome.failure is not None), *order.failures]
    _write_failed(plan.output / FAILED, failures)
    _warn_of_twins(outcomes, talk)
    tables = _tables_fingerprint(plan, outcomes, order)
    embeddings = _embeddings_fingerprint(plan, outcomes)
    page = fingerprint(
        version=_REPORT_VERSION,
        tables=tables,
        embeddings=embeddings,
        failures=[dataclasses.asdict(f) | _CIRCUMSTANCES for f in failures],
        ignored=list(plan.ignored),
        config=dataclasses.asdict(plan.config),
    )
    if force or tables_fingerprint(plan.output) != tables:
        from smlmbatch.analyse.tables import write_tables

        write_tables(campaign, fingerprint=tables)
        talk(f"tables   {plan.output / 'tables'}")
    if force or tables_fingerprint(plan.output, EMBEDDING_NAMES) != embeddings:
        from smlmbatch.analyse.embeddings import write_embeddings

        n_rois = len(write_embeddings(campaign, fingerprint=embeddings).rois)
        talk(f"embedded {n_rois:,} regions compared  {plan.output / 'tables'}")
    if force or report_fingerprint(plan.output) != page:
        from smlmbatch.report.html import write_report

        write_report(campaign, fingerprint=page, input_name=plan.root.name, software=software(), run=_run_facts(outcomes))
        note_finish(plan.output)
    return campaign


def tables_are_current(plan: Plan, outcomes: Sequence[FieldOutcome]) -> bool:
    """Whether OUTPUT's tables (but those of embeddings) are made of what is in the store now."""
    return tables_fingerprint(plan.output) == _tables_fingerprint(plan, outcomes, order_state(plan, outcomes))


def _tables_fingerprint(plan: Plan, outcomes: Sequence[FieldOutcome], order: OrderState) -> str:
    state = [[_labels(outcome), _unit_state(outcome)] for outcome in outcomes]
    judging = {"compare": dataclasses.asdict(plan.config.compare), "quality": dataclasses.asdict(plan.config.quality)}
    ordered, grouped = sorted(order.fresh), [plan.config.order.groups, plan.config.order.grouped_by, plan.config.order.seed]
    return fingerprint(version=_TABLES_VERSION, fields=state, order=ordered, grouped=grouped, **judging)


def _warn_of_twins(outcomes: Sequence[FieldOutcome], talk: Talk) -> None:
    """Two files of equal content are one measurement counted twice."""
    first: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.source_sha256:
            other = first.setdefault(outcome.source_sha256, outcome.field.path)
            if other != outcome.field.path:
                talk(f"warning: {outcome.field.path} has the same content as {other}")


def _labels(outcome: FieldOutcome) -> list[object]:
    names = ("key", "path", "format", "name", "condition", "replicate", "batch")
    return [*(getattr(outcome.field, name) for name in names), [list(pair) for pair in outcome.field.labels]]


def _unit_state(outcome: FieldOutcome) -> list[object]:
    units = [key.fingerprint if stage in outcome.fresh else "" for stage, key in outcome.keys.items()]
    return [units, outcome.failure.stage if outcome.failure else ""]


def _embeddings_fingerprint(plan: Plan, outcomes: Sequence[FieldOutcome]) -> str:
    """What the tables of embeddings depend on: less than the others, as they take long. Of other stages it counts that they are done."""
    units = [[outcome.keys[name].fingerprint for name in _EMBEDDED if name in outcome.fresh] for outcome in outcomes]
    done = [[len(outcome.fresh), outcome.failure.stage if outcome.failure else ""] for outcome in outcomes]
    state = [list(parts) for parts in zip(map(_labels, outcomes), units, done, strict=True)]
    compared = {name: getattr(plan.config.compare, name) for name in ("conditions", "reference", "periphery_nm")}
    settings = dataclasses.asdict(plan.config.embeddings)
    return fingerprint(version=_EMBEDDINGS_VERSION, fields=state, compare=compared, embeddings=settings)


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
    content = out.getvalue().encode("utf-8", "surrogateescape")
    if not path.is_file() or path.read_bytes() != content:
        write_whole(path, content)
