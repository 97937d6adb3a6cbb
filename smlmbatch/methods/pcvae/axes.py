"""Axes through latents along which particles are put in order, and how well an axis goes with a known value.

A radius that spreads over several units is still one direction: principal axes (found without any value), and the
direction that a ridge regression finds, with a value known for some particles. Whatever is chosen by a value is chosen on one half of the
particles and reported on the other: the best of eight units, picked and reported on the same ones, flatters.

Shape letters in comments: k particles, u units.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Floats = NDArray[np.float64]

_PENALTIES: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of standardised latents, times the number of particles
_HALVES: Final = 0x0A1F  # first number of the key of the split
_LEAST: Final = 4  # particles of a half
_ALIKE: Final = 1e-6  # of latents: smaller differences are of rounding
_EVEN: Final = 0.3  # of the mean noise; from 0.1 to 0.5 axes are alike


@dataclass(frozen=True, slots=True)
class Axes:
    """Directions in the space of latents.

    Attributes
    ----------
    middle : (u,) f8
    direction : (u, a) f8, a column an axis
    """

    middle: Floats
    direction: Floats

    def places(self, latents: NDArray[np.floating]) -> Floats:
        """Where particles lie along each axis: (k, a) f8."""
        return (latents - self.middle) @ self.direction


def principal_axes(one: NDArray[np.floating], two: NDArray[np.floating]) -> tuple[Axes, Floats]:
    """Axes along which particles differ most, measured by noise, the longest first; and each one's share of all such differences (u,).

    Of latents alone, axes that vary alike can't be told apart, and a height that is hard to see varies by noise as much as a radius does.
    So noise is told by two random halves of each particle's locs: what halves agree on is signal, what they differ in is noise, and the
    axes are principal axes of the signal after noise is made even (noise-adjusted principal components: Lee, Woodbury & Berman 1990).
    Noise is taken as `_EVEN` of its mean everywhere besides: where latents hardly vary there is little of both, and their ratio is moot.
    Places are in standard deviations of a particle's noise. A direction's largest weight is positive.

    Parameters
    ----------
    one, two : (k, u) latents of the two halves of each particle, k > 0; a particle may come with several pairs of halves

    >>> rng = np.random.default_rng(0)
    >>> seen = [np.column_stack([rng.normal(size=400), drawn]) for drawn in [rng.normal(size=400)] for _ in range(2)]
    >>> axes, share = principal_axes(*seen)
    >>> int(abs(axes.direction[:, 0]).argmax()), bool(share[0] > 0.9)
    (1, True)
    """
    one, two = np.asarray(one, np.float64), np.asarray(two, np.float64)
    both = (one + two) / 2
    middle = both.mean(axis=0)
    crossed = (one - one.mean(axis=0)).T @ (two - two.mean(axis=0)) / len(one)
    signal, apart = (crossed + crossed.T) / 2, (one - two) / 2
    noise = apart.T @ apart / len(apart)
    if np.trace(noise) + abs(np.trace(signal)) <= _ALIKE**2 * np.square(both).sum(axis=1).mean():
        return Axes(middle, np.eye(len(noise))), np.zeros(len(noise))  # all alike: what is left are last digits
    even = float(np.trace(noise)) / len(noise) or float(np.trace(signal))
    size, direction = eigh(signal, noise + _EVEN * even * np.eye(len(noise)))
    size, direction = np.maximum(size[::-1], 0.0), direction[:, ::-1]
    largest = np.take_along_axis(direction, np.abs(direction).argmax(axis=0)[None], axis=0)
    return Axes(middle, direction * np.where(largest < 0, -1.0, 1.0)), size / max(size.sum(), np.finfo(float).tiny)


def supervised_axis(latents: NDArray[np.floating], value: NDArray[np.floating]) -> Axes:
    """The direction along which latents tell a value best, by ridge regression; `places` are the value's estimates less its mean.

    The penalty is the one with the least error of particles left out one at a time, which has a closed form (Hastie et al. 2009, 7.10).

    Parameters
    ----------
    latents : (k, u)
    value : (k,) of each particle
    """
    latents, value = np.asarray(latents, np.float64), np.asarray(value, np.float64)
    middle, spread = latents.mean(axis=0), np.maximum(latents.std(axis=0), np.finfo(np.float32).tiny)
    left, singular, right = np.linalg.svd((latents - middle) / spread, full_matrices=False)
    wanted = value - value.mean()

    def shrunk(penalty: float) -> Floats:
        return np.asarray(singular**2 / (singular**2 + penalty * len(value)))

    def left_out(penalty: float) -> float:
        share = shrunk(penalty)
        misses = (wanted - left @ (share * (left.T @ wanted))) / (1.0 - (left**2 @ share) - 1.0 / len(value))
        return float((misses**2).sum())

    share = shrunk(min(_PENALTIES, key=left_out))
    weights = right.T @ (share / np.maximum(singular, np.finfo(np.float32).tiny) * (left.T @ wanted))
    return Axes(middle, (weights / spread)[:, None])


def agreement(latents: NDArray[np.floating], value: NDArray[np.floating], *, axes: Axes, seed: int = 0) -> dict[str, float]:
    """|Pearson| of a value with the best unit, the best principal axis and the supervised axis.

    Each is chosen on one half of the particles, drawn from the seed, and reported on the other.

    Parameters
    ----------
    latents : (k, u), k >= 8
    value : (k,), those that are no number are left out
    axes : principal axes, which no value had a part in
    """
    known = np.isfinite(value)
    latents, value = np.asarray(latents, np.float64)[known], np.asarray(value, np.float64)[known]
    if len(value) < 2 * _LEAST:
        return {}
    first, other = halves(len(value), seed=seed)
    ways = {"unit": latents, "principal axis": axes.places(latents), "ridge": supervised_axis(latents[first], value[first]).places(latents)}
    found = {}
    for name, places in ways.items():
        best = int(np.argmax(pearson(places[first], value[first])))
        found[name] = float(pearson(places[other][:, [best]], value[other])[0])
    return found


def halves(n: int, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers below n, in two random halves."""
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_HALVES,))).permutation(n)
    return np.sort(order[: n // 2]), np.sort(order[n // 2 :])


def pearson(places: NDArray[np.floating], value: NDArray[np.floating]) -> Floats:
    """|Pearson| of each column with a value: (a,); 0 for one that doesn't vary."""
    centred, wanted = places - places.mean(axis=0), value - value.mean()
    size = np.sqrt((centred**2).sum(axis=0) * (wanted**2).sum())
    return np.asarray(np.abs(wanted @ centred) / np.where(size > 0, size, np.inf), np.float64)
