"""Sizes of effects: closed forms, and how often intervals hold the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gamma

from smlmbatch.analyse.effects import constant, difference, hedges_g, ratio

A = np.array([1.0, 2.0, 4.0])
B = np.array([5.0, 6.5, 9.5, 7.0])
CAMPAIGNS = 400
DRAWS = 400


def generator(*key):
    return np.random.default_rng(np.random.SeedSequence(5, spawn_key=key))


def of(function, a, b, *, paired=False, draws=DRAWS, key=0):
    return function(a, b, paired=paired, draws=draws, rng=generator(key))


def test_estimates_are_those_of_the_means():
    assert of(difference, A, B).value == pytest.approx(7.0 - 7 / 3)
    assert of(ratio, A, B).value == pytest.approx(3.0)
    pooled = np.sqrt((2 * A.var(ddof=1) + 3 * B.var(ddof=1)) / 5)
    correction = gamma(2.5) / (gamma(2.0) * np.sqrt(2.5))
    assert hedges_g(A, B, paired=False).value == pytest.approx(correction * (7.0 - 7 / 3) / pooled)


def test_interval_of_many_replicates_is_that_of_t():
    rng = generator(1)
    a, b = rng.normal(3, 1, 400), rng.normal(4, 2, 300)
    found = of(difference, a, b, draws=20_000)
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.02)
    found = of(difference, a[:300], b, paired=True, draws=20_000)
    assert (found.low, found.high) == pytest.approx(tuple(stats.ttest_rel(b, a[:300]).confidence_interval(0.95)), abs=0.02)


def test_same_seed_same_interval():
    assert of(difference, A, B, key=3) == of(difference, A, B, key=3) != of(difference, A, B, key=4)


@pytest.mark.parametrize("function", [difference, ratio])
@pytest.mark.parametrize("paired", [False, True])
def test_constant_or_single_values_have_no_interval(function, paired):
    for a, b in ((A[:1], B[:1]), (np.full(3, 0.1 + 0.2), np.full(3, 0.3)), (A[:0], B[:0])):
        found = of(function, a, b, paired=paired)
        assert np.isnan([found.low, found.high]).all()
    assert np.isnan(hedges_g(A[:1], B[:1], paired=paired).value)
    assert np.isnan(hedges_g(np.ones(3), np.ones(3), paired=paired).value)


def test_no_ratio_to_nothing():
    assert np.isnan(of(ratio, np.zeros(3), B).value)
    assert np.isnan(of(ratio, -A, B).value)
    touched = of(ratio, A, np.array([0.0, 1.0, 2.0]))
    assert touched.value == pytest.approx(3 / 7)
    assert np.isnan([touched.low, touched.high]).all()


@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=8), st.floats(0.1, 1e6))
def test_intervals_follow_the_unit(values, factor):
    a, b = np.array(values), np.array(values)[::-1] * 1.7 + 0.3
    if constant(a):
        return
    one, other = of(difference, a, b), of(difference, a * factor, b * factor)
    np.testing.assert_allclose([other.low, other.high], [one.low * factor, one.high * factor], rtol=1e-6, atol=1e-6 * factor)
    one, other = of(ratio, a, b), of(ratio, a * factor, b * factor)
    np.testing.assert_allclose([other.value, other.low, other.high], [one.value, one.low, one.high], rtol=1e-6)
    assert one.low <= one.value <= one.high


def replicates(design, number):
    """Two groups of normal or skewed replicates, means 10 and 12; partners share half their variance where paired."""
    n, m, sd, skewed, paired = design
    rng = generator(n, m, number, int(sd), int(skewed), int(paired))
    if paired:
        both = rng.multivariate_normal([10, 12], [[1, 0.5], [0.5, 1]], n)
        return both[:, 0], both[:, 1]
    if skewed:  # gamma of shape 4: skewness 1
        return 10 + (rng.gamma(4, 0.5, n) - 2), 12 + sd * (rng.gamma(4, 0.5, m) - 2)
    return rng.normal(10, 1, n), rng.normal(12, sd, m)


@pytest.mark.parametrize(
    "design",
    [
        pytest.param((3, 3, 1, False, False), id="3v3"),
        pytest.param((3, 3, 3, False, False), id="3v3-unequal"),
        pytest.param((5, 5, 1, False, False), id="5v5"),
        pytest.param((3, 6, 1, False, False), id="3v6"),
        pytest.param((3, 3, 1, True, False), id="3v3-skewed"),
        pytest.param((5, 5, 1, True, False), id="5v5-skewed"),
        pytest.param((3, 3, 1, False, True), id="3-pairs"),
        pytest.param((6, 6, 1, False, True), id="6-pairs"),
    ],
)
def test_intervals_hold_the_truth(design):
    """95 % within four standard errors of that share; g's only where its assumption of equal spread holds."""
    *_, sd, skewed, paired = design
    held = {"difference": 0, "ratio": 0, "g": 0}
    for number in range(CAMPAIGNS):
        a, b = replicates(design, number)
        held["difference"] += (d := of(difference, a, b, paired=paired, key=number)).low <= 2 <= d.high
        held["ratio"] += (r := of(ratio, a, b, paired=paired, key=number)).low <= 1.2 <= r.high
        held["g"] += (g := hedges_g(a, b, paired=paired)).low <= 2 <= g.high
    margin = 4 * np.sqrt(0.95 * 0.05 / CAMPAIGNS)
    assert held["difference"] / CAMPAIGNS >= 0.95 - margin
    assert held["ratio"] / CAMPAIGNS >= 0.95 - margin
    if sd == 1 and not skewed and not paired:
        assert held["g"] / CAMPAIGNS == pytest.approx(0.95, abs=margin)


