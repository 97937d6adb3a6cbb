"""Two campaigns held against each other, unit by unit and table by table: what is the same, what differs, and why.

"There" is the one held against (the older one), "here" the one asked about. Fields are matched by their path relative to INPUT.
Results count, not fingerprints: where another setting left a result as it was, that is "same result" and as good as equal.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smlmbatch.against.current import Standing, Unit, look_at
from smlmbatch.against.reasons import Reason, changes, why
from smlmbatch.campaign import Plan
from smlmbatch.ordering import CAMPAIGN
from smlmbatch.samples import Field
from smlmbatch.stages import FIELD_STAGES
from smlmbatch.upkeep import TABLES, check_table, set_digest

State = Literal["same", "same result", "differs", "not reproducible", "damaged", "only here", "only there"]
STATES: tuple[State, ...] = ("same", "same result", "differs", "not reproducible", "damaged", "only here", "only there")
_EQUAL = ("same", "same result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A unit or a table in both campaigns; `field` is the field's path, "" for a table; `stage` a stage or the table's file."""

    field: str
    stage: str
    state: State
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """All members of both digest sets.

    Attributes
    ----------
    digest, digest_there : over the whole set, as `verify` prints it
    outdated : units here that this version would make anew
    """

    members: tuple[Member, ...]
    digest: str
    digest_there: str
    outdated: int

    @property
    def equal(self) -> bool:
        return all(member.state in _EQUAL for member in self.members)

    def counts(self) -> dict[str, Counter[State]]:
        """Number of members by stage (tables by file) and state."""
        counts: dict[str, Counter[State]] = {}
        for member in self.members:
            counts.setdefault(member.stage, Counter())[member.state] += 1
        return counts

    def by_reason(self) -> dict[Reason, list[Member]]:
        """Members by reason (without its details), the commonest kinds of change first as they stand in the pipeline."""
        grouped: dict[Reason, list[Member]] = {}
        for member in self.members:
            for reason in member.reasons:
                grouped.setdefault(dataclasses.replace(reason, detail=""), []).append(member)
        return grouped


def compare(here_plan: Plan, there_plan: Plan) -> Difference:
    """Recompute the digests of both campaigns and say what differs and why."""
    here, there = look_at(here_plan), look_at(there_plan)
    units = tuple(_units(here, there))
    tables = tuple(_tables(here, there, units_equal=all(member.state in _EQUAL for member in units)))
    return Difference(
        members=units + tables,
        digest=_digest(here),
        digest_there=_digest(there),
        outdated=sum(unit.outdated for units in here.units.values() for unit in units.values()),
    )


def _digest(standing: Standing) -> str:
    """What `verify` prints of it."""
    return set_digest(standing.members() | {name: check_table(standing.plan.output / name)[0] for name in TABLES})


# ---- units


def _units(here: Standing, there: Standing) -> Iterator[Member]:
    order = [stage.name for stage in FIELD_STAGES]
    for key in sorted(here.outcomes.keys() | there.outcomes.keys()):
        ours, theirs = here.units.get(key, {}), there.units.get(key, {})
        path = (here.outcomes.get(key) or there.outcomes[key]).field.path
        for stage in sorted(ours.keys() | theirs.keys(), key=lambda name: (order.index(name) if name in order else len(order), name)):
            yield _member(path, key, stage, here, there)
    for stage in sorted(here.units.get(CAMPAIGN, {}).keys() | there.units.get(CAMPAIGN, {}).keys()):
        found = _member(CAMPAIGN, CAMPAIGN, stage, here, there)
        yield dataclasses.replace(found, field=f"{CAMPAIGN}, {stage}", stage=stage.split()[0])


def _member(path: str, key: str, stage: str, here: Standing, there: Standing) -> Member:
    ours, theirs = here.units.get(key, {}), there.units.get(key, {})
    one, other = ours.get(stage), theirs.get(stage)
    if one is None or other is None:
        state: State = "only here" if other is None else "only there"
        return Member(field=path, stage=stage, state=state, reasons=(_why_missing(key, here, there, there_lacks=other is None),))
    damage = [Reason("damaged", f"{where}: {problem}") for where, problem in (("here", one.problem), ("there", other.problem)) if problem]
    if damage:
        return Member(field=path, stage=stage, state="damaged", reasons=tuple(damage))
    if one.digest == other.digest and one.fingerprint == other.fingerprint:
        return Member(field=path, stage=stage, state="same")
    reasons = why(other, one, _stages(theirs), _stages(ours))
    if one.fingerprint == other.fingerprint:
        return Member(field=path, stage=stage, state="not reproducible", reasons=reasons)
    return Member(field=path, stage=stage, state="same result" if one.digest == other.digest else "differs", reasons=reasons)


