"""IoU: the area that true and found clusters share over the area that either covers, clusters being their convex hulls.

The published evaluation counts pixels of a raster; here the polygons themselves are intersected, so nothing depends on a pixel. Fewer than
three locs, or locs on a line, have no area.
"""

import numpy as np
from numpy.typing import NDArray

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


def _covered(xy_nm: Floats, codes: Ints):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a shapely geometry; shapely is imported late
    """Union of the hulls."""
    import shapely

    order = np.argsort(codes, kind="stable")
    _, code = np.unique(codes[order], return_inverse=True)
    hulls = shapely.convex_hull(shapely.multipoints(xy_nm[order], indices=code)) if len(code) else []
    return shapely.union_all([hull for hull in hulls if hull.area > 0])
