"""The particles of one published field, a batch at a time: padded, with a mask, none of their points cut.

A batch holds as many particles, in their order, as fit with their padding into a given number of places; so memory is bounded, whatever
the field's size, and one huge particle doesn't widen more than its own batch. Whoever wants fewer points per particle draws them itself,
by a key of its own: the order of points is that of the store and means nothing.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.locs import Particles
from smlmbatch.store.arrays import UnitReader

MOST_PLACES: Final = 1 << 22  # particles times points of the longest: 48 MiB of coordinates in 3D


def particle_batches(
    unit: UnitReader, *, field: str, wanted: NDArray[np.bool_] | None = None, most_places: int = MOST_PLACES
) -> Iterator[Particles]:
    """All particles of a field, or some, in their order.

    Parameters
    ----------
    unit : a published unit of stage pick
    field : key of the field
    wanted : (particles,) which to take; all where not given
    most_places : particles times points of the longest in a batch; a longer particle is a batch of its own
    """
    start, channel = unit.read("start"), unit.read("channel")
    axes = unit.array("point_nm").shape[1]
    centre_nm = np.stack([unit.read(name) for name in ("x_nm", "y_nm", "z_nm")[:axes]], axis=1)
    chosen = np.arange(len(channel)) if wanted is None else np.flatnonzero(wanted)
    for number in _cut(chosen, np.diff(start)[chosen], most_places=most_places):
        points_nm, present = _padded(unit, start, number)
        yield Particles(points_nm, present, field, number, channel[number], centre_nm[number])


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
