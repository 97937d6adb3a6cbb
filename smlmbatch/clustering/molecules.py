"""How many molecules a cluster holds: copy numbers from a calibration, and the distribution of locs that single molecules would give.

A fluorophore that bleaches with the same chance after every blink gives n locs with P(n) = p (1 - p)^(n - 1), a geometric distribution of
mean 1 / p (Annibale et al., PLoS ONE 2011; Hummer et al., Mol. Biol. Cell 2016). Clusters of fewer than some number of locs are never
found. The distribution has no memory, so what is left of it is the same, shifted, and p follows from the mean excess over the smallest
cluster. How far the clusters are from that (Kolmogorov-Smirnov) tells whether they can be single molecules at all.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LocsPerSpot:
    """A geometric distribution fitted to the numbers of locs of clusters.

    Attributes
    ----------
    n_clusters : that entered
    least : locs of the smallest
    mean : of the distribution from 1 on, 1 / p: locs that a molecule would give
    distance : largest difference of the two cumulative distributions (Kolmogorov-Smirnov), 0 to 1
    """

    n_clusters: int
    least: int
    mean: float
    distance: float


def fit_geometric(n_locs: NDArray[np.integer]) -> LocsPerSpot | None:
    """Maximum-likelihood fit of a geometric distribution that is seen from the smallest number on; None without clusters.

    Parameters
    ----------
    n_locs : (c,) 1 or more, locs of each cluster

    >>> fit_geometric(np.array([5, 5, 6, 8]))
    LocsPerSpot(n_clusters=4, least=5, mean=2.0, distance=0.125)
    """
    if len(n_locs) == 0:
        return None
    least = int(n_locs.min())
    mean = float(n_locs.mean()) - least + 1.0
    value, count = np.unique(n_locs, return_counts=True)
    after = np.cumsum(count) / len(n_locs)  # share of clusters of at most so many locs, and of fewer
    before = np.concatenate([[0.0], after[:-1]])
    distance = max(np.abs(after - _cumulative(value - least + 1, mean)).max(), np.abs(before - _cumulative(value - least, mean)).max())
    return LocsPerSpot(len(n_locs), least, mean, float(distance))


def _cumulative(k: NDArray[np.integer], mean: float) -> NDArray[np.float64]:
    """P(n <= k)."""
    return 1.0 - np.power(1.0 - 1.0 / mean, k.astype(np.float64))


def copy_numbers(n_locs: NDArray[np.integer], *, locs_per_molecule: float) -> NDArray[np.float64]:
    """Molecules in each cluster, (c,) f8; NaN where it isn't known how many locs one gives (0)."""
    if locs_per_molecule <= 0:
        return np.full(len(n_locs), np.nan)
    return n_locs / locs_per_molecule
