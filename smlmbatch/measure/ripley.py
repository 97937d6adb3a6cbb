"""Ripley's K in a rectangle, its peak, and nearest neighbours.

K is corrected for edges by translation (Ohser 1983): a pair at displacement (dx, dy) counts with the area of the
window over the area of the window's overlap with itself shifted by (dx, dy). For a rectangle that is a closed form,
unbiased at any radius below the window's shorter side. The window is the whole square of the region; that a part of
it may lie outside the cell is not corrected for.

Locs are sorted by x and each looks only ahead, as far as the largest radius. Sums run in that fixed order in
float64, so equal locs in equal order give equal bits.
"""

import hashlib
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# What the random draws are for: the first number of their key.
_THINNING = 1
# Steps of the scale on which a squared distance finds its ring; 16 KiB stay in the nearest cache.
_TABLE = 4096


def ripley_radii_nm(*, step_nm: float, max_nm: float) -> Floats:
    """step, 2 step, … up to `max_nm`, itself included; (m,) f8, nm.

    >>> ripley_radii_nm(step_nm=10, max_nm=35)
    array([10., 20., 30.])
    """
    n_radii = math.floor(max_nm / step_nm * (1 + 1e-12))  # 0.3 / 0.1 is 2.9999999999999996
    return step_nm * np.arange(1.0, n_radii + 1)


def ripley_k_nm2(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], *, window_nm: tuple[float, float], radii_nm: Floats) -> Floats:
    """Ripley's K with translation edge correction.

    K(r) = A / (n (n - 1)) · Σ_{i≠j} 1(d_ij <= r) · A / ((a - |dx|) (b - |dy|)), with A = a b.

    Parameters
    ----------
    x_nm, y_nm : (n,) floating, nm, locs inside the window, half-open
    window_nm : width a and height b
    radii_nm : (m,) f8, nm, increasing, from above 0 to below the shorter side

    Returns
    -------
    (m,) f8, nm²; NaN below 2 locs

    Source: Ohser, Math. Operationsforsch. Statist. Ser. Statist. 14 (1983) 63; Illian et al. 2008, section 4.3.3.
    """
    n = len(x_nm)
    if n < 2:
        return np.full(len(radii_nm), np.nan)
    order = np.argsort(x_nm, kind="stable")
    x, y = x_nm[order].astype(np.float64), y_nm[order].astype(np.float64)
    width, height = map(float, window_nm)
    per_ring = _pair_weights(x, y, width, height, radii_nm)
    scale = 2 * (width * height) ** 2 / (n * (n - 1))  # each pair was met once
    return scale * np.cumsum(per_ring)


def peak_of_l_nm(k_nm2: Floats, radii_nm: Floats) -> tuple[float, float]:
    """Radius and height of the maximum of L(r) - r, with L = sqrt(K / pi); the first of equal maxima; NaN if K is.

    Where the curve still rises at the last radius there is no peak within the range: its radius is NaN.

    >>> peak_of_l_nm(np.pi * np.array([100.0, 900, 900]), np.array([10.0, 20, 30]))
    (20.0, 10.0)
    """
    if np.isnan(k_nm2).any():
        return math.nan, math.nan
    excess = np.sqrt(k_nm2 / np.pi) - radii_nm
    peak = int(np.argmax(excess))
    return math.nan if peak == len(excess) - 1 else float(radii_nm[peak]), float(excess[peak])


def nearest_neighbours_nm(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating]) -> Floats:
    """Distance of each loc to its nearest other loc; (n,) f8, nm, in the locs' order; infinite for a single loc.

    The cost is n times the locs in a strip as wide as two neighbour distances: below a k-d tree's up to some 10^5 locs.
    """
    order = np.argsort(x_nm, kind="stable")
    distances = np.empty(len(order))
    distances[order] = _nearest(x_nm[order].astype(np.float64), y_nm[order].astype(np.float64))
    return distances


def thinned(n: int, *, limit: int, seed: int, field_key: str, roi: int, channel: int) -> NDArray[np.int64]:
    """Which of `n` locs to use: all, or `limit` drawn at random, ascending; (min(n, limit),) i8.

    The draw depends on seed, field, ROI and channel, so on neither worker nor order. K is the same in expectation
    for any thinning that is independent of position, and n (n - 1) makes the estimate unbiased at a fixed number.
    """
    if n <= limit:
        return np.arange(n)
    field = int.from_bytes(hashlib.sha256(field_key.encode()).digest()[:8], "little")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_THINNING, field, roi, channel)))
    return np.sort(rng.permutation(n)[:limit])


@njit(cache=True)
def _pair_weights(x: Floats, y: Floats, width: float, height: float, radii: Floats) -> Floats:
    """Sum of 1 / overlap over pairs whose distance lies in (r[k-1], r[k]], of locs sorted by x; (m,).

    Distances are compared squared. Pairs in reach are gathered before they are weighed: the processor guesses badly
    whether a pair is in reach (four in ten are), and a wrong guess costs as much as the weight.
    """
    n = len(x)
    squares = radii * radii
    reach2 = squares[-1]
    per_square = (_TABLE - 1) / reach2
    lowest_ring = _lowest_rings(squares, per_square)
    distance2, overlap = np.empty(n + 1), np.empty(n + 1)
    sums = np.zeros(len(radii))
    stop = 0
    for i in range(n):
        while stop < n and x[stop] - x[i] <= radii[-1]:
            stop += 1
        found = 0
        for j in range(i + 1, stop):
            dx, dy = x[j] - x[i], abs(y[j] - y[i])
            square = dx * dx + dy * dy
            distance2[found] = square
            overlap[found] = (width - dx) * (height - dy)
            found += square <= reach2
        for k in range(found):
            square = distance2[k]
            ring = lowest_ring[int(square * per_square)]
            while square > squares[ring]:
                ring += 1
            sums[ring] += 1.0 / overlap[k]
    return sums


@njit(cache=True)
def _lowest_rings(squares: Floats, per_square: float) -> NDArray[np.int32]:
    """For each step of a fine scale of squared distance the first ring it may belong to; (_TABLE,)."""
    lowest = np.empty(_TABLE, np.int32)
    ring = 0
    for step in range(_TABLE):
        while squares[ring] * per_square < step * (1 - 1e-12):
            ring += 1
        lowest[step] = ring
    return lowest


@njit(cache=True)
def _nearest(x: Floats, y: Floats) -> Floats:
    """Distance to the nearest other loc, of locs sorted by x."""
    nearest = np.empty(len(x))
    for i in range(len(x)):
        nearest2 = np.inf
        for j in range(i + 1, len(x)):
            dx, dy = x[j] - x[i], y[j] - y[i]
            if dx * dx >= nearest2:
                break
            nearest2 = min(nearest2, dx * dx + dy * dy)
        for j in range(i - 1, -1, -1):
            dx, dy = x[j] - x[i], y[j] - y[i]
            if dx * dx >= nearest2:
                break
            nearest2 = min(nearest2, dx * dx + dy * dy)
        nearest[i] = math.sqrt(nearest2)
    return nearest
