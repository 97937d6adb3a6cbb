"""The table of clusters: number of locs, place, size and shape of each, from labels and positions in the plane.

A hull needs three locs not on a line; a cluster without one has area 0 here, and means leave it out. Eccentricity is that of the ellipse
with the cluster's second moments: 0 = round, towards 1 = a line; it isn't defined (NaN) where all locs lie on one place.
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
    radius_nm : (c,) f8, radius of gyration: root mean squared distance to the centre of mass
    x_nm, y_nm : (c,) f8, centre of mass
    eccentricity : (c,) f8, sqrt(1 - smaller / larger second moment), 0 to 1; NaN for one place
    """

    n_locs: NDArray[np.int64]
    area_nm2: NDArray[np.float64]
    radius_nm: NDArray[np.float64]
    x_nm: NDArray[np.float64]
    y_nm: NDArray[np.float64]
    eccentricity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.n_locs)


def describe_clusters(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], labels: NDArray[np.integer]) -> Clusters:
    """Number, place, size and shape of each cluster.

    Parameters
    ----------
    x_nm, y_nm : (n,) floating, nm
    labels : (n,) integer, 0 … c - 1, every label in use; negative = in no cluster

    >>> square = describe_clusters(np.array([0.0, 2, 2, 0]), np.array([0.0, 0, 2, 2]), np.zeros(4, int))
    >>> square.area_nm2.tolist(), square.radius_nm.round(3).tolist(), square.eccentricity.tolist()
    ([4.0], [1.414], [0.0])
    """
    members = np.flatnonzero(labels >= 0)
    members = members[np.lexsort((y_nm[members], x_nm[members], labels[members]))]
    n_locs = np.bincount(labels[members])
    return Clusters(n_locs, *_shapes(x_nm[members].astype(np.float64), y_nm[members].astype(np.float64), np.cumsum(n_locs)))


@njit(cache=True)
def _shapes(x: Floats, y: Floats, stop: Ints) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Area, radius, centre and eccentricity of each slice of the locs; slices end at `stop` and are sorted by (x, y)."""
    area, radius = np.zeros(len(stop)), np.zeros(len(stop))
    centre_x, centre_y, eccentricity = np.empty(len(stop)), np.empty(len(stop)), np.empty(len(stop))
    hull = np.empty(len(x), np.int64)
    start = 0
    for c in range(len(stop)):
        n = stop[c] - start
        mean_x, mean_y = 0.0, 0.0
        for i in range(start, stop[c]):
            mean_x += (x[i] - x[start]) / n
            mean_y += (y[i] - y[start]) / n
        spread, xx, yy, xy = 0.0, 0.0, 0.0, 0.0
        for i in range(start, stop[c]):
            dx, dy = x[i] - x[start] - mean_x, y[i] - y[start] - mean_y
            spread += dx * dx + dy * dy
            xx, yy, xy = xx + dx * dx, yy + dy * dy, xy + dx * dy
        radius[c] = math.sqrt(spread / n)
        centre_x[c], centre_y[c] = x[start] + mean_x, y[start] + mean_y
        eccentricity[c] = _eccentricity(xx, yy, xy)
        for side in (1.0, -1.0):
            area[c] += 0.5 * _chain(x, y, start, stop[c], side, hull)
        start = stop[c]
    return area, radius, centre_x, centre_y, eccentricity


@njit(cache=True)
def _eccentricity(xx: float, yy: float, xy: float) -> float:
    """Of the ellipse with these second moments: sqrt(1 - smaller / larger eigenvalue)."""
    apart = math.hypot(xx - yy, 2 * xy)  # between the eigenvalues
    larger = (xx + yy + apart) / 2
    return math.sqrt(apart / larger) if larger > 0 else math.nan


@njit(cache=True)
def _chain(x: Floats, y: Floats, start: int, stop: int, side: float, hull: Ints) -> float:
    """Andrew's monotone chain, one side (1 lower, -1 upper): twice the area between it and the chord of its ends."""
    top = 0
    for i in range(start, stop):
        while top >= 2 and side * cross(x, y, hull[top - 2], hull[top - 1], i) <= 0:
            top -= 1
        hull[top] = i
        top += 1
    doubled = 0.0
    for k in range(1, top - 1):
        doubled += side * cross(x, y, start, hull[k], hull[k + 1])
    return doubled


@njit(cache=True)
def cross(x: Floats, y: Floats, a: int, b: int, c: int) -> float:
    """Twice the area of the triangle of three locs, above 0 where they turn left."""
    doubled: float = (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a])
    return doubled
