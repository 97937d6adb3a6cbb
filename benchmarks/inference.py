"""How often verdicts are wrong, and how often right: simulated campaigns with and without an effect, through the whole pipeline.

Replicates are one cell of about 10^4 locs each, density varying by 20 % between them: vendor files → ingest → tile → measure →
tables → `compare`. 400 campaigns of 3 against 3 replicates hold no effect; 100 each of 5 against 5, analysed with 3 and with 5 of
them, hold clusters 1.3 times as wide (planted in the radius of the maximum of L(r) - r; clusters so sparse fall apart in DBSCAN)
and 1.5 times the locs. A campaign counts as found if any descriptor "differs" (family-wise).

What is finished stays in a folder beside temporary files until all is, so an interrupted measurement goes on:
python -m benchmarks.inference
"""

import csv
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from smlmbatch.analyse.results import Comparison
from smlmbatch.simulate.cell import SimulateConfig

if TYPE_CHECKING:
    import pyarrow as pa

KEPT = Path(tempfile.gettempdir()) / "smlmbatch-inference"
CHUNK = 25  # campaigns run at a time: a few hundred MB on disk
ALPHA = 0.05


class Scenario(NamedTuple):
    """Campaigns of one kind."""

    campaigns: int
    replicates: tuple[int, ...]  # per condition, each analysed by itself; the last are simulated
    preset: str = "null"
    treated_density: float = 1.0  # times the control's
    planted: str = ""  # descriptor that the effect is planted in
    truth: float = float("nan")  # its ratio, where that is known


SCENARIOS = {
    "null": Scenario(400, (3,)),
    "wider": Scenario(100, (3, 5), preset="wider", planted="ripley_peak_nm"),
    "denser": Scenario(100, (3, 5), treated_density=1.5, planted="density_per_um2", truth=1.5),
}


@dataclass(frozen=True, slots=True)
class MadeUp:
    """One campaign to simulate, and where."""

    scenario: str
    number: int
    folder: Path


def simulate(campaign: MadeUp) -> list[dict[str, str]]:
    """Write a campaign's fields; rows for the sample sheet."""
    from smlmbatch.simulate.blinking import Camera
    from smlmbatch.simulate.cell import simulate_field
    from smlmbatch.simulate.writers import FORMATS

    scenario, camera, rows = SCENARIOS[campaign.scenario], Camera(), []
    seed = 100_000 * list(SCENARIOS).index(campaign.scenario) + campaign.number
    for condition, factor in (("control", 1.0), ("treated", scenario.treated_density)):
        config = SimulateConfig(
            seed=seed,
            conditions=scenario.preset,
            cell_length_um=14.0,
            cell_width_um=12.0,
            density_per_um2=80.0 * factor,
            background_per_um2=2.0,
            variation=0.2,
        )
        for replicate in range(scenario.replicates[-1]):
            made = simulate_field(config, condition=condition, replicate=replicate, field=0, camera=camera)
            path = Path(str(campaign.number)) / f"{condition}{replicate}_locs.hdf5"
            FORMATS["picasso"].write(campaign.folder / path, made.locs, camera, (made.side_nm, made.side_nm))
            names = {"path": path.as_posix(), "condition": condition, "replicate": f"{campaign.number}-{condition}-{replicate}"}
            rows.append(names | {"campaign": str(campaign.number), "number": str(replicate)})
    return rows


def run_chunk(scenario: str, numbers: Sequence[int], folder: Path) -> Path:
    """Simulate and analyse campaigns; the folder of their tables, everything else deleted. Done already: nothing happens."""
    from smlmbatch.analyse.tables import write_tables
    from smlmbatch.campaign import plan_campaign
    from smlmbatch.config import Config
    from smlmbatch.hpc.pool import map_units
    from smlmbatch.run import RunOptions, collect, run_fields

    done = folder / f"{scenario}-{numbers[0]}"
    if (done / "tables").is_dir():
        return done
    shutil.rmtree(done, ignore_errors=True)
    made_up = [MadeUp(scenario, number, done / "input") for number in numbers]
    rows: list[dict[str, str]] = []
    for _, made in map_units(simulate, made_up, workers=2, scheduler="", scratch=done):
        if isinstance(made, BaseException):
            raise made
        rows += made
    with (done / "input" / "samples.csv").open("w", newline="") as sheet:
        writer = csv.DictWriter(sheet, list(rows[0]))
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["path"]))
    plan = plan_campaign(done / "input", done / "output", sheet=done / "input" / "samples.csv", config=Config(), update=False)
    outcomes = run_fields(plan, RunOptions(workers=2), lambda line: None)
    write_tables(collect(plan, outcomes), fingerprint="inference")
    (done / "output" / "tables").rename(done / "tables")
    for name in ("input", "output"):
        shutil.rmtree(done / name)
    return done


