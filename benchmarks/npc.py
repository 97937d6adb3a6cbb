"""A nucleus of nuclear pores: pores, corners of a pore and locs of a corner by a MIRO with two scales, in figures and as a picture.

The data are not part of this project (GPL-3): `sampledata_npc.mat` of VeatchLab/smlm-analysis, one nucleus, Shaw et al. 2022; x, y in nm,
no precision. What is known beforehand: pores are rings of 8 corners; the scaffold's rings, Nup107-160 and Nup96, have a radius of 50 to
56 nm (Thevathasan et al., Nat Methods 16:1045, 2019), and not all corners are labelled. Nothing is fitted to that: radius and corners are
read off what was found.

python -m benchmarks.npc SAMPLEDATA_NPC.MAT --out PICTURE.png [--model FOLDER]
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.folders import shipped
from smlmbatch.methods.miro.context import acquisition
from smlmbatch.methods.miro.two_scales import TwoScales, find_two_scales
from smlmbatch.methods.model import load_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
FITTED_FROM = 5  # corners: a circle through fewer, on one side, may be anything
LEAST_CORNER = 4  # locs, as the rule of grouping has it
PORE_NM = (30.0, 80.0)  # radii that could be a pore's; shown is how many lie outside
ZOOM_NM = 700.0
N_ZOOMS = 3


@dataclass(frozen=True, slots=True)
class Pores:
    """Found pores.

    Attributes
    ----------
    corners : (p,) i8, found of each
    locs : (p,) i8, in its corners
    middle_nm : (p, 2) f8, mean of these
    centre_nm, radius_nm : (p, 2), (p,) f8, circle through them; NaN with fewer than FITTED_FROM corners
    corner_locs : (c,) i8, of each corner of a pore
    """

    corners: NDArray[np.int64]
    locs: NDArray[np.int64]
    middle_nm: Floats
    centre_nm: Floats
    radius_nm: Floats
    corner_locs: NDArray[np.int64]

    @property
    def round(self) -> NDArray[np.bool_]:
        """(p,), whose circle has a radius that could be a pore's."""
        return np.asarray((self.radius_nm >= PORE_NM[0]) & (self.radius_nm <= PORE_NM[1]))


def read_nucleus(path: Path) -> Floats:
    """(n, 2) nm, from the lower left corner."""
    from scipy.io import loadmat

    data = loadmat(path, squeeze_me=True, struct_as_record=False)["data"]
    xy_nm = np.column_stack([data.x, data.y]).astype(np.float64)
    return np.asarray(xy_nm - xy_nm.min(axis=0))


def fit_circle(xy_nm: Floats) -> tuple[Floats, float]:
    """Centre and radius of least squared distances from the circle, begun at the algebraic solution (Kåsa 1976)."""
    from scipy.optimize import least_squares

    terms = np.column_stack([2.0 * xy_nm, np.ones(len(xy_nm))])
    a, b, c = np.linalg.lstsq(terms, (xy_nm**2).sum(axis=1), rcond=None)[0]
    start = [a, b, np.sqrt(max(c + a**2 + b**2, 1.0))]
    found = least_squares(lambda p: np.hypot(*(xy_nm - p[:2]).T) - p[2], start, loss="soft_l1", f_scale=10.0).x
    return found[:2], float(found[2])


def measure(xy_nm: Floats, found: TwoScales) -> Pores:
    """What the pores look like, whatever they are."""
    n_children, n = len(found.parent), int(found.parent.max(initial=-1)) + 1
    child_locs = np.bincount(found.labels[found.labels >= 0], minlength=n_children)
    of, owned = found.of_parents(), found.parent >= 0
    corners = np.bincount(found.parent[owned], minlength=n)
    centre_nm, radius_nm = np.full((n, 2), np.nan), np.full(n, np.nan)
    for k in np.flatnonzero(corners >= FITTED_FROM):
        centre_nm[k], radius_nm[k] = fit_circle(xy_nm[of == k])
    locs = np.bincount(of[of >= 0], minlength=n)
    middle_nm = np.column_stack(
        [np.bincount(of[of >= 0], weights=values[of >= 0], minlength=n) / np.maximum(locs, 1) for values in xy_nm.T]
    )
    return Pores(corners, locs, middle_nm, centre_nm, radius_nm, child_locs[owned])


