"""Which found cluster is which true one, and what their numbers, sizes and places are off by.

As in the published evaluation of MIRO: a pair may form where the centroids lie within half the mean side of the true cluster's bounding
box, as many pairs as can be are formed, and of those ways the one of least cost is taken (Hungarian method), cost being
0.9 x distance of the centroids + 0.1 x difference of the bounding boxes' sides (width and height, summed). The assignment is solved in each
set of clusters that reach each other by itself, which changes nothing and lets 10^4 clusters a field cost no square.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WEIGHT_OF_DISTANCE = 0.9


@dataclass(frozen=True, slots=True)
class Boxes:
    """Clusters as the matching sees them; c clusters, in the order of their codes.

    Attributes
    ----------
    n_locs : (c,) i8
    centroid_nm, side_nm : (c, 2) f8, mean of the locs; width and height of their bounding box
    """

    n_locs: Ints
    centroid_nm: Floats
    side_nm: Floats


@dataclass(frozen=True, slots=True)
class Pairs:
    """Clusters that were paired: codes of the true and of the found one, and the distance of their centroids; (p,) each."""

    true: Ints
    found: Ints
    distance_nm: Floats


def boxes_of(xy_nm: Floats, codes: Ints) -> Boxes:
    """Number, centroid and bounding box of each cluster.

    Parameters
    ----------
    xy_nm : (n, 2) f8
    codes : (n,) integers, 0 … c - 1, every one in use
    """
    n_locs = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(n_locs)[:-1]])
    sorted_nm = xy_nm[order]
    if not len(n_locs):
        return Boxes(n_locs, np.empty((0, 2)), np.empty((0, 2)))
    first_nm = sorted_nm[start]  # sums of distances to a cluster's own loc, as positions of a whole slide lose digits
    centroid_nm = first_nm + np.add.reduceat(sorted_nm - np.repeat(first_nm, n_locs, axis=0), start) / n_locs[:, None]
    side_nm = np.maximum.reduceat(sorted_nm, start) - np.minimum.reduceat(sorted_nm, start)
    return Boxes(n_locs, centroid_nm, side_nm)


def pair_clusters(true: Boxes, found: Boxes) -> Pairs:
    """The pairs, ordered by the true cluster's code."""
    i, j, distance_nm = _candidates(true, found)
    sides_nm = np.abs(true.side_nm[i] - found.side_nm[j]).sum(axis=1)
    cost = _WEIGHT_OF_DISTANCE * distance_nm + (1 - _WEIGHT_OF_DISTANCE) * sides_nm
    chosen = _assign(i, j, cost, n_true=len(true.n_locs), n_found=len(found.n_locs))
    return Pairs(i[chosen], j[chosen], distance_nm[chosen])


def _candidates(true: Boxes, found: Boxes) -> tuple[Ints, Ints, Floats]:
    """Pairs near enough, ordered by (true, found), with the distance of their centroids."""
    from scipy.spatial import cKDTree

    if not (len(true.n_locs) and len(found.n_locs)):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    reach_nm = true.side_nm.mean(axis=1) / 2
    near = cKDTree(found.centroid_nm).query_ball_point(true.centroid_nm, reach_nm * (1 + 1e-9) + 1e-9, return_sorted=True)
    i = np.repeat(np.arange(len(near)), [len(own) for own in near])
    j = np.concatenate([np.array(own, dtype=np.int64) for own in near])
    distance_nm = np.hypot(*(true.centroid_nm[i] - found.centroid_nm[j]).T)
    within = distance_nm <= reach_nm[i]
    return i[within], j[within], distance_nm[within]


def _assign(i: Ints, j: Ints, cost: Floats, *, n_true: int, n_found: int) -> Ints:
    """Which candidates are taken: as many as possible, at least cost; sorted."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(i)), (i, n_true + j)), shape=(n_true + n_found, n_true + n_found))
    _, component = connected_components(graph, directed=False)
    order = np.argsort(component[i], kind="stable")
    bounds = np.flatnonzero(np.diff(component[i][order])) + 1
    taken = [_assign_connected(own, i[own], j[own], cost[own]) for own in np.split(order, bounds) if len(own)]
    return np.sort(np.concatenate(taken)) if taken else np.empty(0, np.int64)


def _assign_connected(candidate: Ints, i: Ints, j: Ints, cost: Floats) -> Ints:
    """The same within one set of clusters that reach each other."""
    from scipy.optimize import linear_sum_assignment

    rows, row = np.unique(i, return_inverse=True)
    columns, column = np.unique(j, return_inverse=True)
    never = cost.sum() + 1.0  # dearer than all that may be paired, so forbidden pairs are as few as can be
    table, at = np.full((len(rows), len(columns)), never), np.full((len(rows), len(columns)), -1, dtype=np.int64)
    table[row, column], at[row, column] = cost, candidate
    chosen = at[linear_sum_assignment(table)]
    return np.asarray(chosen[chosen >= 0])


def jaccard(n_true: int, n_found: int, n_paired: int) -> float:
    """JI_c = TP / (TP + FP + FN); NaN where there is no cluster at all."""
    every = n_true + n_found - n_paired
    return n_paired / every if every else np.nan


def relative_error_of_sizes(true: Boxes, found: Boxes, pairs: Pairs) -> float:
    """RMSRE_N: root of the mean squared relative error of a paired cluster's number of locs; NaN without a pair."""
    sizes = true.n_locs[pairs.true]
    return _root_mean(((found.n_locs[pairs.found] - sizes) / sizes) ** 2)


def error_of_centroids_nm(pairs: Pairs) -> float:
    """RMSE_xy, nm: root of the mean squared distance of paired centroids; NaN without a pair."""
    return _root_mean(pairs.distance_nm**2)


def root_mean_distance(pairs: Pairs) -> float:
    """The root of the mean distance, in sqrt(nm): what the published tables and code call RMSE_xy. NaN without a pair."""
    return _root_mean(pairs.distance_nm)


def _root_mean(values: Floats) -> float:
    return float(np.sqrt(values.mean())) if len(values) else np.nan
