"""Agreement of two partitions by pairs of locs and by information, each corrected for chance: ARI, ARI-dagger, AMI.

ARI (Hubert & Arabie, J Classif 2:193, 1985) is the harmonic mean of two averages, over true and over found classes, of Wallace
indices that are weighted by a class's pairs, so the largest class (mostly the background) decides it. ARI-dagger (Warrens & van der Hoef,
J Classif 39:487, 2022) takes plain averages: every class counts alike, which also means that many tiny false clusters, each pure, raise it.
AMI (Vinh et al., ICML 2009) is normalised by the mean of both entropies.

Equal partitions have 1, also where both are one class; no locs have NaN.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlmbatch.score.contingency import Contingency

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def adjusted_rand(met: Contingency) -> float:
    """Adjusted Rand index.

    >>> from smlmbatch.score.contingency import contingency
    >>> round(adjusted_rand(contingency([0, 0, 1, 1], [0, 0, 1, 2])), 4)
    0.5714
    """
    if not met.n or met.equal:
        return 1.0 if met.n else np.nan
    both, true, found, every = (_pairs(sizes).sum() for sizes in (met.count, met.true_size, met.found_size, np.array([met.n])))
    expected = true * found / every
    return float((both - expected) / ((true + found) / 2 - expected))


def adjusted_rand_dagger(met: Contingency) -> float:
    """ARI-dagger: harmonic mean of the plain averages of the adjusted Wallace indices of the true and of the found classes.

    A class of one loc has no pair and no index; it is left out. Averages may be below 0 (found clusters less pure than chance, where one
    has swallowed the background). The value is then negative, as in the published evaluation, and 0 where both sum to no more than 0; it is
    held at -1 or above, for near a sum of 0 the formula has no bound, and one field would rule the mean of fifty.
    """
    if not met.n or met.equal:
        return 1.0 if met.n else np.nan
    of_true = _mean_wallace(met.count, met.true, met.true_size, met.found_size)
    of_found = _mean_wallace(met.count, met.found, met.found_size, met.true_size)
    both = of_true + of_found
    return max(2 * of_true * of_found / both, -1.0) if both > 0 else 0.0


def _mean_wallace(count: Ints, owner: Ints, size: Ints, other_size: Ints) -> float:
    """Mean over classes of the share of their pairs that the other partition keeps together, corrected for chance."""
    n = size.sum()
    by_chance = _pairs(other_size).sum() / _pairs(n)
    own = _pairs(size)
    if by_chance == 1 or not own.any():
        return 0.0
    kept = np.bincount(owner, weights=_pairs(count), minlength=len(size))[own > 0] / own[own > 0]
    return float(((kept - by_chance) / (1 - by_chance)).mean())


def _pairs(count: Ints) -> Floats:
    return count * (count - 1.0) / 2.0


def adjusted_mutual_information(met: Contingency) -> float:
    """Adjusted mutual information, normalised by the arithmetic mean of both entropies."""
    if not met.n or met.equal:
        return 1.0 if met.n else np.nan
    n = met.n
    shared = met.count / n
    by_chance = met.true_size[met.true] / n * (met.found_size[met.found] / n)
    found = float((shared * np.log(shared / by_chance)).sum())
    expected = _expected_information(*_sizes(met.true_size), *_sizes(met.found_size), n)
    return (found - expected) / ((_entropy(met.true_size) + _entropy(met.found_size)) / 2 - expected)


def _entropy(sizes: Ints) -> float:
    share = sizes / sizes.sum()
    return float(-(share * np.log(share)).sum())


def _sizes(sizes: Ints) -> tuple[Ints, Ints]:
    """Sizes that occur, and how often: expected information depends on sizes alone, and n locs have below sqrt(2 n) of them."""
    size, times = np.unique(sizes, return_counts=True)
    return size, times


@njit(cache=True)
def _expected_information(a: Ints, times_a: Ints, b: Ints, times_b: Ints, n: int) -> float:
    """Expected mutual information of two partitions with these class sizes, all permutations equally likely (nats)."""
    total = 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            total += times_a[i] * times_b[j] * _expected_cell(a[i], b[j], n)
    return total


@njit(cache=True)
def _expected_cell(a: int, b: int, n: int) -> float:
    """Mean of k/n log(n k / (a b)) over the hypergeometric k of a cell.

    Weights run outwards from the mode by their ratios and are normalised by their own sum, so nothing under- or overflows and no factorial
    is needed; what is below 1e-18 of the sum is not visited.
    """
    low, high = max(0, a + b - n), min(a, b)
    mode = min(max((a + 1) * (b + 1) // (n + 2), low), high)
    weights, mean, information = 0.0, 0.0, 0.0
    for way in (1, -1):
        k, weight = mode, 1.0
        if way == -1:
            if mode == low:
                break
            weight *= mode * float(n - a - b + mode) / (float(a - mode + 1) * (b - mode + 1))
            k = mode - 1
        while low <= k <= high:
            weights += weight
            mean += weight * k
            if k:
                information += weight * k / n * np.log(float(n) * k / (float(a) * b))
            if weight * max(k, 1) < 1e-18 * mean:
                break
            if way == 1:
                weight *= float(a - k) * (b - k) / ((k + 1.0) * (n - a - b + k + 1.0))
            else:
                weight *= k * float(n - a - b + k) / (float(a - k + 1) * (b - k + 1))
            k += way
    return information / weights
