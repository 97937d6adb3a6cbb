"""Which units a campaign's results rest on, with what each was made of; also in an OUTPUT that another version made.

By this version's own fingerprints where such units are there. Where they are not (another version had other settings, stages or
result versions) the store is asked what lies there: of a stage's units the one that fits OUTPUT's settings and input as far
as both know them, and the units before it. Units that no longer fit are what `clean` removes, and count for nothing here either.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smlmbatch.campaign import Plan
from smlmbatch.config import Config
from smlmbatch.engine import FieldOutcome
from smlmbatch.ordering import CAMPAIGN, order_state
from smlmbatch.stages import FIELD_STAGES
from smlmbatch.upkeep import campaign_units, check_unit, standing

_SUFFIX = ".zarr.zip"
_SHOWN = 16  # hex digits of a fingerprint in a file name


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A published unit as it was found.

    Attributes
    ----------
    fingerprint : its first 16 hex digits
    digest : of what it really holds; `problem` says why that can't be trusted, "" = all is well
    made_of, made_by : see `store.arrays`; empty where the version that made it didn't keep them
    outdated : this version would make it anew
    """

    stage: str
    path: Path
    fingerprint: str
    digest: str
    problem: str
    made_of: Mapping[str, Any]
    made_by: Mapping[str, str]
    outdated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one campaign stands: its plan, every field's outcome, and its units by field and stage."""

    plan: Plan
    outcomes: Mapping[str, FieldOutcome]
    units: Mapping[str, Mapping[str, Unit]]

    def members(self) -> dict[str, str]:
        """Digest of every unit, named as `verify` names them."""
        return {f"{key}/{unit.stage}": unit.digest for key, units in self.units.items() for unit in units.values()}


def look_at(plan: Plan) -> Standing:
    """Find a campaign's units and recompute the digest of each; reads everything, INPUT need not be there."""
    outcomes = {outcome.field.key: outcome for outcome in standing(plan, trust_cache=True)}
    units = {key: {found.stage: found for found in _units_of(plan, outcome)} for key, outcome in outcomes.items()}
    own = {found.stage: found for found in _campaign_units(plan, list(outcomes.values()))}
    return Standing(plan=plan, outcomes=outcomes, units=units | ({CAMPAIGN: own} if own else {}))


def _campaign_units(plan: Plan, outcomes: list[FieldOutcome]) -> Iterator[Unit]:
    """Those of the whole campaign, of this version alone; a bin's stage is called as its member: register pc1 7."""
    for name, path in campaign_units(plan, order_state(plan, outcomes)):
        yield _read(name.partition("/")[2], path, outdated=False)


def _units_of(plan: Plan, outcome: FieldOutcome) -> Iterator[Unit]:
    folder = plan.store.field_folder(outcome.field.key)
    there: dict[str, list[Path]] = {}
    for name in sorted(plan.store.names(outcome.field.key)):
        if name.endswith(_SUFFIX):
            there.setdefault(name.rpartition("-")[0], []).append(folder / name)
    order = [stage.name for stage in FIELD_STAGES]
    chosen: set[str] = set()
    for stage in sorted(there, key=lambda name: (order.index(name) if name in order else len(order), name)):
        fresh = stage in outcome.fresh
        path = plan.store.unit_path(outcome.keys[stage]) if fresh else _likeliest(there[stage], plan, outcome, chosen)
        if path is not None:
            chosen.add(_fingerprint(path))
            yield _read(stage, path, outdated=not fresh)


def _read(stage: str, path: Path, *, outdated: bool) -> Unit:
    digest, problem = check_unit(path)
    made_of, made_by = _origin(path)
    return Unit(
        stage=stage,
        path=path,
        fingerprint=_fingerprint(path),
        digest=digest,
        problem=problem,
        made_of=made_of,
        made_by=made_by,
        outdated=outdated,
    )


def _origin(path: Path) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    from smlmbatch.errors import SmlmbatchError
    from smlmbatch.store.arrays import origin_of

    try:
        return origin_of(path)
    except SmlmbatchError:  # damaged: `check_unit` has said so
        return {}, {}


def _fingerprint(path: Path) -> str:
    return path.name.removesuffix(_SUFFIX).rpartition("-")[2]


def _likeliest(paths: list[Path], plan: Plan, outcome: FieldOutcome, chosen: set[str]) -> Path | None:
    """The unit among those of one stage that the results of another version rested on; of several the latest version's."""
    origins = {path: _origin(path)[0] for path in paths}
    fitting = [path for path in paths if _fits(origins[path], plan.config, outcome, chosen)]
    return max(fitting, key=lambda path: (origins[path].get("version", 0), path.stat().st_mtime), default=None)


def _fits(made_of: Mapping[str, Any], config: Config, outcome: FieldOutcome, chosen: set[str]) -> bool:
    """Whether a unit fits what is known; of one that doesn't tell nothing is known."""
    if not {fingerprint[:_SHOWN] for fingerprint in made_of.get("upstream", ())} <= chosen:
        return False
    if outcome.source_sha256 and made_of.get("own", {}).get("source", outcome.source_sha256) != outcome.source_sha256:
        return False
    return all(
        getattr(getattr(config, section, None), key, value) == value
        for section, table in made_of.get("config", {}).items()
        for key, value in table.items()
    )
