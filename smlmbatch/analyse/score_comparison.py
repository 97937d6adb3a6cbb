"""Whether one clustering is better than another, figure by figure, on the same fields: the field is the unit, tests are paired.

Fields where either clustering has no value are left out of that figure and counted. Two tests stand beside each other, the paired t and
Wilcoxon's signed ranks (two-sided); effects are the mean difference with its 95 % bootstrap interval over fields, and Hedges' g for pairs.
p are of single tests: nine figures that say much the same are no nine findings, nor is the best of nine one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.effects import difference, hedges_g
from smlmbatch.analyse.hypotheses import p_of_means, p_of_ranks
from smlmbatch.score.figures import FIGURES, LOWER_IS_BETTER, Scores

_BOOTSTRAP = 10_000
_COMPARING = 83  # what the draw is for: first number of its key

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """One figure over fields: how many have it, their mean and standard deviation (NaN below two)."""

    figure: str
    n: int
    mean: float
    sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreComparison:
    """One figure of two clusterings of the same fields.

    Attributes
    ----------
    n, n_better : fields with a value of both; of those, where the first is better than the other
    mean, mean_other, difference : means over those fields, and first minus other with its 95 % interval (`low`, `high`)
    g, g_low, g_high : Hedges' g of the difference, above 0 where the first is larger, not where it is better
    p_t, p_ranks : two-sided, paired
    better : "first", "other", or "" where means are equal
    """

    figure: str
    n: int
    n_better: int
    mean: float
    mean_other: float
    difference: float
    low: float
    high: float
    g: float
    g_low: float
    g_high: float
    p_t: float
    p_ranks: float
    better: str


def averages(fields: Sequence[Scores]) -> list[Average]:
    """Every figure over the fields that have it."""
    return [_average(figure, _values(fields, figure)) for figure in FIGURES]


def _average(figure: str, values: Values) -> Average:
    own = values[np.isfinite(values)]
    mean = float(own.mean()) if len(own) else np.nan
    return Average(figure=figure, n=len(own), mean=mean, sd=float(own.std(ddof=1)) if len(own) > 1 else np.nan)


def compare_scores(fields: Mapping[str, Scores], others: Mapping[str, Scores]) -> list[ScoreComparison]:
    """Every figure of two clusterings; both mappings have the same keys, the fields."""
    names = sorted(fields)
    first, other = [fields[name] for name in names], [others[name] for name in names]
    return [_compare(figure, _values(first, figure), _values(other, figure)) for figure in FIGURES]


def _values(fields: Sequence[Scores], figure: str) -> Values:
    return np.array([getattr(scores, figure) for scores in fields], dtype=np.float64)


def _compare(figure: str, first: Values, other: Values) -> ScoreComparison:
    both = np.isfinite(first) & np.isfinite(other)
    first, other = first[both], other[both]
    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(_COMPARING, FIGURES.index(figure))))
    apart = difference(other, first, paired=True, draws=_BOOTSTRAP, rng=rng)
    g = hedges_g(other, first, paired=True)
    gain = (other - first if figure in LOWER_IS_BETTER else first - other) if len(first) else np.zeros(0)
    sign = float(np.sign(gain.mean())) if len(gain) else 0.0
    return ScoreComparison(
        figure=figure,
        n=len(first),
        n_better=int(np.count_nonzero(gain > 0)),
        mean=float(first.mean()) if len(first) else np.nan,
        mean_other=float(other.mean()) if len(other) else np.nan,
        difference=apart.value,
        low=apart.low,
        high=apart.high,
        g=g.value,
        g_low=g.low,
        g_high=g.high,
        p_t=p_of_means(other, first, paired=True),
        p_ranks=p_of_ranks(other, first, paired=True).p,
        better={1.0: "first", -1.0: "other"}.get(sign, ""),
    )
