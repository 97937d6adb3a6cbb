"""Nearest neighbours against scikit-learn's and against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from smlmbatch.analyse.neighbours import nearest


@pytest.mark.parametrize(("n", "m", "k"), [(3, 40, 5), (1200, 700, 15), (2, 3, 5)])
def test_as_scikit_learn_finds_them(n, m, k):
    rng = np.random.default_rng(n)
    vectors, others = rng.normal(size=(n, 12)).astype(np.float32), rng.normal(size=(m, 12)).astype(np.float32)
    theirs = NearestNeighbors(n_neighbors=min(k, m), algorithm="brute").fit(others.astype(float)).kneighbors(vectors, return_distance=False)
    assert np.array_equal(nearest(vectors, others, k=k), theirs)


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 6))
def test_of_equally_near_ones_the_earlier_wins(seed, m, k):
    rng = np.random.default_rng(seed)
    vectors, others = rng.integers(0, 3, (4, 2)).astype(float), rng.integers(0, 3, (m, 2)).astype(float)
    for row, found in zip(vectors, nearest(vectors, others, k=k), strict=True):
        distance = ((others - row) ** 2).sum(axis=1)
        assert found.tolist() == sorted(range(m), key=lambda i: (distance[i], i))[:k]


def test_none_among_none():
    assert nearest(np.zeros((3, 2)), np.zeros((0, 2)), k=5).shape == (3, 0)
    assert nearest(np.zeros((0, 2)), np.zeros((4, 2)), k=5).shape == (0, 4)
