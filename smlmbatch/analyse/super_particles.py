"""The super-particles of a direction in one frame, as tables and report look at them.

Bins were registered each by itself, so each lies as it likes; `registration.series` turns each onto its neighbour. Bins that are not there
(not made yet, or failed) are left out: the series then goes on with the next.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smlmbatch.registration.fitting import RegisterConfig
from smlmbatch.registration.mixture import Mixture
from smlmbatch.registration.series import Series, align_series
from smlmbatch.registration.superparticle import SuperParticle
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import OrderUnits


@dataclass(frozen=True)
class BinSeries:
    """Super-particles of one direction.

    Attributes
    ----------
    numbers : (b,) which bins there are, from the lowest place on
    series : their super-particles in one frame
    facts : attributes of each bin's unit
    poor : (b,) particles of each that fit badly
    """

    direction: str
    numbers: tuple[int, ...]
    series: Series
    facts: tuple[dict[str, object], ...]
    poor: tuple[int, ...]

    @cached_property
    def half_nm(self) -> float:
        """Half the side of pictures in which all of them lie at one scale."""
        reach = [np.quantile(np.abs(one.points_nm).max(axis=1), 0.995) for one in self.series.particles]
        return 1.1 * float(max(reach)) + 2 * max(one.blur_nm for one in self.series.particles)


def registered_directions(units: OrderUnits) -> list[str]:
    """Directions of which some bin is registered, in the order of the unit `order`."""
    with UnitReader(units.order) as order:
        names: list[str] = list(order.attrs.get("directions", ()))
    return [name for name in names if any(name == own for own, _ in units.bins)]


def aligned_series(units: OrderUnits, direction: str) -> BinSeries | None:
    """The super-particles of a direction in one frame; None where no bin of it is registered."""
    numbers = sorted(number for name, number in units.bins if name == direction)
    if not numbers:
        return None
    with UnitReader(units.order) as order:
        start, points_nm = order.read("start"), order.read("point_nm")
    found = [_super_particle(units, direction, number, start, points_nm) for number in numbers]
    particles, facts, poor = zip(*found, strict=True)
    turns = RegisterConfig(turns="plane" if facts[0]["in_plane"] else "space")
    return BinSeries(direction, tuple(numbers), align_series(particles, config=turns), tuple(facts), tuple(poor))


def _super_particle(
    units: OrderUnits, direction: str, number: int, start: NDArray[np.int64], points_nm: NDArray[np.float32]
) -> tuple[SuperParticle, dict[str, object], int]:
    with UnitReader(units.bins[direction, number]) as unit:
        facts = dict(unit.attrs)
        mixture = Mixture(
            unit.read("centre_nm"), unit.read("variance_nm2"), unit.read("share"), float(facts["background"]), float(facts["reach_nm"])
        )
        members, rotation, shift_nm = unit.read("particle"), unit.read("rotation"), unit.read("shift_nm")
        poor = int(unit.read("poor").sum())
    sizes = np.diff(start)[members]
    owner = np.repeat(np.arange(len(members)), sizes)
    end = np.cumsum(sizes)
    row = np.arange(end[-1]) + np.repeat(start[:-1][members] - end + sizes, sizes)
    moved = np.einsum("mde,me->md", rotation[owner], points_nm[row].astype(np.float64)) + shift_nm[owner]
    return SuperParticle(moved, owner.astype(np.int64), mixture, float(facts["least_sd_nm"])), facts, poor