def compared(tables: Path, *, replicates: int) -> Iterable[list[Comparison]]:
    """The comparisons of each campaign of a chunk, of the first so many replicates of each condition."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from smlmbatch.analyse.statistics import compare
    from smlmbatch.config import CompareConfig

    fields, rois = (pq.ParquetFile(tables / f"{name}.parquet").read() for name in ("fields", "rois"))
    first = pc.less(pc.cast(fields["label_number"], "int64"), replicates)
    for campaign in sorted(set(fields["label_campaign"].to_pylist()), key=int):
        own = fields.filter(pc.and_(first, pc.equal(fields["label_campaign"], campaign)))
        members: pa.Table = rois.filter(pc.is_in(rois["key"], value_set=own["key"].combine_chunks()))
        yield compare(members, own, config=CompareConfig(alpha=ALPHA), min_locs=50)


def measure_inference(folder: Path) -> dict[str, Any]:
    """All figures by scenario and number of replicates."""
    found: dict[str, Any] = {}
    for name, scenario in SCENARIOS.items():
        chunks = [range(first, min(first + CHUNK, scenario.campaigns)) for first in range(0, scenario.campaigns, CHUNK)]
        done = [run_chunk(name, chunk, folder) for chunk in chunks]
        for n in scenario.replicates:
            families = [family for chunk in done for family in compared(chunk / "tables", replicates=n)]
            found[f"{name}_{n}"] = figures(families, scenario)
    return found


def figures(families: Sequence[Sequence[Comparison]], scenario: Scenario) -> dict[str, Any]:
    """Shares of campaigns.

    Returns
    -------
    campaigns, rois_per_replicate
    any_differs : some descriptor differs (family-wise)
    any_differs_roi : the same of the test on ROIs, with the same correction
    single, single_roi : mean over descriptors of the share with p < 0.05, uncorrected
    coverage : where nothing is planted: effect size → share of 95 % intervals that hold 0 (the ratio: 1), mean over descriptors
    planted_differs, planted_ratio, planted_held : of the descriptor an effect is planted in: share that differs, mean ratio, share
        of the ratio's intervals that hold the truth (the mean ratio over all campaigns where it is not known)
    """
    import numpy as np

    every = [one for family in families for one in family]

    def share(test: Callable[[Comparison], bool], members: Sequence[Comparison] = every) -> float:
        return float(np.mean([test(one) for one in members]))

    found: dict[str, Any] = {
        "campaigns": len(families),
        "rois_per_replicate": float(np.mean([one.n_rois / one.n_replicates for one in every if one.descriptor == "n_locs"])),
        "any_differs": float(np.mean([any(one.verdict == "differs" for one in family) for family in families])),
        "any_differs_roi": float(np.mean([any(one.p_roi_family < ALPHA for one in family) for family in families])),
        "single": share(lambda one: one.p < ALPHA),
        "single_roi": share(lambda one: one.p_roi < ALPHA),
    }
    if not scenario.planted:
        return found | {
            "coverage": {
                "difference": share(lambda one: one.difference_low <= 0 <= one.difference_high),
                "ratio": share(lambda one: one.ratio_low <= 1 <= one.ratio_high),
                "hedges_g": share(lambda one: one.hedges_g_low <= 0 <= one.hedges_g_high),
            }
        }
    members = [one for one in every if one.descriptor == scenario.planted]
    mean = float(np.exp(np.mean([np.log(one.ratio) for one in members])))
    truth = mean if np.isnan(scenario.truth) else scenario.truth
    return found | {
        "planted_differs": share(lambda one: one.verdict == "differs", members),
        "planted_ratio": mean,
        "planted_held": share(lambda one: one.ratio_low <= truth <= one.ratio_high, members),
    }


def measure() -> dict[str, Any]:
    """What `benchmarks.run` asks for: goes on where an interrupted measurement ended; the kept folder is deleted at the end."""
    found = measure_inference(KEPT)
    shutil.rmtree(KEPT)
    return found


if __name__ == "__main__":
    os.nice(10)
    measure_inference(KEPT)
