import numpy as np
import pyarrow as pa

from smlmbatch.analyse.columns import DESCRIPTORS
from smlmbatch.analyse.embedding_baselines import DESCRIBED, descriptor_vectors, log_n


def rows(n: int = 20, **own) -> pa.Table:
    rng = np.random.default_rng(0)
    columns = {name: own.get(name, rng.gamma(3, 1, n).tolist()) for name in DESCRIBED}
    return pa.table({name: pa.array(values, pa.float64()) for name, values in columns.items()})


def test_descriptors_are_z_scored():
    vectors, note = descriptor_vectors(rows())
    assert vectors.shape == (20, len(DESCRIBED))
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(vectors.std(axis=0), 1)
    assert note == ""


def test_density_counts_once():
    assert "density_per_um2" in DESCRIBED
    assert set(DESCRIPTORS) - set(DESCRIBED) == {"n_locs", "ripley_n"}


def test_undefined_values_are_the_median_and_said():
    vectors, note = descriptor_vectors(rows(5, n_clusters=[1.0, 2, None, 3, 10]))
    column = vectors[:, DESCRIBED.index("n_clusters")]
    assert column[2] == (2.5 - 3.7) / np.std([1, 2, 2.5, 3, 10])
    assert note == f"1 of {5 * len(DESCRIBED)} values undefined, the descriptor's median instead"


def test_columns_that_tell_nothing_fall_away():
    vectors, _ = descriptor_vectors(rows(4, n_clusters=[2.0] * 4, ripley_max_nm=[None] * 4))
    assert vectors.shape[1] == len(DESCRIBED) - 2
    nothing, note = descriptor_vectors(rows(3, **{name: [None] * 3 for name in DESCRIBED}))
    assert nothing.tolist() == [[0.0]] * 3
    assert note


def test_log_n():
    assert log_n(np.array([1, 100])).tolist() == [[0.0], [np.log(100)]]
