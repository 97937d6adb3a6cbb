"""How large a difference has to be for a test on so many replicates to find it, as a rule.

For the sentence that must stand beside "no difference shown". The t test's power is that of the noncentral t distribution
(Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., 1988, chapter 2), taking equal spread in both conditions.
It is integrated here: scipy's noncentral t gives NaN where few replicates need a large noncentrality.
"""

import math

import numpy as np

POWER = 0.8  # found in 4 of 5 experiments
_POINTS = 4000  # of the integral over the estimated standard deviation


def detectable_sd(n_reference: int, n: int, *, alpha: float, n_pairs: int = 0) -> float:
    """Difference of means that a two-sided t test finds with probability `POWER`.

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
    from scipy.stats import chi2, norm, t

    freedom = n_pairs - 1 if n_pairs else n_reference + n - 2
    if freedom < 1 or (not n_pairs and min(n_reference, n) < 2):
        return math.nan
    per_sd = math.sqrt(n_pairs) if n_pairs else math.sqrt(n_reference * n / (n_reference + n))
    # T = (Z + noncentrality) / S with S^2 chi-squared over its degrees of freedom; S at equally likely quantiles
    limits = t.isf(alpha / 2, freedom) * np.sqrt(chi2.ppf((np.arange(_POINTS) + 0.5) / _POINTS, freedom) / freedom)

    def lacking(noncentrality: float) -> float:
        return float(POWER - np.mean(norm.sf(limits - noncentrality) + norm.cdf(-limits - noncentrality)))

    return float(brentq(lacking, 0.0, limits[-1] + 10.0) / per_sd)
