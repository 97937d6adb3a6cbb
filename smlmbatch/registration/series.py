"""Super-particles of neighbouring bins brought into one frame, so that a film of them shows what changes and not how each lay.

Each is registered to its neighbour nearer to the middle of the series, from the middle outwards: neighbours are most alike. Mixtures stand
for the locs: components as weighted points against the neighbour's Gaussians, in rotations all round, then climbing. How much two
neighbours have in common afterwards is said as the overlap of their mixtures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.registration.fitting import Fitting, RegisterConfig
from smlmbatch.registration.mixture import Mixture, Poses
from smlmbatch.registration.ragged import LEAST_LOCS, arrange
from smlmbatch.registration.superparticle import SuperParticle

Floats = NDArray[np.float64]

_ROUNDS: Final = 10
_AS_LOCS: Final = 1000.0  # a mixture counts as so many


@dataclass(frozen=True, slots=True)
class Series:
    """Super-particles in one frame, that of the middle one.

    Attributes
    ----------
    particles : moved
    rotation : (b, d, d) f8
    shift_nm : (b, d) f8
    overlap : (b,) f8, with the neighbour nearer to the middle, 0 to 1; 1 for the middle itself
    """

    particles: tuple[SuperParticle, ...]
    rotation: Floats
    shift_nm: Floats
    overlap: Floats


def align_series(particles: Sequence[SuperParticle], *, config: RegisterConfig | None = None) -> Series:
    """Register super-particles, each to its neighbour.

    Parameters
    ----------
    particles : in the order of what they were binned by, all of the plane or all of space; one or more

    Raises
    ------
    ConfigError
        none at all, or some of the plane and some of space
    """
    config = config or RegisterConfig()
    kinds = {particle.mixture.axes for particle in particles}
    if len(kinds) != 1:
        raise ConfigError(
            f"{len(particles)} super-particles with axes {sorted(kinds)}: wanted one or more, all of the plane or all of space"
        )
    count, axes = len(particles), kinds.pop()
    moved, middle = list(particles), count // 2
    rotation, shift_nm, overlap = np.tile(np.eye(axes), (count, 1, 1)), np.zeros((count, axes)), np.ones(count)
    for number in (*range(middle - 1, -1, -1), *range(middle + 1, count)):
        fixed = moved[number + 1 if number < middle else number - 1].mixture
        pose = align_mixture(particles[number].mixture, fixed, config=config)
        rotation[number], shift_nm[number] = pose.rotation[0], pose.shift_nm[0]
        moved[number] = particles[number].moved(rotation[number], shift_nm[number])
        overlap[number] = mixture_overlap(moved[number].mixture, fixed)
    return Series(tuple(moved), rotation, shift_nm, overlap)


def align_mixture(moving: Mixture, fixed: Mixture, *, config: RegisterConfig) -> Poses:
    """The rigid motion that brings one mixture onto another; one pose."""
    count = len(moving.centre_nm)
    whole = max(count, LEAST_LOCS)  # a mixture of one component is three times the same point
    centre = np.resize(moving.centre_nm, (whole, moving.axes))
    points = arrange(np.array([0, whole]), centre, source="super-particle")
    share = np.resize(moving.share, whole)[points.loc]
    width = np.average(moving.variance_nm2, axis=0, weights=moving.share)
    target = replace(fixed, variance_nm2=fixed.variance_nm2 + width)
    fitting = Fitting.of(points, config, float(np.sqrt(target.variance_nm2.min())), share * _AS_LOCS / share.sum())
    still = Poses(np.eye(moving.axes)[None], np.zeros((1, moving.axes)))
    fit = fitting.search(fitting.expect(still, target), polish=True)
    for _ in range(_ROUNDS):
        fit = fitting.polish(fit.poses, target)
    return fit.poses


def mixture_overlap(first: Mixture, second: Mixture) -> float:
    """The integral of the product of two densities over that of their squares' means: 1 for equals, 0 for nothing in common."""
    shared = _product(first, second)
    return float(shared / math.sqrt(_product(first, first) * _product(second, second)))


def _product(first: Mixture, second: Mixture) -> float:
    """Integral of the product; that of two Gaussians is a Gaussian of their distance."""
    variance = first.variance_nm2[:, None] + second.variance_nm2[None]
    away = first.centre_nm[:, None] - second.centre_nm[None]
    density = np.exp(-0.5 * (away**2 / variance).sum(axis=2)) / np.sqrt((2 * math.pi * variance).prod(axis=2))
    return float(first.share @ density @ second.share)
