"""The locs of each particle: those of its cluster or group, or about a given centre; within a margin also those that are in none.

The field passes through in pieces and only what belongs to a particle is kept: memory is that of the particles. With a margin a particle
also gets the locs of its channel in no cluster (or group) that lie within `margin_nm` of its hull as seen from above (in space, also of its
extent along z); a loc between two particles goes to both. Locs of another cluster are never taken. A loc near two given centres belongs to
both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.store.arrays import UnitReader

_PIECE_ROWS: Final = 1 << 18
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Labels = Callable[[int, int], NDArray[np.integer]]  # (first, last) row of the ingest unit → cluster or group of each loc, -1 = none


@dataclass(frozen=True, slots=True)
class Gathered:
    """Locs sorted by particle, within a particle by their place in the ingest unit.

    Attributes
    ----------
    particle : (m,) i8
    loc : (m,) i8, index into the ingest unit
    place_nm : (m, d) f8, relative to the field's origin
    """

    particle: Ints
    loc: Ints
    place_nm: Floats

    def split(self, count: int) -> tuple[Ints, list[Floats]]:
        """(start, (count + 1,); places of each of `count` particles)."""
        start = np.searchsorted(self.particle, np.arange(count + 1)).astype(np.int64)
        return start, [self.place_nm[a:b] for a, b in pairwise(start)]

    def only(self, kept: NDArray[np.bool_]) -> "Gathered":
        """Those of some particles, which are numbered anew in their order; `kept` is (particles,)."""
        taken = kept[self.particle]
        return Gathered((np.cumsum(kept) - 1)[self.particle[taken]], self.loc[taken], self.place_nm[taken])


def gather_own(ingest: UnitReader, labels: Labels, particle_of: Ints) -> Gathered:
    """The locs of the clusters (or groups) themselves.

    Parameters
    ----------
    particle_of : (clusters,), the particle that takes the locs of each cluster, -1 for none
    """
    found = []
    for start, place_nm in _pieces(ingest):
        particle = np.append(particle_of, -1)[labels(start, start + len(place_nm))]  # label -1 is the last
        taken = np.flatnonzero(particle >= 0)
        found.append((particle[taken], start + taken, place_nm[taken]))
    return _sorted(found, axes=axes_of(ingest))


def gather_within(ingest: UnitReader, centre_nm: Floats, radius_nm: Floats, channel: NDArray[np.uint8]) -> Gathered:
    """The locs of a channel up to a radius from each of k given centres.

    Parameters
    ----------
    centre_nm : (k, 2), as seen from above whatever z is; or (k, 3)
    radius_nm : (k,)
    channel : (k,)
    """
    from scipy.spatial import cKDTree

    axes, found = centre_nm.shape[1], []
    for start, place_nm in _pieces(ingest):
        of_channel = ingest.read("channel", start, start + len(place_nm))
        near = cKDTree(place_nm[:, :axes]).query_ball_point(centre_nm, radius_nm)
        for number in (number for number, hits in enumerate(near) if hits):
            rows = np.array(near[number], dtype=np.int64)
            rows = rows[of_channel[rows] == channel[number]]
            found.append((np.full(len(rows), number), start + rows, place_nm[rows]))
    return _sorted(found, axes=axes_of(ingest))


def gather_around(ingest: UnitReader, labels: Labels, own: Gathered, channel: NDArray[np.uint8], *, margin_nm: float) -> Gathered:
    """`own`, and the locs in no cluster (or group) that lie within the margin.

    Parameters
    ----------
    own : what `gather_own` gives; every particle has some
    channel : (particles,) u1
    """
    from scipy.spatial import cKDTree

    rims = [_Rim.of(places, margin_nm) for places in own.split(len(channel))[1]]
    if not rims:
        return own
    middle_nm, reach_nm = np.stack([rim.middle_nm for rim in rims]), np.array([rim.reach_nm for rim in rims])
    found = [(own.particle, own.loc, own.place_nm)]
    for start, place_nm in _pieces(ingest):
        stop = start + len(place_nm)
        free = np.flatnonzero(labels(start, stop) < 0)
        of_channel = ingest.read("channel", start, stop)
        near = cKDTree(place_nm[free, :2]).query_ball_point(middle_nm, reach_nm) if len(free) else []
        for number in (number for number, hits in enumerate(near) if hits):
            rows = free[near[number]]
            rows = rows[of_channel[rows] == channel[number]]
            rows = rows[rims[number].holds(place_nm[rows])]
            found.append((np.full(len(rows), number), start + rows, place_nm[rows]))
    return _sorted(found, axes=axes_of(ingest))


@dataclass(frozen=True, slots=True)
class _Rim:
    """A particle's hull seen from above, its extent along z, and the margin around both."""

    corners_nm: Floats  # (v, 2), anticlockwise; a line's two ends, or one place
    z_nm: tuple[float, float]
    margin_nm: float
    middle_nm: Floats  # (2,)
    reach_nm: float

    @staticmethod
    def of(place_nm: Floats, margin_nm: float) -> "_Rim":
        corners = _corners(place_nm[:, :2])
        middle = corners.mean(axis=0)
        z_nm = (float(place_nm[:, 2:].min(initial=np.inf)), float(place_nm[:, 2:].max(initial=-np.inf)))
        reach = float(np.sqrt(((corners - middle) ** 2).sum(axis=1).max()))
        return _Rim(corners, z_nm, margin_nm, middle, reach + margin_nm)

    def holds(self, place_nm: Floats) -> NDArray[np.bool_]:
        inside = _distance_nm(place_nm[:, :2], self.corners_nm) <= self.margin_nm
        for z_nm in place_nm[:, 2:].T:
            inside &= (z_nm >= self.z_nm[0] - self.margin_nm) & (z_nm <= self.z_nm[1] + self.margin_nm)
        return inside


