"""DBSCAN of the locs of a whole field, in the plane or in space, exact, in memory proportional to their number.

Core locs and the partition of the core locs are those of Ester et al. 1996 (and of scikit-learn): a loc with
at least `min_locs` locs within `eps_nm`, itself included and the distance inclusive, is core; core locs within
`eps_nm` of each other share a cluster. The paper leaves to the order of the input which cluster a border loc
within reach of two joins; here it joins that of its nearest core loc, ties going to the smallest row, and clusters are numbered
by their smallest core row. So labels depend on locs and their rows alone, not on the order in which they are given.

Locs are sorted into strips as high as the reach (in space: as high and as deep), by x within a strip: neighbours lie in a loc's own
strip and those beside it, in a window of x. No grid is laid out, so one stray loc far away costs nothing.
Dense places (a bead: 10^5 locs within the reach) must not cost the square of their locs: counting walks
outwards and stops at `min_locs`, and consecutive core locs of a strip are joined first, into runs, so that
linking steps over whole runs that already belong together, or whose bounds lie out of reach. What stays expensive is a wide dense
cluster beside another, within the window and the bounds but out of reach: every pair of theirs is looked at.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Short = NDArray[np.int32]

# Strips are a little higher than the reach, so that rounding of y / height never puts neighbours two strips apart;
# enough for 10^9 strips (rounding is 2e-16 of the strip's number).
_SLACK = 1e-6


def dbscan_labels(
    x_nm: NDArray[np.floating],
    y_nm: NDArray[np.floating],
    z_nm: NDArray[np.floating] | None = None,
    *,
    eps_nm: float,
    min_locs: int,
    row: NDArray[np.integer] | None = None,
) -> NDArray[np.int32]:
    """Cluster of each loc, -1 for noise.

    Parameters
    ----------
    x_nm, y_nm, z_nm : (n,) floating, nm, finite, fewer than 2^31; without z in the plane
    eps_nm : reach, inclusive
    min_locs : locs within reach that make a loc core, itself included
    row : (n,) integers, no two alike, what numbering and ties follow: a loc's record in its source. Default: the order given

    Returns
    -------
    (n,) i4. Clusters are numbered from 0 in the order of their smallest core row. A border loc has the label of its
    nearest core loc, of the one with the smallest row where several are equally near.

    Source: Ester, Kriegel, Sander, Xu, KDD 1996.

    >>> dbscan_labels(np.array([0.0, 9, 18, 100]), np.zeros(4), eps_nm=10, min_locs=3)
    array([ 0,  0,  0, -1], dtype=int32)
    """
    n = len(x_nm)
    if n == 0:
        return np.empty(0, dtype=np.int32)
    if row is not None:
        return _labels_by_row(x_nm, y_nm, z_nm, row, eps_nm=eps_nm, min_locs=min_locs)
    height_nm = eps_nm * (1 + _SLACK)
    order, start, beside = _sort_into_strips(x_nm, y_nm, z_nm, height_nm=height_nm)
    x, y = (axis[order].astype(np.float64) for axis in (x_nm, y_nm))
    z = None if z_nm is None else z_nm[order].astype(np.float64)
    reach2 = float(eps_nm) ** 2
    core = _mark_cores(x, y, z, start, beside, reach2, min(int(min_locs), n + 1))
    labels = _number_clusters(_link_cores(x, y, z, core, start, beside, reach2), order)
    _join_borders(x, y, z, core, start, beside, reach2, order, labels)
    return labels


def _labels_by_row(
    x_nm: NDArray[np.floating],
    y_nm: NDArray[np.floating],
    z_nm: NDArray[np.floating] | None,
    row: NDArray[np.integer],
    *,
    eps_nm: float,
    min_locs: int,
) -> NDArray[np.int32]:
    """The same with the locs in the order of their rows, and labels back in the order given."""
    by_row = np.argsort(row, kind="stable")
    z_in_order = None if z_nm is None else z_nm[by_row]
    labels = np.empty(len(row), dtype=np.int32)
    labels[by_row] = dbscan_labels(x_nm[by_row], y_nm[by_row], z_in_order, eps_nm=eps_nm, min_locs=min_locs)
    return labels


def _sort_into_strips(
    x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], z_nm: NDArray[np.floating] | None, *, height_nm: float
) -> tuple[Short, Ints, Short]:
    """Locs by (strip, x), the first of each occupied strip, and the strips beside each.

    Returns
    -------
    order : (n,) i4
    start : (s + 1,) i8, first loc of each strip, and n
    beside : (s, 1 + 2 f) i4, f = 1 in the plane, 4 in space: the strip itself, the f neighbours after it, the f before it; -1 = none there
    """
    strip = _strip_numbers(y_nm, height_nm)
    step = 0
    if z_nm is not None:
        step = int(strip.max()) + 2  # one strip is left empty between layers, so the next layer's first is nobody's neighbour in y
        strip += step * _strip_numbers(z_nm, height_nm)
    order = np.lexsort((x_nm, strip)).astype(np.int32)
    strip = strip[order]
    first = np.flatnonzero(strip[1:] != strip[:-1]) + 1
    start = np.concatenate((np.zeros(1, np.int64), first, np.full(1, len(strip))))
    occupied = strip[start[:-1]]
    after = [1] if z_nm is None else [1, step - 1, step, step + 1]
    beside = np.full((len(occupied), 1 + 2 * len(after)), -1, dtype=np.int32)
    for column, offset in enumerate([0, *after, *(-offset for offset in after)]):
        found = np.minimum(np.searchsorted(occupied, occupied + offset), len(occupied) - 1)
        there = occupied[found] == occupied + offset
        beside[there, column] = found[there]
    return order, start, beside


def _strip_numbers(axis_nm: NDArray[np.floating], height_nm: float) -> Ints:
    return np.floor((axis_nm.astype(np.float64) - float(axis_nm.min())) / height_nm).astype(np.int64)


@njit(cache=True)
def _apart2(x: Floats, y: Floats, z: Floats | None, i: int, j: int) -> float:
    """Squared distance; the plane's has no third term, so its digits are those of two."""
    dx, dy = x[j] - x[i], y[j] - y[i]
    square: float = dx * dx + dy * dy
    if z is not None:
        dz = z[j] - z[i]
        square += dz * dz
    return square


