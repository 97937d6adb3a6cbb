"""Streamed histograms and their quantiles against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smlmbatch.quality.counts import Histogram, quantiles


@settings(deadline=None)  # the first example compiles
@given(values=arrays(np.float32, 60, elements=st.floats(-5, 30, width=32)), cut=st.integers(0, 60))
def test_pieces_add_up_to_numpys_histogram(values, cut):
    channel = np.arange(60) % 2
    found = Histogram(0.0, 2.0, 10, 2)
    found.add(values[:cut], channel[:cut])
    found.add(values[cut:], channel[cut:])
    clipped = np.clip(values.astype(np.float64), 0, 19.999)  # the end bins hold all beyond
    for c in (0, 1):
        assert found.counts[:, c].tolist() == np.histogram(clipped[channel == c], found.bounds)[0].tolist()


def test_logarithm_nan_and_what_is_not_positive():
    found = Histogram(0.0, 0.5, 6, 1, decades=True)
    found.add(np.array([np.nan, -1.0, 0.0, 1.0, 4.0, 10.0, 999.0, 1e9]), np.zeros(8, np.intp))
    assert found.bounds == pytest.approx(10 ** np.arange(0, 3.01, 0.5))
    assert found.counts[:, 0].tolist() == [3, 1, 1, 0, 0, 2]


@pytest.mark.parametrize("decades", [False, True])
def test_quantiles_are_good_to_a_bin(decades):
    rng = np.random.default_rng(1)
    values = rng.gamma(9, 1.2, 20_001)
    bins = Histogram(-2.0, 1 / 2000, 10_000, 1, decades=True) if decades else Histogram(0.0, 0.05, 1000, 1)
    bins.add(values, np.zeros(len(values), np.intp))
    for share in (0.1, 0.5, 0.9):
        assert quantiles(bins.counts.T, bins, share)[0] == pytest.approx(np.quantile(values, share), rel=0.003)
    assert bins.medians()[0] == quantiles(bins.counts.T, bins, 0.5)[0]


def test_no_value_has_no_median():
    assert np.isnan(Histogram(0.0, 1.0, 4, 2).medians()).all()
