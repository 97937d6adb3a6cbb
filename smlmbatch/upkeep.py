"""Looking after a campaign: verify (the digest set), clean, inspect. All read off the store.

The digest set is what the promise of "same digest" is about: decoded values and attributes of every current
unit, and the values of the tables. Report, logs and records are outside it.
"""

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smlmbatch.analyse.digest import table_digest
from smlmbatch.analyse.fingerprint import ALL_NAMES
from smlmbatch.campaign import Plan
from smlmbatch.engine import FieldOutcome, inspect_field
from smlmbatch.errors import ConfigError, SmlmbatchError
from smlmbatch.hpc.place import Place
from smlmbatch.methods.chosen import MODELS, ROLES, section_of
from smlmbatch.methods.folders import known_copies
from smlmbatch.ordering import CAMPAIGN, OrderState, member_name, order_state
from smlmbatch.pick.kept import PICKS, unused_copies
from smlmbatch.run import ALL_STAGES, RunOptions, field_tasks
from smlmbatch.store.attempts import STALE_AFTER_S

_CURE = "; `smlmbatch clean --damaged` removes it, then run again"
TABLES = tuple(f"tables/{name}.parquet" for name in ALL_NAMES)


def standing(plan: Plan, *, trust_cache: bool = False) -> list[FieldOutcome]:
    """Where every field stands, from file names and cached hashes alone (see `engine.inspect_field`)."""
    return [inspect_field(task, trust_cache=trust_cache) for task in field_tasks(plan, RunOptions())]


# ---- verify


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verify found: one digest over the whole set, each member's, and the damaged members."""

    digest: str
    members: dict[str, str]
    damaged: dict[str, str]


def verify_campaign(plan: Plan) -> Verdict:
    """Recompute the digest of everything current from its decoded values and compare it with the seal."""
    members: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for name, path in _current_units(plan):
        digest, problem = check_unit(path)
        members[name] = digest
        if problem:
            damaged[name] = problem
    for name in TABLES:
        members[name], problem = check_table(plan.output / name)
        if problem:
            damaged[name] = problem
    damaged |= dict(_missing(plan))
    return Verdict(set_digest(members), members, damaged)


