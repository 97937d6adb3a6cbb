"""Runs a planned campaign: its fields through their stages, then tables, report and failed.csv.

Knows nothing of how a stage works or where units run (`engine`, `hpc.pool`); talks through a callback.
"""

import csv
import dataclasses
import io
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from smlmbatch.analyse.fingerprint import tables_fingerprint
from smlmbatch.campaign import FAILED, Plan
from smlmbatch.engine import FieldOutcome, FieldTask, inspect_field, process_field
from smlmbatch.hpc.pool import map_units
from smlmbatch.provenance import fingerprint, software
from smlmbatch.report.fingerprint import report_fingerprint
from smlmbatch.stages import FIELD_STAGES
from smlmbatch.store.units import Failure, UnitKey, failure_of_error, write_whole
from smlmbatch.work import Campaign, FieldResult

ALL_STAGES = tuple(stage.name for stage in FIELD_STAGES)
_TABLES_VERSION = 1
_REPORT_VERSION = 2
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
    """

    stages: tuple[str, ...] = ALL_STAGES
    part: tuple[int, int] = (1, 1)
    workers: int = 1
    scheduler: str = ""
    memory_bytes: int = 2 << 30
    scratch: Path | None = None
    job: str = ""
    check_inputs: bool = False
    retry_failed: bool = False


def field_tasks(plan: Plan, options: RunOptions) -> list[FieldTask]:
    """One task per field of the part, in the order of samples.csv."""
    first, n = options.part
    return [
        FieldTask(
            field=field,
            root=plan.root,
            store=plan.store.root,
            config=plan.config,
            stages=options.stages,
            memory_bytes=options.memory_bytes,
            scratch=options.scratch,
            job=options.job,
            check_inputs=options.check_inputs,
            retry_failed=options.retry_failed,
        )
        for field in plan.fields[first - 1 :: n]
    ]


def run_fields(plan: Plan, options: RunOptions, talk: Talk) -> list[FieldOutcome]:
    """Bring the part's fields through the wanted stages; fresh units are passed over after the cut."""
    plan.store.sweep()
    tasks = field_tasks(plan, options)
    standing = {task.field.key: inspect_field(task) for task in tasks}
    todo = [task for task in tasks if options.check_inputs or not _is_settled(plan, task, standing[task.field.key], options)]
    talk(f"{len(tasks) - len(todo)} of {len(tasks)} fields are done, {len(todo)} to do")
    if not todo:
        return list(standing.values())
    # an attempt of the run itself: where Dask's workers keep their files, swept like any other
    with _UnitLog(plan.output / "logs") as log, plan.store.attempt(job=options.job) as own:
        results = map_units(process_field, todo, workers=options.workers, scheduler=options.scheduler, scratch=own.folder)
        for number, (task, result) in enumerate(results, start=1):
            outcome = _died(plan, task, result) if isinstance(result, BaseException) else result
            log.write(outcome)
            _report_outcome(outcome, f"[{number}/{len(todo)}]", talk)
            standing[task.field.key] = outcome
    return list(standing.values())


def _is_settled(plan: Plan, task: FieldTask, outcome: FieldOutcome, options: RunOptions) -> bool:
    """Whether nothing is left to do: all wanted units fresh, or an input failure that stands."""
    if outcome.failure is not None:
        return bool(outcome.keys) and outcome.failure.kind == "input" and not options.retry_failed
    return bool(outcome.keys) and all(plan.store.is_fresh(outcome.keys[name]) for name in task.stages)


def _died(plan: Plan, task: FieldTask, error: BaseException) -> FieldOutcome:
    """The outcome of a field whose worker did not come back."""
    before = inspect_field(task)
    missing = [key for key in before.keys.values() if not plan.store.is_fresh(key)]
    key = missing[0] if missing else UnitKey(task.field.key, FIELD_STAGES[0].name, "0" * 64)
    failure = failure_of_error(key, error, path=task.field.path, attempt="")
    plan.store.record_failure(failure)
    return FieldOutcome(task.field, before.keys, (), failure, repr(error))


def _report_outcome(outcome: FieldOutcome, counter: str, talk: Talk) -> None:
    for unit in outcome.made:
        talk(f"{counter} {unit.stage:<8} {unit.field}  {unit.rows:,} rows  {unit.wall_s:.2f} s  peak {unit.peak_mib} MiB")
    if outcome.failure is not None:
        failure = outcome.failure
        talk(f"{counter} FAILED   {failure.field} ({failure.stage}): {failure.path!r}: {failure.finding}")


class _UnitLog:
    """`logs/units-<host>-<pid>.jsonl`: one line per unit made or failed. Made only when there is a line."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"units-{os.uname().nodename}-{os.getpid()}.jsonl"
        self._lines: list[str] = []

    def __enter__(self) -> "_UnitLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self.flush()

    def write(self, outcome: FieldOutcome) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._lines += [json.dumps({"time": now} | dataclasses.asdict(unit)) for unit in outcome.made]
        if outcome.failure is not None:
            self._lines.append(json.dumps({"time": now, "failure": dataclasses.asdict(outcome.failure), "trace": outcome.trace}))
        if len(self._lines) >= 64:
            self.flush()

    def flush(self) -> None:
        if not self._lines:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write("".join(line + "\n" for line in self._lines))
        self._lines = []


# ---- the campaign's end


def collect(plan: Plan, outcomes: Sequence[FieldOutcome]) -> Campaign:
    """What analyse and report look at: published units and failures of every field."""
    results = []
    for outcome in outcomes:
        units = {name: plan.store.unit_path(key) for name, key in outcome.keys.items() if plan.store.is_fresh(key)}
        results.append(FieldResult(field=outcome.field, units=units, failure=outcome.failure))
    return Campaign(output=plan.output, config=plan.config, fields=tuple(results), ignored=plan.ignored)


def finish(plan: Plan, outcomes: Sequence[FieldOutcome], talk: Talk) -> Campaign:
    """Write tables, report and failed.csv of what there is; what is up to date stays untouched."""
    campaign = collect(plan, outcomes)
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    _write_failed(plan.output / FAILED, failures)
    _warn_of_twins(outcomes, talk)
    state = [[_labels(outcome), _unit_state(plan, outcome)] for outcome in outcomes]
    tables = fingerprint(version=_TABLES_VERSION, fields=state)
    page = fingerprint(
        version=_REPORT_VERSION,
        tables=tables,
        failures=[dataclasses.asdict(f) | {"attempt": ""} for f in failures],
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


def _unit_state(plan: Plan, outcome: FieldOutcome) -> list[object]:
    units = [key.fingerprint if plan.store.is_fresh(key) else "" for key in outcome.keys.values()]
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
