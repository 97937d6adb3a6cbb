"""Nearest locs of other frames against every pair looked at."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smlmbatch.blinks.pairs import sort_by_frame


def brute_force(x, y, frame, lag, reach_nm):
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    allowed = (frame[:, None] + lag == frame) & ~np.eye(len(x), dtype=bool) & (distance <= reach_nm)
    return np.where(allowed, distance, np.inf).min(axis=1, initial=np.inf)


@settings(deadline=None)  # the first example compiles
@given(
    xy_nm=arrays(np.float64, (40, 2), elements=st.integers(-300, 300).map(float)),
    frame=arrays(np.int32, 40, elements=st.integers(0, 6)),
    lag=st.sampled_from([-2, -1, 0, 1, 3]),
    reach_nm=st.sampled_from([1.0, 60.0, 1000.0]),
)
def test_every_nearest_loc_is_found(xy_nm, frame, lag, reach_nm):
    x, y = xy_nm.T
    locs = sort_by_frame(x, y, frame)
    wanted = brute_force(x, y, frame, lag, reach_nm)
    np.testing.assert_allclose(locs.nearest_nm(lag, reach_nm=reach_nm), wanted[locs.order], rtol=1e-6)


def test_the_order_given_does_not_matter():
    rng = np.random.default_rng(0)
    x, y, frame = rng.uniform(0, 5000, 3000), rng.uniform(0, 5000, 3000), rng.integers(0, 50, 3000)
    shuffled = rng.permutation(3000)
    one, other = sort_by_frame(x, y, frame), sort_by_frame(x[shuffled], y[shuffled], frame[shuffled])
    assert one.nearest_nm(1, reach_nm=200).tobytes() == other.nearest_nm(1, reach_nm=200).tobytes()


def test_far_from_the_origin_nanometres_survive():
    """Positions absolute in a stage's frame, centimetres from 0."""
    x = np.array([2.0e7, 2.0e7 + 3])
    assert sort_by_frame(x, np.array([1.0e7, 1.0e7 + 4]), np.array([0, 1])).nearest_nm(1, reach_nm=50)[0] == pytest.approx(5.0)


def test_a_runaway_loc_makes_nothing_coarse():
    """10 m away, float32 would leave the others steps of 1 um."""
    rng = np.random.default_rng(3)
    x, y, frame = rng.uniform(0, 5000, 800), rng.uniform(0, 5000, 800), rng.integers(0, 20, 800)
    x[0], y[1] = -1e10, 1e10
    locs = sort_by_frame(x, y, frame)
    assert (np.lexsort((x, frame)) == locs.order).all()
    np.testing.assert_allclose(locs.nearest_nm(1, reach_nm=200), brute_force(x, y, frame, 1, 200)[locs.order], rtol=1e-6)


def test_no_loc():
    empty = np.empty(0)
    assert len(sort_by_frame(empty, empty, np.empty(0, np.int32)).nearest_nm(1, reach_nm=10)) == 0
