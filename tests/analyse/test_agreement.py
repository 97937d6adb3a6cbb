import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from smlmbatch.analyse.agreement import adjusted_rand, contingency, entropies, interval, resampled_rand, without_excess

CODES = st.integers(2, 40).flatmap(lambda n: st.tuples(*(hnp.arrays(np.int64, n, elements=st.integers(0, 4)) for _ in range(2))))


@given(CODES)
def test_index_is_that_of_scikit_learn(codes):
    from sklearn.metrics import adjusted_rand_score

    found = float(adjusted_rand(contingency(*codes)))
    assert found == pytest.approx(adjusted_rand_score(*codes), abs=1e-12) or np.isnan(found)


@given(CODES, st.permutations(range(5)))
def test_names_of_groups_and_sides_don_t_matter(codes, names):
    groups, clusters = codes
    found = adjusted_rand(contingency(groups, clusters))
    np.testing.assert_allclose(adjusted_rand(contingency(np.array(names)[groups], clusters)), found, atol=1e-12)
    np.testing.assert_allclose(adjusted_rand(contingency(clusters, groups)), found, atol=1e-12)


def test_undefined_where_every_pair_agrees_anyway():
    assert np.isnan(adjusted_rand(contingency(np.zeros(5, int), np.zeros(5, int))))
    assert np.isnan(adjusted_rand(contingency(np.arange(5), np.arange(5)))) or adjusted_rand(np.eye(5, dtype=int)) == 1


def test_unrelated_groupings_have_an_index_of_zero_on_average():
    rng = np.random.default_rng(0)
    found = [float(adjusted_rand(contingency(rng.integers(0, 4, 60), rng.integers(0, 3, 60)))) for _ in range(2000)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


def test_multinomial_draws_are_a_resampling_of_pairs():
    """The paper's bootstrap: rows drawn with replacement. Mean, spread and percentiles agree within Monte Carlo error."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(4), 30)
    clusters = np.where(rng.uniform(size=120) < 0.75, groups, rng.integers(0, 4, 120))
    naive = []
    for _ in range(4000):
        rows = rng.integers(0, 120, 120)
        naive.append(float(adjusted_rand(contingency(groups[rows], clusters[rows]))))
    quick = resampled_rand(contingency(groups, clusters), draws=4000, rng=rng)
    error = np.std(naive) / np.sqrt(4000)
    assert quick.mean() == pytest.approx(np.mean(naive), abs=5 * np.sqrt(2) * error)
    assert quick.std() == pytest.approx(np.std(naive), rel=0.06)
    assert interval(quick) == pytest.approx(interval(np.array(naive)), abs=6 * error * 2.7)


def test_interval_holds_the_index_of_the_truth():
    """Coverage with independent ROIs: the index of a very large sample lies in 95 % of intervals."""
    rng = np.random.default_rng(2)
    share = np.full((3, 3), 0.15) + 0.55 * np.eye(3)
    truth = float(adjusted_rand((share * 1e7).astype(np.int64)))
    tables = rng.multinomial(150, share.ravel() / share.sum(), size=400).reshape(-1, 3, 3)
    ends = [interval(without_excess(resampled_rand(table, draws=400, rng=rng), float(adjusted_rand(table)))) for table in tables]
    held = np.mean([low <= truth <= high for low, high in ends])
    assert 0.90 <= held <= 0.99


@pytest.mark.parametrize(("groups", "rois"), [(5, 50), (4, 12)])
def test_interval_of_unrelated_groupings_holds_zero(groups, rois):
    """Plain percentiles begin above 0 in 42 and 14 of 100, as ROIs drawn twice agree with themselves."""
    rng = np.random.default_rng(3)
    above = plain_above = 0
    for _ in range(100):
        table = contingency(np.repeat(np.arange(groups), rois), rng.integers(0, groups, groups * rois))
        index, drawn = float(adjusted_rand(table)), resampled_rand(table, draws=300, rng=rng)
        low, high = interval(without_excess(drawn, index))
        assert low <= index <= high
        above += low > 0
        plain_above += interval(drawn)[0] > 0
    assert above <= 6
    assert plain_above > above


def test_excess_is_that_of_finite_draws_and_nothing_exceeds_one():
    assert without_excess(np.array([0.4, 0.6, np.nan]), 0.3) == pytest.approx([0.2, 0.4, np.nan], nan_ok=True)
    assert without_excess(np.array([0.9, 0.7, 0.95]), 0.95).max() == 1
    assert np.isnan(without_excess(np.full(2, np.nan), 0.5)).all()


def test_entropies_that_the_seed_paper_prints():
    """Its Fig 2a, 5 conditions of 50: "5" with three strays 0.135, 9 and 10 merged 0.43, "20" pure 0."""
    table = np.zeros((5, 3), dtype=int)
    table[:, 0], table[:, 1], table[:, 2] = [0, 50, 3, 0, 0], [0, 0, 47, 50, 0], [0, 0, 0, 0, 50]
    assert entropies(table).round(4).tolist() == [0.1352, 0.4304, 0.0]


def test_index_that_the_seed_paper_implies():
    """The same figure: "2" split over two clusters, the rest as above, gives about 0.70; a clean merge of 9 and 10 alone 0.78."""
    table = np.array([[25, 25, 0, 0, 0], [0, 0, 50, 0, 0], [0, 0, 3, 47, 0], [0, 0, 0, 50, 0], [0, 0, 0, 0, 50]])
    assert float(adjusted_rand(table)) == pytest.approx(0.70, abs=0.01)
    merged = np.array([[50, 0, 0, 0], [0, 50, 0, 0], [0, 0, 50, 0], [0, 0, 50, 0], [0, 0, 0, 50]])
    assert float(adjusted_rand(merged)) == pytest.approx(0.78, abs=0.01)


@given(hnp.arrays(np.int64, st.tuples(st.integers(2, 6), st.integers(1, 6)), elements=st.integers(0, 50)))
def test_entropy_is_between_one_condition_and_all_alike(table):
    found = entropies(table)
    empty = table.sum(axis=0) == 0
    assert np.isnan(found[empty]).all()
    assert ((found[~empty] >= 0) & (found[~empty] <= 1 + 1e-12)).all()
    assert (found[(table > 0).sum(axis=0) == 1] == 0).all()


def test_entropy_of_one_condition_is_undefined():
    assert np.isnan(entropies(np.array([[3, 4]]))).all()


def test_interval_of_nothing():
    assert np.isnan(interval(np.array([np.nan]))).all()
