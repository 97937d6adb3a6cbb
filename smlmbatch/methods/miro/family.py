"""Which clusters make up a larger one: clusters found before locs went on to the middle of the parent, and the groups they ended in."""

import numpy as np
from numpy.typing import NDArray

_LEAST_CHILDREN = 2  # a group of one cluster is that cluster again


def parents_of(leaf: NDArray[np.int32], group: NDArray[np.int32], *, row: NDArray[np.integer]) -> NDArray[np.int32]:
    """Parent of each cluster, -1 = none: (c,) i4, parents being numbered from 0 by the smallest row of their clusters' locs.

    Parameters
    ----------
    leaf : (n,) i4, cluster of each loc, -1 = none
    group : (n,) i4, group in which the loc ended, -1 = none
    row : (n,), distinct numbers that order the locs

    A cluster belongs to the group that holds most of its locs (of equals the first), if these are more than half.

    >>> parents_of(np.array([0, 0, 1, 1, 2], np.int32), np.array([0, 0, 0, 0, 1], np.int32), row=np.arange(5)).tolist()
    [0, 0, -1]
    """
    n_leaves, n_groups = int(leaf.max(initial=-1)) + 1, int(group.max(initial=-1)) + 1
    parent = np.full(n_leaves, -1, dtype=np.int32)
    inside = (leaf >= 0) & (group >= 0)
    if not inside.any():
        return parent
    pair, shared = np.unique(leaf[inside].astype(np.int64) * n_groups + group[inside], return_counts=True)
    of_leaf, of_group = pair // n_groups, pair % n_groups
    size = np.bincount(leaf[leaf >= 0], minlength=n_leaves)
    most = 2 * shared > size[of_leaf]
    parent[of_leaf[most]] = of_group[most]
    children = np.bincount(parent[parent >= 0], minlength=n_groups)
    parent[(parent >= 0) & (children[parent] < _LEAST_CHILDREN)] = -1
    return _numbered(parent, leaf, row)


def _numbered(parent: NDArray[np.int32], leaf: NDArray[np.int32], row: NDArray[np.integer]) -> NDArray[np.int32]:
    """Parents in use from 0, by the smallest row of their locs."""
    own = np.where(leaf >= 0, parent[leaf], -1)
    by_row = np.argsort(row, kind="stable")
    used, first = np.unique(own[by_row], return_index=True)
    used, first = used[used >= 0], first[used >= 0]
    number = np.full(int(parent.max(initial=-1)) + 2, -1, dtype=np.int32)  # the last one is that of -1
    number[used[np.argsort(first)]] = np.arange(len(used), dtype=np.int32)
    return number[parent]