def mean_of_geometric(n_locs: NDArray[np.int64], *, least: int) -> float:
    """Mean of the geometric distribution (1, 2, ...) of which only numbers from `least` on were seen: it has no memory."""
    return float((n_locs[n_locs >= least] - least + 1).mean())


def figures(pores: Pores) -> dict[str, Any]:
    """What goes on record."""
    fitted = np.isfinite(pores.radius_nm)
    quartiles = np.quantile(pores.radius_nm[pores.round], [0.25, 0.5, 0.75]) if pores.round.any() else np.full(3, np.nan)
    return {
        "pores": len(pores.corners),
        "corners_mean": float(pores.corners.mean()) if len(pores.corners) else np.nan,
        "corners_histogram": np.bincount(np.minimum(pores.corners, 12), minlength=13).tolist(),
        "pores_fitted": int(fitted.sum()),
        "radius_outside_share": float(1.0 - pores.round.sum() / max(fitted.sum(), 1)),
        "radius_quartiles_nm": quartiles.tolist(),
        "locs_per_corner_mean": float(pores.corner_locs.mean()) if len(pores.corner_locs) else np.nan,
        "locs_per_corner_geometric": mean_of_geometric(pores.corner_locs, least=LEAST_CORNER) if len(pores.corner_locs) else np.nan,
        "locs_per_pore_median": float(np.median(pores.locs)) if len(pores.locs) else np.nan,
    }


# ---- the picture


