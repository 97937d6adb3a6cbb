"""Campaigns of simulated pores as users' files hold them: tables of locs with the number of the pore that each is of."""

from pathlib import Path

import numpy as np

from smlmbatch.simulate.particles import DrawnParticles, draw_pores_2d, draw_pores_3d

APART_NM = 400.0
SETTINGS = """[embed]
model = "none"
[cluster]
method = "none"
[pick]
source = "group"
[order]
epochs = 1
bins = 4
axes = "pc1"
"""


def write_pores(path: Path, drawn: DrawnParticles, *, first: int = 0, count: int = 30) -> None:
    """Some of the drawn pores on a grid, one file."""
    axes = ("x_nm", "y_nm", "z_nm")[: drawn.points_nm.shape[1]]
    lines = [",".join([*axes, "frame", "photons", "precision_nm", "group"])]
    rng = np.random.default_rng(first)
    side = int(np.ceil(np.sqrt(count)))
    for number in range(count):
        rows = slice(drawn.start[first + number], drawn.start[first + number + 1])
        at = np.array([number % side, number // side]) * APART_NM + 500.0
        for point, precision in zip(drawn.points_nm[rows], drawn.precision_nm[rows], strict=True):
            place = ",".join(f"{value:.3f}" for value in (*(point[:2] + at), *point[2:]))
            lines.append(f"{place},{rng.integers(1, 5000)},{rng.integers(500, 3000)},{precision:.3f},{number}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_campaign(folder: Path, *, fields: int = 2, count: int = 30, deep: bool = False) -> Path:
    """INPUT of that many fields, conditions a and b in turn; settings lie beside it."""
    draw = draw_pores_3d if deep else draw_pores_2d
    drawn = draw(7, count=fields * count)
    for number in range(fields):
        write_pores(folder / "input" / "ab"[number % 2] / f"field{number}.csv", drawn, first=number * count, count=count)
    (folder / "settings.toml").write_text(SETTINGS)
    return folder / "input"
