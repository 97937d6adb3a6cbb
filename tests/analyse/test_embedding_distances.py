from itertools import combinations

import numpy as np
import pytest

from smlmbatch.analyse.embedding_distances import centre_of, dendrogram, distances, true_distance


def centres_of(places, *, replicates: int = 3, rois=(4, 8, 2), scatter: float = 0.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    replicate = np.repeat(np.arange(replicates), rois[:replicates])
    own = {}
    for name, place in places.items():
        shift = rng.normal(size=(replicates, len(place))) * scatter
        own[name] = centre_of((np.array(place) + shift[replicate]).astype(np.float32), replicate)
    return own


def test_a_replicate_counts_once_however_many_rois_it_has():
    vectors = np.array([[0.0, 0], [0, 0], [0, 0], [3, 0]], dtype=np.float32)
    centre = centre_of(vectors, np.array([7, 7, 7, 2]))
    assert centre.centroid.tolist() == [1.5, 0]
    assert sorted(centre.replicates[:, 0].tolist()) == [0.0, 3.0]
    assert centre.mean_square == pytest.approx(1.5**2)


def test_distances_are_euclidean_and_every_pair_is_there():
    centres = centres_of({"a": [0.0, 0, 0], "b": [3.0, 4, 0], "c": [0.0, 0, 12]})
    rows = distances(centres, channel=1, draws=200, seed=0)
    assert [(row.condition, row.other) for row in rows] == list(combinations("abc", 2))
    assert [row.distance for row in rows] == pytest.approx([5, 12, 13])
    for row in rows:  # nothing scatters
        assert (row.low, row.high, row.spread) == pytest.approx((row.distance, row.distance, 0), abs=1e-6)
        assert row.within == pytest.approx(0, abs=1e-6)


def test_spread_and_within_are_of_both_conditions():
    vectors = np.array([[0.0], [2], [10], [14]])
    centres = {"a": centre_of(vectors[:2], np.array([0, 1])), "b": centre_of(vectors[2:], np.array([0, 1]))}
    (row,) = distances(centres, channel=None, draws=200, seed=0)
    assert row.spread == pytest.approx((1 + 2) / 2)
    assert row.within == pytest.approx(np.sqrt((1 + 4) / 2))


def test_one_replicate_has_no_interval():
    centres = centres_of({"a": [0.0], "b": [1.0]}, replicates=1)
    (row,) = distances(centres, channel=0, draws=200, seed=0)
    assert np.isnan([row.low, row.high, row.spread]).all()
    assert row.distance == pytest.approx(1)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (3, 6), (8, 8)])
@pytest.mark.parametrize("gap", [0.0, 1.0, 4.0])
def test_intervals_hold_the_true_distance(n, m, gap):
    """Normal replicates in 8 dimensions of unequal scatter: 95 % wanted. Without a gap the interval begins at 0."""
    rng = np.random.default_rng(0)
    scale = np.exp(-np.arange(8) / 4)
    held = from_zero = 0
    for _ in range(300):
        a, b = (rng.normal(size=(size, 8)) * scale for size in (n, m))
        b[:, 0] += gap
        low, high = true_distance(a, b, draws=300, rng=rng)
        held += low <= gap <= max(high, float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0))))
        from_zero += low == 0
    assert held >= 0.91 * 300
    assert from_zero >= 0.95 * 300 or gap > 0
    assert from_zero <= 0.5 * 300 or gap < 4


def test_another_condition_changes_no_interval():
    few, many = (centres_of(dict(list(PLACES.items())[:n]), scatter=1.0, seed=3) for n in (2, 3))
    row = distances(few, channel=0, draws=200, seed=0)[0]
    assert row == next(r for r in distances(many, channel=0, draws=200, seed=0) if (r.condition, r.other) == ("a", "b"))


PLACES = {"a": [0.0, 0.0], "b": [1.0, 0.0], "c": [10.0, 0.0]}


def test_dendrogram_joins_the_nearest_first_at_mean_distances():
    found = dendrogram(distances(centres_of(PLACES), channel=0, draws=200, seed=0))
    assert found.names == ("a", "b", "c")
    assert sorted(found.linkage[0, :2].tolist()) == [0, 1]
    assert found.linkage[:, 2].tolist() == pytest.approx([1, 9.5])
    assert set(found.leaves) == {0, 1, 2}
    assert found.leaves[1] != 2  # c stands at an end


def test_no_dendrogram_of_one_condition_or_a_part_of_the_pairs():
    rows = distances(centres_of(PLACES), channel=0, draws=200, seed=0)
    assert dendrogram([]) is None
    assert dendrogram(rows[:2]) is None
