"""Pairing against the whole table's assignment, and errors against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from smlmbatch.score.matching import (
    Boxes,
    boxes_of,
    error_of_centroids_nm,
    jaccard,
    pair_clusters,
    relative_error_of_sizes,
    root_mean_distance,
)

FORBIDDEN = 1e6


def boxes(rng, n, *, field_nm):
    return Boxes(rng.integers(1, 50, n), rng.uniform(0, field_nm, (n, 2)), rng.uniform(0, 120, (n, 2)))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.tuples(st.integers(1, 25), st.integers(1, 25)), field_nm=st.sampled_from([100, 400, 1500]))
def test_pairs_are_those_of_one_assignment_of_all_clusters(seed, n, field_nm):
    """The published way: one table of costs, pairs out of reach made dear, the Hungarian method on the whole."""
    rng = np.random.default_rng(seed)
    true, found = boxes(rng, n[0], field_nm=field_nm), boxes(rng, n[1], field_nm=field_nm)
    apart = cdist(true.centroid_nm, found.centroid_nm)
    allowed = apart <= true.side_nm.mean(axis=1, keepdims=True) / 2
    cost = np.where(allowed, 0.9 * apart + 0.1 * cdist(true.side_nm, found.side_nm, "cityblock"), FORBIDDEN)
    i, j = linear_sum_assignment(cost)
    i, j = i[allowed[i, j]], j[allowed[i, j]]
    pairs = pair_clusters(true, found)
    np.testing.assert_array_equal(pairs.true, i)
    np.testing.assert_array_equal(pairs.found, j)
    np.testing.assert_allclose(pairs.distance_nm, apart[i, j])


def test_most_pairs_come_before_cheapest_ones():
    """Taking the nearest pair (true 1, found 0) would leave true 0 without any; two dear pairs are more than one cheap one."""
    true = Boxes(np.array([9, 9]), np.array([[0.0, 0], [30, 0]]), np.full((2, 2), 80.0))
    found = Boxes(np.array([9, 9]), np.array([[31.0, 0], [69, 0]]), np.full((2, 2), 80.0))
    pairs = pair_clusters(true, found)
    assert pairs.true.tolist() == pairs.found.tolist() == [0, 1]


def test_reach_is_half_the_mean_side_of_the_true_cluster():
    true = Boxes(np.array([9]), np.zeros((1, 2)), np.array([[100.0, 60]]))
    for x_nm, n_pairs in ((39.9, 1), (40.0, 1), (40.1, 0)):
        found = Boxes(np.array([9]), np.array([[x_nm, 0]]), np.full((1, 2), 1000.0))
        assert len(pair_clusters(true, found).true) == n_pairs
        assert len(pair_clusters(found, true).true) == 1  # a large true cluster reaches further


def test_a_true_cluster_in_one_place_pairs_with_what_lies_there():
    place = Boxes(np.array([3]), np.array([[5.0, 5]]), np.zeros((1, 2)))
    assert len(pair_clusters(place, place).true) == 1
    assert len(pair_clusters(place, Boxes(np.array([3]), np.array([[5.0, 5.1]]), np.zeros((1, 2)))).true) == 0


def test_errors_of_known_pairs():
    true = Boxes(np.array([10, 20]), np.array([[0.0, 0], [1000, 0]]), np.full((2, 2), 100.0))
    found = Boxes(np.array([12, 10]), np.array([[3.0, 4], [1000, 12]]), np.full((2, 2), 100.0))
    pairs = pair_clusters(true, found)
    assert relative_error_of_sizes(true, found, pairs) == pytest.approx(np.sqrt((0.2**2 + 0.5**2) / 2))
    assert error_of_centroids_nm(pairs) == pytest.approx(np.sqrt((5**2 + 12**2) / 2))
    assert root_mean_distance(pairs) == pytest.approx(np.sqrt((5 + 12) / 2))


def test_without_pairs_nothing_is_defined():
    none = Boxes(np.empty(0, np.int64), np.empty((0, 2)), np.empty((0, 2)))
    some = Boxes(np.array([9]), np.zeros((1, 2)), np.full((1, 2), 50.0))
    for true, found, index in ((none, some, 0.0), (some, none, 0.0), (none, none, np.nan)):
        pairs = pair_clusters(true, found)
        assert np.isnan([relative_error_of_sizes(true, found, pairs), error_of_centroids_nm(pairs), root_mean_distance(pairs)]).all()
        np.testing.assert_equal(jaccard(len(true.n_locs), len(found.n_locs), 0), index)


def test_boxes_of_interleaved_clusters():
    rng = np.random.default_rng(1)
    codes = rng.permutation(np.repeat(np.arange(4), [1, 2, 30, 200]))
    xy_nm = 1e7 + rng.uniform(0, 500, (len(codes), 2))
    found = boxes_of(xy_nm, codes)
    for code in range(4):
        own = xy_nm[codes == code]
        assert found.n_locs[code] == len(own)
        np.testing.assert_allclose(found.centroid_nm[code] - 1e7, (own - 1e7).mean(axis=0), atol=1e-6)
        np.testing.assert_array_equal(found.side_nm[code], np.ptp(own, axis=0))
