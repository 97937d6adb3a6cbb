"""The ceiling: what somebody who knows how particles were drawn reads off each of them, though not its radius, height and pose.

Each loc comes from one of the template's sites, with its own known error; labelling and blinking leave the sites' weights free. So a
particle is a mixture of as many Gaussians as there are sites, whose means depend on eight numbers: centre, radius, height, rotation, two
tilts. The most likely ones are found by EM with one Gauss-Newton step for each M step. Centre and tilt have the normal distributions that
they are drawn from; radius and height have none, or the ceiling would know the range that it is asked about. A geometric number of locs
per labelled site makes weights that are uniform on the simplex, whose mode is the plain mixture's; `_PSEUDO` locs more at each site keep
small particles from trusting single sites.

A template repeats itself after 1 / fold of a turn, and between, the likelihood has other peaks: so EM starts at several rotations, and the
likeliest end is kept.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlmbatch.clustering.particle_shapes import circle_radii, level_heights
from smlmbatch.simulate.particles import AXIAL_TIMES, DrawnParticles, Population

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NUMBERS: Final = 8  # centre x, y, z; radius; height; rotation; tilt about x and y
_RADIUS, _HEIGHT, _ROTATION, _TILT_X, _TILT_Y = range(3, _NUMBERS)
_FIXED: Final = 1e12  # weight that holds a number where it is
_TURNS: Final = 4  # starts, over the turn after which a particle is the same
_FIRST_STEPS: Final = 15  # of EM from each start; the likeliest goes on
_STEPS: Final = 300
_CLOSE: Final = np.array([1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 2e-5, 2e-5, 2e-5])  # nm and rad: steps below these are the end
_PSEUDO: Final = 0.5


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the oracle says of each particle; names as in `DrawnParticles`."""

    radius_nm: Floats
    height_nm: Floats
    rotation_rad: Floats
    tilt_rad: Floats
    centre_nm: Floats


def fit_particles(population: Population, particles: DrawnParticles) -> Fitted:
    """Radius, height and pose of particles drawn from a population, by maximum likelihood.

    Parameters
    ----------
    particles : at any share of their locs; of their truth nothing is read but the locs' precision

    Returns
    -------
    Fitted
        NaN throughout for a particle of fewer than 3 locs; height NaN in the plane
    """
    first, likeliest = _starts(population, particles), _weights_of_knowledge(population)
    template = population.template
    points_nm = np.zeros((len(particles.points_nm), 3))
    points_nm[:, : population.axes] = particles.points_nm
    axial = AXIAL_TIMES**-2 if population.axes == 3 else 0.0
    found = _fit_all(
        points_nm,
        particles.precision_nm.astype(np.float64) ** -2,
        particles.start,
        first,
        likeliest,
        axial,
        2 * np.pi / population.fold,
        np.ascontiguousarray(template.outward),
        np.ascontiguousarray(template.upward),
        np.ascontiguousarray(template.offset_nm),
    )
    height_nm = found[:, _HEIGHT] if population.axes == 3 else np.full(len(found), np.nan)
    rotation_rad = found[:, _ROTATION] % (2 * np.pi / population.fold)
    return Fitted(found[:, _RADIUS], height_nm, rotation_rad, found[:, _TILT_X:], found[:, : population.axes])


def _weights_of_knowledge(population: Population) -> Floats:
    """One over the variance of each number before a loc is seen: (8,)."""
    flat = population.axes == 2
    known = np.zeros(_NUMBERS)
    known[:3] = population.pick_nm**-2
    known[_RADIUS] = _FIXED if population.radius_nm[0] == population.radius_nm[1] else 0.0
    known[[_TILT_X, _TILT_Y]] = _FIXED if flat else population.tilt_rad**-2
    known[[2, _HEIGHT]] = [_FIXED, _FIXED] if flat else known[[2, _HEIGHT]]
    return known


def _starts(population: Population, particles: DrawnParticles) -> Floats:
    """Numbers to start from, (k, 8): the middle of the ranges, or the plain fits where these are within them or near."""
    first = np.zeros((len(particles), _NUMBERS))
    first[:, _RADIUS] = _within(circle_radii(particles.points_nm, particles.start).radius.nm, population.radius_nm)
    if population.axes == 3:
        first[:, _HEIGHT] = _within(level_heights(particles.points_nm, particles.start).nm, population.height_nm)
    return first


def _within(found_nm: Floats, range_nm: tuple[float, float]) -> Floats:
    return np.clip(np.nan_to_num(found_nm, nan=0.5 * (range_nm[0] + range_nm[1])), *range_nm)


@njit(cache=True)
def _fit_all(
    points_nm: Floats,
    precision: Floats,
    start: Ints,
    first: Floats,
    known: Floats,
    axial: float,
    turn_rad: float,
    outward: Floats,
    upward: Floats,
    offset_nm: Floats,
) -> Floats:
    found = np.full(first.shape, np.nan)
    weights, tried_weights = np.empty(len(outward)), np.empty(len(outward))
    for k in range(len(first)):
        own, own_precision = points_nm[start[k] : start[k + 1]], precision[start[k] : start[k + 1]]
        if len(own) < 3:
            continue
        likeliest = -np.inf
        for turn in range(_TURNS):
            tried = first[k].copy()
            tried[_ROTATION] = turn * turn_rad / _TURNS
            tried_weights[:] = 1.0 / len(outward)
            reached = _climb(own, own_precision, tried, tried_weights, first[k], known, axial, outward, upward, offset_nm, _FIRST_STEPS)
            if reached > likeliest:
                likeliest, found[k] = reached, tried
                weights[:] = tried_weights
        _climb(own, own_precision, found[k], weights, first[k], known, axial, outward, upward, offset_nm, _STEPS)
    return found


