"""Nearest-neighbour distances within kept regions, for the histogram of a field's page.

A sample of whole regions, evenly spread over the kept ones, gives the shape; `measure` has the exact mean and median of each.
"""

from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from smlmbatch.quality.counts import Histogram
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.field_locs import FieldLocs

_BINS: Final = (0.0, 2.0, 250)  # nm: first, width, number
_MAX_LOCS = 50_000


def nearest_neighbours(locs: FieldLocs, tile: UnitReader, channels: list[int]) -> Histogram | None:
    """Distances of each loc to the nearest of its channel in the same region; None without a kept region."""
    kept = np.flatnonzero(tile.read("roi_kept"))
    if not len(kept):
        return None
    counts = tile.read("roi_n_locs").sum(axis=1)[kept]
    step = min(len(kept), -(-int(counts.sum()) // _MAX_LOCS))
    origins_nm, side_nm = tile.read("roi_origin_nm"), float(tile.attrs["roi_nm"])
    found = Histogram(*_BINS, len(channels))
    for x_nm, y_nm in origins_nm[kept[step // 2 :: step]].tolist():
        inside = locs.rectangle(x_nm, y_nm, x_nm + side_nm, y_nm + side_nm)
        for place, channel in enumerate(channels):
            own = inside.take(inside.channel == channel)
            if len(own) >= 2:
                points = np.stack([own.x_nm, own.y_nm], axis=1)
                distances = cKDTree(points).query(points, k=2)[0][:, 1]
                found.add(distances, np.full(len(own), place))
    return found
