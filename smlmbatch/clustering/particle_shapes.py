"""Radius and height of every particle, each by itself, by formulas that know what shape it has: what a learned order is held against.

Two kinds. The PC-VAE paper's: mean and median distance from the mean loc, the distance of the medians above and below the mean plane, and
two Gaussians along z. They lie where the locs are, and of a half-labelled pore these are beside its middle: the paper's mean radius
follows the true one less well than a circle does. So for rings the geometric circle fit (the least sum of squared distances to it) is
the yardstick.

Every estimate comes with its standard error, as if locs were independent. Molecules that are seen several times are not: true errors are
larger, by the square root of how often at most. The paper's precision, FWHM / sqrt(n), is `FWHM_OF_SD` times the standard error of a mean.

Locs of particle k are rows `start[k]` to `start[k + 1]` of all; z is the third column. NaN stands where a particle has too few locs.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Points = NDArray[np.floating]

FWHM_OF_SD: Final = 2.0 * np.sqrt(2.0 * np.log(2.0))
_ERROR_OF_MEDIAN: Final = np.sqrt(np.pi / 2)  # over the mean's, of a normal distribution
_LEAST_POINTS: Final = 5  # three numbers of a circle and two to tell the scatter by; two Gaussians have four
_STEPS: Final = 100
_CLOSE: Final = 1e-7  # of the points' own scale: steps of a fit below this are its end
_EM_STEPS: Final = 400
_EM_CLOSE: Final = 1e-4  # of the levels' width: where levels move by less, EM is at its end
_SPLITS: Final = (0.25, 0.5, 0.75)  # quantiles of z that EM starts from, beside the middle of its extent


@dataclass(frozen=True, slots=True)
class Estimates:
    """One length of each particle.

    Attributes
    ----------
    nm : (k,) f8
    error_nm : (k,) f8, standard error
    """

    nm: Floats
    error_nm: Floats


@dataclass(frozen=True, slots=True)
class Circles:
    """The circle in the plane that each particle's locs lie about.

    Attributes
    ----------
    centre_nm : (k, 2) f8
    radius : its estimates
    scatter_nm : (k,) f8, root mean squared distance of locs from it, three degrees of freedom taken off
    """

    centre_nm: Floats
    radius: Estimates
    scatter_nm: Floats


def mean_radii(points_nm: Points, start: NDArray[np.integer]) -> Estimates:
    """Mean distance in the plane from the mean loc: radius of a pore from above (PC-VAE paper, estimates of 2D pores).

    Parameters
    ----------
    points_nm : (m, d) nm, d = 2 or 3
    start : (k + 1,) from 0

    >>> square = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]]) * 50
    >>> mean_radii(np.concatenate([square, 2 * square + 7]), np.array([0, 4, 8])).nm.tolist()
    [50.0, 100.0]
    """
    x, y = _columns(points_nm, start)[:2]
    return Estimates(*_mean_radii(x, y, start.astype(np.int64)))


def median_radii(points_nm: Points, start: NDArray[np.integer]) -> Estimates:
    """Median distance in the plane from the mean loc: radius of a pore in 3D (PC-VAE paper); parameters as `mean_radii`."""
    x, y = _columns(points_nm, start)[:2]
    return Estimates(*_median_radii(x, y, start.astype(np.int64)))


def circle_radii(points_nm: Points, start: NDArray[np.integer]) -> Circles:
    """Geometric circle fits in the plane (Gander, Golub & Strebel 1994), as `smlmbatch.clustering.centre` has them for one particle.

    Parameters as `mean_radii`. Points on a line, and fewer than 5, have no circle.

    >>> turn = np.arange(10) * 0.4  # a good half of a circle
    >>> found = circle_radii(np.stack([3 + 50 * np.cos(turn), 4 + 50 * np.sin(turn)], axis=1), np.array([0, 10]))
    >>> found.centre_nm.round(6).tolist(), found.radius.nm.round(6).tolist()
    ([[3.0, 4.0]], [50.0])
    """
    x, y = _columns(points_nm, start)[:2]
    found = _circles(x, y, start.astype(np.int64))
    return Circles(found[:, :2], Estimates(found[:, 2], found[:, 3]), found[:, 4])


def layer_heights(points_nm: Points, start: NDArray[np.integer]) -> Estimates:
    """Median z of the locs above the mean plane minus median of those below: height of a pore (PC-VAE paper).

    Of two layers that errors in z mix, it is too large or too small: a half of a broad single layer has a median, too.

    Parameters
    ----------
    points_nm : (m, 3) nm
    start : (k + 1,) from 0
    """
    return Estimates(*_layer_heights(_columns(points_nm, start)[2], start.astype(np.int64)))


def level_heights(points_nm: Points, start: NDArray[np.integer]) -> Estimates:
    """Distance of the means of two Gaussians along z: height of a tetrahedron (PC-VAE paper); parameters as `layer_heights`.

    The Gaussians share their width, which is mostly the error in z: with widths of their own, one of them can shrink onto a few locs and
    be the likelier for it. EM starts from several splits, for from a single one it may end with both on the larger level; the likeliest
    is kept.
    """
    return Estimates(*_level_heights(_columns(points_nm, start)[2], start.astype(np.int64)))


def _columns(points_nm: Points, start: NDArray[np.integer]) -> list[Floats]:
    assert start[0] == 0, "locs before the first particle"
    assert start[-1] == len(points_nm), "locs after the last particle"
    return [np.ascontiguousarray(column, dtype=np.float64) for column in points_nm.T]


# ---- radii


@njit(cache=True)
def _mean_radii(x: Floats, y: Floats, start: Ints) -> tuple[Floats, Floats]:
    found, error = np.full(len(start) - 1, np.nan), np.full(len(start) - 1, np.nan)
    for k in range(len(found)):
        n = start[k + 1] - start[k]
        if n >= 2:
            distance = _distances(x[start[k] : start[k + 1]], y[start[k] : start[k + 1]])
            found[k] = distance.mean()
            error[k] = distance.std() / np.sqrt(n - 1.0)
    return found, error


@njit(cache=True)
def _median_radii(x: Floats, y: Floats, start: Ints) -> tuple[Floats, Floats]:
    found, error = np.full(len(start) - 1, np.nan), np.full(len(start) - 1, np.nan)
    for k in range(len(found)):
        n = start[k + 1] - start[k]
        if n >= 2:
            distance = _distances(x[start[k] : start[k + 1]], y[start[k] : start[k + 1]])
            found[k] = np.median(distance)
            error[k] = _ERROR_OF_MEDIAN * distance.std() / np.sqrt(n - 1.0)
    return found, error


@njit(cache=True)
def _distances(x: Floats, y: Floats) -> Floats:
    distance: Floats = np.sqrt((x - x.mean()) ** 2 + (y - y.mean()) ** 2)
    return distance


@njit(cache=True)
def _circles(x: Floats, y: Floats, start: Ints) -> Floats:
    """Centre, radius, the radius's standard error, scatter: (k, 5)."""
    found = np.full((len(start) - 1, 5), np.nan)
    for k in range(len(found)):
        if start[k + 1] - start[k] >= _LEAST_POINTS:
            _fit_circle(x[start[k] : start[k + 1]], y[start[k] : start[k + 1]], found[k])
    return found


