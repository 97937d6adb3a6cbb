"""Counts dropped along a line of intensity are Poisson, pixel by pixel: held against scipy's distribution and numpy's own draws."""

import numpy as np
import pytest
from scipy import stats

from smlmbatch.simulate.poisson import poisson_counts

SHAPE = np.array([0.0, 1e-3, 0.2, 1.0, 3.0, 0.0, 0.5, 7.0], dtype=np.float32)
N, EXPECTED = 40_000, 20.0


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(1)
    return poisson_counts(np.tile(SHAPE, (N, 1)), np.full(N, EXPECTED), rng).astype(np.int64)


def test_each_pixel_is_poisson_of_its_mean(drawn):
    for pixel, mean in enumerate(EXPECTED * SHAPE.astype(float) / SHAPE.sum()):
        counts = drawn[:, pixel]
        if mean == 0:
            assert counts.max() == 0
            continue
        edges = np.arange(stats.poisson.ppf(1 - 20 / N, mean) + 1)
        observed = np.array([*((counts == k).sum() for k in edges), (counts > edges[-1]).sum()])
        expected = N * np.array([*stats.poisson.pmf(edges, mean), stats.poisson.sf(edges[-1], mean)])
        large = expected > 5
        chi2 = float((((observed - expected) ** 2 / expected)[large]).sum())
        assert stats.chi2.sf(chi2, large.sum() - 1) > 1e-4, f"pixel {pixel}: {observed} against {expected}"


def test_pixels_are_independent(drawn):
    used = drawn[:, EXPECTED * SHAPE / SHAPE.sum() > 0.1]
    correlation = np.corrcoef(used.T) - np.eye(used.shape[1])
    assert np.abs(correlation).max() < 4.5 / np.sqrt(N)


def test_totals_are_poisson_and_keyed_by_the_generator(drawn):
    total = drawn.sum(axis=1)
    assert abs(total.mean() - EXPECTED) < 4 * np.sqrt(EXPECTED / N)
    assert abs(total.var() / EXPECTED - 1) < 4 * np.sqrt(2 / N)
    again = poisson_counts(np.tile(SHAPE, (N, 1)), np.full(N, EXPECTED), np.random.default_rng(1))
    assert (again == drawn).all()


def test_rows_do_not_leak_into_each_other():
    """Nothing, thousands, nothing: each row has its own share of the draws."""
    shape = np.ones((3, 4), dtype=np.float32)
    counts = poisson_counts(shape, np.array([0.0, 1e4, 0.0]), np.random.default_rng(2))
    assert counts[[0, 2]].sum() == 0
    assert abs(int(counts[1].sum()) - 10_000) < 500


def test_a_count_beyond_the_type_is_the_largest():
    counts = poisson_counts(np.ones((1, 1), dtype=np.float32), np.array([1e5]), np.random.default_rng(3))
    assert counts[0, 0] == 65_535
