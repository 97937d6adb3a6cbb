"""Where the cells are, by density alone: smoothed counts, a threshold between background and cell, outlines.

The threshold is Otsu's (1979) on the logarithm of the smoothed density, which splits two populations whatever
share of the field each takes. A field that is cell from edge to edge has one population, and any split of it is
noise: so if the darker class has more than a third of the brighter one's density, or the two are no farther apart
than counting noise makes them, the whole field is the cell.

Clusters leave gaps between them that belong to the cell; closing the mask bridges what is narrower than four times
the smoothing length, and holes are filled. Cells closer to each other than about seven times the smoothing length
(2 um at 300 nm) thus get one outline.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri

from smlmbatch.raster import render_counts
from smlmbatch.store.field_locs import FieldLocs

if TYPE_CHECKING:
    from shapely import Geometry, Polygon

MAX_BINS = 1 << 22
NM2_PER_UM2 = 1e6
_ONE_CELL = 1 / 3  # background denser than this share of the cell is no background
_NOISE = 3.0  # Otsu's halves of counting noise alone are 1.6 standard deviations apart (2 sqrt(2 / pi))
_FAR_SHARE = 1e-3  # locs that may lie far from all others, on each side
_FILLED = 0.5  # a closed mask is cut where it is half
_ROUNDS = 3
_KERNEL_REACH = 3.0  # in sigmas
_MAX_GROWTH = 0.5  # in sigmas; more would blow up patches of noise, which are all just above the threshold


@dataclass(frozen=True, slots=True)
class Density:
    """Smoothed density of a field.

    Attributes
    ----------
    per_um2 : (rows, columns) f4, 1/um2, rows along y
    bin_nm : side of a bin
    extent_nm : (x0, y0, x1, y1) of the locs it covers; the first bin's corner is (x0, y0), as an empty margin is no background
    """

    per_um2: NDArray[np.float32]
    bin_nm: float
    extent_nm: tuple[float, float, float, float]


def smoothed_density(locs: FieldLocs, *, bin_nm: float, sigma_nm: float) -> Density:
    """Density of all locs, smoothed by a Gaussian. Bins double until there are at most `MAX_BINS` of them."""
    x0_nm, y0_nm, x1_nm, y1_nm = extent = _crowded(locs, sigma_nm)
    while (shape := (_bins_along(y1_nm - y0_nm, bin_nm), _bins_along(x1_nm - x0_nm, bin_nm)))[0] * shape[1] > MAX_BINS:
        bin_nm *= 2
    counts = np.zeros(shape, np.float32)
    for piece in locs.pieces():
        counts += render_counts(piece.x_nm, piece.y_nm, origin_nm=(x0_nm, y0_nm), pixel_nm=bin_nm, shape=shape)
    # reflecting keeps the density up to the edge of fields that are cell from edge to edge
    smooth = ndimage.gaussian_filter(counts, sigma_nm / bin_nm, mode="reflect", truncate=_KERNEL_REACH)
    return Density(smooth * np.float32(NM2_PER_UM2 / bin_nm**2), bin_nm, extent)


def _crowded(locs: FieldLocs, sigma_nm: float) -> tuple[float, float, float, float]:
    """The locs' extent; without the few outermost tiles where it is so large that bins would be coarser than the smoothing."""
    extent = locs.extent
    if _bins_along(extent[2] - extent[0], sigma_nm) * _bins_along(extent[3] - extent[1], sigma_nm) <= MAX_BINS:
        return extent
    low, high = [], []
    for axis, per_tile in enumerate((locs.tile_counts().sum(axis=0), locs.tile_counts().sum(axis=1))):
        first, last = np.searchsorted(per_tile.cumsum(), (_FAR_SHARE * locs.n, (1 - _FAR_SHARE) * locs.n), side="right")
        low.append(max(extent[axis], float(first) * locs.tile_nm))
        high.append(min(extent[axis + 2], float(last + 1) * locs.tile_nm))
    return low[0], low[1], high[0], high[1]


