"""The page's part on run time and memory: what the units that the campaign now consists of have cost, stage by stage.

Read off the records in OUTPUT/logs, line by line: 10,000 fields of six stages are some 25 MiB while this part is made. Records of
units that are no longer part of the campaign (another config, another input) don't count.
"""

import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from smlmbatch.analyse.tables import legible
from smlmbatch.hpc.records import UnitRecord, read_records
from smlmbatch.report.page import Markup, breakable, element, join, table
from smlmbatch.report.wording import NONE, count, counted, number
from smlmbatch.stages import FIELD_STAGES
from smlmbatch.store.attempts import UnitKey
from smlmbatch.work import Campaign

_MOST_FIELDS = 5  # of those that took longest
_HOURS_SHOWN = 72  # beyond, days are easier to grasp


@dataclass(frozen=True, slots=True)
class CurrentRecords:
    """Records of the units that a campaign consists of.

    Attributes
    ----------
    made : by stage in the pipeline's order, then by the field's key: the last record of the published unit
    dropped : by stage: units made although an equal one was there already
    units : by stage: units that there are, recorded or not
    """

    made: Mapping[str, dict[str, UnitRecord]] = field(default_factory=lambda: {stage.name: {} for stage in FIELD_STAGES})
    dropped: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)

    def all(self) -> list[UnitRecord]:
        return [record for records in self.made.values() for record in records.values()]


def current_records(campaign: Campaign) -> CurrentRecords:
    """Go through `OUTPUT/logs` once and keep what tells of units that the campaign still consists of."""
    names = {result.field.key: {stage: path.name for stage, path in result.units.items()} for result in campaign.fields}
    found = CurrentRecords(units=Counter(stage for units in names.values() for stage in units))
    for record in read_records(campaign.output / "logs"):
        name = names.get(record.field, {}).get(record.stage)
        if name is None or UnitKey(record.field, record.stage, record.fingerprint).unit_name != name:
            continue
        if not record.published:
            found.dropped[record.stage] += 1
            continue
        known = found.made[record.stage].get(record.field)
        if known is None or record.started >= known.started:
            found.made[record.stage][record.field] = _lean(record)
    return found


def _lean(record: UnitRecord) -> UnitRecord:
    """The record without what is not needed any more, words that many share held once: half of the memory."""
    return UnitRecord(
        field=record.field,
        stage=sys.intern(record.stage),
        locs=record.locs,
        started=record.started,
        wall_s=record.wall_s,
        cpu_s=record.cpu_s,
        peak_mib=record.peak_mib,
        memory_mib=record.memory_mib,
        host=sys.intern(record.host),
        job=sys.intern(record.job),
        task=record.task,
        submission=sys.intern(record.submission),
    )


# ---- the page


def show_costs(campaign: Campaign) -> Markup:
    """One row per stage; below, what was made twice or in a second try, and the fields that took longest."""
    found = current_records(campaign)
    records = found.all()
    if not records:
        why = "logs/ holds no record of the finished units" if found.units else "no field got through a stage"
        return element("p", f"Nothing is known of run time and memory: {why}.")
    said = (_missing(found), _dropped(found), _smaller(records), _longest(campaign, records))
    return join([_intro(records), _table(found), *(element("p", text) for text in said if text)])


def _intro(records: Sequence[UnitRecord]) -> Markup:
    cpu = duration(sum(record.cpu_s for record in records))
    return element(
        "p",
        f"{counted(len(records), 'unit')} of work (one stage of one field each) took {cpu} of CPU time ({_makers(records)}). "
        "These are the units behind the results, whether the last run made them or an earlier one.",
    )


# Title, how to show it of one stage's records. The stage's name stands before these.
_COLUMNS: tuple[tuple[str, Callable[[Sequence[UnitRecord]], str]], ...] = (
    ("Units", lambda records: count(len(records))),
    ("Localisations", lambda records: count(sum(r.locs for r in records))),
    ("Total CPU time", lambda records: duration(sum(r.cpu_s for r in records))),
    ("Median unit", lambda records: duration(statistics.median(r.wall_s for r in records))),
    ("Longest unit", lambda records: duration(max(r.wall_s for r in records))),
    ("Localisations per CPU second", lambda records: _rate(records)),
    ("Most memory", lambda records: _mib(max(r.peak_mib for r in records))),
    ("Made by", lambda records: _makers(records)),
)


