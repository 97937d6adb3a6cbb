"""Clusters and the regions of the stage tile: which kept region holds a centroid, and how many clustered locs lie in each region."""

import numpy as np
from numpy.typing import NDArray

from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.field_locs import FieldLocs

_CANDIDATES = 4  # nearest squares that may hold a place: neighbours of a grid share an edge, grids of two cells may overlap


def region_of(x_nm: NDArray[np.float64], y_nm: NDArray[np.float64], tile: UnitReader) -> NDArray[np.int32]:
    """The kept region that holds each place, the first of several; (c,) i4, -1 = none. Regions are half-open."""
    from scipy.spatial import cKDTree

    side_nm, kept = float(tile.attrs["roi_nm"]), np.flatnonzero(tile.read("roi_kept"))
    corner_nm = tile.read("roi_origin_nm")[kept]
    found = np.full(len(x_nm), -1, dtype=np.int32)
    if len(kept) == 0 or len(x_nm) == 0:
        return found
    places = np.column_stack([x_nm, y_nm])
    n_near = min(_CANDIDATES, len(kept))
    near = cKDTree(corner_nm + side_nm / 2).query(places, k=n_near, p=np.inf)[1].reshape(-1, n_near)
    away = places[:, None] - corner_nm[near]
    inside = ((away >= 0) & (away < side_nm)).all(axis=2)
    first = np.where(inside, kept[near], np.iinfo(np.int32).max).min(axis=1)
    held = inside.any(axis=1)
    found[held] = first[held]
    return found


def count_clustered(label: NDArray[np.int32], ingest: UnitReader, tile: UnitReader, *, channels: list[int]) -> NDArray[np.int64]:
    """Locs in clusters, of every region and channel; (r, channels) i8.

    Parameters
    ----------
    label : (n,) in the order of the ingest unit, negative = in no cluster
    """
    side_nm, origin_nm = float(tile.attrs["roi_nm"]), tile.read("roi_origin_nm")
    counts = np.zeros((len(origin_nm), len(channels)), dtype=np.int64)
    locs = FieldLocs(ingest)
    for roi, (x0, y0) in enumerate(origin_nm.tolist()):
        index, inside = locs.placed(x0, y0, x0 + side_nm, y0 + side_nm)
        counts[roi] = np.bincount(inside.channel[label[index] >= 0], minlength=256)[channels]
    return counts
