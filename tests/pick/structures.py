"""Drawn structures as a microscope sees them: few molecules, each seen several times, a part of them not at all. Centre at the origin."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LOC_ERROR_NM = 6.5
BLINKS = 5.0  # locs per molecule, geometric


def blinked(rng: np.random.Generator, molecules_nm: Floats, *, error_nm: float | Sequence[float] = LOC_ERROR_NM) -> Floats:
    """Each molecule as often as it blinks, each time a little beside."""
    seen = np.repeat(molecules_nm, rng.geometric(1 / BLINKS, len(molecules_nm)), axis=0)
    return seen + rng.normal(0, error_nm, seen.shape)


def pore(rng: np.random.Generator, *, radius_nm: float = 55.0, corners: Sequence[int] = range(8), labelling: float = 0.6) -> Floats:
    """A nuclear pore's ring from above: 8 corners of 4 sites, of which only some corners and some sites are seen. (n, 2)"""
    angle = (np.array(corners) + rng.random() * 8) * np.pi / 4
    corner = radius_nm * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    sites = np.repeat(corner, 4, axis=0) + rng.normal(0, 3, (4 * len(corner), 2))
    return blinked(rng, sites[rng.random(len(sites)) < labelling])


def double_ring(rng: np.random.Generator, *, height_nm: float = 48.0, corners: Sequence[int] = range(8)) -> Floats:
    """The pore with both rings and twice the error along the microscope's axis. (n, 3)"""
    angle = (np.array(corners) + rng.random() * 8) * np.pi / 4
    ring = 55.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    both = np.concatenate([np.column_stack([ring, np.full(len(ring), side * height_nm / 2)]) for side in (-1, 1)])
    sites = np.repeat(both, 2, axis=0)
    return blinked(rng, sites[rng.random(len(sites)) < 0.6], error_nm=(LOC_ERROR_NM, LOC_ERROR_NM, 2 * LOC_ERROR_NM))


def tetrahedron(rng: np.random.Generator, *, corners: Sequence[int] = range(4)) -> Floats:
    """Corners 60 nm from the centre, the heavier by chance; (n, 3)."""
    vertices = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])[list(corners)] * 60 / np.sqrt(3)
    return blinked(rng, np.repeat(vertices, rng.integers(2, 6, len(vertices)), axis=0))


def spot(rng: np.random.Generator, *, molecules: int = 30, sigma_nm: float = 20.0) -> Floats:
    """A Gaussian cluster of molecules. (n, 2)"""
    return blinked(rng, rng.normal(0, sigma_nm, (molecules, 2)))


def disc(rng: np.random.Generator, *, molecules: int = 30, radius_nm: float = 50.0) -> Floats:
    """Molecules spread evenly over a disc. (n, 2)"""
    angle, radius = rng.uniform(0, 2 * np.pi, molecules), radius_nm * np.sqrt(rng.random(molecules))
    return blinked(rng, radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))
