"""Shapes of simulated clusters: members about a centre, of rms distance 1 in expectation, to be scaled, turned and placed.

Each shape is a function (rng, n, form) → (n, 2), where `form` (n,) in 0..1 says how far a member's cluster goes in what its shape
can be: how long an ellipse, how open a C. The centroid is 0 and E[x² + y²] = 1 by the closed forms noted with each.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_RIM: Final = 0.08  # thickness (sigma) of a ring's or a C's rim, in its radii
_LONGEST: Final = 4.0  # axes of an ellipse
_C_OPENING: Final = (0.5, 0.85)  # half the arc, in multiples of pi
_FIBRE_WIDTH: Final = (0.03, 0.15)  # sigma across, in half lengths


def unit_members(rng: np.random.Generator, shape: NDArray[np.integer], form: Floats) -> Floats:
    """Positions of members by their clusters' shapes (n,) of `SHAPES` and forms (n,): (n, 2) f8, unit rms."""
    found = np.empty((len(shape), 2))
    for number, draw in enumerate(SHAPES.values()):
        of_it = shape == number
        found[of_it] = draw(rng, int(of_it.sum()), form[of_it])
    return found


def _spot(rng: np.random.Generator, n: int, form: Floats) -> Floats:
    return rng.normal(0.0, np.sqrt(0.5), (n, 2))


def _ellipse(rng: np.random.Generator, n: int, form: Floats) -> Floats:
    """Gaussian with axes 1.3 : 1 to 4 : 1."""
    ratio = 1.3 + (_LONGEST - 1.3) * form
    short = 1.0 / np.sqrt(1.0 + ratio**2)
    return np.asarray(rng.normal(size=(n, 2)) * np.column_stack([ratio * short, short]))


def _disc(rng: np.random.Generator, n: int, form: Floats) -> Floats:
    """Uniform in a circle of radius sqrt(2): the mean of r² is half the square of the radius."""
    return _polar(rng.uniform(0.0, 2 * np.pi, n), np.sqrt(2.0 * rng.random(n)))


def _ring(rng: np.random.Generator, n: int, form: Floats) -> Floats:
    return np.asarray(_polar(rng.uniform(0.0, 2 * np.pi, n), _rim(rng, n)) / np.sqrt(1.0 + _RIM**2))


def _c_shape(rng: np.random.Generator, n: int, form: Floats) -> Floats:
    """An arc of half angle a: centroid at sin(a) / a, so E r² about it is 1 + rim² - (sin(a) / a)²."""
    low, high = _C_OPENING
    half = np.pi * (low + (high - low) * form)
    centroid = np.sin(half) / half
    at = _polar(rng.uniform(-1.0, 1.0, n) * half, _rim(rng, n)) - np.column_stack([centroid, np.zeros(n)])
    return np.asarray(at / np.sqrt(1.0 + _RIM**2 - centroid**2)[:, None])


def _fibre(rng: np.random.Generator, n: int, form: Floats) -> Floats:
    """A straight piece: uniform along (variance 1/3 of half its length squared), normal across."""
    low, high = _FIBRE_WIDTH
    width = low + (high - low) * form
    at = np.column_stack([rng.uniform(-1.0, 1.0, n), width * rng.normal(size=n)])
    return np.asarray(at / np.sqrt(1.0 / 3.0 + width**2)[:, None])


def _rim(rng: np.random.Generator, n: int) -> Floats:
    return rng.normal(1.0, _RIM, n)


def _polar(angle: Floats, radius: Floats) -> Floats:
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


SHAPES: Final[Mapping[str, Callable[[np.random.Generator, int, Floats], Floats]]] = MappingProxyType(
    {"spot": _spot, "ellipse": _ellipse, "disc": _disc, "ring": _ring, "c": _c_shape, "fibre": _fibre}
)