def _stages(units: Mapping[str, Unit]) -> dict[str, str]:
    return {unit.fingerprint: unit.stage for unit in units.values()}


def _why_missing(key: str, here: Standing, there: Standing, *, there_lacks: bool) -> Reason:
    """Why a campaign has no unit that the other has."""
    lacking, having, where = (there, here, "there") if there_lacks else (here, there, "here")
    outcome = lacking.outcomes.get(key)
    if key == CAMPAIGN:
        return Reason("unfinished", f"not made {where}")
    if outcome is None:
        content = having.outcomes[key].source_sha256
        twins = [other.field.path for other in lacking.outcomes.values() if content and other.source_sha256 == content]
        return Reason("field", f"not in samples.csv {where}", f"the same content as {twins[0]}" if twins else "")
    if outcome.failure is not None:
        return Reason("failed", f"failed {where}", f"{outcome.failure.stage}: {outcome.failure.finding}")
    return Reason("unfinished", f"not made {where}")


# ---- tables


def _tables(here: Standing, there: Standing, *, units_equal: bool) -> Iterator[Member]:
    ours, theirs = _table_digests(here.plan), _table_digests(there.plan)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            state: State = "only here" if name in ours else "only there"
            yield Member(field="", stage=name, state=state, reasons=(Reason("tables", f"{name} is in one only"),))
        elif "unreadable" in (ours[name], theirs[name]):
            yield Member(field="", stage=name, state="damaged", reasons=(Reason("damaged", f"{name} can't be read"),))
        elif ours[name] == theirs[name]:
            yield Member(field="", stage=name, state="same")
        else:
            reasons = tuple(_why_tables(name, here.plan, there.plan, units_equal=units_equal))
            yield Member(field="", stage=name, state="differs", reasons=reasons)


def _table_digests(plan: Plan) -> dict[str, str]:
    """Of every table that is there: another version may have others."""
    return {f"tables/{path.name}": check_table(path)[0] for path in sorted((plan.output / "tables").glob("*.parquet"))}


def _why_tables(name: str, here: Plan, there: Plan, *, units_equal: bool) -> Iterator[Reason]:
    """Labels, settings that only tables depend on, columns; and the units, if these differ."""
    found = [*_of_labels(here, there), *_of_settings(here, there), *_of_columns(here.output / name, there.output / name)]
    yield from found
    if not units_equal:
        yield Reason("tables", "made of other units, named above")
    elif not found:
        yield Reason("unknown", "made of equal units, labels and settings: other software, or please report it")


def _of_labels(here: Plan, there: Plan) -> Iterator[Reason]:
    known = {field.key: field for field in there.fields}
    changed: dict[str, list[str]] = {}
    for field in (field for field in here.fields if field.key in known):
        for key, old, new in changes(_labels(known[field.key]), _labels(field)):
            changed.setdefault(f"{key}: {old} → {new}", []).append(field.path)
    for text, paths in changed.items():
        yield Reason("labels", text, f"{len(paths)} fields, the first {paths[0]}")


def _labels(field: Field) -> dict[str, str]:
    plain = {"field": field.name, "condition": field.condition, "replicate": field.replicate, "batch": field.batch}
    return plain | {f"label_{name}": text for name, text in field.labels}


def _of_settings(here: Plan, there: Plan) -> Iterator[Reason]:
    """Settings that no unit depends on; the others are told at the units."""
    of_units = {section for stage in FIELD_STAGES for section in (*stage.sections, *stage.settings(here.config))} | {"order"}
    for section in (field.name for field in dataclasses.fields(here.config) if field.name not in of_units):
        old, new = (dataclasses.asdict(getattr(plan.config, section)) for plan in (there, here))
        for key, before, now in changes(old, new):
            yield Reason("settings", f"{section}.{key}: {before} → {now}")


def _of_columns(here: Path, there: Path) -> Iterator[Reason]:
    import pyarrow.parquet as pq

    ours, theirs = ({field.name: str(field.type) for field in pq.read_schema(path)} for path in (here, there))
    for key, before, now in changes(theirs, ours):
        yield Reason("columns", f"{key}: {before} → {now}")


def to_json(difference: Difference) -> dict[str, Any]:
    """For machines: counts, and every member that is not the same with its reasons."""
    return {
        "equal": difference.equal,
        "digest": difference.digest,
        "digest_there": difference.digest_there,
        "outdated": difference.outdated,
        "counts": {stage: dict(counts) for stage, counts in difference.counts().items()},
        "members": [dataclasses.asdict(member) for member in difference.members if member.state != "same"],
    }
