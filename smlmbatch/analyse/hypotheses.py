"""Tests of two groups: on replicates (the verdict's), on their ranks, and on ROIs as if each were independent.

All are scipy's; what is decided here is when a test is possible at all. A test that is not gives NaN, never a warning.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.effects import constant

_MOST_EXACT = 25  # values a group: beyond, the normal approximation is as good as exact, and faster

Values = NDArray[np.float64]


class RankTest(NamedTuple):
    """p of a rank test and the smallest p it can give with so many values."""

    p: float
    smallest: float


def p_of_means(reference: Values, other: Values, *, paired: bool) -> float:
    """Two-sided p of Welch's t test; of the paired t test where row by row partners. NaN below 2 values a group, or where none varies."""
    from scipy import stats

    if min(len(reference), len(other)) < 2:
        return np.nan
    if paired:
        varies = not constant(other - reference) and not _equal(reference, other)
        return float(stats.ttest_rel(other, reference).pvalue) if varies else np.nan
    if constant(reference) and constant(other):
        return np.nan
    moments = [moment for values in (other, reference) for moment in (values.mean(), values.std(ddof=1), len(values))]
    return float(stats.ttest_ind_from_stats(*moments, equal_var=False).pvalue)


def _equal(reference: Values, other: Values) -> bool:
    """Whether partners are equal but for rounding, so that their differences are noise of the last digit."""
    return bool(np.allclose(reference, other, rtol=1e-12, atol=0.0))


def p_of_ranks(reference: Values, other: Values, *, paired: bool) -> RankTest:
    """Two-sided Mann-Whitney, or Wilcoxon's signed rank where paired; exact where no values tie.

    NaN below 2 values a group, or where none differ. With ties the normal approximation can fall below the smallest p that is
    possible; that is then given.
    """
    if min(len(reference), len(other)) < 2:
        return RankTest(np.nan, np.nan)
    if paired and _equal(reference, other):
        return RankTest(np.nan, np.nan)
    smallest = 2.0 ** (1 - len(reference)) if paired else 2.0 / math.comb(len(reference) + len(other), len(reference))
    p = _signed_rank(other - reference) if paired else _mann_whitney(reference, other)
    return RankTest(max(p, min(1.0, smallest)), min(1.0, smallest))


def _signed_rank(differences: Values) -> float:
    from scipy import stats

    size = np.abs(differences)
    exact = size.all() and len(np.unique(size)) == len(size) <= _MOST_EXACT
    return float(stats.wilcoxon(differences, method="exact" if exact else "asymptotic").pvalue)


def _mann_whitney(reference: Values, other: Values) -> float:
    from scipy import stats

    together = np.concatenate([reference, other])
    if constant(together):
        return np.nan
    exact = len(np.unique(together)) == len(together) and max(len(reference), len(other)) <= _MOST_EXACT
    return float(stats.mannwhitneyu(other, reference, method="exact" if exact else "asymptotic").pvalue)


def p_of_rois(reference: Values, other: Values) -> float:
    """Two-sided Mann-Whitney on ROIs: pseudo-replicated, as those of a replicate are alike; NaN below 2 values a group."""
    return _mann_whitney(reference, other) if min(len(reference), len(other)) >= 2 else np.nan
