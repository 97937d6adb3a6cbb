from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.analyse.embedding_order import follow, leading_axis, order_of_column, order_of_names, principal_axes

RNG = np.random.default_rng


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["0 ug/ml", "0.1 ug/ml", "1 ug/ml"], [0, 0.1, 1]),
        (["1x", "2x", "20x"], [1, 2, 20]),
        (["EGF 5 min", "EGF 0 min", "EGF 15 min"], [5, 0, 15]),
        (["t=1e-3 M", "t=1e-2 M", "t=1 M"], [0.001, 0.01, 1]),
        (["5", "10", "15"], [5, 10, 15]),
        ([".5 nM", "-1 nM", "2. nM"], [0.5, -1, 2]),
    ],
)
def test_names_that_state_an_order(names, numbers):
    assert [order_of_names(names).number[name] for name in names] == numbers


@pytest.mark.parametrize(
    "names",
    [
        ["ctrl", "EGF"],
        ["5 min", "10 min"],  # two steps
        ["5 min", "10 min", "rest"],
        ["5 min", "10 nM", "15 min"],
        ["EGFR 5 min", "EGF 10 min", "EGF 15 min"],
        ["5 min", "5 min ", "5  min"],
        ["1 of 2", "2 of 2", "3 of 2"],
        [],
    ],
)
def test_names_that_state_none(names):
    assert order_of_names(names) is None


@given(st.lists(st.text(max_size=12), max_size=6), st.text(max_size=4))
def test_any_names_are_looked_at(names, reference):
    found = order_of_names(names, reference=reference)
    assert found is None or all(np.isfinite(number) for number in found.number.values())
    order_of_column("dose", names)


def test_columns_of_the_sheet_by_name():
    assert order_of_column("time_min", ["0", "5", "15"]) is not None
    assert order_of_column("Dose", ["0", "5", "15"]) is not None
    assert order_of_column("timelapse", ["0", "5", "15"]) is None
    assert order_of_column("dose", ["0", "5", "inf"]) is None


def test_leading_axis_is_that_of_a_singular_value_decomposition():
    vectors = RNG(0).normal(size=(200, 12)) * np.linspace(3, 1, 12) + 100.0
    centred = vectors - vectors.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    for found, expected in zip(principal_axes(vectors, 2).T, (left * size).T, strict=False):
        assert abs(np.corrcoef(found, expected)[0, 1]) == pytest.approx(1, abs=1e-9)
        assert found.std() == pytest.approx(expected.std())


def test_axis_has_one_sign_however_rows_lie():
    vectors = RNG(0).normal(size=(50, 4)) * [5, 1, 1, 1]
    order = RNG(1).permutation(50)
    np.testing.assert_allclose(leading_axis(vectors)[order], leading_axis(vectors[order]), atol=1e-9)
    assert np.corrcoef(leading_axis(vectors), vectors[:, 0])[0, 1] > 0.9


@pytest.mark.parametrize("vectors", [np.zeros((0, 3)), np.ones((1, 3)), np.ones((5, 3))], ids=["none", "one", "alike"])
def test_nothing_varies(vectors):
    assert (leading_axis(vectors) == 0).all()


def test_a_gradient_is_followed_and_noise_is_not():
    number = np.repeat([0.0, 1, 5, 20], 30)
    replicate = np.tile(np.repeat([0, 1, 2], 10), 4) + 3 * np.repeat(np.arange(4), 30)
    found = follow(number**0.5 + 0.1 * RNG(0).normal(size=120), number, replicate, rng=RNG(0))
    assert found.n_replicates == 12
    assert found.of_replicates == pytest.approx(0.97, abs=0.03)  # ties within a step
    assert found.p < 0.001
    assert not follow(RNG(1).normal(size=120), number, replicate, rng=RNG(0)).p < 0.01


def test_sign_of_the_axis_does_not_count():
    number, replicate = np.array([1.0, 2, 3, 4]), np.arange(4)
    up, down = (follow(sign * number, number, replicate, rng=RNG(0)) for sign in (1, -1))
    assert up == down
    assert up.of_rois == pytest.approx(1)
    assert (up.p, up.exact) == (2 / 24, True)


def test_p_is_the_share_of_all_arrangements():
    means, steps = np.array([0.1, 0.5, 0.2, 0.9, 0.4]), np.array([0.0, 0, 1, 1, 2])
    found = follow(means, steps, np.arange(5), rng=RNG(0))
    ranks = [np.argsort(np.argsort(means)) + 1.0, np.array([1.5, 1.5, 3.5, 3.5, 5])]
    all_of_them = [abs(np.corrcoef(ranks[0], order)[0, 1]) for order in permutations(ranks[1])]
    assert found.of_replicates == pytest.approx(abs(np.corrcoef(*ranks)[0, 1]))
    assert found.p == pytest.approx(np.mean(np.array(all_of_them) >= found.of_replicates - 1e-9))


def test_p_holds_its_rate_without_an_effect():
    steps = np.repeat([0.0, 1, 2], 3)
    ps = [follow(RNG(seed).normal(size=9), steps, np.arange(9), rng=RNG(0)).p for seed in range(300)]
    assert np.mean(np.array(ps) <= 0.05) <= 0.08


def test_many_replicates_are_drawn():
    steps = np.repeat([0.0, 1, 2, 3], 5)
    found = follow(steps + RNG(0).normal(size=20), steps, np.arange(20), rng=RNG(0))
    assert not found.exact
    assert found.p < 0.05


def test_replicates_that_don_t_vary():
    found = follow(np.zeros(6), np.repeat([0.0, 1, 2], 2), np.arange(6), rng=RNG(0))
    assert np.isnan([found.of_rois, found.of_replicates, found.p]).all()
