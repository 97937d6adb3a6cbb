"""How well formulas tell radius and height of simulated particles, and how well they could be told: yardsticks for a learned order.

Populations are those of `smlmbatch.simulate.particles`, whole, at 100, 50 and 20 % of their locs. A figure is the absolute Pearson
correlation with the truth over all particles; one that a method gives no value for counts as the mean of the others. Nothing was chosen
by these seeds.

python -m benchmarks.particle_yardsticks

writes benchmarks/YARDSTICKS.md and particle_yardsticks.json.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.clustering.particle_shapes import circle_radii, layer_heights, level_heights, mean_radii, median_radii
from smlmbatch.simulate.particle_oracle import Fitted, fit_particles
from smlmbatch.simulate.particles import PORES_2D, PORES_3D, TETRAHEDRA, DrawnParticles, Population, draw_particles

HERE = Path(__file__).parent
SEEDS: Final = (101, 102, 103)
SHARES: Final = (1.0, 0.5, 0.2)
POPULATIONS: Final[Mapping[str, Population]] = {"pores in the plane": PORES_2D, "pores in 3D": PORES_3D, "tetrahedra": TETRAHEDRA}
Floats = NDArray[np.float64]
Method = Callable[[DrawnParticles, Fitted], Floats]

# population → length → method → its value of each particle
METHODS: Final[Mapping[str, Mapping[str, Mapping[str, Method]]]] = {
    "pores in the plane": {
        "radius": {
            "mean radius (paper)": lambda drawn, oracle: mean_radii(drawn.points_nm, drawn.start).nm,
            "circle fit": lambda drawn, oracle: circle_radii(drawn.points_nm, drawn.start).radius.nm,
            "oracle": lambda drawn, oracle: oracle.radius_nm,
        }
    },
    "pores in 3D": {
        "radius": {
            "median radius (paper)": lambda drawn, oracle: median_radii(drawn.points_nm, drawn.start).nm,
            "mean radius": lambda drawn, oracle: mean_radii(drawn.points_nm, drawn.start).nm,
            "circle fit": lambda drawn, oracle: circle_radii(drawn.points_nm, drawn.start).radius.nm,
            "oracle": lambda drawn, oracle: oracle.radius_nm,
        },
        "height": {
            "medians of two layers (paper)": lambda drawn, oracle: layer_heights(drawn.points_nm, drawn.start).nm,
            "two Gaussians": lambda drawn, oracle: level_heights(drawn.points_nm, drawn.start).nm,
            "oracle": lambda drawn, oracle: oracle.height_nm,
        },
    },
    "tetrahedra": {
        "height": {
            "two Gaussians (paper)": lambda drawn, oracle: level_heights(drawn.points_nm, drawn.start).nm,
            "oracle": lambda drawn, oracle: oracle.height_nm,
        }
    },
}


def correlation(found_nm: Floats, true_nm: Floats) -> float:
    """Absolute Pearson correlation; a particle without a value (NaN) has the mean of the others."""
    filled_nm = np.where(np.isnan(found_nm), np.nanmean(found_nm), found_nm)
    return float(abs(np.corrcoef(filled_nm, true_nm)[0, 1]))


def measure(name: str, *, seed: int, share: float) -> list[dict[str, object]]:
    """Rows of one population: length, method, correlation, and the error's median and robust sd in nm."""
    drawn = draw_particles(POPULATIONS[name], seed, count=POPULATIONS[name].count, share=share)
    oracle = fit_particles(POPULATIONS[name], drawn)
    rows: list[dict[str, object]] = []
    for length, methods in METHODS[name].items():
        true_nm = drawn.radius_nm if length == "radius" else drawn.height_nm
        for method, estimate in methods.items():
            found_nm = estimate(drawn, oracle)
            miss_nm = found_nm - true_nm
            row = {"population": name, "length": length, "method": method, "seed": seed, "share": share}
            bias_nm = float(np.nanmedian(miss_nm))
            spread_nm = float(1.4826 * np.nanmedian(np.abs(miss_nm - bias_nm)))  # a normal distribution's sd
            rows.append(row | {"pearson": correlation(found_nm, true_nm), "bias_nm": bias_nm, "spread_nm": spread_nm})
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Markdown: means over seeds, and between which values they lie."""
    shares = [f"{share:.0%}" for share in SHARES]
    lines = ["| particles | length | method | " + " | ".join(shares) + " | error at 100% (nm) |", "|---" * (4 + len(shares)) + "|"]
    for key in dict.fromkeys((row["population"], row["length"], row["method"]) for row in rows):
        own = [row for row in rows if (row["population"], row["length"], row["method"]) == key]
        cells = [_cell([float(str(row["pearson"])) for row in own if row["share"] == share]) for share in SHARES]
        whole = [row for row in own if row["share"] == 1.0]
        bias_nm, spread_nm = (np.mean([float(str(row[column])) for row in whole]) for column in ("bias_nm", "spread_nm"))
        lines.append("| " + " | ".join([*map(str, key), *cells]) + f" | {bias_nm:+.2f} ± {spread_nm:.2f} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def main() -> None:
    rows = []
    for name in POPULATIONS:
        for seed in SEEDS:
            for share in SHARES:
                rows += measure(name, seed=seed, share=share)
                print(name, seed, share, flush=True)
    (HERE / "particle_yardsticks.json").write_text(json.dumps(rows, indent=1) + "\n")
    counts = ", ".join(f"{population.count:,} {name}" for name, population in POPULATIONS.items())
    text = (
        "# Radius and height of simulated particles: formulas, and what could be told\n\n"
        "Written by `python -m benchmarks.particle_yardsticks`. Absolute Pearson correlation with the truth at 100, 50 and 20 % of each\n"
        f"particle's locs, mean of seeds {', '.join(map(str, SEEDS))} (least-largest); {counts} of each seed.\n"
        "The error is bias ± robust sd. The oracle knows how particles were drawn, and maximises the likelihood of each.\n\n"
    )
    (HERE / "YARDSTICKS.md").write_text(text + table(rows) + "\n")


if __name__ == "__main__":
    main()
