"""Corners of the convex hull of each cluster (Andrew's monotone chain): for whoever needs the hulls themselves, not only their areas."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlmbatch.clustering.clusters import cross

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def hull_corners(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[Ints, Ints]:
    """Which locs are the corners of their cluster's hull, anticlockwise, and the cluster each is a corner of.

    Parameters
    ----------
    x_nm, y_nm : (n,) floating, nm
    labels : (n,) integer, 0 … c - 1, every label in use; negative = in no cluster

    Returns
    -------
    corner, cluster : (v,) i8 indices of locs, and their labels, ascending. Clusters without an area (fewer than three locs, locs on a line)
        have no corners; of locs in one place only one is a corner, and locs along an edge are none

    >>> hull_corners(np.array([0.0, 2, 2, 0, 1]), np.array([0.0, 0, 2, 2, 1]), np.zeros(5, int))
    (array([0, 1, 2, 3]), array([0, 0, 0, 0]))
    """
    members = np.flatnonzero(labels >= 0)
    members = members[np.lexsort((y_nm[members], x_nm[members], labels[members]))]
    stop = np.cumsum(np.bincount(labels[members]))
    x, y = x_nm[members].astype(np.float64), y_nm[members].astype(np.float64)
    corner = members[_corners(x, y, stop)]
    return corner, labels[corner].astype(np.int64)


@njit(cache=True)
def _corners(x: Floats, y: Floats, stop: Ints) -> Ints:
    """Corners of each slice of the locs; slices end at `stop` and are sorted by (x, y)."""
    kept = np.empty(len(x) + 1, np.int64)  # one more: the first loc closes the last hull before it is dropped
    n_kept, start = 0, 0
    for c in range(len(stop)):
        base = n_kept
        for i in range(start, stop[c]):
            while n_kept - base >= 2 and cross(x, y, kept[n_kept - 2], kept[n_kept - 1], i) <= 0:
                n_kept -= 1
            kept[n_kept] = i
            n_kept += 1
        lower = n_kept
        for i in range(stop[c] - 2, start - 1, -1):
            while n_kept > lower and cross(x, y, kept[n_kept - 2], kept[n_kept - 1], i) <= 0:
                n_kept -= 1
            kept[n_kept] = i
            n_kept += 1
        n_kept -= 1  # the first loc again
        if n_kept - base < 3:
            n_kept = base
        start = stop[c]
    return kept[:n_kept]
