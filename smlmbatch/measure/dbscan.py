"""DBSCAN of locs in the plane, exact, in memory proportional to their number.

Core locs and the partition of the core locs are those of Ester et al. 1996 (and of scikit-learn): a loc with
at least `min_locs` locs within `eps_nm`, itself included and the distance inclusive, is core; core locs within
`eps_nm` of each other share a cluster. The paper leaves to the order of the input which cluster a border loc
within reach of two joins; here it joins that of its nearest core loc, so order decides exact ties only. 2D only.

Locs are sorted into horizontal strips as high as the reach, by x within a strip: neighbours lie in a loc's own
strip and the two beside it, in a window of x. No grid is laid out, so one stray loc far away costs nothing.
Dense places (a bead: 10^5 locs within the reach) must not cost the square of their locs: counting walks
outwards and stops at `min_locs`, and consecutive core locs of a strip are joined first, into runs, so that
linking steps over whole runs that already belong together. What stays expensive is two dense clusters side by side
within the window but out of reach of each other: every pair of theirs is looked at.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Strips are a little higher than the reach, so that rounding of y / height never puts neighbours two strips apart;
# enough for 10^9 strips (rounding is 2e-16 of the strip's number).
_SLACK = 1e-6


def dbscan_labels(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], *, eps_nm: float, min_locs: int) -> NDArray[np.int32]:
    """Cluster of each loc, -1 for noise.

    Parameters
    ----------
    x_nm, y_nm : (n,) floating, nm, finite
    eps_nm : reach, inclusive
    min_locs : locs within reach that make a loc core, itself included

    Returns
    -------
    (n,) i4. Clusters are numbered from 0 in the order of their first core loc. A border loc has the label of its
    nearest core loc, of the first one where several are equally near.

    Source: Ester, Kriegel, Sander, Xu, KDD 1996.

    >>> dbscan_labels(np.array([0.0, 9, 18, 100]), np.zeros(4), eps_nm=10, min_locs=3)
    array([ 0,  0,  0, -1], dtype=int32)
    """
    n = len(x_nm)
    if n == 0:
        return np.empty(0, dtype=np.int32)
    order, start = _sort_into_strips(x_nm, y_nm, height_nm=eps_nm * (1 + _SLACK))
    x, y = x_nm[order].astype(np.float64), y_nm[order].astype(np.float64)
    reach2 = float(eps_nm) ** 2
    core = _mark_cores(x, y, start, reach2, int(min_locs))
    labels = _number_clusters(_link_cores(x, y, core, start, reach2), order)
    _join_borders(x, y, core, start, reach2, order, labels)
    return labels


def _sort_into_strips(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], *, height_nm: float) -> tuple[Ints, Ints]:
    """Order of the locs by (strip, x), and the first loc of each occupied strip with one more entry that closes the last.

    Two occupied strips in a row may lie far apart; looking from one into the other then finds nothing and costs little.
    """
    strip = np.floor((y_nm.astype(np.float64) - float(y_nm.min())) / height_nm)
    order = np.lexsort((x_nm, strip))
    strip = strip[order]
    first = np.flatnonzero(strip[1:] != strip[:-1]) + 1
    start = np.concatenate((np.zeros(1, np.int64), first, np.full(1, len(strip))))
    return order, start


@njit(cache=True)
def _mark_cores(x: Floats, y: Floats, start: Ints, reach2: float, min_locs: int) -> NDArray[np.bool_]:
    """Which locs have `min_locs` neighbours; (n,) bool, in sorted order."""
    count = np.zeros(len(x), np.int64)
    for s in range(len(start) - 1):
        for t in (s, s - 1, s + 1):
            if t < 0 or t == len(start) - 1:
                continue
            middle = start[t]
            for i in range(start[s], start[s + 1]):
                while middle < start[t + 1] and x[middle] < x[i]:
                    middle += 1
                for way in (1, -1):  # outwards from the nearest x: dense places fill the count at once
                    j = middle if way == 1 else middle - 1
                    while start[t] <= j < start[t + 1] and count[i] < min_locs:
                        dx, dy = x[j] - x[i], y[j] - y[i]
                        if dx * dx > reach2:
                            break
                        count[i] += dx * dx + dy * dy <= reach2
                        j += way
    return count >= min_locs


@njit(cache=True)
def _root(parent: Ints, k: int) -> int:
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@njit(cache=True)
def _link_cores(x: Floats, y: Floats, core: NDArray[np.bool_], start: Ints, reach2: float) -> Ints:
    """A number per connected set of core locs, -1 elsewhere; (n,) i8, in sorted order."""
    run = np.full(len(x), -1, np.int64)
    run_stop, parent = np.empty(len(x), np.int64), np.empty(len(x), np.int64)
    n_runs = 0
    for s in range(len(start) - 1):
        last = -1
        for i in range(start[s], start[s + 1]):
            if core[i]:
                dx, dy = x[i] - x[last], y[i] - y[last]
                if last < 0 or dx * dx + dy * dy > reach2:
                    parent[n_runs] = n_runs
                    n_runs += 1
                last = i
                run[i] = n_runs - 1
                run_stop[n_runs - 1] = i + 1
    for s in range(len(start) - 1):
        for t in (s, s + 1):  # forwards only: every pair is met once
            if t == len(start) - 1:
                continue
            low = start[t]
            for i in range(start[s], start[s + 1]):
                if not core[i]:
                    continue
                while low < start[t + 1] and x[low] < x[i] and (x[low] - x[i]) * (x[low] - x[i]) > reach2:
                    low += 1
                mine = _root(parent, run[i])
                j = run_stop[run[i]] if t == s else low
                while j < start[t + 1]:
                    dx, dy = x[j] - x[i], y[j] - y[i]
                    if dx > 0 and dx * dx > reach2:
                        break
                    if not core[j]:
                        j += 1
                        continue
                    other = _root(parent, run[j])
                    if other != mine and dx * dx + dy * dy > reach2:
                        j += 1
                        continue
                    parent[max(mine, other)] = mine = min(mine, other)
                    j = run_stop[run[j]]
    for i in range(len(x)):
        if core[i]:
            run[i] = _root(parent, run[i])
    return run


@njit(cache=True)
def _number_clusters(linked: Ints, order: Ints) -> NDArray[np.int32]:
    """Labels in the locs' own order, numbered by first appearance; (n,) i4."""
    n = len(order)
    labels = np.full(n, -1, np.int32)
    label_of = np.full(n, -1, np.int32)
    position = np.empty(n, np.int64)
    for i in range(n):
        position[order[i]] = i
    n_clusters = 0
    for row in range(n):
        link = linked[position[row]]
        if link >= 0:
            if label_of[link] < 0:
                label_of[link] = n_clusters
                n_clusters += 1
            labels[row] = label_of[link]
    return labels


