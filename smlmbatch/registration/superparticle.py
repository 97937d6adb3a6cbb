"""Registered locs as one super-particle, and the picture of their density.

A super-particle keeps every loc with the particle it is of: whatever is told of it can be traced back. The picture is a histogram
blurred by the floor that the registration itself used (the locs' precision where it is given), so no width is set by hand.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.registration.joint import Registered
from smlmbatch.registration.mixture import Mixture

Floats = NDArray[np.float64]

_MOST_PIXELS: Final = 1024
_PIXELS_PER_BLUR: Final = 3.0
_INSIDE: Final = 0.995  # of the locs


@dataclass(frozen=True, slots=True)
class SuperParticle:
    """All locs of some particles in one frame.

    Attributes
    ----------
    points_nm : (m, d) f8, in the order of the input
    particle : (m,) i8, which particle each loc is of
    mixture : what the particles share
    blur_nm : what the locs are blurred with in pictures
    """

    points_nm: Floats
    particle: NDArray[np.int64]
    mixture: Mixture
    blur_nm: float

    def moved(self, rotation: Floats, shift_nm: Floats) -> "SuperParticle":
        """Turned (d, d) and shifted (d,)."""
        moved = self.mixture.moved(rotation, shift_nm)
        return SuperParticle(self.points_nm @ rotation.T + shift_nm, self.particle, moved, self.blur_nm)


@dataclass(frozen=True, slots=True)
class DensityPicture:
    """Density of locs seen along one axis.

    Attributes
    ----------
    per_nm2 : (rows, columns) f8, locs per particle and nm^2; rows follow the second of `axes`, from low to high
    pixel_nm : side of a pixel
    half_nm : the picture goes from -half_nm to half_nm on both axes
    blur_nm : sd of the blur
    """

    per_nm2: Floats
    pixel_nm: float
    half_nm: float
    blur_nm: float


def super_particle(start: NDArray[np.integer], points_nm: NDArray[np.floating], registered: Registered) -> SuperParticle:
    """Bring all locs into the frame of the registration.

    Parameters
    ----------
    start, points_nm : the particles that were registered
    """
    particle = np.repeat(np.arange(len(start) - 1), np.diff(start))
    turned = np.einsum("mde,me->md", registered.rotation[particle], np.asarray(points_nm, dtype=np.float64))
    return SuperParticle(turned + registered.shift_nm[particle], particle, registered.mixture, registered.least_sd_nm)


def density_picture(
    particle: SuperParticle, *, axes: tuple[int, int] = (0, 1), half_nm: float = 0.0, blur_nm: float = 0.0, pixel_nm: float = 0.0
) -> DensityPicture:
    """The density of locs, projected onto two axes.

    Parameters
    ----------
    axes : (across, up); (0, 2) looks from the side
    half_nm, blur_nm, pixel_nm : 0 = from the data: 99.5 % of the locs within, the super-particle's own blur, 3 pixels to a blur
    """
    from scipy.ndimage import gaussian_filter

    seen = particle.points_nm[:, list(axes)]
    blur = blur_nm or particle.blur_nm
    half = half_nm or 1.1 * float(np.quantile(np.abs(seen).max(axis=1), _INSIDE)) + 2 * blur
    count = min(_MOST_PIXELS, max(8, math.ceil(2 * half / (pixel_nm or blur / _PIXELS_PER_BLUR))))
    pixel = 2 * half / count
    locs, _, _ = np.histogram2d(seen[:, 1], seen[:, 0], bins=count, range=[[-half, half]] * 2)
    copies = len(np.unique(particle.particle))
    return DensityPicture(gaussian_filter(locs, blur / pixel, mode="constant") / (copies * pixel**2), pixel, half, blur)
