"""How the particles of one channel are centred: all in the same way, chosen from all of them.

Eight molecules of a filled disc can look like a ring, and a single particle can't tell; a channel full of them can. So it is the majority
that decides on spheres, circles or areas, and a particle of which the fit can't tell the centre (a short arc) falls back to its area.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.clustering.centre import Floats, Sphere, fit_sphere, hull_centre

WAYS: Final = ("area", "circle", "sphere")  # the store's `centre_by` is an index into these
GIVEN: Final = "given"  # by the file that the particles come of; comes after `WAYS` where there is one
AUTO: Final = "auto"
AREA: Final = "area"


@dataclass(frozen=True, slots=True)
class Centres:
    """Centres of the particles of one channel.

    Attributes
    ----------
    way : of `WAYS`, what was taken wherever it could be
    centre_nm : (k, d) f8
    by : (k,) u1, index into `WAYS`: how each centre was found
    """

    way: str
    centre_nm: Floats
    by: NDArray[np.uint8]


def find_centres(particles_nm: Sequence[NDArray[np.floating]], *, way: str = AUTO, axes: int = 2) -> Centres:
    """Centre of each particle.

    Parameters
    ----------
    particles_nm : of each, its points (n, d), nm, n > 0; they are the locs of a cluster, without a margin
    way : one of `WAYS`, or "auto": the one that the majority of the particles shows clearly, a sphere before a circle
    axes : d, for no particles
    """
    fits = {name: [_FITS[name](points) for points in particles_nm] for name in _tried(way, axes)}
    chosen = next((name for name, found in fits.items() if way != AUTO or _most_are_clear(found)), AREA)
    centre_nm = np.array([hull_centre(points) for points in particles_nm], dtype=np.float64).reshape(-1, axes)
    by = np.full(len(particles_nm), WAYS.index(AREA), np.uint8)
    for number, fit in enumerate(fits.get(chosen, ())):
        if fit is not None and fit.is_sure:
            centre_nm[number, : len(fit.centre_nm)] = fit.centre_nm  # a circle leaves z as it is
            by[number] = WAYS.index(chosen)
    return Centres(chosen, centre_nm, by)


def _tried(way: str, axes: int) -> tuple[str, ...]:
    """Fits to make, the preferred one first. In the plane a sphere is a circle."""
    ways = ("sphere", "circle") if way == AUTO else (way,)
    return tuple(dict.fromkeys(name if axes == 3 else name.replace("sphere", "circle") for name in ways if name != AREA))


def _most_are_clear(fits: Sequence[Sphere | None]) -> bool:
    clear = sum(fit is not None and fit.is_sure and fit.is_thin for fit in fits)
    return 2 * clear > len(fits)


_FITS: Final[Mapping[str, Callable[[NDArray[np.floating]], Sphere | None]]] = {
    "circle": lambda points: fit_sphere(points[:, :2]),
    "sphere": fit_sphere,
}
