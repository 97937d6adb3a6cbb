"""A mixture of Gaussians and an even background: what the particles of one registration share.

Its E-step is what registration spends its time on, so it is compiled, and gives only sums per (particle, component): everything that
follows (poses, centres, variances, mixtures without some of the particles) comes of these sums, in small arrays.
Variances are per axis: equal on all axes in the plane and in space, and one of their own along z where particles only turn in the plane,
since a microscope's error along z is larger.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlmbatch.registration.ragged import Ragged

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FAR: Final = 20.0  # half squared distance, in variances, beyond which a component gives less than 2e-9 of its height
_LEAST_SHARE: Final = 1e-6
_LEAST_BACKGROUND: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Mixture:
    """K Gaussians and a background that is even over a ball.

    Attributes
    ----------
    centre_nm : (K, d) f8
    variance_nm2 : (K, d) f8
    share : (K,) f8, of all locs; with `background` they sum to 1
    background : share of the locs that belong to no component
    reach_nm : radius of the background's ball
    """

    centre_nm: Floats
    variance_nm2: Floats
    share: Floats
    background: float
    reach_nm: float

    @property
    def axes(self) -> int:
        """2 in the plane, 3 in space."""
        return int(self.centre_nm.shape[1])

    @property
    def log_background(self) -> float:
        """Log density of the background, per nm^d."""
        volume = math.pi * self.reach_nm**2 if self.axes == 2 else 4 / 3 * math.pi * self.reach_nm**3
        return math.log(self.background / volume)

    @property
    def heights(self) -> Floats:
        """Log density of each component at its centre, per nm^d; (K,)."""
        heights: Floats = np.log(self.share) - 0.5 * np.log(2 * math.pi * self.variance_nm2).sum(axis=1)
        return heights

    def blurred(self, sd_nm: float) -> "Mixture":
        """Components at least so wide."""
        return replace(self, variance_nm2=np.maximum(self.variance_nm2, sd_nm**2))

    def from_above(self) -> "Mixture":
        """Its shadow in the plane of the first two axes."""
        return replace(self, centre_nm=self.centre_nm[:, :2].copy(), variance_nm2=self.variance_nm2[:, :2].copy())

    def moved(self, rotation: Floats, shift_nm: Floats) -> "Mixture":
        """Turned and shifted; variances turn only about z, or are the same on all axes."""
        return replace(self, centre_nm=self.centre_nm @ rotation.T + shift_nm)


@dataclass(frozen=True, slots=True)
class Poses:
    """Rigid motions: a particle's point v goes to `rotation @ v + shift_nm`.

    Attributes
    ----------
    rotation : (k, d, d) f8, determinant 1
    shift_nm : (k, d) f8
    """

    rotation: Floats
    shift_nm: Floats

    def place(self, particles: Ragged) -> Floats:
        """Where the locs come to lie; (m, d) f8, nm."""
        turned = np.einsum("mde,me->md", particles.spread(self.rotation), particles.points_nm)
        placed: Floats = turned + particles.spread(self.shift_nm)
        return placed

    def then(self, turn: Floats) -> "Poses":
        """Followed by a rotation of each about the origin, (k, d, d)."""
        return Poses(turn @ self.rotation, np.einsum("kde,ke->kd", turn, self.shift_nm))

    def where(self, taken: NDArray[np.bool_], other: "Poses") -> "Poses":
        """`other` for the particles `taken`, (k,)."""
        return Poses(np.where(taken[:, None, None], other.rotation, self.rotation), np.where(taken[:, None], other.shift_nm, self.shift_nm))


@dataclass(frozen=True, slots=True)
class Sums:
    """What the E-step gives.

    Attributes
    ----------
    weight : (k, K) f8, locs of each particle that belong to each component
    first_nm : (k, K, d) f8, sum of their places before the particle was moved
    square_nm2 : (k, K, d) f8, sum of their squared distances from the component's centre, after
    background : weight of the locs that belong to none
    log_likelihood : (k,) f8, nats
    """

    weight: Floats
    first_nm: Floats
    square_nm2: Floats
    background: float
    log_likelihood: Floats


def expect(particles: Ragged, poses: Poses, mixture: Mixture, weight: Floats) -> Sums:
    """E-step: which loc belongs to which component.

    Parameters
    ----------
    weight : (m,) f8, how much each loc counts; 1 for locs
    """
    return Sums(
        *_expect(
            particles.start,
            particles.points_nm,
            weight,
            np.ascontiguousarray(poses.rotation),
            np.ascontiguousarray(poses.shift_nm),
            np.ascontiguousarray(mixture.centre_nm),
            0.5 / mixture.variance_nm2,
            mixture.heights,
            math.exp(mixture.log_background),
        )
    )


@njit(cache=True)
def _expect(
    start: Ints, points: Floats, weight: Floats, rotation: Floats, shift: Floats, centre: Floats, half: Floats, heights: Floats, even: float
) -> tuple[Floats, Floats, Floats, float, Floats]:
    k, count, d = len(start) - 1, centre.shape[0], centre.shape[1]
    total, first, square = np.zeros((k, count)), np.zeros((k, count, d)), np.zeros((k, count, d))
    log_likelihood, place, density = np.zeros(k), np.empty(d), np.empty(count)
    background = 0.0
    for j in range(k):
        for i in range(start[j], start[j + 1]):
            for a in range(d):
                place[a] = shift[j, a]
                for b in range(d):
                    place[a] += rotation[j, a, b] * points[i, b]
            whole = even
            for c in range(count):
                far = 0.0
                for a in range(d):
                    far += (place[a] - centre[c, a]) * (place[a] - centre[c, a]) * half[c, a]
                density[c] = math.exp(heights[c] - far) if far < _FAR else 0.0
                whole += density[c]
            log_likelihood[j] += weight[i] * math.log(whole)
            background += weight[i] * even / whole
            for c in range(count):
                if density[c] > 0:
                    part = weight[i] * density[c] / whole
                    total[j, c] += part
                    for a in range(d):
                        first[j, c, a] += part * points[i, a]
                        square[j, c, a] += part * (place[a] - centre[c, a]) * (place[a] - centre[c, a])
    return total, first, square, background, log_likelihood


def maximise(sums: Sums, poses: Poses, mixture: Mixture, *, least_sd_nm: float, z_apart: bool) -> Mixture:
    """M-step: centres, variances and shares from particles in their new poses.

    Parameters
    ----------
    least_sd_nm : no component becomes narrower
    z_apart : z has a variance of its own, other axes share theirs
    """
    weight = sums.weight.sum(axis=0)
    some = np.maximum(weight, _LEAST_SHARE)[:, None]
    shifted = np.einsum("kde,kce->cd", poses.rotation, sums.first_nm) + sums.weight.T @ poses.shift_nm
    centre = np.where(weight[:, None] > _LEAST_SHARE, shifted / some, mixture.centre_nm)
    square = sums.square_nm2.sum(axis=0)
    usual = weight.mean()
    mean = (square + usual * square.sum(axis=0) / weight.sum()) / (some + usual)  # drawn half-way to the spread that all have
    tied = np.repeat(mean.mean(axis=1, keepdims=True), mixture.axes, axis=1)
    if z_apart:
        tied[:, :2], tied[:, 2] = mean[:, :2].mean(axis=1, keepdims=True), mean[:, 2]
    whole = weight.sum() + sums.background
    background = min(max(sums.background / whole, _LEAST_BACKGROUND), 0.5)
    share = np.maximum(weight / whole, _LEAST_SHARE)
    share *= (1 - background) / share.sum()
    return Mixture(centre, np.maximum(tied, least_sd_nm**2), share, background, mixture.reach_nm)


@dataclass(frozen=True, slots=True)
class Raster:
    """Log density of a mixture on a grid of places, for looking up many poses at once.

    Attributes
    ----------
    log_density : (n, n, n) f8, or (n, n, 1) in the plane
    half_nm : the grid goes from -half_nm to half_nm on each axis
    step_nm : between places
    outside : log density beyond the grid
    """

    log_density: Floats
    half_nm: float
    step_nm: float
    outside: float

    def look_up(self, particles: Ragged, placed_nm: Floats, turns: Floats, weight: Floats) -> Floats:
        """Log-likelihood of each particle, placed as given and then turned about the origin by each of `turns` (g, d, d); (k, g)."""
        return _look_up(particles.start, placed_nm, weight, turns, self.log_density, self.half_nm, self.step_nm, self.outside)


def rasterise(mixture: Mixture, *, most_steps: int) -> Raster:
    """The mixture's log density, in steps of half its narrowest component if `most_steps` per axis allow."""
    half = mixture.reach_nm
    step = max(0.5 * math.sqrt(float(mixture.variance_nm2.min())), 2 * half / (most_steps - 1))
    n = math.ceil(2 * half / step) + 1
    deep = n if mixture.axes == 3 else 1
    grid = np.zeros((n, n, deep))
    _add_gaussians(grid, mixture.centre_nm, mixture.variance_nm2, np.exp(mixture.heights), half, step)
    even = math.exp(mixture.log_background)
    return Raster(np.log(grid + even), half, step, math.log(even))


