"""How often verdicts are wrong, and how often right: campaigns drawn at the level of ROI values.

A replicate has an effect of its own, and ROIs scatter about it: that is why ROIs are not independent. The same through the whole
pipeline, from simulated localisations, is measured by benchmarks/inference.py.
"""

import numpy as np
import pytest
from scipy import stats

from smlmbatch.analyse.statistics import compare
from smlmbatch.config import CompareConfig
from tests.analyse.drawn import campaign, nested

DESCRIPTORS = ("noise_fraction", "nn_mean_nm", "nn_median_nm", "ripley_max_nm")
CAMPAIGNS, ROIS = 400, 8
CONFIG = CompareConfig(draws=200)
MEAN = 50.0  # of every descriptor; replicates vary by 1


def draw(rng, replicates, *, skewed):
    return MEAN + (rng.gamma(1.0, 1.0, replicates) - 1 if skewed else rng.standard_normal(replicates))


def drawn_families(replicates, *, shift=0.0, skewed=False, n=CAMPAIGNS):
    """Comparisons of each campaign: conditions differ by `shift` in the first descriptor, in none where it is 0."""
    for number in range(n):
        rng = np.random.default_rng(np.random.SeedSequence(11, spawn_key=(number, replicates, int(skewed), int(shift))))
        values = {
            condition: {
                name: nested(rng, draw(rng, replicates, skewed=skewed) + moved * (i == 0), rois=ROIS, noise=1.0)
                for i, name in enumerate(DESCRIPTORS)
            }
            for condition, moved in (("a", 0.0), ("b", shift))
        }
        yield [c for c in compare(*campaign(values), config=CONFIG, min_locs=50) if c.descriptor in DESCRIPTORS]


@pytest.mark.parametrize(
    ("replicates", "skewed"),
    [(3, False), (3, True), pytest.param(5, False, marks=pytest.mark.slow), pytest.param(5, True, marks=pytest.mark.slow)],
)
def test_nothing_is_found_where_nothing_is(replicates, skewed):
    """Family-wise error at most 5 % (and 3 binomial standard errors); ROIs taken for independent find something in half of them."""
    families = list(drawn_families(replicates, skewed=skewed))
    false = np.mean([any(c.verdict == "differs" for c in family) for family in families])
    false_roi = np.mean([any(c.p_roi_family < 0.05 for c in family) for family in families])
    assert {c.n_family for family in families for c in family} == {len(DESCRIPTORS)}
    assert false <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / CAMPAIGNS)
    assert false_roi > 0.4
    held = np.mean([c.difference_low <= 0 <= c.difference_high for family in families for c in family])
    assert held >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / (CAMPAIGNS * len(DESCRIPTORS)))


def test_a_planted_difference_is_found_as_often_as_theory_says():
    """Against Welch's t computed by its formula on means drawn without ROIs or tables."""
    replicates, shift = 5, 4.0
    families = list(drawn_families(replicates, shift=shift, n=200))
    found = np.mean([family[0].verdict == "differs" for family in families])
    rng = np.random.default_rng(12)
    spread = np.sqrt(1 + 1 / ROIS)  # of a replicate's mean
    a, b = rng.normal(0, spread, (40_000, replicates)), rng.normal(shift, spread, (40_000, replicates))
    u, v = a.var(axis=1, ddof=1) / replicates, b.var(axis=1, ddof=1) / replicates
    freedom = (u + v) ** 2 / ((u**2 + v**2) / (replicates - 1))
    p = 2 * stats.t.sf(np.abs(b.mean(axis=1) - a.mean(axis=1)) / np.sqrt(u + v), freedom)
    power = (p < 0.05 / len(DESCRIPTORS)).mean()
    assert 0.5 < power < 0.99
    assert found == pytest.approx(power, abs=3.5 * np.sqrt(power * (1 - power) / 200))
    # the pooled t's power, in closed form, is an upper bound
    t = stats.t.ppf(1 - 0.05 / len(DESCRIPTORS) / 2, 2 * replicates - 2)
    assert power < stats.nct.sf(t, 2 * replicates - 2, shift / (spread * np.sqrt(2 / replicates))) + 0.01
    held = np.mean([family[0].difference_low <= shift <= family[0].difference_high for family in families])
    assert held >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 200)
    ratios = np.mean([family[0].ratio_low <= (MEAN + shift) / MEAN <= family[0].ratio_high for family in families])
    assert ratios >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 200)


def test_three_replicates_find_less_than_five():
    found = {n: np.mean([f[0].verdict == "differs" for f in drawn_families(n, shift=4.0, n=60)]) for n in (3, 5)}
    assert found[3] < found[5] - 0.15
