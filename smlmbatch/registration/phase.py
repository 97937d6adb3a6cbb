"""The yardstick of registrations: the phase of a ring of known fold, and errors of rotations against truth.

Of a ring of 8 corners the 8th Fourier coefficient of the angles about its fitted centre tells how far it is turned, without any other
particle: .8 degrees off at the median for a pore of 154 locs. A registration, which isn't told the fold, should do as well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smlmbatch.clustering.centre import fit_sphere
from smlmbatch.registration.ragged import arrange

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Phases:
    """How far each particle is turned.

    Attributes
    ----------
    angle_rad : (k,) f8, from 0 to 2 pi / fold
    contrast : (k,) f8, length of the mean unit vector of the angles times fold: 1 = all on the corners, 0 = evenly round
    """

    angle_rad: Floats
    contrast: Floats


def fit_phases(start: NDArray[np.integer], points_nm: NDArray[np.floating], *, fold: int = 8, source: str = "particles") -> Phases:
    """Angle of each ring of `fold` corners; locs count by their distance from the centre, as their angles are that much surer.

    Parameters
    ----------
    start, points_nm : particles as for `register`; in space, seen along z
    fold : corners

    >>> corner = np.arange(8) * np.pi / 4 + 0.1
    >>> ring = 50 * np.stack([np.cos(np.tile(corner, 2)), np.sin(np.tile(corner, 2))], axis=1)
    >>> fit_phases(np.array([0, 16]), ring).angle_rad.round(6).tolist()
    [0.1]
    """
    particles = arrange(start, points_nm, source=source)
    angle, contrast = np.empty(len(particles.particle)), np.empty(len(particles.particle))
    for number, (a, b) in zip(particles.particle, zip(particles.start[:-1], particles.start[1:], strict=True), strict=True):
        flat = particles.points_nm[a:b, :2]
        ring = fit_sphere(flat)
        about = flat - ring.centre_nm if ring is not None and ring.is_sure else flat
        place = about @ np.array([1, 1j])
        vector = (np.abs(place) * np.exp(1j * fold * np.angle(place))).sum() / max(np.abs(place).sum(), np.finfo(float).tiny)
        angle[number], contrast[number] = np.angle(vector) % (2 * np.pi) / fold, np.abs(vector)
    return Phases(angle, contrast)


def angle_errors_deg(found_rad: Floats, truth_rad: Floats, *, fold: int = 1) -> Floats:
    """How far angles are off, when turning all of them alike doesn't count, nor turning one by 1 / fold of a whole turn.

    Returns
    -------
    (k,) f8, degrees, from -180 / fold to 180 / fold, with median 0 or nearly

    >>> np.abs(angle_errors_deg(np.array([0.3, 0.4, 0.5 + np.pi / 4]), np.array([0.1, 0.2, 0.3]), fold=8)).round(6).tolist()
    [0.0, 0.0, 0.0]
    """
    away = np.exp(1j * fold * (found_rad - truth_rad))
    away = away / np.exp(1j * np.angle(away.mean()))
    away = away / np.exp(1j * np.median(np.angle(away)))
    errors: Floats = np.degrees(np.angle(away)) / fold
    return errors