_HOW = "Median and longest unit: time by the clock. Most memory: the largest amount that one process held. Results depend on none of these."


def _table(found: CurrentRecords) -> Markup:
    body = [
        [element("b", stage), *(show(list(records.values())) for _, show in _COLUMNS)] for stage, records in found.made.items() if records
    ]
    costs = table(["Stage", *(title for title, _ in _COLUMNS)], body, numeric=range(1, len(_COLUMNS) + 1))
    return join([costs, element("p", _HOW, class_="note")])


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(0.0414), duration(414), duration(41_400), duration(414_000)
    ('0.041\u202fs', '6.9\u202fmin', '12\u202fh', '4.8\u202fd')
    """
    for limit, unit_s, unit in ((60, 1, "s"), (3600, 60, "min"), (_HOURS_SHOWN * 3600, 3600, "h")):
        if seconds < limit:
            return f"{number(seconds / unit_s, digits=2)}\u202f{unit}"
    return f"{number(seconds / 86400, digits=2)}\u202fd"


def _mib(mib: int) -> str:
    return f"{count(mib)}\u202fMiB"


def _rate(records: Sequence[UnitRecord]) -> str:
    cpu_s = sum(record.cpu_s for record in records)
    return number(float(f"{sum(record.locs for record in records) / cpu_s:.3g}")) if cpu_s else NONE


def _makers(records: Sequence[UnitRecord]) -> str:
    """How many hosts, and jobs where there were any: each task of an array is a job."""
    hosts, jobs = {r.host for r in records}, {(r.job, r.task) for r in records if r.job}
    return (f"{counted(len(jobs), 'job')} on " if jobs else "") + counted(len(hosts), "host")


def _missing(found: CurrentRecords) -> str:
    missing = found.units - Counter({stage: len(records) for stage, records in found.made.items()})
    if not missing:
        return ""
    n, total = missing.total(), found.units.total()
    verbs = ("has", "is") if n == 1 else ("have", "are")
    return f"{count(n)} of {counted(total, 'unit')} {verbs[0]} no record in logs/ and {verbs[1]} not counted ({_by_stage(missing)})."


def _dropped(found: CurrentRecords) -> str:
    if not found.dropped:
        return ""
    n = found.dropped.total()
    was, copies = ("was", "the copy was") if n == 1 else ("were", "the copies were")
    return (
        f"{counted(n, 'unit')} {was} made twice, by two processes at once ({_by_stage(found.dropped)}): {copies} found equal and dropped."
    )


def _smaller(records: Sequence[UnitRecord]) -> str:
    """Who gets more than one try gets less memory with each; without a cause, all of one submission get the same."""
    most: dict[tuple[str, str], int] = defaultdict(int)
    for record in records:
        group = record.submission, record.stage
        most[group] = max(most[group], record.memory_mib)
    fewer = Counter(record.stage for record in records if record.memory_mib < most[record.submission, record.stage])
    if not fewer:
        return ""
    n = fewer.total()
    was = "was" if n == 1 else "were"
    return (
        f"{counted(n, 'unit')} ran out of memory or {was} killed at first, and {was} made with smaller blocks ({_by_stage(fewer)}); "
        "this changes no result."
    )


def _by_stage(counts: Counter[str]) -> str:
    return ", ".join(f"{stage.name} {count(counts[stage.name])}" for stage in FIELD_STAGES if counts[stage.name])


def _longest(campaign: Campaign, records: Sequence[UnitRecord]) -> Markup | str:
    """The fields that took longest, all stages together; nothing to choose from where there is one only."""
    wall_s: dict[str, float] = defaultdict(float)
    peak_mib: dict[str, int] = defaultdict(int)
    for record in records:
        wall_s[record.field] += record.wall_s
        peak_mib[record.field] = max(peak_mib[record.field], record.peak_mib)
    if len(wall_s) < 2:
        return ""
    slowest = sorted(wall_s, key=lambda key: (-wall_s[key], key))[:_MOST_FIELDS]
    paths = {result.field.key: legible(result.field.path) for result in campaign.fields}
    parts = [part for key in slowest for part in (", ", breakable(paths[key]), f" ({duration(wall_s[key])}, {_mib(peak_mib[key])})")]
    return join(["Fields that took longest, all stages together: ", *parts[1:], "."])
