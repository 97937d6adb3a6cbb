"""How large a difference has to be for a test on so many replicates to find it, as a rule.

For the sentence that must stand beside "no difference shown". The t test's power is that of the noncentral t distribution
(Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., 1988, chapter 2), taking equal spread in both conditions.
It is integrated here over the estimated standard deviations: scipy's noncentral t gives NaN where few replicates need a large
noncentrality, and Welch's test, on which the verdict rests, takes its degrees of freedom from both of them.
"""

import math

import numpy as np
from numpy.typing import NDArray

POWER = 0.8  # found in 4 of 5 experiments
_POINTS = 200  # of the integral over each estimated variance


def detectable_sd(n_reference: int, n: int, *, alpha: float, n_pairs: int = 0) -> float:
    """Difference of means that a two-sided test (Welch's t; paired t) finds with probability `POWER`.

    Parameters
    ----------
    n_reference, n : replicates of both conditions
    alpha : error rate of one test, corrected for the family
    n_pairs : pairs of replicates of a paired test; 0 = not paired

    Returns
    -------
    in standard deviations of replicates (paired: of the pairs' differences); NaN where no test is possible

    >>> round(detectable_sd(17, 17, alpha=0.05), 1)
    1.0
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if n_pairs == 1 or (not n_pairs and min(n_reference, n) < 2):
        return math.nan
    per_sd = math.sqrt(n_pairs) if n_pairs else math.sqrt(n_reference * n / (n_reference + n))
    limits = _limits_paired(n_pairs, alpha) if n_pairs else _limits_of_welch(n_reference, n, alpha)

    def lacking(noncentrality: float) -> float:
        return float(POWER - np.mean(norm.sf(limits - noncentrality) + norm.cdf(-limits - noncentrality)))

    return float(brentq(lacking, 0.0, limits.max() + 10.0) / per_sd)


def _limits_paired(n_pairs: int, alpha: float) -> NDArray[np.float64]:
    """Differences, in their true standard errors, beyond which the test is significant: at equally likely estimates of the variance."""
    from scipy.special import stdtrit

    limits: NDArray[np.float64] = stdtrit(n_pairs - 1, 1 - alpha / 2) * np.sqrt(_variances(n_pairs))
    return limits


def _limits_of_welch(n_reference: int, n: int, alpha: float) -> NDArray[np.float64]:
    """The same for all pairs of two estimates, with the degrees of freedom that each pair gives (Welch 1947)."""
    from scipy.special import stdtrit

    a, b = _variances(n_reference)[:, None] / n_reference, _variances(n)[None] / n
    freedom = (a + b) ** 2 / (a**2 / (n_reference - 1) + b**2 / (n - 1))
    limits: NDArray[np.float64] = stdtrit(freedom, 1 - alpha / 2) * np.sqrt((a + b) / (1 / n_reference + 1 / n))
    return limits.ravel()


def _variances(n: int) -> NDArray[np.float64]:
    """Equally likely estimates of a variance of 1 from n values."""
    from scipy.stats import chi2

    quantiles: NDArray[np.float64] = chi2.ppf((np.arange(_POINTS) + 0.5) / _POINTS, n - 1) / (n - 1)
    return quantiles
