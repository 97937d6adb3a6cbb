"""IoU: the area that true and found clusters share over the area that either covers, clusters being their convex hulls.

The published evaluation counts pixels of a raster; here the polygons themselves are intersected, so nothing depends on a pixel. Fewer than
three locs, or locs on a line, have no area.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smlmbatch.clustering.hulls import hull_corners

if TYPE_CHECKING:
    import shapely

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def hull_overlap(true_nm: Floats, true_codes: Ints, found_nm: Floats, found_codes: Ints) -> float:
    """Intersection over union of the convex hulls of all clusters; NaN where neither has an area.

    Parameters
    ----------
    true_nm, found_nm : (n, 2), (m, 2) f8, locs in true and in found clusters
    true_codes, found_codes : (n,), (m,) integers, the cluster each is in
    """
    true, found = _covered(true_nm, true_codes), _covered(found_nm, found_codes)
    shared: float = true.intersection(found).area
    either = true.area + found.area - shared
    return float(shared / either) if either > 0 else np.nan


def _covered(xy_nm: Floats, codes: Ints) -> "shapely.Geometry":
    """Union of the hulls."""
    import shapely

    corner, cluster = hull_corners(xy_nm[:, 0], xy_nm[:, 1], np.unique(codes, return_inverse=True)[1])
    if not len(corner):
        return shapely.Polygon()
    return shapely.union_all(shapely.polygons(shapely.linearrings(xy_nm[corner], indices=np.unique(cluster, return_inverse=True)[1])))