@njit(cache=True)
def _mark_cores(x: Floats, y: Floats, z: Floats | None, start: Ints, beside: Short, reach2: float, min_locs: int) -> NDArray[np.bool_]:
    """Which locs have `min_locs` neighbours; (n,) bool, in sorted order."""
    count = np.zeros(len(x), np.int32)
    for s in range(len(start) - 1):
        for t in beside[s]:
            if t < 0:
                continue
            middle = start[t]
            for i in range(start[s], start[s + 1]):
                while middle < start[t + 1] and x[middle] < x[i]:
                    middle += 1
                for way in (1, -1):  # outwards from the nearest x: dense places fill the count at once
                    j = middle if way == 1 else middle - 1
                    while start[t] <= j < start[t + 1] and count[i] < min_locs:
                        dx = x[j] - x[i]
                        if dx * dx > reach2:
                            break
                        count[i] += _apart2(x, y, z, i, j) <= reach2
                        j += way
    return count >= min_locs


@njit(cache=True)
def _root(parent: Short, k: int) -> int:
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@njit(cache=True)
def _link_cores(x: Floats, y: Floats, z: Floats | None, core: NDArray[np.bool_], start: Ints, beside: Short, reach2: float) -> Short:
    """A number per connected set of core locs, -1 elsewhere; (n,) i4, in sorted order."""
    run, run_stop, lowest, highest, parent = _find_runs(x, y, z, core, start, reach2)
    for s in range(len(start) - 1):
        for t in beside[s, : 1 + beside.shape[1] // 2]:  # itself and forwards: every pair is met once
            if t < 0:
                continue
            low = start[t]
            for i in range(start[s], start[s + 1]):
                if not core[i]:
                    continue
                while low < start[t + 1] and x[low] < x[i] and (x[low] - x[i]) * (x[low] - x[i]) > reach2:
                    low += 1
                mine = _root(parent, run[i])
                j = int(run_stop[run[i]]) if t == s else low
                while j < start[t + 1]:
                    dx = x[j] - x[i]
                    if dx > 0 and dx * dx > reach2:
                        break
                    if not core[j]:
                        j += 1
                        continue
                    r = run[j]
                    other = _root(parent, r)
                    if other != mine and _apart2(x, y, z, i, j) > reach2:
                        beyond_x = max(x[j] - x[i], x[i] - x[run_stop[r] - 1], 0.0)
                        beyond_y = max(lowest[r] - y[i], y[i] - highest[r], 0.0)
                        j = int(run_stop[r]) if beyond_x * beyond_x + beyond_y * beyond_y > reach2 else j + 1
                        continue
                    mine, other = min(mine, other), max(mine, other)
                    parent[other] = mine
                    j = int(run_stop[r])
    for i in range(len(x)):
        if core[i]:
            run[i] = _root(parent, run[i])
    return run


@njit(cache=True)
def _find_runs(
    x: Floats, y: Floats, z: Floats | None, core: NDArray[np.bool_], start: Ints, reach2: float
) -> tuple[Short, Short, Floats, Floats, Short]:
    """Runs of consecutive core locs within reach: the run of each loc (-1 = none), where each run stops, its bounds in y, itself."""
    run = np.full(len(x), -1, np.int32)
    n_core = np.count_nonzero(core)
    run_stop, lowest, highest = np.empty(n_core, np.int32), np.empty(n_core), np.empty(n_core)
    n_runs = 0
    for s in range(len(start) - 1):
        last = -1
        for i in range(start[s], start[s + 1]):
            if core[i]:
                if last < 0 or _apart2(x, y, z, last, i) > reach2:
                    lowest[n_runs], highest[n_runs] = y[i], y[i]
                    n_runs += 1
                last = i
                r = n_runs - 1
                run[i], run_stop[r] = r, i + 1
                lowest[r], highest[r] = min(lowest[r], y[i]), max(highest[r], y[i])
    return run, run_stop[:n_runs], lowest[:n_runs], highest[:n_runs], np.arange(n_runs).astype(np.int32)


@njit(cache=True)
def _number_clusters(linked: Short, order: Short) -> Short:
    """Labels in the locs' own order, numbered by first appearance; (n,) i4."""
    n = len(order)
    labels = np.full(n, -1, np.int32)
    for i in range(n):
        labels[order[i]] = linked[i]
    label_of = np.full(linked.max() + 1, -1, np.int32)
    n_clusters = 0
    for k in range(n):
        link = labels[k]
        if link >= 0:
            if label_of[link] < 0:
                label_of[link] = n_clusters
                n_clusters += 1
            labels[k] = label_of[link]
    return labels


@njit(cache=True)
def _join_borders(
    x: Floats,
    y: Floats,
    z: Floats | None,
    core: NDArray[np.bool_],
    start: Ints,
    beside: Short,
    reach2: float,
    order: Short,
    labels: Short,
) -> None:
    """Write the label of the nearest core loc into `labels` of every loc that is not core but has one in reach."""
    for s in range(len(start) - 1):
        n_own = start[s + 1] - start[s]
        nearest2, nearest = np.full(n_own, reach2), np.full(n_own, -1, np.int32)
        for t in beside[s]:
            if t < 0:
                continue
            middle = start[t]
            for i in range(start[s], start[s + 1]):
                if core[i]:
                    continue
                k = i - start[s]
                while middle < start[t + 1] and x[middle] < x[i]:
                    middle += 1
                for way in (1, -1):
                    j = middle if way == 1 else middle - 1
                    while start[t] <= j < start[t + 1]:
                        dx = x[j] - x[i]
                        if dx * dx > nearest2[k]:
                            break
                        d2 = _apart2(x, y, z, i, j)
                        if core[j] and (d2 < nearest2[k] or (d2 == nearest2[k] and (nearest[k] < 0 or order[j] < nearest[k]))):
                            nearest2[k], nearest[k] = d2, order[j]
                        j += way
        for k in range(n_own):
            if nearest[k] >= 0:
                labels[order[start[s] + k]] = labels[nearest[k]]
