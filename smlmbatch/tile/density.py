"""Where the cells are, by density alone: smoothed counts, a threshold between background and cell, outlines.

The threshold is Otsu's (1979) on the logarithm of the smoothed density, which splits two populations whatever
share of the field each takes. A field that is cell from edge to edge has one population, and any split of it is
noise: so if the darker class has more than a third of the brighter one's density, the whole field is the cell.
Clusters leave gaps between them that belong to the cell; closing the mask bridges what is narrower than twice the
smoothing length, and holes are filled.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri

from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.tile.raster import render_counts

if TYPE_CHECKING:
    from shapely import Geometry, Polygon

MAX_BINS = 1 << 22
NM2_PER_UM2 = 1e6
_ONE_CELL = 1 / 3  # background denser than this share of the cell is no background
_NOISE = 3.0  # Otsu's halves of mere counting noise are 1.6 standard deviations apart (2 sqrt(2 / pi))
_ROUNDS = 3
_MAX_SPREAD = 3.0  # where the smoothing kernel is cut off, in sigmas
_FILLED = 0.5  # a closed mask is cut where it is half


@dataclass(frozen=True, slots=True)
class Density:
    """Smoothed density of a field.

    Attributes
    ----------
    per_um2 : (rows, columns) f4, 1/um2, rows along y
    bin_nm : side of a bin
    origin_nm : (x, y) of the first bin's corner: where the field's locs begin, as an empty margin is no background
    """

    per_um2: NDArray[np.float32]
    bin_nm: float
    origin_nm: tuple[float, float]


def smoothed_density(locs: FieldLocs, *, bin_nm: float, sigma_nm: float) -> Density:
    """Density of all locs, smoothed by a Gaussian. Bins double until the field has at most `MAX_BINS` of them."""
    x0_nm, y0_nm, x1_nm, y1_nm = locs.extent
    columns, rows = _bins_along(x1_nm - x0_nm, bin_nm), _bins_along(y1_nm - y0_nm, bin_nm)
    while rows * columns > MAX_BINS:
        bin_nm *= 2
        columns, rows = _bins_along(x1_nm - x0_nm, bin_nm), _bins_along(y1_nm - y0_nm, bin_nm)
    shape = (rows, columns)
    counts = np.zeros(shape, np.float32)
    for piece in locs.pieces():
        counts += render_counts(piece.x_nm, piece.y_nm, origin_nm=(x0_nm, y0_nm), pixel_nm=bin_nm, shape=shape)
    # reflecting keeps the density up to the edge of fields that are cell from edge to edge
    smooth = ndimage.gaussian_filter(counts, sigma_nm / bin_nm, mode="reflect", truncate=3.0)
    return Density(smooth * np.float32(NM2_PER_UM2 / bin_nm**2), bin_nm, (x0_nm, y0_nm))


def _bins_along(length_nm: float, bin_nm: float) -> int:
    return int(np.floor(length_nm / bin_nm)) + 1


def find_threshold(density: Density, *, sigma_nm: float) -> float | None:
    """Density between background and cell, 1/um2; None if there is one population only."""
    floor = NM2_PER_UM2 / (4 * np.pi * max(sigma_nm, density.bin_nm) ** 2)  # one loc under the smoothing kernel
    log = np.log(np.maximum(density.per_um2.ravel().astype(np.float64), floor))
    if log.max() - log.min() < np.log(1 / _ONE_CELL):
        return None
    cut = _otsu(log)
    dark, bright = density.per_um2.ravel()[log <= cut], density.per_um2.ravel()[log > cut]
    background, cell = dark.mean(dtype=np.float64), bright.mean(dtype=np.float64)
    noise = np.sqrt(max(background, floor) * floor)  # standard deviation of a smoothed even density
    if background > _ONE_CELL * cell or cell - background < _NOISE * noise:
        return None
    return float(np.exp(cut))


def _otsu(values: NDArray[np.float64], n_bins: int = 256) -> float:
    """The cut that maximises the variance between the two classes; values have some spread."""
    counts, edges = np.histogram(values, bins=n_bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = below[-1] + counts[-1] - below
    sum_below = np.cumsum(counts * centres)[:-1]
    sum_above = (counts * centres).sum() - sum_below
    between = below * above * (sum_below / np.maximum(below, 1) - sum_above / np.maximum(above, 1)) ** 2
    best = np.flatnonzero(between == between.max())
    return float((edges[best[0] + 1] + edges[best[-1] + 1]) / 2)  # the middle of a valley without values


def outlines_at(density: Density, threshold: float, *, field: "Polygon", sigma_nm: float, min_area_um2: float) -> list["Polygon"]:
    """Outlines of the dense patches within `field`, nm, holes filled, in order of their lower edge; small patches left out.

    Smoothing spreads a cell beyond its edge; each outline is drawn back by what it does to a straight one.
    """
    import shapely

    mask = density.per_um2 >= threshold
    background = float(density.per_um2[~mask].mean(dtype=np.float64)) if not mask.all() else 0.0
    close_nm = 2 * sigma_nm
    # beyond the field's edge the mask goes on as it is there, so that cells are drawn back from their own edges only
    margin = int(np.ceil((close_nm + _MAX_SPREAD * sigma_nm) / density.bin_nm)) + 3
    level = _closed(np.pad(mask, margin, mode="edge"), close_nm / density.bin_nm)
    drawn = []
    for patch, excess in _patches(level, density, background, margin):
        if patch.area >= min_area_um2 * NM2_PER_UM2:
            share_per_nm2 = (threshold - background) / NM2_PER_UM2 / excess
            drawn.append(_drawn_back(patch, share_per_nm2, field=field, sigma_nm=sigma_nm))
    parts = shapely.get_parts(shapely.intersection(shapely.union_all(drawn), field))
    solid = [shapely.Polygon(part.exterior) for part in parts if isinstance(part, shapely.Polygon)]
    big = [shapely.simplify(part, density.bin_nm / 4) for part in solid if part.area >= min_area_um2 * NM2_PER_UM2]
    return sorted(big, key=lambda part: (part.bounds[1], part.bounds[0], part.area))


def _drawn_back(patch: "Polygon", share_per_nm2: float, *, field: "Polygon", sigma_nm: float) -> "Geometry":
    """The patch without what smoothing added: outside a straight edge the density falls to a share of the cell's at a
    normal quantile. The cell's density is its locs over its area, so the area is found in a few rounds; few, because a
    patch that is all edge (a line of locs) would vanish in many."""
    import shapely

    cell: Geometry = patch
    for _ in range(_ROUNDS):
        share = share_per_nm2 * shapely.intersection(cell, field).area
        back = np.clip(-ndtri(np.clip(share, 1e-9, 0.5)), 0.0, _MAX_SPREAD)
        cell = shapely.buffer(patch, -float(back) * sigma_nm)
    return cell


def _closed(mask: NDArray[np.bool_], radius: float) -> NDArray[np.float32]:
    """The mask closed by a disk (by distances, so its size costs nothing) and softened for a smooth contour; 0..1."""
    if not mask.all():
        grown = ndimage.distance_transform_edt(~mask) <= radius
        if grown.all():  # a distance to nothing is no distance
            return np.ones(mask.shape, np.float32)
        mask = mask | (ndimage.distance_transform_edt(np.pad(grown, 1, mode="edge"))[1:-1, 1:-1] > radius)
    return np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), 1.0, mode="nearest"))


def _patches(level: NDArray[np.float32], density: Density, background: float, margin: int) -> Iterator[tuple["Polygon", float]]:
    """Every patch with its holes filled, and how many locs it holds beyond the background's; in nm.

    `level` has `margin` bins more than the density on all sides.
    """
    from contourpy import contour_generator
    import shapely

    padded = np.pad(level, 1)  # zeros all round close every contour
    beyond = np.pad((density.per_um2 - np.float32(background)) * np.float32(density.bin_nm**2 / NM2_PER_UM2), margin + 1)
    centres_x, centres_y = (o + (np.arange(n) - margin - 0.5) * density.bin_nm for o, n in zip(density.origin_nm, padded.shape[::-1]))
    labels, _ = ndimage.label(padded >= _FILLED)
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        around = slice(rows.start - 1, rows.stop + 1), slice(columns.start - 1, columns.stop + 1)
        own = labels[around] == label
        alone = np.where(own | (labels[around] == 0), padded[around], 0)
        lines = contour_generator(centres_x[around[1]], centres_y[around[0]], alone).lines(_FILLED)
        rings = [shapely.make_valid(shapely.Polygon(ring)) for ring in lines if len(ring) >= 4]
        yield shapely.union_all(rings), float(beyond[around][own].sum(dtype=np.float64))
