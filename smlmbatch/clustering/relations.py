"""How clusters stand to each other: nearest neighbours, and parents with their children."""

import numpy as np
from numpy.typing import NDArray


def nearest_nm(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], z_nm: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """From each centroid to the nearest other, (c,) f8; NaN where there is no other. Two at one place are 0 apart.

    Parameters
    ----------
    x_nm, y_nm, z_nm : (c,), nm; without z in the plane

    >>> nearest_nm(np.array([0.0, 3, 30]), np.array([0.0, 4, 4])).tolist()
    [5.0, 5.0, 27.0]
    """
    from scipy.spatial import cKDTree

    if len(x_nm) < 2:
        return np.full(len(x_nm), np.nan)
    places = np.column_stack([axis for axis in (x_nm, y_nm, z_nm) if axis is not None]).astype(np.float64)
    distances: NDArray[np.float64] = cKDTree(places).query(places, k=2)[0][:, 1]
    return distances


def count_children(parent: NDArray[np.integer]) -> NDArray[np.int64]:
    """Clusters whose parent each is, (c,) i8.

    Parameters
    ----------
    parent : (c,) number of each cluster's parent, -1 = none

    >>> count_children(np.array([2, 2, -1])).tolist()
    [0, 0, 2]
    """
    return np.bincount(parent[parent >= 0], minlength=len(parent))
