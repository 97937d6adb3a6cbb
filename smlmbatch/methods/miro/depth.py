"""Clusters of three-dimensional data: contracted in the plane by a network of two dimensions, then split where they leave a gap in z.

Locs of a cluster that follow one another in z by more than a reach are apart; what is left of fewer locs than make a core is in no
cluster. The reach is the largest of three lengths, so that no cluster is cut finer than it was seen: its own rms radius in the plane,
3 median precisions in z where locs have one, and what the spread of its own locs in z allows, 5 / sqrt(2 ln n) sigmas (the gap that the
farthest of n locs of a Gaussian leave shrinks as 1 / sqrt(2 ln n)). Sigma is that of the shortest stretch of z with a quarter of the
locs, which in two clusters above each other is half of one of them. Of Gaussian clusters of 8 to 1,000 locs 98 % or more stay whole, and
of pairs 10 sigma apart 89 to 100 % come apart (600 each; fewest of the smallest). Clusters that overlap in z stay one.
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlmbatch.methods.miro.group import Grouping
from smlmbatch.methods.miro.infer import cluster_sizes
from smlmbatch.store.arrays import UnitReader

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PRECISIONS: Final = 3.0
_GAP_SIGMAS: Final = 5.0  # over sqrt(2 ln n); 6 finds fewer pairs, 4 breaks more single clusters
_STRETCH_LOCS: Final = 6  # the shortest stretch holds a quarter of the locs, these at least, and at most half


def split_in_depth(
    unit: UnitReader, labels: NDArray[np.int32], mine: Ints, *, row: NDArray[np.integer], rule: Grouping | None = None
) -> NDArray[np.int32]:
    """Labels of the locs `mine` (n,) of an ingest unit with z, clusters apart in z being two: (n,) i4, numbered by smallest row."""
    xy_nm = np.column_stack([unit.read(name)[mine] for name in ("x_nm", "y_nm")])
    precision_nm = unit.read("precision_z_nm")[mine] if unit.has("precision_z_nm") else None
    least_nm = least_reach(xy_nm, labels, precision_z_nm=precision_nm)
    pieces = split_along_z(labels, unit.read("z_nm")[mine], least_nm=least_nm, least_locs=(rule or Grouping()).core_locs)
    return _by_row(pieces, row)


def least_reach(xy_nm: NDArray[np.floating], labels: NDArray[np.int32], *, precision_z_nm: NDArray[np.floating] | None) -> Floats:
    """What each cluster's reach in z is at least, (c,) f8, nm: its rms radius in the plane, or so many median precisions."""
    reach_nm = cluster_sizes(xy_nm, labels)[1]
    if precision_z_nm is not None:
        known = (labels >= 0) & np.isfinite(precision_z_nm)
        order = np.lexsort((precision_z_nm[known], labels[known]))
        of, sorted_nm = labels[known][order], precision_z_nm[known][order]
        count = np.bincount(of, minlength=len(reach_nm))
        middle = np.cumsum(count) - count + count // 2
        has = count > 0
        reach_nm[has] = np.maximum(reach_nm[has], _PRECISIONS * sorted_nm[middle[has]])
    return reach_nm


def split_along_z(labels: NDArray[np.int32], z_nm: NDArray[np.floating], *, least_nm: Floats, least_locs: int) -> NDArray[np.int32]:
    """Pieces of clusters that gaps in z leave, (n,) i4 without an order, -1 = in none; locs whose z is no number go with the largest.

    Parameters
    ----------
    labels : (n,) i4, 0 ... c - 1, -1 = in no cluster
    least_nm : (c,), reach at least
    least_locs : of a piece
    """
    inside = np.flatnonzero(labels >= 0)
    order = inside[np.lexsort((z_nm[inside], labels[inside]))]  # z that is no number comes last
    found = np.full(len(labels), -1, dtype=np.int32)
    found[order] = _pieces(labels[order], z_nm[order].astype(np.float64), least_nm, least_locs)
    return found


@njit(cache=True)
def _pieces(label: NDArray[np.int32], z: Floats, least_nm: Floats, least_locs: int) -> NDArray[np.int32]:
    """Piece of each loc, locs being sorted by cluster and z."""
    n = len(label)
    piece = np.full(n, -1, np.int32)
    n_pieces, first = 0, 0
    while first < n:
        stop = first
        while stop < n and label[stop] == label[first]:
            stop += 1
        known = first
        while known < stop and not np.isnan(z[known]):
            known += 1
        reach = max(least_nm[label[first]], _spread_reach(z[first:known]))
        begin, largest, most = first, -1, 0
        for i in range(first, known):
            if i == known - 1 or z[i + 1] - z[i] > reach:
                if i + 1 - begin >= least_locs:
                    piece[begin : i + 1] = n_pieces
                    if i + 1 - begin > most:
                        largest, most = n_pieces, i + 1 - begin
                    n_pieces += 1
                begin = i + 1
        if known == first:  # nothing is known of the whole cluster
            largest, n_pieces = n_pieces, n_pieces + 1
        piece[known:stop] = largest
        first = stop
    return piece


@njit(cache=True)
def _spread_reach(z: Floats) -> float:
    """Gap that the spread of a cluster's locs allows, nm; z rises."""
    n = len(z)
    if n < 2:
        return 0.0
    k = max((n + 3) // 4, min(n // 2, _STRETCH_LOCS), 2)
    shortest = z[k - 1] - z[0]
    for i in range(n - k + 1):
        shortest = min(shortest, z[i + k - 1] - z[i])
    found: float = _GAP_SIGMAS / np.sqrt(2.0 * np.log(n)) * shortest / (2.0 * _normal_quantile((1.0 + (k - 1.0) / (n + 1.0)) / 2.0))
    return found


@njit(cache=True)
def _normal_quantile(p: float) -> float:
    """Of 0.5 < p < 1, to 0.0005 (Abramowitz & Stegun 26.2.23)."""
    t = np.sqrt(-2.0 * np.log(1.0 - p))
    found: float = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    return found


def _by_row(pieces: NDArray[np.int32], row: NDArray[np.integer]) -> NDArray[np.int32]:
    """Labels in the order of clusters' smallest rows."""
    inside = np.flatnonzero(pieces >= 0)
    by_row = inside[np.argsort(row[inside])]
    _, first, which = np.unique(pieces[by_row], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    labels = np.full(len(pieces), -1, dtype=np.int32)
    labels[by_row] = rank[which]
    return labels
