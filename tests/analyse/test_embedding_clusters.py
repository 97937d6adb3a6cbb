import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.analyse import embedding_clusters
from smlmbatch.analyse.agreement import adjusted_rand, contingency
from smlmbatch.analyse.embedding_clusters import by_size, elbow, k_means, not_clustered, ward


def blobs(sizes, *, features: int = 8, apart: float = 10.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(len(sizes)), sizes)
    order = rng.permutation(len(code))
    centres = apart * np.eye(max(features, len(sizes)))[: len(sizes), :features]
    return (centres[code] + rng.normal(size=(len(code), features)))[order].astype(np.float32), code[order]


@pytest.mark.parametrize("find", [lambda v: k_means(v, 3, seed=0).cluster, lambda v: ward(v, 3)], ids=["k-means", "Ward"])
def test_finds_blobs_and_numbers_them_by_size(find):
    vectors, code = blobs((20, 50, 30))
    cluster = find(vectors)
    assert adjusted_rand(contingency(code, cluster)) == 1
    assert np.bincount(cluster).tolist() == [50, 30, 20]
    assert cluster.dtype == np.int32


def test_inertia_is_the_sum_of_squares_left():
    vectors, _ = blobs((20, 20))
    found = k_means(vectors, 2, seed=0)
    left = sum(((own - own.mean(axis=0)) ** 2).sum() for own in (vectors[found.cluster == c].astype(float) for c in (0, 1)))
    assert found.inertia == pytest.approx(left)


def test_many_rois_are_assigned_to_centres_of_a_part(monkeypatch):
    vectors, code = blobs((300, 200, 100))
    monkeypatch.setattr(embedding_clusters, "FITTED_ROIS", 90)
    monkeypatch.setattr(embedding_clusters, "_ASSIGNED", 64)
    found = k_means(vectors, 3, seed=0, code=code)
    assert adjusted_rand(contingency(code, found.cluster)) == 1
    assert len(found.cluster) == 600


def test_same_clusters_whatever_the_number_of_threads():
    from threadpoolctl import threadpool_limits

    vectors, _ = blobs((200, 200, 200), apart=1.0)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(k_means(vectors, 3, seed=0))
    assert np.array_equal(found[0].cluster, found[1].cluster)
    assert found[0].inertia == found[1].inertia


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_numbers_go_by_size(names):
    cluster = by_size(np.array(names))
    sizes = np.bincount(cluster)
    assert (np.diff(sizes) <= 0).all()
    assert (sizes > 0).all()
    assert len(set(zip(names, cluster.tolist(), strict=True))) == len(set(names)) == len(sizes)


def test_elbow_is_at_the_number_of_blobs():
    vectors, _ = blobs((40, 40, 40, 40), features=16)
    found = elbow(vectors, seed=0)
    assert found.k == 4
    assert found.inertia[0] == 1.0
    assert len(found.inertia) == 10
    assert (np.diff(found.inertia) < 0).all()


def test_few_rois_have_no_elbow():
    vectors, _ = blobs((4, 4))
    assert elbow(vectors, seed=0).k == 0
    assert len(elbow(blobs((6, 6))[0], seed=0).inertia) == 4  # a cluster has 3 ROIs or more


@pytest.mark.parametrize(
    ("vectors", "k", "why"),
    [
        (np.zeros((9, 3)), 1, "one group"),
        (np.zeros((5, 3)), 2, "5 ROIs are too few for 2 clusters"),
        (np.zeros((9, 3)), 2, "fewer than 2 of the 9 ROIs differ"),
        (np.zeros((9, 0)), 2, "fewer than 2"),
        (np.repeat(np.eye(3), 3, axis=0), 3, ""),
    ],
)
def test_why_there_are_no_clusters(vectors, k, why):
    assert not_clustered(vectors, k).startswith(why)
    assert bool(why) or not not_clustered(vectors, k)


def test_nearly_equal_rows_raise_nothing():
    vectors = np.ones((12, 4)) + 1e-17 * np.arange(12)[:, None]
    vectors[:3, 0] += 1e-7
    assert set(k_means(vectors, 2, seed=0).cluster.tolist()) <= {0, 1}