def field_box(extent_nm: tuple[float, float, float, float]) -> "Polygon":
    """The box around locs, drawn a step beyond the last of them so that half-open squares hold them."""
    import shapely

    x0, y0, x1, y1 = extent_nm
    step = 1e-3 + 1e-6 * max(x1, y1)
    box = shapely.box(x0, y0, x1 + step, y1 + step)
    assert isinstance(box, shapely.Polygon)
    return box


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


def outlines_at(density: Density, threshold: float, *, sigma_nm: float, min_area_um2: float) -> list["Polygon"]:
    """Outlines of the dense patches, nm, holes filled, in order of their lower edge; small patches left out.

    Smoothing moves a cell's edge; each outline is put back by as much as a straight one was moved.
    """
    import shapely

    mask = density.per_um2 >= threshold
    background = float(density.per_um2[~mask].mean(dtype=np.float64)) if not mask.all() else 0.0
    close_nm = 2 * sigma_nm
    # beyond the field's edge the mask goes on as it is there, so that cells are drawn back from their own edges only
    margin = int(np.ceil((close_nm + _KERNEL_REACH * sigma_nm) / density.bin_nm)) + 3
    level = _closed(np.pad(mask, margin, mode="edge"), close_nm / density.bin_nm)
    field, drawn = field_box(density.extent_nm), []
    for patch, excess in _patches(level, density, background, margin):
        if excess > 0 and patch.area >= min_area_um2 * NM2_PER_UM2:  # nothing in it: all beyond the field's edge
            share_per_nm2 = (threshold - background) / NM2_PER_UM2 / excess
            drawn.append(_drawn_back(patch, share_per_nm2, field=field, sigma_nm=sigma_nm))
    parts = shapely.get_parts(shapely.intersection(shapely.union_all(drawn), field))
    solid = [shapely.Polygon(part.exterior) for part in parts if isinstance(part, shapely.Polygon)]
    big = [shapely.simplify(part, density.bin_nm / 4) for part in solid if part.area >= min_area_um2 * NM2_PER_UM2]
    return sorted(big, key=lambda part: (part.bounds[1], part.bounds[0], part.area))


def _drawn_back(patch: "Polygon", share_per_nm2: float, *, field: "Polygon", sigma_nm: float) -> "Geometry":
    """The patch as wide as it was before smoothing: a straight edge's density is a share of the cell's at a normal quantile.

    The cell's density is its locs over its area, so the area is found in a few rounds; few, because a patch that is all
    edge (a line of locs) would vanish in many.

    Parameters
    ----------
    share_per_nm2 : threshold over the patch's number of locs, both beyond the background; times an area it is that share
    """
    import shapely

    cell: Geometry = patch
    for _ in range(_ROUNDS):
        share = share_per_nm2 * shapely.intersection(cell, field).area
        cell = shapely.buffer(patch, sigma_nm * float(np.clip(ndtri(np.clip(share, 0.0, 1.0)), -_KERNEL_REACH, _MAX_GROWTH)))
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
    import shapely
    from contourpy import contour_generator

    padded = np.pad(level, 1)  # zeros all round close every contour
    beyond = np.pad((density.per_um2 - np.float32(background)) * np.float32(density.bin_nm**2 / NM2_PER_UM2), margin + 1)
    centres_y, centres_x = (
        (np.arange(n) - margin - 0.5) * density.bin_nm + density.extent_nm[1 - axis] for axis, n in enumerate(padded.shape)
    )
    labels, _ = ndimage.label(padded >= _FILLED)
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        around = slice(rows.start - 1, rows.stop + 1), slice(columns.start - 1, columns.stop + 1)
        own = labels[around] == label
        alone = np.where(own | (labels[around] == 0), padded[around], 0)
        lines = contour_generator(centres_x[around[1]], centres_y[around[0]], alone).lines(_FILLED)
        rings = [shapely.make_valid(shapely.Polygon(ring)) for ring in lines if len(ring) >= 4]
        yield shapely.union_all(rings), float(beyond[around][own].sum(dtype=np.float64))