@njit(cache=True)
def _climb(
    points_nm: Floats,
    precision: Floats,
    numbers: Floats,
    weights: Floats,
    before: Floats,
    known: Floats,
    axial: float,
    outward: Floats,
    upward: Floats,
    offset_nm: Floats,
    steps: int,
) -> float:
    """EM, changing numbers and weights in place; the log posterior before the last step, up to a constant."""
    n_sites = len(outward)
    reached = -np.inf
    for _ in range(steps):
        sites_nm, slopes = _place_sites(numbers, outward, upward, offset_nm)
        reached, count, mass, moment = _expect(points_nm, precision, sites_nm, weights, axial)
        for j in range(n_sites):
            reached += _PSEUDO * np.log(weights[j])
        away = numbers - before
        away[_RADIUS] = away[_HEIGHT] = 0.0
        away[_ROTATION] = 0.0
        reached -= 0.5 * (known * away * away).sum()
        normal, slope = np.diag(known + 1e-9), -known * away
        for j in range(n_sites):
            for axis in range(3):
                weight = mass[j] * (axial if axis == 2 else 1.0)
                miss = (moment[j, axis] - mass[j] * sites_nm[j, axis]) * (axial if axis == 2 else 1.0)
                for a in range(_NUMBERS):
                    slope[a] += slopes[j, axis, a] * miss
                    for b in range(_NUMBERS):
                        normal[a, b] += weight * slopes[j, axis, a] * slopes[j, axis, b]
        step = np.linalg.solve(normal, slope)
        numbers += step
        weights[:] = (count + _PSEUDO) / (len(points_nm) + _PSEUDO * n_sites)
        if (np.abs(step) < _CLOSE).all():
            break
    return reached


@njit(cache=True)
def _expect(points_nm: Floats, precision: Floats, sites_nm: Floats, weights: Floats, axial: float) -> tuple[float, Floats, Floats, Floats]:
    """Log likelihood up to a constant, and of each site: its share of locs, of their precision, and of precision times place."""
    n_sites = len(sites_nm)
    count, mass, moment = np.zeros(n_sites), np.zeros(n_sites), np.zeros((n_sites, 3))
    shares, likelihood = np.empty(n_sites), 0.0
    for i in range(len(points_nm)):
        total = 0.0
        for j in range(n_sites):
            x, y, z = points_nm[i, 0] - sites_nm[j, 0], points_nm[i, 1] - sites_nm[j, 1], points_nm[i, 2] - sites_nm[j, 2]
            shares[j] = weights[j] * np.exp(-0.5 * precision[i] * (x * x + y * y + axial * z * z))
            total += shares[j]
        total = max(total, 1e-300)
        likelihood += np.log(total)
        for j in range(n_sites):
            share = shares[j] / total
            count[j] += share
            mass[j] += share * precision[i]
            for axis in range(3):
                moment[j, axis] += share * precision[i] * points_nm[i, axis]
    return likelihood, count, mass, moment


@njit(cache=True)
def _place_sites(numbers: Floats, outward: Floats, upward: Floats, offset_nm: Floats) -> tuple[Floats, Floats]:
    """Sites in the particle's pose, (s, 3), and how they move with each number, (s, 3, 8)."""
    sites_nm, slopes = np.empty(outward.shape), np.zeros((*outward.shape, _NUMBERS))
    cz, sz = np.cos(numbers[_ROTATION]), np.sin(numbers[_ROTATION])
    cx, sx = np.cos(numbers[_TILT_X]), np.sin(numbers[_TILT_X])
    cy, sy = np.cos(numbers[_TILT_Y]), np.sin(numbers[_TILT_Y])
    about_x, slope_x = np.array([[1.0, 0, 0], [0, cx, -sx], [0, sx, cx]]), np.array([[0.0, 0, 0], [0, -sx, -cx], [0, cx, -sx]])
    about_y, slope_y = np.array([[cy, 0, sy], [0, 1.0, 0], [-sy, 0, cy]]), np.array([[-sy, 0, cy], [0, 0.0, 0], [-cy, 0, -sy]])
    about_z, slope_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1.0]]), np.array([[-sz, -cz, 0], [cz, -sz, 0], [0, 0, 0.0]])
    turn = about_x @ about_y @ about_z
    plain = numbers[_RADIUS] * outward + numbers[_HEIGHT] * upward + offset_nm
    sites_nm[:] = plain @ turn.T + numbers[:3]
    for axis in range(3):
        slopes[:, axis, axis] = 1.0
    slopes[:, :, _RADIUS] = outward @ turn.T
    slopes[:, :, _HEIGHT] = upward @ turn.T
    slopes[:, :, _ROTATION] = plain @ (about_x @ about_y @ slope_z).T
    slopes[:, :, _TILT_X] = plain @ (slope_x @ about_y @ about_z).T
    slopes[:, :, _TILT_Y] = plain @ (about_x @ slope_y @ about_z).T
    return sites_nm, slopes
