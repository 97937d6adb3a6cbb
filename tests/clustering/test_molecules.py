"""Geometric fits against closed forms, by enumeration and by drawn samples."""

import math

import numpy as np
import pytest

from smlmbatch.clustering.molecules import copy_numbers, fit_geometric


def test_a_sample_in_the_proportions_of_the_distribution_fits_exactly() -> None:
    """P(n) = 1 / 2^n for n = 1 ... 11, the rest of the probability beyond: the distance is what is missing beyond."""
    n_locs = np.repeat(np.arange(1, 12), [2 ** (11 - n) for n in range(1, 12)])
    fit = fit_geometric(n_locs)
    assert fit.mean == pytest.approx(2.0, abs=0.01)
    assert fit.distance < 0.003


@pytest.mark.parametrize("least", [1, 5, 40])
def test_the_mean_is_that_of_the_whole_distribution_whatever_is_not_seen(least) -> None:
    """20,000 draws of mean 12, those below `least` removed: the estimate's error is mean / sqrt(n)."""
    drawn = np.random.default_rng(3).geometric(1 / 12, 200_000)
    seen = drawn[drawn >= least]
    fit = fit_geometric(seen)
    assert (fit.n_clusters, fit.least) == (len(seen), least)
    assert fit.mean == pytest.approx(12.0, abs=4 * 12 / math.sqrt(len(seen)))
    assert fit.distance < 1.7 / math.sqrt(len(seen)), "Kolmogorov's distribution stays below this in 99 of 100"


def test_the_estimate_has_the_largest_likelihood() -> None:
    n_locs = np.array([3, 4, 4, 9, 20])
    best = fit_geometric(n_locs).mean

    def log_likelihood(mean: float) -> float:
        return float(np.sum((n_locs - 3) * math.log(1 - 1 / mean) + math.log(1 / mean)))

    assert all(log_likelihood(best) > log_likelihood(best * factor) for factor in (0.99, 1.01))


def test_the_distance_against_every_whole_number() -> None:
    n_locs = np.array([2, 2, 3, 7, 7, 7, 30])
    fit = fit_geometric(n_locs)
    numbers = np.arange(1, 200)
    found = (n_locs[:, None] <= numbers).mean(axis=0)
    expected = np.where(numbers < 2, 0.0, 1 - (1 - 1 / fit.mean) ** (numbers - 1.0))
    assert fit.distance == pytest.approx(np.abs(found - expected).max(), abs=1e-12)


def test_clusters_of_one_size_and_none() -> None:
    fit = fit_geometric(np.array([8, 8, 8]))
    assert (fit.mean, fit.distance) == (1.0, 0.0)
    assert fit_geometric(np.empty(0, np.int64)) is None
    far = fit_geometric(np.full(1000, 8) + np.arange(1000) % 2 * 1000)
    assert far.distance > 0.3, "two sizes are no geometric distribution"


def test_copy_numbers() -> None:
    assert copy_numbers(np.array([10, 25]), locs_per_molecule=5.0).tolist() == [2.0, 5.0]
    assert np.isnan(copy_numbers(np.array([10, 25]), locs_per_molecule=0.0)).all()