@pytest.mark.parametrize(("tail", "most"), [(0.025, 0.86), (7e-8, 0.93)])
def test_plain_percentiles_would_not(tail, most):
    """Why intervals are stretched: with 3 against 3 the bootstrap's own percentiles hold the truth in 80 %; the quantiles that
    Hesterberg's correction asks for are the ends of all resamples, and these hold it in 90 % (all but complete separation)."""
    held = 0
    for number in range(CAMPAIGNS):
        a, b = replicates((3, 3, 1, False, False), number)
        rows = generator(number).integers(0, 3, (2, DRAWS, 3))
        low, high = np.quantile(b[rows[1]].mean(axis=1) - a[rows[0]].mean(axis=1), [tail, 1 - tail])
        held += low <= 2 <= high
    assert held / CAMPAIGNS < most


def test_g_is_unbiased():
    found = [hedges_g(*replicates((3, 3, 1, False, False), number), paired=False).value for number in range(4000)]
    # its standard deviation at 4 degrees of freedom is about 2, so the mean's error about 0.03
    assert np.mean(found) == pytest.approx(2.0, abs=0.12)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("spread", [1e-4, 1e-7])  # t of 4e4, where scipy's inverse is wrong, and of 4e7, where it never returns
@pytest.mark.parametrize("sign", [-1, 1])
def test_g_of_groups_that_hardly_vary(spread, sign, paired):
    a = 10 + spread * np.array([0.0, 1.0, -1.0])
    b = a[::-1] + 3 * sign if paired else a + 3 * sign
    found, d = hedges_g(a, b, paired=paired), (b.mean() - a.mean()) / a.std(ddof=1)
    freedom = 2 if paired else 4
    expected = sorted(d * np.sqrt(stats.chi2.ppf([0.025, 0.975], freedom) / freedom))
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-5)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("sign", [-1, 1])
def test_both_ways_to_the_interval_of_g_meet(sign):
    a = np.array([0.0, 1.0, -1.0])
    ends = [hedges_g(a, a + sign * shift * np.sqrt(2 / 3), paired=False) for shift in (999.9, 1000.1)]  # t is the shift
    assert (ends[0].low, ends[0].high) == pytest.approx((ends[1].low, ends[1].high), rel=1e-3)
