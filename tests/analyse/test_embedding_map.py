import numpy as np
import pytest

from smlmbatch.analyse.embedding_map import LEAST_ROIS, draw_map


def test_few_rois_are_placed_by_principal_axes():
    vectors = np.random.default_rng(0).normal(size=(LEAST_ROIS - 1, 6)) * [9, 3, 1, 1, 1, 1]
    found = draw_map(vectors, seed=0)
    assert found.manner == "principal axes"
    assert abs(np.corrcoef(found.place[:, 0], vectors[:, 0])[0, 1]) > 0.95
    assert abs(np.corrcoef(found.place[:, 1], vectors[:, 1])[0, 1]) > 0.9


@pytest.mark.parametrize("n", [1, 2, 500])
def test_rois_all_alike_or_alone(n):
    found = draw_map(np.ones((n, 4)), seed=0)
    assert found.manner == "principal axes"
    assert (found.place == 0).all()


@pytest.mark.slow
def test_map_keeps_groups_apart_and_is_the_same_again():
    rng = np.random.default_rng(0)
    code = np.repeat([0, 1, 2], 40)
    vectors = 8 * np.eye(12)[code] + rng.normal(size=(120, 12))
    first, second = (draw_map(vectors.astype(np.float32), seed=3) for _ in range(2))
    assert first.manner == "UMAP"
    assert np.array_equal(first.place, second.place)
    near = np.argsort(np.linalg.norm(first.place[:, None] - first.place[None], axis=2), axis=1)[:, 1:6]
    assert (code[near] == code[:, None]).mean() > 0.95
