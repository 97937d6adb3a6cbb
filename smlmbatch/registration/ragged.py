"""Particles as they come: many short lists of points in one array, checked once, put into an order that the input's order has no part in.

Registration is a sum over particles and over their locs. Sums rounded in another order differ in their last digits, and an iteration makes
digits of degrees of them; so locs are sorted within each particle, and particles among each other, before anything is computed.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_LOCS: Final = 3  # two points turn about their own line, in space


@dataclass(frozen=True, slots=True)
class Ragged:
    """k particles of m locs in an order of their own.

    Attributes
    ----------
    start : (k + 1,) i8
    points_nm : (m, d) f8, d = 2 or 3
    particle : (k,) i8, which particle of the input each is
    loc : (m,) i8, which loc of the input each is
    """

    start: Ints
    points_nm: Floats
    particle: Ints
    loc: Ints

    @property
    def counts(self) -> Ints:
        """Locs of each particle, (k,)."""
        return np.diff(self.start)

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """A value per particle, (k, …), given to each of its locs, (m, …)."""
        return np.repeat(values, self.counts, axis=0)


def arrange(start: NDArray[np.integer], points_nm: NDArray[np.floating], *, source: str) -> Ragged:
    """Check particles and bring them into their order: by number of locs, then by their places.

    Parameters
    ----------
    start : (k + 1,), first loc of each particle, and m
    points_nm : (m, d), nm; finite
    source : the file or field they are of, for messages

    Raises
    ------
    InputError
        no particle, a particle of fewer than `LEAST_LOCS` locs, places that are no numbers, or neither of the plane nor of space
    """
    points = np.asarray(points_nm, dtype=np.float64)
    first = np.asarray(start, dtype=np.int64)
    _check(first, points, source)
    particle_of = np.repeat(np.arange(len(first) - 1), np.diff(first))
    loc = np.lexsort((*points.T[::-1], particle_of))
    heads = points[loc][first[:-1]]
    particle = np.lexsort((*heads.T[::-1], np.diff(first)))
    counts = np.diff(first)[particle]
    moved = np.concatenate(([0], np.cumsum(counts)))
    rows = np.arange(len(points)) - np.repeat(moved[:-1] - first[:-1][particle], counts)
    return Ragged(moved, np.ascontiguousarray(points[loc[rows]]), particle, loc[rows])


def _check(start: Ints, points: Floats, source: str) -> None:
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise InputError(source, f"points of shape {points.shape}", "(locs, 2) or (locs, 3)", "give x, y or x, y, z of each loc")
    if len(start) < 2 or start[0] != 0 or start[-1] != len(points) or (np.diff(start) < 0).any():
        raise InputError(source, "no particles, or bounds that don't fit the locs", "one particle or more", "pick particles first")
    few = np.flatnonzero(np.diff(start) < LEAST_LOCS)
    if len(few):
        finding = f"{len(few)} particles of fewer than {LEAST_LOCS} locs, the first is number {few[0]}"
        raise InputError(source, finding, f"{LEAST_LOCS} locs or more in each", "leave them out when picking")
    wrong = ~np.isfinite(points)
    if wrong[:, :2].any():
        raise InputError(source, "places that are no numbers", "x and y of every loc in nm", "leave such locs out")
    if wrong.any():
        flat = len(np.unique(np.repeat(np.arange(len(start) - 1), np.diff(start))[wrong[:, 2]]))
        finding = f"{flat} of {len(start) - 1} particles have locs without z"
        raise InputError(source, finding, "particles all of the plane or all of space", "register the two kinds apart, or leave z out")


def nearest_distance_nm(particles: Ragged) -> float:
    """What a quarter of the locs have their nearest neighbour in the particle within, nm: about half the precision or less.

    Places seen 5 times have neighbours half a precision apart (in the plane, 0.5 / sqrt(density)); places seen once, far ones.
    """
    from scipy.spatial import cKDTree

    found = [
        cKDTree(particles.points_nm[a:b]).query(particles.points_nm[a:b], k=2)[0][:, 1]
        for a, b in zip(particles.start[:-1], particles.start[1:], strict=True)
    ]
    return float(np.quantile(np.concatenate(found), 0.25))
