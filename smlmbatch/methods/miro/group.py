"""Groups of contracted locs, by what the network predicts and nothing a user sets.

Two locs are linked when their contracted places are nearer than a share of the smaller of their predicted cluster radii; a loc with
enough linked locs is core, core locs that are linked share a cluster, and others join their nearest core loc (DBSCAN with a reach that
differs from loc to loc). Clusters of little total probability are dropped.

Contraction may put thousands of locs into one nm, and their pairs would cost the square of that. So locs whose places fall into the same nm
are one from there on (the shortest link is longer than the nm's diagonal): work and memory are then bounded by area, not by locs. The
nm's edges lie at whole nm of the field's coordinates, the same in every block.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CELL_NM: Final = 1.0
_SLACK: Final = 1e-6  # strips are a little higher than the reach: rounding must not put neighbours two strips apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """The rule: two for all data, `SEEN_ONCE` where molecules are known to be seen once, and this one elsewhere.

    Attributes
    ----------
    least_belonging : probability from which a loc takes part
    reach : of a link, in predicted radii
    radius_nm : predicted radii are taken to lie between these; the lower one times `reach` must exceed a nm's diagonal
    core_locs : linked locs that make a loc core, itself included
    least_sum, least_mean : of the probabilities of a cluster's locs
    """

    least_belonging: float = 0.4
    reach: float = 0.4  # 0.36 was a little better than 0.5 and 0.7 on the tuning fields of Nieves et al. (ARI_c by 0.01 to 0.03)
    radius_nm: tuple[float, float] = (4.0, 60.0)
    core_locs: int = 4
    least_sum: float = 3.0
    # Clusters made of a single blinking molecule have a mean of 0.55 to 0.7, true ones of 0.8 to 0.9. 0.4 and 0.6 against a plain 0.5 on
    # the tuning fields of Nieves et al.: JI_c by +0.07 with blinking, by -0.01 without; ARI_c by -0.02 and +0.01
    least_mean: float = 0.6

    def __post_init__(self) -> None:
        if self.reach * self.radius_nm[0] <= np.sqrt(2.0) * _CELL_NM or self.radius_nm[0] > self.radius_nm[1]:
            raise ConfigError(f"{self}: wanted links longer than {np.sqrt(2.0) * _CELL_NM:.2f} nm")


# Without heaps of blinks, what is hardly probable is background, and links may be longer: on the tuning fields of Nieves et al. without
# blinking ARI-dagger, IoU, JI_c by +0.01, +0.01, +0.02, ARI_c by -0.02. With blinking the same rule costs 0.02 of JI_c and ARI_c.
SEEN_ONCE: Final = Grouping(least_belonging=0.5, reach=0.6)


@dataclass(frozen=True, slots=True)
class _Places:
    """Occupied nm: where, how large the clusters of their locs, how many locs, and the smallest row of them."""

    x_nm: Floats
    y_nm: Floats
    reach_nm: Floats
    n_locs: Ints
    row: Ints


def group_locs(
    contracted_nm: NDArray[np.floating],
    belonging: NDArray[np.floating],
    radius_nm: NDArray[np.floating],
    *,
    row: NDArray[np.integer] | None = None,
    rule: Grouping | None = None,
) -> NDArray[np.int32]:
    """Cluster of each loc, -1 for none: (n,) i4, numbered from 0 in the order of their smallest rows.

    Parameters
    ----------
    contracted_nm : (n, 2), nm
    belonging : (n,), probability of lying in a cluster
    radius_nm : (n,), predicted rms radius of the cluster, nm
    row : (n,) distinct numbers that order the locs; 0 ... n - 1 where not given. The result hangs on these, not on the order of the arrays
    """
    rule = rule or Grouping()
    row = np.arange(len(belonging)) if row is None else np.asarray(row)
    labels = np.full(len(belonging), -1, dtype=np.int32)
    taking_part = np.flatnonzero(belonging >= rule.least_belonging)
    if len(taking_part) == 0:
        return labels
    taking_part = taking_part[np.argsort(row[taking_part])]
    reach_nm = rule.reach * np.clip(np.asarray(radius_nm)[taking_part].astype(np.float64), *rule.radius_nm)
    places, place_of = _occupied(np.asarray(contracted_nm)[taking_part], reach_nm, row[taking_part].astype(np.int64))
    del reach_nm  # 10^7 locs are grouped at once: every column of theirs is 80 MB
    cluster = _link_places(places, rule.core_locs)[place_of]
    labels[taking_part] = _number(cluster, np.asarray(belonging)[taking_part].astype(np.float64), rule)
    return labels


def _occupied(xy_nm: NDArray[np.floating], reach_nm: Floats, row: Ints) -> tuple[_Places, Ints]:
    """Occupied nm by (row of the raster, column), and that of each loc; locs come in the order of rows, so sums are made in it."""
    column, number = (np.floor(axis / _CELL_NM).astype(np.int64) for axis in xy_nm.T)  # of float32 or float64 the same
    number *= int(np.ptp(column)) + 1
    number += column - column.min()  # one number for a nm of the raster: sorted in half the time and memory of two
    del column
    order = np.argsort(number, kind="stable")
    number = number[order]
    new = np.ones(len(number), dtype=bool)
    new[1:] = number[1:] != number[:-1]
    place_of = np.empty(len(number), dtype=np.int64)
    place_of[order] = np.cumsum(new) - 1
    n_locs = np.bincount(place_of)
    x_nm, y_nm, reach_nm = (np.bincount(place_of, weights=values) / n_locs for values in (*xy_nm.T, reach_nm))
    return _Places(x_nm, y_nm, reach_nm, n_locs, row[order][new]), place_of


def _link_places(places: _Places, core_locs: int) -> Ints:
    """A number for each set of linked places, -1 for those in none."""
    height_nm = float(places.reach_nm.max()) * (1 + _SLACK)
    strip = np.floor((places.y_nm - places.y_nm.min()) / height_nm)
    order = np.lexsort((places.x_nm, strip))
    x, y, reach = places.x_nm[order], places.y_nm[order], places.reach_nm[order]
    n_locs, row = places.n_locs[order], places.row[order]
    # first place of this strip, of the one below and of the one above, for each place; and where they end
    number = strip[order]
    low, high = (np.stack([np.searchsorted(number, number + by, side) for by in (-1, 0, 1)]) for side in ("left", "right"))
    found = np.empty(len(order), dtype=np.int64)
    found[order] = _linked(x, y, reach, n_locs, row, low, high, core_locs)
    return found


@njit(cache=True)
def _root(parent: Ints, k: int) -> int:
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@njit(cache=True)
def _linked(x: Floats, y: Floats, reach: Floats, n_locs: Ints, row: Ints, low: Ints, high: Ints, core_locs: int) -> Ints:
    """Sets of linked places, x rising within a strip; three passes over pairs: who is core, which cores are linked, whom others join."""
    n = len(x)
    parent, near = np.arange(n), n_locs.copy()
    nearest2, chosen = np.full(n, np.inf), np.full(n, -1)
    for turn in range(3):
        for i in range(n):
            if (turn == 1 and near[i] < core_locs) or (turn == 2 and near[i] >= core_locs):
                continue
            for strip in range(3):
                first, last = low[strip, i], high[strip, i]
                j = first + np.searchsorted(x[first:last], x[i] - reach[i])
                while j < last and x[j] - x[i] <= reach[i]:
                    d2 = (x[j] - x[i]) ** 2 + (y[j] - y[i]) ** 2
                    if j != i and d2 < min(reach[i], reach[j]) ** 2:
                        if turn == 0:
                            near[i] += n_locs[j]
                        elif near[j] >= core_locs and turn == 1:
                            a, b = _root(parent, i), _root(parent, j)
                            parent[max(a, b)] = min(a, b)
                        elif near[j] >= core_locs and (d2 < nearest2[i] or (d2 == nearest2[i] and row[j] < row[chosen[i]])):
                            nearest2[i], chosen[i] = d2, j
                    j += 1
    found = np.full(n, -1)
    for i in range(n):
        k = i if near[i] >= core_locs else chosen[i]
        if k >= 0:
            found[i] = _root(parent, k)
    return found


def _number(cluster: Ints, belonging: Floats, rule: Grouping) -> NDArray[np.int32]:
    """Labels of locs in the order of their rows, by first appearance; weak clusters are none."""
    total, n_locs = np.bincount(cluster + 1, weights=belonging)[1:], np.bincount(cluster + 1)[1:]  # without those in none
    return _by_appearance(cluster, total >= np.maximum(rule.least_sum, rule.least_mean * n_locs))


@njit(cache=True)
def _by_appearance(cluster: Ints, kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    label_of, labels = np.full(len(kept), -1, np.int32), np.full(len(cluster), -1, np.int32)
    n = 0
    for i in range(len(cluster)):
        k = cluster[i]
        if k >= 0 and kept[k]:
            if label_of[k] < 0:
                label_of[k] = n
                n += 1
            labels[i] = label_of[k]
    return labels