def set_digest(members: Mapping[str, str]) -> str:
    """One digest over the digests of all members (`<field>/<stage>` or a table's path → digest)."""
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(members.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _missing(plan: Plan) -> Iterator[tuple[str, str]]:
    """Units that should be there: of fields that have not failed, all stages."""
    outcomes = standing(plan, trust_cache=True)
    for outcome in outcomes:
        for stage in ALL_STAGES if outcome.failure is None else ():
            if stage not in outcome.fresh:
                yield f"{outcome.field.key}/{stage}", "missing: not made yet, or its input is not known any more; run again"
    state = order_state(plan, outcomes)
    for key in state.undone:
        yield member_name(state, key), "missing: not made yet; run again"


def check_table(path: Path) -> tuple[str, str]:
    """(digest, problem); a table that is not there has the digest "missing", one that can't be read "unreadable"."""
    import pyarrow as pa

    try:
        return table_digest(path), ""
    except FileNotFoundError:
        return "missing", "missing; run again, or `smlmbatch report`"
    except (OSError, pa.ArrowException) as error:
        return "unreadable", f"{type(error).__name__}: {error}{_CURE}"


def _current_units(plan: Plan) -> Iterator[tuple[str, Path]]:
    outcomes = standing(plan, trust_cache=True)
    for outcome in outcomes:
        for stage, key in outcome.keys.items():
            if stage in outcome.fresh:
                yield f"{outcome.field.key}/{stage}", plan.store.unit_path(key)
    yield from campaign_units(plan, order_state(plan, outcomes))


def campaign_units(plan: Plan, state: OrderState) -> Iterator[tuple[str, Path]]:
    """(name among the members, file) of the campaign's own units that are published."""
    for key in state.keys:
        if key.fingerprint in state.fresh:
            yield member_name(state, key), plan.store.unit_path(key)


def check_unit(path: Path) -> tuple[str, str]:
    """(digest, problem); an unreadable unit has the digest "unreadable"."""
    from smlmbatch.store.arrays import UnitReader

    try:
        with UnitReader(path) as unit:
            found = unit.recompute_digest()
            return found, "" if found == unit.digest else f"sealed as {unit.digest[:16]}, holds {found[:16]}{_CURE}"
    except (SmlmbatchError, OSError) as error:
        return "unreadable", str(error)


# ---- clean


@dataclass(frozen=True, slots=True)
class Rubbish:
    """A file or folder that `clean` may remove, and why."""

    path: Path
    reason: str


def find_rubbish(plan: Plan, *, here: Place | None = None, stale_after_s: float = STALE_AFTER_S, damaged: bool = False) -> list[Rubbish]:
    """What nothing needs any more. Units of a field whose source can't be hashed now are left alone."""
    outcomes = standing(plan)
    known = {o.field.key: {k.unit_name.split(".")[0] for k in o.keys.values()} for o in outcomes}
    unsure = {o.field.key for o in outcomes if not o.keys}
    state = order_state(plan, outcomes)
    known[CAMPAIGN] = {key.unit_name.split(".")[0] for key in state.keys}
    unsure |= {CAMPAIGN} if state.waiting else set()
    found = [Rubbish(path, "abandoned attempt") for path in plan.store.abandoned_attempts(here, stale_after_s)]
    for path in plan.store.files():
        field = path.parent.name
        if path.name.endswith(".partial"):
            continue  # below, wherever it lies
        if field not in known:
            found.append(Rubbish(path, "its field is not in samples.csv"))
        elif path.name != "input.json" and field not in unsure and path.name.split(".")[0] not in known[field]:
            found.append(Rubbish(path, "made of other input, settings or version"))
    used = {section_of(plan.config, role).sha256 for role in ROLES}
    unused = {sha256: path for sha256, path in known_copies(plan.output / MODELS).items() if sha256 not in used}
    found += [Rubbish(path, "model of other settings") for path in unused.values()]
    found += [Rubbish(path, "centres of other settings") for path in unused_copies(plan.config.pick, plan.output / PICKS)]
    old = time.time() - stale_after_s  # a younger one may belong to a living run
    partials = [path for path in plan.output.rglob(".*.partial") if _modified(path) < old]
    found += [Rubbish(path, "left by a killed process") for path in partials]
    if damaged:
        found += [Rubbish(path, "damaged") for _, path in _current_units(plan) if check_unit(path)[1]]
        tables = [plan.output / name for name in TABLES]
        found += [Rubbish(path, "damaged") for path in tables if path.exists() and check_table(path)[1]]
    return found


def _modified(path: Path) -> float:
    """Time of the last change; now for what has vanished meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def remove_rubbish(plan: Plan, rubbish: list[Rubbish]) -> int:
    """Remove what was found; returns the bytes freed."""
    import shutil

    freed = 0
    for item in rubbish:
        if item.path.is_dir():
            freed += sum(p.stat().st_size for p in item.path.rglob("*") if p.is_file())
            shutil.rmtree(item.path, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):  # somebody else cleans too
                freed += item.path.stat().st_size
                item.path.unlink()
                if item.path.parent.parent.name == "fields" and not any(item.path.parent.iterdir()):
                    item.path.parent.rmdir()
    return freed


# ---- inspect


def find_field(plan: Plan, wanted: str) -> FieldOutcome:
    """The one field meant by a key, a path or a name.

    Raises
    ------
    ConfigError
        none, or more than one
    """
    fields = [o for o in standing(plan, trust_cache=True) if wanted in (o.field.key, o.field.path, o.field.name)]
    if len(fields) == 1:
        return fields[0]
    known = ", ".join(o.field.key for o in fields) or ", ".join(f.key for f in plan.fields[:10])
    raise ConfigError(f"{wanted!r} names {len(fields)} fields; use a key of samples.csv, such as {known}")


def describe_units(plan: Plan, outcome: FieldOutcome) -> dict[str, Any]:
    """Attributes and arrays (dtype, shape, unit) of a field's published units, JSON-ready."""
    from smlmbatch.store.arrays import UnitReader
    from smlmbatch.store.schema import SCHEMA

    described: dict[str, Any] = {}
    for stage, key in outcome.keys.items():
        if stage not in outcome.fresh:
            continue
        with UnitReader(plan.store.unit_path(key)) as unit:
            arrays = {}
            for name in unit.names():
                array = unit.array(name)
                arrays[name] = {"dtype": str(array.dtype), "shape": list(array.shape), "unit": SCHEMA[stage][name].unit}
            path = str(plan.store.unit_path(key))
            origin = {"made_of": unit.made_of, "made_by": unit.made_by}
            described[stage] = {"file": path, "digest": unit.digest, "attributes": dict(unit.attrs), "arrays": arrays} | origin
    return described
