"""Nearest neighbours against all pairs, children against a count by hand."""

import numpy as np
import pytest

from smlmbatch.clustering.relations import count_children, nearest_nm


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("count", [2, 3, 57])
def test_nearest_of_all_pairs(axes, count) -> None:
    places = np.random.default_rng(count).uniform(0, 1000, (count, axes))
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_allclose(nearest_nm(*places.T), apart.min(axis=1), rtol=1e-12)


def test_nobody_near() -> None:
    assert np.isnan(nearest_nm(np.array([4.0]), np.array([4.0]))).all()
    assert nearest_nm(np.empty(0), np.empty(0)).shape == (0,)
    assert nearest_nm(np.array([4.0, 4.0]), np.array([1.0, 1.0])).tolist() == [0.0, 0.0]


def test_children() -> None:
    assert count_children(np.array([3, 3, -1, -1, 3, 5, -1])).tolist() == [0, 0, 0, 3, 0, 1, 0]
    assert count_children(np.empty(0, np.int32)).tolist() == []
