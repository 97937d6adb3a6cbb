import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from smlmbatch.report.detectable import POWER, detectable_sd


@pytest.mark.parametrize(("n", "published"), [(17, 0.99), (26, 0.79), (64, 0.50)])
def test_large_samples_are_as_in_the_tables(n, published):
    """Cohen's tables: 64 a group find d = 0.5, 26 find 0.8, 17 find 1.0, in 80 % at p < 0.05 (his n are rounded up)."""
    assert detectable_sd(n, n, alpha=0.05) == pytest.approx(published, abs=0.012)


@pytest.mark.parametrize(("n_reference", "n", "n_pairs"), [(3, 3, 0), (5, 5, 0), (3, 6, 0), (0, 0, 5)])
def test_simulated_experiments_find_it_four_times_in_five(n_reference, n, n_pairs):
    alpha = 0.05 / 11
    size = detectable_sd(n_reference, n, alpha=alpha, n_pairs=n_pairs)
    rng = np.random.default_rng(4)
    if n_pairs:
        p = ttest_1samp(rng.normal(size, 1, (n_pairs, 20_000)), 0.0).pvalue
    else:
        p = ttest_ind(rng.normal(size, 1, (n, 20_000)), rng.normal(0, 1, (n_reference, 20_000)), equal_var=False).pvalue
    assert np.mean(p < alpha) == pytest.approx(POWER, abs=4 * math.sqrt(0.16 / 20_000))


@pytest.mark.parametrize(("n_reference", "n", "n_pairs"), [(1, 5, 0), (0, 0, 0), (0, 0, 1)])
def test_no_test_finds_nothing(n_reference, n, n_pairs):
    assert math.isnan(detectable_sd(n_reference, n, alpha=0.05, n_pairs=n_pairs))


def test_few_replicates_and_many_tests_are_no_trouble():
    assert 20 < detectable_sd(2, 2, alpha=0.05 / 726) < 10_000
