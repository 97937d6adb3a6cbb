"""Clusters split along z: Gaussians of known spread, single and above each other; odd z."""

import numpy as np
import pytest
from scipy.stats import norm

from smlmbatch.methods.miro.depth import _normal_quantile, least_reach, split_along_z


def gaussians(n, *, apart, repeats, seed=0):
    """Clusters of two halves so many sigmas apart: labels and z, sigma 30 nm."""
    rng = np.random.default_rng(seed)
    half = np.tile(np.repeat([0.0, apart], [n - n // 2, n // 2]), repeats)
    return np.repeat(np.arange(repeats), n).astype(np.int32), 30.0 * (rng.normal(size=n * repeats) + half)


def pieces(labels, z_nm, least_nm=0.0, least_locs=4):
    return split_along_z(labels, z_nm, least_nm=np.full(labels.max(initial=-1) + 1, least_nm), least_locs=least_locs)


@pytest.mark.parametrize("n", [12, 30, 100, 1000])
def test_single_clusters_stay_and_pairs_come_apart(n):
    """By their spread alone, without help from the plane or precisions."""
    labels, z = gaussians(n, apart=0.0, repeats=200)
    found = pieces(labels, z)
    assert (found.max() + 1) / 200 < 1.03
    assert (found >= 0).mean() > 0.97
    labels, z = gaussians(n, apart=10.0, repeats=200)
    split = pieces(labels, z)
    assert (split.max() + 1) / 400 > 0.93


def test_a_reach_at_least():
    """A gap of 50 nm between locs 1 nm apart."""
    z = np.concatenate([np.arange(10.0), 59 + np.arange(10.0)])
    labels = np.zeros(20, np.int32)
    assert pieces(labels, z, 40.0).tolist() == [0] * 10 + [1] * 10
    assert pieces(labels, z, 51.0).tolist() == [0] * 20


def test_few_locs_beyond_a_gap_are_in_no_cluster():
    z = np.concatenate([np.arange(20.0), [400.0, 401.0, 402.0]])
    assert pieces(np.zeros(23, np.int32), z).tolist() == [0] * 20 + [-1] * 3


def test_locs_without_z_go_with_the_largest_piece():
    z = np.concatenate([np.arange(10.0), 500 + np.arange(30.0), [np.nan, np.nan]])
    assert pieces(np.zeros(42, np.int32), z).tolist() == [0] * 10 + [1] * 32
    assert pieces(np.zeros(3, np.int32), np.full(3, np.nan)).tolist() == [0, 0, 0]


def test_all_at_one_height_stay_and_locs_in_no_cluster_too():
    labels = np.array([1, 0, -1, 1, 0, 1, 0, 1, 0], np.int32)
    found = pieces(labels, np.full(9, 7.0))
    assert (found[labels == 1] == found[0]).all()
    assert (found[labels == 0] == found[1]).all()
    assert found[0] != found[1]
    assert found[2] == -1
    assert pieces(np.full(3, -1, np.int32), np.zeros(3)).tolist() == [-1, -1, -1]


def test_least_reach_is_the_radius_or_three_precisions():
    xy = np.array([[0.0, 0], [6, 0], [0, 0], [0, 8], [50, 50]])
    labels = np.array([0, 0, 1, 1, -1], np.int32)
    assert least_reach(xy, labels, precision_z_nm=None).tolist() == [3.0, 4.0]
    precision = np.array([20.0, np.nan, 1.0, 1.0, 99.0])
    assert least_reach(xy, labels, precision_z_nm=precision).tolist() == [60.0, 4.0]


def test_normal_quantile():
    for p in (0.51, 0.6, 0.75, 0.99):
        assert _normal_quantile(p) == pytest.approx(norm.ppf(p), abs=5e-4)
