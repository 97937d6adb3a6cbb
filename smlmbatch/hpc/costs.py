"""What a unit will cost: seconds and memory, from a field's size. For plans and estimates, never for results.

One straight line per stage, `field + per_mloc x millions of locs`, measured once on simulated fields (`costs.json`, written by
`python -m benchmarks.costs`) and scaled by what the campaign's own records say: another machine, or
another kind of data, is mostly another factor.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from smlmbatch.hpc.records import UnitRecord

_ENOUGH_S = 5.0  # of recorded work before a stage's factor is believed


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """A stage's cost: seconds and MiB of one field, and what every million locs adds; `most_mib` where a stage bounds itself."""

    field_s: float
    mloc_s: float
    base_mib: float
    mloc_mib: float
    most_mib: float = math.inf

    def seconds(self, locs: float) -> float:
        """Wall seconds of a unit on one core."""
        return self.field_s + self.mloc_s * locs / 1e6

    def peak_mib(self, locs: float) -> float:
        """Largest resident memory of the process."""
        return min(self.base_mib + self.mloc_mib * locs / 1e6, self.most_mib)


@dataclass(frozen=True, slots=True)
class Costs:
    """Estimates for one campaign.

    Attributes
    ----------
    stages : cost per stage name; "report" is per campaign, with fields instead of millions of locs
    bytes_per_loc : by format; "" for any other
    known_locs : locs of fields that were ingested before, by field key
    """

    stages: Mapping[str, StageCost]
    bytes_per_loc: Mapping[str, float]
    known_locs: Mapping[str, int]

    def locs(self, field: str, *, format_name: str, size_bytes: int) -> float:
        """Localisations of a field: known, or guessed from the size of its file."""
        if field in self.known_locs:
            return self.known_locs[field]
        return size_bytes / self.bytes_per_loc.get(format_name, self.bytes_per_loc[""])


def default_costs() -> Costs:
    """The shipped measurement."""
    raw = json.loads((files("smlmbatch.hpc") / "costs.json").read_text())
    return Costs({name: StageCost(**cost) for name, cost in raw["stages"].items()}, raw["bytes_per_loc"], {})


def costs_of(records: Iterable[UnitRecord]) -> Costs:
    """The shipped measurement, scaled by a campaign's own records.

    Seconds are scaled by the mean, memory by the hungriest unit: a plan that asks too little memory loses the unit.
    """
    costs = default_costs()
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])  # seconds, expected seconds, memory factor
    known: dict[str, int] = {}
    for record in records:
        known[record.field] = record.locs
        cost = costs.stages.get(record.stage)
        if cost is None or record.wall_s <= 0:
            continue
        entry = spent[record.stage]
        entry[0] += record.wall_s
        entry[1] += cost.seconds(record.locs)
        entry[2] = max(entry[2], record.peak_mib / cost.peak_mib(record.locs))
    stages = {name: _scaled(cost, spent.get(name)) for name, cost in costs.stages.items()}
    return replace(costs, stages=stages, known_locs=known)


def _scaled(cost: StageCost, spent: list[float] | None) -> StageCost:
    if spent is None or spent[0] < _ENOUGH_S:
        return cost
    time, memory = spent[0] / spent[1], spent[2]
    return replace(
        cost, field_s=cost.field_s * time, mloc_s=cost.mloc_s * time, base_mib=cost.base_mib * memory, mloc_mib=cost.mloc_mib * memory
    )


def fit_cost(sizes: Iterable[tuple[float, float, float]]) -> dict[str, Any]:
    """StageCost, as a table for `costs.json`, through (locs, seconds, MiB) of at least two sizes; nothing is negative."""
    points = sorted(sizes)
    (low, low_s, low_mib), (high, high_s, high_mib) = points[0], points[-1]
    mloc_s = max(0.0, (high_s - low_s) / (high - low) * 1e6)
    mloc_mib = max(0.0, (high_mib - low_mib) / (high - low) * 1e6)
    return {
        "field_s": round(max(0.0, low_s - mloc_s * low / 1e6), 3),
        "mloc_s": round(mloc_s, 3),
        "base_mib": round(max(0.0, low_mib - mloc_mib * low / 1e6)),
        "mloc_mib": round(mloc_mib),
    }
