"""The particles of one published field, a batch at a time: padded, with a mask, none of their points cut.

A batch holds as many particles, in their order, as fit with their padding into a given number of places; so memory is bounded, whatever
the field's size, and one huge particle doesn't widen more than its own batch. Whoever wants fewer points per particle draws them itself,
by a key of its own: the order of points is that of the store and means nothing. A campaign may hold fields in the plane and in space;
who looks at all of its particles looks at the axes that they have in common.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.locs import Particles
from smlmbatch.store.arrays import UnitReader

MOST_PLACES: Final = 1 << 22  # particles times points of the longest: 48 MiB of coordinates in 3D


def common_axes(units: Iterable[Path]) -> int:
    """The number of axes that all particles of a campaign have: 3 where every field with particles is in space, else 2.

    Parameters
    ----------
    units : published units of stage pick; one without particles doesn't count
    """
    found = set()
    for path in units:
        with UnitReader(path) as unit:
            if unit.length("channel"):
                found.add(particle_axes(unit))
    return min(found, default=2)


def particle_axes(unit: UnitReader) -> int:
    """2 for particles in the plane, 3 in space."""
    return int(unit.array("point_nm").shape[1])


def particle_batches(
    unit: UnitReader, *, field: str, wanted: NDArray[np.bool_] | None = None, most_places: int = MOST_PLACES, axes: int = 0
) -> Iterator[Particles]:
    """All particles of a field, or some, in their order.

    Parameters
    ----------
    unit : a published unit of stage pick
    field : key of the field
    wanted : (particles,) which to take; all where not given
    most_places : particles times points of the longest in a batch; a longer particle is a batch of its own
    axes : how many axes of the points to take (`common_axes`), at most those that there are; 0 = all
    """
    start, channel = unit.read("start"), unit.read("channel")
    axes = axes or particle_axes(unit)
    centre_nm = np.stack([unit.read(name) for name in ("x_nm", "y_nm", "z_nm")[:axes]], axis=1)
    chosen = np.arange(len(channel)) if wanted is None else np.flatnonzero(wanted)
    for number in _cut(chosen, np.diff(start)[chosen], most_places=most_places):
        points_nm, present = _padded(unit, start, number)
        yield Particles(points_nm[..., :axes], present, field, number, channel[number], centre_nm[number])


def _cut(number: NDArray[np.int64], length: NDArray[np.int64], *, most_places: int) -> Iterator[NDArray[np.int64]]:
    """Runs of particles whose count times the longest's length is at most `most_places`."""
    first, longest = 0, 0
    for here, points in enumerate(length.tolist()):
        if here > first and (here - first + 1) * max(longest, points) > most_places:
            yield number[first:here]
            first, longest = here, 0
        longest = max(longest, points)
    if first < len(number):
        yield number[first:]


def _padded(unit: UnitReader, start: NDArray[np.int64], number: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    length = start[number + 1] - start[number]
    present = np.arange(length.max()) < length[:, None]
    points_nm = np.zeros((*present.shape, unit.array("point_nm").shape[1]), np.float32)
    if len(number) == number[-1] + 1 - number[0]:  # one range of points
        points_nm[present] = unit.read("point_nm", int(start[number[0]]), int(start[number[-1] + 1]))
    else:
        pieces = (unit.read("point_nm", int(start[one]), int(start[one + 1])) for one in number)
        points_nm[present] = np.concatenate(list(pieces))
    return points_nm, present