def draw(path: Path, xy_nm: Floats, found: TwoScales, pores: Pores) -> None:
    """Above the nucleus and three histograms, below each of some places: locs, contracted to corners, corners, pores."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(20, 9 + 5 * N_ZOOMS), layout="constrained")
    top, below = figure.subfigures(2, 1, height_ratios=[9, 5 * N_ZOOMS])
    left, right = top.subfigures(1, 2, width_ratios=[1.25, 1])
    corners = zoom_corners(pores)
    _draw_nucleus(left.subplots(), xy_nm, found, corners)
    _draw_histograms(right.subplots(3, 1), pores)
    for row, low_nm in zip(below.subplots(len(corners), 4, squeeze=False), corners, strict=True):
        _draw_zoom(row, xy_nm, found, pores, low_nm)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def zoom_corners(pores: Pores) -> Floats:
    """Lower left corners of the places with most round pores, none touching another: (N_ZOOMS, 2) nm."""
    centre_nm = pores.centre_nm[pores.round]
    chosen: list[Floats] = []
    near = (np.abs(centre_nm[:, None] - centre_nm) < ZOOM_NM / 2).all(axis=2).sum(axis=1)
    for k in np.argsort(-near, kind="stable"):
        if len(chosen) < N_ZOOMS and all(np.abs(centre_nm[k] - other).max() > ZOOM_NM for other in chosen):
            chosen.append(centre_nm[k])
    return np.array(chosen).reshape(-1, 2) - ZOOM_NM / 2


def _draw_nucleus(axes: "Axes", xy_nm: Floats, found: TwoScales, zooms_nm: Floats) -> None:
    """Every loc; those of a pore in a colour of its own."""
    import matplotlib.pyplot as plt

    of = found.of_parents()
    axes.scatter(*xy_nm[of < 0].T / 1000, s=0.6, c="0.75", linewidths=0, rasterized=True)
    axes.scatter(*xy_nm[of >= 0].T / 1000, s=1.2, c=_colours(of[of >= 0]), linewidths=0, rasterized=True)
    for number, low_nm in enumerate(zooms_nm):
        axes.add_patch(plt.Rectangle(tuple(low_nm / 1000), ZOOM_NM / 1000, ZOOM_NM / 1000, fill=False, color="k"))
        axes.annotate("abc"[number], tuple((low_nm + np.array([0, ZOOM_NM + 40])) / 1000), weight="bold", size=14)
    axes.set(aspect="equal", xlabel="x (um)", ylabel="y (um)", title=f"{len(xy_nm):,} locs, {int(found.parent.max(initial=-1)) + 1} pores")


def _draw_histograms(axes: "NDArray[Any]", pores: Pores) -> None:
    radius_nm = pores.radius_nm[np.isfinite(pores.radius_nm)]
    axes[0].hist(pores.corners, bins=np.arange(0.5, 13.5), color="#4477aa", rwidth=0.9)
    axes[0].axvline(8, color="k", ls=":")
    axes[0].set(xlabel="corners of a pore", ylabel="pores", title=f"mean {pores.corners.mean():.1f}; a whole pore has 8")
    axes[1].hist(radius_nm, bins=np.arange(20, 102, 2), color="#4477aa")
    axes[1].axvspan(50, 56, color="#ddcc77", alpha=0.6, zorder=0)
    axes[1].set(xlabel="radius (nm)", ylabel="pores", title=f"median {np.median(radius_nm):.1f} nm; shaded: the scaffold's rings")
    _draw_corner_locs(axes[2], pores.corner_locs)


def _draw_corner_locs(axes: "Axes", corner_locs: NDArray[np.int64]) -> None:
    mean, most = mean_of_geometric(corner_locs, least=LEAST_CORNER), int(np.quantile(corner_locs, 0.99))
    n = np.arange(LEAST_CORNER, most + 1)
    axes.hist(corner_locs, bins=np.arange(0.5, most + 1.5), color="#4477aa")
    axes.plot(n, (corner_locs >= LEAST_CORNER).sum() * (1 - 1 / mean) ** (n - LEAST_CORNER) / mean, "k-")
    axes.set(xlabel="locs of a corner", ylabel="corners", title=f"geometric, mean {mean:.1f} (fewer than {LEAST_CORNER} can't be found)")


def _draw_zoom(row: "NDArray[Any]", xy_nm: Floats, found: TwoScales, pores: Pores, low_nm: Floats) -> None:
    """The same place four times."""
    here = ((xy_nm >= low_nm) & (xy_nm < low_nm + ZOOM_NM)).all(axis=1)
    at, moved = xy_nm[here], found.child_places.xy_nm[here].astype(np.float64)
    child, parent = found.labels[here], found.of_parents()[here]
    row[0].scatter(*at.T, s=7, c="k", linewidths=0)
    row[1].scatter(*moved.T, s=7, c="k", linewidths=0, alpha=0.5)
    for axes, of in ((row[2], child), (row[3], parent)):
        axes.scatter(*at[of < 0].T, s=7, c="0.75", linewidths=0)
        axes.scatter(*at[of >= 0].T, s=9, c=_colours(of[of >= 0]), linewidths=0)
    for k in np.flatnonzero(((pores.middle_nm > low_nm) & (pores.middle_nm < low_nm + ZOOM_NM)).all(axis=1)):
        if pores.round[k]:
            row[3].add_patch(_circle(pores.centre_nm[k], pores.radius_nm[k]))
        row[3].annotate(str(pores.corners[k]), tuple(pores.middle_nm[k]), ha="center", va="center", size=11, clip_on=True)
    titles = ("locs", "contracted to corners", "corners", f"pores, corners counted; circles through {FITTED_FROM} or more")
    for axes, title in zip(row, titles, strict=True):
        axes.set(aspect="equal", title=title, xticks=[], yticks=[], xlim=low_nm[0] + [0, ZOOM_NM], ylim=low_nm[1] + [0, ZOOM_NM])
    row[0].plot(low_nm[0] + [30, 130], low_nm[1] + [30, 30], "k", lw=4)
    row[0].annotate("100 nm", tuple(low_nm + np.array([80, 40])), ha="center")


def _circle(centre_nm: Floats, radius_nm: float) -> Any:
    import matplotlib.pyplot as plt

    return plt.Circle(tuple(centre_nm), radius_nm, fill=False, color="k", lw=0.8)


def _colours(number: NDArray[np.integer]) -> Floats:
    """Neighbouring numbers far apart on the wheel (golden ratio), neither too light nor too dark."""
    from matplotlib.colors import hsv_to_rgb

    hue = (number * 0.618034) % 1.0
    value = 0.55 + 0.35 * ((number * 0.381966) % 1.0)
    return np.asarray(hsv_to_rgb(np.column_stack([hue, np.full(len(hue), 0.8), value])))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("nucleus", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the picture; figures go beside it as .json")
    parser.add_argument("--model", type=Path, default=shipped("miro_multiscale"))
    given = parser.parse_args()
    xy_nm = read_nucleus(given.nucleus)
    found = find_two_scales(load_model(given.model).network, xy_nm, taken=acquisition(blinking=True))
    pores = measure(xy_nm, found)
    given.out.with_suffix(".json").write_text(json.dumps(figures(pores), indent=1) + "\n")
    draw(given.out, xy_nm, found, pores)


if __name__ == "__main__":
    main()
