"""Where the cells are, by density alone: smoothed counts, a threshold between background and cell, outlines.

The threshold is Otsu's (1979) on the logarithm of the smoothed density, which splits two populations whatever
share of the field each takes. A field that is cell from edge to edge has one population, and any split of it is
noise: so if the darker class has more than a third of the brighter one's density, the whole field is the cell.
Clusters leave gaps between them that belong to the cell; closing the mask bridges what is narrower than twice the
smoothing length, and holes are filled.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri

from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.tile.raster import render_counts

if TYPE_CHECKING:
    from shapely import Polygon

MAX_BINS = 1 << 22
NM2_PER_UM2 = 1e6
_ONE_CELL = 1 / 3  # background denser than this share of the cell is no background
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
    if dark.mean(dtype=np.float64) > _ONE_CELL * bright.mean(dtype=np.float64):
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

    Smoothing spreads a cell beyond its edge; the outline is drawn back by what it does to a straight one.
    """
    import shapely

    mask = density.per_um2 >= threshold
    back_nm = _spread_nm(density.per_um2, mask, threshold, sigma_nm)
    close_nm = 2 * sigma_nm
    # beyond the field's edge the mask goes on as it is there, so that cells are drawn back from their own edges only
    margin = int(np.ceil((close_nm + back_nm) / density.bin_nm)) + 3
    level = _closed(np.pad(mask, margin, mode="edge"), close_nm / density.bin_nm)
    patches = shapely.union_all([shapely.make_valid(shapely.Polygon(ring)) for ring in _rings(level, density, margin)])
    parts = shapely.get_parts(shapely.intersection(shapely.buffer(patches, -back_nm), field))
    solid = [shapely.Polygon(part.exterior) for part in parts if isinstance(part, shapely.Polygon)]
    big = [shapely.simplify(part, density.bin_nm / 4) for part in solid if part.area >= min_area_um2 * NM2_PER_UM2]
    return sorted(big, key=lambda part: (part.bounds[1], part.bounds[0], part.area))


def _spread_nm(density_per_um2: NDArray[np.float32], mask: NDArray[np.bool_], threshold: float, sigma_nm: float) -> float:
    """How far outside a straight edge the smoothed density falls to the threshold: sigma times a normal quantile."""
    background = density_per_um2[~mask].mean(dtype=np.float64) if not mask.all() else 0.0
    cell = density_per_um2[mask].mean(dtype=np.float64)
    share = (threshold - background) / (cell - background)
    return float(max(0.0, -ndtri(np.clip(share, 1e-3, 1.0 - 1e-3)) * sigma_nm))


def _closed(mask: NDArray[np.bool_], radius: float) -> NDArray[np.float32]:
    """The mask closed by a disk (by distances, so its size costs nothing) and softened for a smooth contour; 0..1."""
    if not mask.all():
        grown = ndimage.distance_transform_edt(~mask) <= radius
        mask = mask | (ndimage.distance_transform_edt(np.pad(grown, 1, mode="edge"))[1:-1, 1:-1] > radius)
    return np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), 1.0, mode="nearest"))


def _rings(level: NDArray[np.float32], density: Density, margin: int) -> list[NDArray[np.float64]]:
    """Closed contours at one half, nm; `level` has `margin` bins more than the density on all sides."""
    from contourpy import contour_generator

    padded = np.pad(level, 1)  # zeros all round close every contour
    centres_y, centres_x = ((np.arange(n) - margin - 0.5) * density.bin_nm for n in padded.shape)
    lines = contour_generator(centres_x, centres_y, padded).lines(_FILLED)
    return [np.asarray(ring, np.float64) + density.origin_nm for ring in lines if len(ring) >= 4]