@njit(cache=True)
def _fit_circle(x: Floats, y: Floats, out: Floats) -> None:
    """Kasa's linear fit, then Levenberg's damped steps, of points moved to their mean and scaled by their gyration."""
    middle_x, middle_y, n = x.mean(), y.mean(), len(x)
    scale = np.sqrt(((x - middle_x) ** 2 + (y - middle_y) ** 2).mean())
    if scale == 0.0:
        return
    u, v = (x - middle_x) / scale, (y - middle_y) / scale
    square = u * u + v * v
    uu, uv, vv = (u * u).mean(), (u * v).mean(), (v * v).mean()
    if uu * vv - uv * uv < 1e-12:
        return
    a, b = ((u * square).mean() * vv - (v * square).mean() * uv, (v * square).mean() * uu - (u * square).mean() * uv)
    circle = np.empty(3)
    circle[0], circle[1] = a / (2 * (uu * vv - uv * uv)), b / (2 * (uu * vv - uv * uv))
    circle[2] = np.sqrt(1.0 + circle[0] ** 2 + circle[1] ** 2)
    normal, slope, cost = _normal_equations(u, v, circle)
    damping = 1e-3 * n
    for _ in range(_STEPS):
        step = np.linalg.solve(normal + damping * np.eye(3), slope)
        tried_normal, tried_slope, tried_cost = _normal_equations(u, v, circle + step)
        if tried_cost > cost:
            damping *= 10.0
            continue
        circle, normal, slope, cost = circle + step, tried_normal, tried_slope, tried_cost
        damping = max(0.3 * damping, 1e-9)
        if np.abs(step).max() < _CLOSE:
            break
    if np.linalg.det(normal / n) < 1e-12:  # a line
        return
    variance = cost / (n - 3)
    out[0], out[1], out[2] = middle_x + scale * circle[0], middle_y + scale * circle[1], scale * circle[2]
    out[3] = scale * np.sqrt(variance * np.linalg.inv(normal)[2, 2])
    out[4] = scale * np.sqrt(variance)


@njit(cache=True)
def _normal_equations(u: Floats, v: Floats, circle: Floats) -> tuple[Floats, Floats, float]:
    """Of the distances to the circle: slopes' products (3, 3), slopes by misses (3,), sum of squares."""
    normal, slope, cost = np.zeros((3, 3)), np.zeros(3), 0.0
    for i in range(len(u)):
        du, dv = u[i] - circle[0], v[i] - circle[1]
        distance = max(np.sqrt(du * du + dv * dv), 1e-300)
        miss, du, dv = distance - circle[2], du / distance, dv / distance
        normal[0, 0] += du * du
        normal[0, 1] += du * dv
        normal[0, 2] += du
        normal[1, 1] += dv * dv
        normal[1, 2] += dv
        slope[0] += du * miss
        slope[1] += dv * miss
        slope[2] += miss
        cost += miss * miss
    normal[1, 0], normal[2, 0], normal[2, 1], normal[2, 2] = normal[0, 1], normal[0, 2], normal[1, 2], len(u)
    return normal, slope, cost


