import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from smlmbatch.analyse.hypotheses import p_of_means, p_of_ranks, p_of_rois

VALUES = st.lists(st.integers(-1000, 1000), min_size=2, max_size=5, unique=True)


def welch(a, b):
    """From the formula alone."""
    u, v = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    freedom = (u + v) ** 2 / (u**2 / (len(a) - 1) + v**2 / (len(b) - 1))
    return 2 * stats.t.sf(abs(b.mean() - a.mean()) / np.sqrt(u + v), freedom)


@given(VALUES, VALUES)
def test_means_are_compared_by_welchs_t(a, b):
    a, b = np.array(a, float), np.array(b, float)
    assert p_of_means(a, b, paired=False) == pytest.approx(welch(a, b), rel=1e-9)


def test_partners_are_compared_by_their_differences():
    a, b = np.array([1.0, 5.0, 9.0, 12.0]), np.array([2.0, 6.5, 10.0, 14.0])
    d = b - a
    expected = 2 * stats.t.sf(d.mean() / (d.std(ddof=1) / 2), 3)
    assert p_of_means(a, b, paired=True) == pytest.approx(expected)
    assert p_of_means(a, b, paired=False) > 10 * expected


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=4, max_size=8, unique=True), st.integers(2, 6))
def test_rank_test_is_the_share_of_orders(values, n):
    """By brute force: every way to deal the values to two groups."""
    n = min(n, len(values) - 2)
    together = np.array(values, float)

    def u(chosen):
        a, b = together[list(chosen)], np.delete(together, list(chosen))
        return (b[:, None] > a).sum()

    middle = n * (len(values) - n) / 2
    all_u = np.array([abs(u(chosen) - middle) for chosen in itertools.combinations(range(len(values)), n)])
    found = p_of_ranks(together[:n], together[n:], paired=False)
    assert found.p == pytest.approx((all_u >= abs(u(range(n)) - middle)).mean())
    assert found.smallest == pytest.approx((all_u == all_u.max()).mean())


@settings(deadline=None)
@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=7, unique=True), st.integers(0, 127))
def test_signed_rank_test_is_the_share_of_signs(sizes, signs):
    ranks = stats.rankdata(sizes)
    sign = np.array([1.0 if signs >> i & 1 else -1.0 for i in range(len(sizes))])
    every = np.array([abs(ranks @ s) for s in itertools.product((-1.0, 1.0), repeat=len(sizes))])
    found = p_of_ranks(np.zeros(len(sizes)), sign * sizes, paired=True)
    assert found.p == pytest.approx((every >= abs(ranks @ sign)).mean())
    assert found.smallest == pytest.approx((every == every.max()).mean())


def test_ties_never_fall_below_what_is_possible():
    a, b = np.array([1.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0])
    assert p_of_ranks(a, b, paired=False) == (0.1, 0.1)
    assert p_of_ranks(a, b, paired=True) == (0.25, 0.25)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0], [0.0, 0.0, 0.0], [0.3, 0.1 + 0.2, 0.3]])
def test_no_test_of_nothing(values, paired):
    a = np.array(values)
    assert np.isnan(p_of_means(a, a, paired=paired))
    assert np.isnan(p_of_ranks(a, a, paired=paired).p)
    assert np.isnan(p_of_rois(a[:2], a[:2]))


def test_a_constant_group_against_one_that_varies_is_a_test():
    assert 0 < p_of_means(np.ones(3), np.array([2.0, 2.1, 2.3]), paired=False) < 0.01


def test_rois_by_the_normal_approximation_where_they_are_many():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, 300), rng.normal(0.2, 1, 200)
    u = (b[:, None] > a).sum()
    z = (u - 30_000) / np.sqrt(300 * 200 * 501 / 12)
    assert p_of_rois(a, b) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=0.01)