@njit(cache=True)
def _add_gaussians(grid: Floats, centre: Floats, variance: Floats, height: Floats, half: float, step: float) -> None:
    count, d = centre.shape
    low, high = np.zeros(3, np.int64), np.ones(3, np.int64)
    profile = np.ones((3, grid.shape[0]))
    for c in range(count):
        for a in range(d):
            reach = 5 * math.sqrt(variance[c, a])
            low[a] = max(0, int((centre[c, a] - reach + half) / step))
            high[a] = max(0, min(grid.shape[a], int((centre[c, a] + reach + half) / step) + 2))
            for i in range(low[a], high[a]):
                away = i * step - half - centre[c, a]
                profile[a, i] = math.exp(-0.5 * away * away / variance[c, a])
        for i in range(low[0], high[0]):
            for j in range(low[1], high[1]):
                both = height[c] * profile[0, i] * profile[1, j]
                for k in range(low[2], high[2]):
                    grid[i, j, k] += both * profile[2, k] if d == 3 else both


@njit(cache=True)
def _look_up(
    start: Ints, placed: Floats, weight: Floats, turns: Floats, log_density: Floats, half: float, step: float, outside: float
) -> Floats:
    """Linear between the grid's places."""
    k, d, n = len(start) - 1, placed.shape[1], log_density.shape[0]
    found, cell, part = np.zeros((k, len(turns))), np.zeros(3, np.int64), np.zeros(3)
    deep = 2 if d == 3 else 1
    for g in range(len(turns)):
        for j in range(k):
            total = 0.0
            for i in range(start[j], start[j + 1]):
                if weight[i] == 0:
                    continue
                inside = True
                for a in range(d):
                    at = half
                    for b in range(d):
                        at += turns[g, a, b] * placed[i, b]
                    at /= step
                    if not 0 <= at < n - 1:
                        inside = False
                        break
                    cell[a] = int(at)
                    part[a] = at - cell[a]
                value = outside
                if inside:
                    value = 0.0
                    for corner in range(4 * deep):
                        x, y, z = corner & 1, (corner >> 1) & 1, corner >> 2
                        share = (part[0] if x else 1 - part[0]) * (part[1] if y else 1 - part[1])
                        if d == 3:
                            share *= part[2] if z else 1 - part[2]
                        value += share * log_density[cell[0] + x, cell[1] + y, cell[2] + z]
                total += weight[i] * value
            found[j, g] = total
    return found
