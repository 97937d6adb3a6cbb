"""Corners of hulls against scipy's, and clusters that have none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from smlmbatch.clustering.hulls import hull_corners


def area_nm2(corners):
    """By the shoelace formula; above 0 where corners go round anticlockwise."""
    x, y = (corners - corners[0]).T
    return 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(3, 60), min_size=1, max_size=5))
def test_corners_are_those_of_scipy(seed, sizes):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.r_[np.repeat(np.arange(len(sizes)), sizes), np.full(20, -1)])
    xy_nm = rng.normal(1e4, 30, (len(labels), 2)).astype(np.float32)
    corner, cluster = hull_corners(*xy_nm.T, labels)
    np.testing.assert_array_equal(cluster, np.sort(cluster))
    for label in range(len(sizes)):
        own = np.flatnonzero(labels == label)
        theirs = ConvexHull(xy_nm[own].astype(np.float64))
        assert sorted(corner[cluster == label]) == sorted(own[theirs.vertices])
        assert area_nm2(xy_nm[corner[cluster == label]].astype(np.float64)) == pytest.approx(theirs.volume, rel=1e-9)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 80))
def test_ties_on_a_lattice(seed, n):
    """Duplicates and locs along edges: the area is scipy's, and no three corners are in line."""
    xy_nm = np.random.default_rng(seed).integers(0, 4, (n, 2)) * 5.0
    xy_nm[:3] = [[0, 0], [15, 0], [0, 15]]
    corners = xy_nm[hull_corners(*xy_nm.T, np.zeros(n, int))[0]]
    assert area_nm2(corners) == pytest.approx(ConvexHull(xy_nm).volume)
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    assert (before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0] > 0).all()


def test_clusters_without_area_have_no_corners():
    flat = [
        [[5, 5]],
        [[5, 5], [7, 9]],
        [[5, 5]] * 4,
        [[0, 0], [10, 20], [20, 40], [5, 10]],
        [[3, 0], [3, 1], [3, 7]],
        [[0, 4], [9, 4], [1, 4]],
    ]
    whole = [[0, 0], [9, 0], [0, 9]]
    parts = [*flat[:3], whole, *flat[3:]]
    labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    corner, cluster = hull_corners(*np.concatenate(parts).astype(float).T, labels)
    assert cluster.tolist() == [3, 3, 3]
    assert labels[corner].tolist() == [3, 3, 3]
    for none in ([], [-1, -1]):
        assert len(hull_corners(np.zeros(len(none)), np.zeros(len(none)), np.array(none, dtype=int))[0]) == 0