@njit(cache=True)
def _join_borders(
    x: Floats,
    y: Floats,
    core: NDArray[np.bool_],
    start: Ints,
    reach2: float,
    order: Ints,
    labels: NDArray[np.int32],
) -> None:
    """Write the label of the nearest core loc into `labels` of every loc that is not core but has one in reach."""
    n = len(order)
    nearest2 = np.full(n, reach2)
    nearest = np.full(n, -1, np.int64)
    for s in range(len(start) - 1):
        for t in (s, s - 1, s + 1):
            if t < 0 or t == len(start) - 1:
                continue
            middle = start[t]
            for i in range(start[s], start[s + 1]):
                if core[i]:
                    continue
                while middle < start[t + 1] and x[middle] < x[i]:
                    middle += 1
                for way in (1, -1):
                    j = middle if way == 1 else middle - 1
                    while start[t] <= j < start[t + 1]:
                        dx, dy = x[j] - x[i], y[j] - y[i]
                        if dx * dx > nearest2[i]:
                            break
                        d2 = dx * dx + dy * dy
                        if core[j] and (d2 < nearest2[i] or (d2 == nearest2[i] and (nearest[i] < 0 or order[j] < nearest[i]))):
                            nearest2[i] = d2
                            nearest[i] = order[j]
                        j += way
    for i in range(n):
        if nearest[i] >= 0:
            labels[order[i]] = labels[nearest[i]]
