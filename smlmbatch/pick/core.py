"""Which locs of a drawn circle, or of a file's group, are the structure's: those that lie denser than its locs do on average.

A circle that somebody drew also holds what lies between structures. That reaches everywhere, so the hull of all locs is the circle, and its
centroid the drawn centre however far beside. Groups come of such circles too, and two stray locs take a group's hull anywhere. Decision: a
centre is found of locs whose third neighbour is nearer than it would be if the circle's locs were spread evenly; a group's circle reaches
from the middle of its extent to its farthest loc. Nothing is cut for it: particles keep all of their locs.

What that does to centres, with and without a background: docs/particles.md.
"""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.clustering.centre import LEAST_POINTS
from smlmbatch.pick.gather import Floats, Gathered

_NEIGHBOUR: Final = 3  # the fifth and eighth drop thinly labelled corners


def cores_of(own: Gathered, radius_nm: Floats, *, axes: int) -> Gathered:
    """The dense locs of each of k particles; all where fewer than `LEAST_POINTS` are.

    Parameters
    ----------
    own : locs of all particles, each within its radius
    radius_nm : (k,)
    axes : 2 where radii are those of circles seen from above, 3 where of spheres
    """
    start = np.searchsorted(own.particle, np.arange(len(radius_nm) + 1))
    dense = [is_dense(own.place_nm[a:b, :axes], radius) for (a, b), radius in zip(pairwise(start), radius_nm, strict=True)]
    taken = np.concatenate([np.empty(0, dtype=bool), *dense])
    return Gathered(own.particle[taken], own.loc[taken], own.place_nm[taken])


def reach_nm(own: Gathered, count: int) -> Floats:
    """From the middle of each particle's extent to its farthest loc, (count,); each has some."""
    start = np.searchsorted(own.particle, np.arange(count))
    if not count:
        return np.empty(0)
    middle = (np.minimum.reduceat(own.place_nm, start) + np.maximum.reduceat(own.place_nm, start)) / 2
    away_nm = np.sqrt(((own.place_nm - middle[own.particle]) ** 2).sum(axis=1))
    farthest: Floats = np.maximum.reduceat(away_nm, start)
    return farthest


def is_dense(points_nm: Floats, radius_nm: float) -> NDArray[np.bool_]:
    """Whether each of n points lies denser than n points spread evenly over the circle (or sphere), (n,).

    Parameters
    ----------
    points_nm : (n, d)

    >>> line = np.column_stack([np.arange(12.0), np.zeros(12)])
    >>> is_dense(np.concatenate([line, [[50.0, 50.0], [-60.0, 0.0]]]), 100.0).tolist() == [True] * 12 + [False] * 2
    True
    """
    from scipy.spatial import cKDTree

    n, axes = points_nm.shape
    if n <= LEAST_POINTS:
        return np.ones(n, dtype=bool)
    away_nm = cKDTree(points_nm).query(points_nm, k=_NEIGHBOUR + 1)[0][:, _NEIGHBOUR]
    dense: NDArray[np.bool_] = away_nm < radius_nm * (_NEIGHBOUR / n) ** (1 / axes)
    return dense if dense.sum() >= LEAST_POINTS else np.ones(n, dtype=bool)
