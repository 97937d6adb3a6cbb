"""Shape of each cluster: locs, convex hull area, radius of gyration.

A hull needs three locs not on a line; a cluster without one has area 0 here, and means leave it out.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Clusters:
    """Clusters in the order of their labels.

    Attributes
    ----------
    n_locs : (c,) i8
    area_nm2 : (c,) f8, convex hull; 0 where the locs are fewer than three or on a line
    radius_nm : (c,) f8, root mean squared distance to the centre of mass
    """

    n_locs: NDArray[np.int64]
    area_nm2: NDArray[np.float64]
    radius_nm: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.n_locs)


def describe_clusters(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], labels: NDArray[np.integer]) -> Clusters:
    """Size and shape of each cluster.

    Parameters
    ----------
    x_nm, y_nm : (n,) floating, nm
    labels : (n,) integer, 0 … c - 1, every label in use; negative = in no cluster

    >>> describe_clusters(np.array([0.0, 2, 2, 0]), np.array([0.0, 0, 2, 2]), np.zeros(4, int))
    Clusters(n_locs=array([4]), area_nm2=array([4.]), radius_nm=array([1.41421356]))
    """
    members = np.flatnonzero(labels >= 0)
    members = members[np.lexsort((y_nm[members], x_nm[members], labels[members]))]
    n_locs = np.bincount(labels[members])
    stop = np.cumsum(n_locs)
    area, radius = _shapes(x_nm[members].astype(np.float64), y_nm[members].astype(np.float64), stop)
    return Clusters(n_locs, area, radius)


@njit(cache=True)
def _shapes(x: Floats, y: Floats, stop: Ints) -> tuple[Floats, Floats]:
    """Area and radius of gyration of each slice of the locs; slices end at `stop` and are sorted by (x, y)."""
    area, radius = np.zeros(len(stop)), np.zeros(len(stop))
    hull = np.empty(len(x), np.int64)
    start = 0
    for c in range(len(stop)):
        n = stop[c] - start
        mean_x, mean_y = 0.0, 0.0
        for i in range(start, stop[c]):
            mean_x += (x[i] - x[start]) / n
            mean_y += (y[i] - y[start]) / n
        spread = 0.0
        for i in range(start, stop[c]):
            dx, dy = x[i] - x[start] - mean_x, y[i] - y[start] - mean_y
            spread += dx * dx + dy * dy
        radius[c] = math.sqrt(spread / n)
        for side in (1.0, -1.0):
            area[c] += 0.5 * _chain(x, y, start, stop[c], side, hull)
        start = stop[c]
    return area, radius


@njit(cache=True)
def _chain(x: Floats, y: Floats, start: int, stop: int, side: float, hull: Ints) -> float:
    """Andrew's monotone chain, one side (1 lower, -1 upper): twice the area between it and the chord of its ends."""
    top = 0
    for i in range(start, stop):
        while top >= 2 and side * _cross(x, y, hull[top - 2], hull[top - 1], i) <= 0:
            top -= 1
        hull[top] = i
        top += 1
    doubled = 0.0
    for k in range(1, top - 1):
        doubled += side * _cross(x, y, start, hull[k], hull[k + 1])
    return doubled


@njit(cache=True)
def _cross(x: Floats, y: Floats, a: int, b: int, c: int) -> float:
    cross: float = (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a])
    return cross