def _corners(place_nm: Floats) -> Floats:
    from smlmbatch.clustering.hulls import hull_corners

    corner, _ = hull_corners(place_nm[:, 0], place_nm[:, 1], np.zeros(len(place_nm), np.int64))
    if len(corner):
        return place_nm[corner]
    order = np.lexsort((place_nm[:, 1], place_nm[:, 0]))  # no area: a line, of which these are the ends
    return place_nm[order[[0, -1]]]


def _distance_nm(place_nm: Floats, corners_nm: Floats) -> Floats:
    """From each place to the polygon, 0 inside; (n,)."""
    after = np.roll(corners_nm, -1, axis=0)
    edge = after - corners_nm
    length2 = np.maximum((edge**2).sum(axis=1), np.finfo(float).tiny)
    away = place_nm[:, None] - corners_nm  # (n, v, 2)
    along = np.clip((away * edge).sum(axis=2) / length2, 0.0, 1.0)
    distance = np.sqrt(((away - along[..., None] * edge) ** 2).sum(axis=2)).min(axis=1)
    turns = edge[:, 0] * away[..., 1] - edge[:, 1] * away[..., 0]
    inside = (turns >= 0).all(axis=1) & (len(corners_nm) > 2)
    return np.where(inside, 0.0, distance)


def axes_of(ingest: UnitReader) -> int:
    """2 in a plane, 3 in space."""
    return 3 if ingest.has("z_nm") else 2


def _pieces(ingest: UnitReader) -> Iterator[tuple[int, Floats]]:
    """(first row, places) of the field, a piece at a time."""
    names = ("x_nm", "y_nm", "z_nm")[: axes_of(ingest)]
    for start in range(0, ingest.length("x_nm"), _PIECE_ROWS):
        columns = [ingest.read(name, start, start + _PIECE_ROWS) for name in names]
        yield start, np.stack(columns, axis=1).astype(np.float64)


def _sorted(found: Sequence[tuple[Ints, Ints, Floats]], *, axes: int) -> Gathered:
    nobody = np.empty(0, np.int64)
    particle, loc = (np.concatenate([nobody, *(part[i] for part in found)]) for i in (0, 1))
    place_nm = np.concatenate([np.empty((0, axes)), *(part[2] for part in found)])
    order = np.lexsort((loc, particle))
    return Gathered(particle[order], loc[order], place_nm[order])
