"""How well two ways of grouping the same ROIs agree: the adjusted Rand index, and entropies of clusters.

The index (Hubert & Arabie, J Classif 2:193, 1985) is 1 for equal groupings and 0 on average for unrelated ones. Its interval is a
bootstrap over ROIs: drawing n pairs (group, cluster) with replacement is one multinomial draw of the contingency table, which takes
microseconds instead of a resampling of rows. ROIs enter as if independent, so the interval is too narrow where those of a cell are alike.
A ROI drawn twice agrees with itself, which raises the index of resamples: plain percentiles of unrelated groupings (5 conditions of 50
ROIs) lie above 0 in 42 of 100. The interval is therefore of the resamples less their mean excess; with it, in 1 of 100.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_TAILS: Final = (0.025, 0.975)


def contingency(groups: NDArray[np.integer], clusters: NDArray[np.integer]) -> NDArray[np.int64]:
    """How often each group meets each cluster: (number of groups, number of clusters) i8.

    Parameters
    ----------
    groups, clusters : (n,) codes from 0

    >>> contingency(np.array([0, 0, 1]), np.array([1, 1, 0])).tolist()
    [[0, 2], [1, 0]]
    """
    if not len(groups):
        return np.zeros((0, 0), dtype=np.int64)
    n_clusters = int(clusters.max()) + 1
    counts = np.bincount(groups.astype(np.int64) * n_clusters + clusters, minlength=(int(groups.max()) + 1) * n_clusters)
    return counts.astype(np.int64).reshape(-1, n_clusters)


def adjusted_rand(table: NDArray[np.integer]) -> NDArray[np.float64]:
    """Adjusted Rand index of contingency tables: (...) f8 of (..., groups, clusters).

    NaN where both groupings are one group, or both all apart: then every pair agrees whatever they are.

    >>> float(adjusted_rand(np.array([[50, 0], [0, 50]]))), float(adjusted_rand(np.array([[25, 25], [25, 25]]))).__round__(3)
    (1.0, -0.01)
    """
    counts = table.astype(np.float64)
    of_both, of_groups, of_clusters, of_all = (
        _pairs(sums).sum(axis=axes)
        for sums, axes in (
            (counts, (-2, -1)),
            (counts.sum(axis=-1), -1),
            (counts.sum(axis=-2), -1),
            (counts.sum(axis=(-2, -1))[..., None], -1),
        )
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = of_groups * of_clusters / of_all
        index = (of_both - expected) / ((of_groups + of_clusters) / 2 - expected)
    return np.asarray(np.where(np.isfinite(index), index, np.nan))


def _pairs(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return counts * (counts - 1.0) / 2.0


def resampled_rand(table: NDArray[np.integer], *, draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The index of `draws` bootstrap samples of the rows behind a contingency table: (draws,) f8."""
    flat = table.reshape(-1)
    found = rng.multinomial(int(flat.sum()), flat / flat.sum(), size=draws)
    return adjusted_rand(found.reshape(draws, *table.shape))


def without_excess(resampled: NDArray[np.float64], index: float) -> NDArray[np.float64]:
    """Resampled indices with the mean of those that are finite moved onto the index they are resamples of; none above 1."""
    finite = resampled[np.isfinite(resampled)]
    return np.asarray(np.minimum(resampled - (finite.mean() - index if len(finite) else 0.0), 1.0))


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """2.5th and 97.5th percentile of those that are finite; NaN where none is."""
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, _TAILS) if len(finite) else (np.nan, np.nan)
    return float(low), float(high)


def entropies(table: NDArray[np.integer]) -> NDArray[np.float64]:
    """Shannon entropy of each cluster's composition over that of an even one: (clusters,) f8 of (groups, clusters).

    0 = one group alone, 1 = all groups alike; NaN with one group, or for an empty cluster (Shirgill et al., Fig 2).

    >>> entropies(np.array([[50, 47], [3, 50], [0, 0], [0, 0], [0, 0]])).round(4).tolist()
    [0.1352, 0.4304]
    """
    n_groups = table.shape[0]
    if n_groups < 2:
        return np.full(table.shape[1], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = table / table.sum(axis=0)
        terms = np.where(share > 0, -share * np.log(share), share)  # 0 stays 0, NaN of an empty cluster NaN
    return np.asarray(terms.sum(axis=0) / np.log(n_groups))