# ---- heights


@njit(cache=True)
def _layer_heights(z: Floats, start: Ints) -> tuple[Floats, Floats]:
    found, error = np.full(len(start) - 1, np.nan), np.full(len(start) - 1, np.nan)
    for k in range(len(found)):
        own = z[start[k] : start[k + 1]]
        if len(own) < 4:
            continue
        above, below = own[own > own.mean()], own[own <= own.mean()]
        if len(above) < 2 or len(below) < 2:
            continue
        found[k] = np.median(above) - np.median(below)
        variance = above.var() / (len(above) - 1.0) + below.var() / (len(below) - 1.0)
        error[k] = _ERROR_OF_MEDIAN * np.sqrt(variance)
    return found, error


@njit(cache=True)
def _level_heights(z: Floats, start: Ints) -> tuple[Floats, Floats]:
    found, error = np.full(len(start) - 1, np.nan), np.full(len(start) - 1, np.nan)
    for k in range(len(found)):
        own = z[start[k] : start[k + 1]]
        if len(own) < _LEAST_POINTS or own.std() == 0.0:
            continue
        own = (own - own.mean()) / own.std()
        scale = z[start[k] : start[k + 1]].std()
        best, likeliest = np.zeros(4), -np.inf
        for s in range(len(_SPLITS) + 1):
            split = np.quantile(own, _SPLITS[s]) if s < len(_SPLITS) else 0.5 * (np.quantile(own, 0.02) + np.quantile(own, 0.98))
            levels = _levels_of_split(own, split)
            likelihood = _climb(own, levels)
            if likelihood > likeliest:
                likeliest, best = likelihood, levels
        found[k] = scale * (best[1] - best[0])
        error[k] = scale * _error_of_levels(own, best)
    return found, error


@njit(cache=True)
def _levels_of_split(z: Floats, split: float) -> Floats:
    """Lower and upper mean, share of the upper, sd: (4,)."""
    upper = z > split
    share = min(max(upper.mean(), 1.0 / len(z)), 1.0 - 1.0 / len(z))
    low = z[~upper].mean() if (~upper).any() else z.min()
    high = z[upper].mean() if upper.any() else z.max()
    within = np.sqrt(max(z.var() - share * (1.0 - share) * (high - low) ** 2, 0.01 * z.var()))
    return np.array([low, high, share, within])


@njit(cache=True)
def _climb(z: Floats, levels: Floats) -> float:
    """EM of two Gaussians of one width, in place; mean log likelihood."""
    likelihood = -np.inf
    for _ in range(_EM_STEPS):
        likelihood, before = 0.0, levels[:2].copy()
        n_upper, sum_upper, sum_lower = 0.0, 0.0, 0.0
        log_odds = np.log(levels[2] / (1.0 - levels[2]))
        slope, middle = (levels[1] - levels[0]) / levels[3] ** 2, 0.5 * (levels[0] + levels[1])
        for i in range(len(z)):
            upper = 1.0 / (1.0 + np.exp(-(log_odds + slope * (z[i] - middle))))
            n_upper += upper
            sum_upper += upper * z[i]
            sum_lower += (1.0 - upper) * z[i]
            likelihood += -0.5 * ((z[i] - levels[0]) / levels[3]) ** 2 - np.log(max(1.0 - upper, 1e-300))
        likelihood = likelihood / len(z) + np.log(1.0 - levels[2]) - np.log(levels[3])
        n_upper = min(max(n_upper, 1e-6), len(z) - 1e-6)
        levels[0], levels[1], levels[2] = sum_lower / (len(z) - n_upper), sum_upper / n_upper, n_upper / len(z)
        between = levels[2] * (1.0 - levels[2]) * (levels[1] - levels[0]) ** 2
        levels[3] = np.sqrt(max((z * z).mean() - z.mean() ** 2 - between, 1e-6))
        if np.abs(levels[:2] - before).max() < _EM_CLOSE * levels[3]:
            break
    return likelihood


@njit(cache=True)
def _error_of_levels(z: Floats, levels: Floats) -> float:
    """Standard error of the distance of the levels, from the products of each loc's own slopes of the log likelihood; NaN if none."""
    products, slope = np.zeros((4, 4)), np.empty(4)
    for i in range(len(z)):
        low, high = (z[i] - levels[0]) / levels[3], (z[i] - levels[1]) / levels[3]
        of_upper = levels[2] * np.exp(-0.5 * high * high)
        upper = of_upper / max(of_upper + (1.0 - levels[2]) * np.exp(-0.5 * low * low), 1e-300)
        slope[0] = (1.0 - upper) * low
        slope[1] = upper * high
        slope[2] = upper / levels[2] - (1.0 - upper) / (1.0 - levels[2])
        slope[3] = (1.0 - upper) * low * low + upper * high * high - 1.0
        products += np.outer(slope, slope)
    if np.linalg.det(products / len(z)) < 1e-12:
        return np.nan
    covariance = np.linalg.inv(products)
    error: float = levels[3] * np.sqrt(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])
    return error
