"""Point patterns: counts against density x area, spreads against sigma, labels against positions."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.patterns import Clusters, Fibres, clusters_and_fibres, csr, gaussian_clusters, polygon, rectangle

L_SHAPE_NM = np.array([[0, 0], [2000, 0], [2000, 500], [500, 500], [500, 1500], [0, 1500]], dtype=float)
L_AREA_UM2 = 2.0 * 0.5 + 0.5 * 1.0


def _agrees(draws, expected, *, standard_errors=4.5):
    """Whether a sample's mean is its expectation, by its own spread (chance of a false alarm 7e-6, and seeds are fixed)."""
    return abs(np.mean(draws) - expected) < standard_errors * np.std(draws, ddof=1) / np.sqrt(len(draws))


def test_random_counts_are_poisson_of_density_times_area():
    window, rng = polygon(L_SHAPE_NM), np.random.default_rng(1)
    counts = np.array([len(csr(rng, density_per_um2=50.0, window=window)) for _ in range(2000)])
    assert _agrees(counts, 50 * L_AREA_UM2)
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=4.5 * np.sqrt(2 / 2000))


def test_random_positions_are_uniform():
    xy_nm = csr(np.random.default_rng(2), density_per_um2=200.0, window=rectangle(8000, 5000)).xy_nm
    assert stats.kstest(xy_nm[:, 0] / 8000, "uniform").pvalue > 1e-3
    assert stats.kstest(xy_nm[:, 1] / 5000, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("fixed", [False, True])
def test_cluster_counts_need_no_edge_correction(fixed):
    # sigma is 40 % of the arm's width: without parents beyond the edge a third of the members would be missing
    window, rng = polygon(L_SHAPE_NM), np.random.default_rng(3)
    clusters = Clusters(per_um2=4.0, mean_size=12, sigma_nm=200.0, fixed=fixed)
    counts = [len(gaussian_clusters(rng, clusters=clusters, background_per_um2=10.0, window=window)) for _ in range(3000)]
    assert _agrees(counts, (4 * 12 + 10) * L_AREA_UM2)


def test_a_window_smaller_than_a_cluster_has_its_share_of_far_centres():
    # 200 nm wide, sigma 200 nm: centres 2 to 3 sigma away bring a tenth of the count
    window, rng = rectangle(200, 200), np.random.default_rng(10)
    clusters = Clusters(per_um2=200.0, mean_size=12, sigma_nm=200.0)
    assert _agrees([len(gaussian_clusters(rng, clusters=clusters, window=window)) for _ in range(3000)], 200 * 12 * 0.04)


def test_fibre_counts_are_length_per_area_times_members_per_length():
    window, rng = polygon(L_SHAPE_NM), np.random.default_rng(4)
    none = Clusters(per_um2=0.0, mean_size=0.0, sigma_nm=0.0)
    fibres = Fibres(um_per_um2=2.0, per_um=30.0, sigma_nm=100.0)
    counts = [len(clusters_and_fibres(rng, clusters=none, fibres=fibres, window=window)) for _ in range(3000)]
    assert _agrees(counts, 2 * 30 * L_AREA_UM2)


def test_background_and_clusters_and_fibres_each_have_their_share():
    window, rng = rectangle(30_000, 30_000), np.random.default_rng(5)
    clusters, fibres = Clusters(per_um2=1.0, mean_size=20, sigma_nm=40.0), Fibres(um_per_um2=1.0, per_um=10.0)
    made = clusters_and_fibres(rng, clusters=clusters, fibres=fibres, background_per_um2=5.0, window=window)
    in_cluster, on_fibre = made.cluster > 0, made.fibre > 0
    assert not (in_cluster & on_fibre).any()
    assert in_cluster.sum() / 900 == pytest.approx(20, rel=0.15)  # relative sd of a count of 900 clusters: 1 / sqrt(900) = 3.3 %
    assert on_fibre.sum() / 900 == pytest.approx(10, rel=0.3)
    assert (~in_cluster & ~on_fibre).sum() / 900 == pytest.approx(5, rel=0.07)


def test_cluster_spread_is_sigma_and_sizes_are_poisson():
    window, rng = rectangle(40_000, 40_000), np.random.default_rng(6)
    made = gaussian_clusters(rng, clusters=Clusters(per_um2=0.5, mean_size=25, sigma_nm=30.0), window=window)
    centre_nm, size, square_nm2 = _per_cluster(made)
    whole = ((centre_nm > 300) & (centre_nm < 39_700)).all(axis=1)
    pooled_nm = np.sqrt(square_nm2[whole].sum() / (2 * (size[whole] - 1).sum()))
    assert pooled_nm == pytest.approx(30.0, rel=4.5 / np.sqrt(4 * size[whole].sum()))
    assert _agrees(size[whole], 25.0)
    assert size[whole].var() / 25 == pytest.approx(1.0, abs=4.5 * np.sqrt(2 / whole.sum()))


def test_fixed_sizes_are_fixed():
    made = gaussian_clusters(
        np.random.default_rng(7), clusters=Clusters(per_um2=0.5, mean_size=9, sigma_nm=30.0, fixed=True), window=rectangle(20_000, 20_000)
    )
    centre_nm, size, _ = _per_cluster(made)
    whole = ((centre_nm > 300) & (centre_nm < 19_700)).all(axis=1)
    assert whole.sum() > 100
    assert set(size[whole]) == {9}


def test_fibres_are_straight_isotropic_chords():
    disc = shapely.Point(0, 0).buffer(10_000, quad_segs=64)
    none = Clusters(per_um2=0.0, mean_size=0.0, sigma_nm=0.0)
    made = clusters_and_fibres(
        np.random.default_rng(8), clusters=none, fibres=Fibres(um_per_um2=10.0, per_um=20.0, sigma_nm=15.0), window=disc
    )
    across_nm2, freedom, angles, distances = 0.0, 0, [], []
    for fibre in range(1, made.fibre.max() + 1):
        xy_nm = made.xy_nm[made.fibre == fibre]
        if len(xy_nm) < 30:
            continue
        middle_nm = xy_nm.mean(axis=0)
        _, length_nm, axes = np.linalg.svd(xy_nm - middle_nm, full_matrices=False)
        across_nm2 += length_nm[1] ** 2
        freedom += len(xy_nm) - 2  # a line has two parameters
        angles.append(np.arctan2(axes[0, 1], axes[0, 0]) % np.pi)
        distances.append(abs(axes[1] @ middle_nm))
    assert len(angles) > 150
    assert np.sqrt(across_nm2 / freedom) == pytest.approx(15.0, rel=4.5 / np.sqrt(2 * freedom))
    assert stats.kstest(np.array(angles) / np.pi, "uniform").pvalue > 1e-3
    # of random lines through a disc the distance from its middle is uniform; chords of 30 members are not the shortest
    near = np.array(distances)[np.array(distances) < 9000] / 9000
    assert stats.kstest(near, "uniform").pvalue > 1e-3


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), radius_nm=st.lists(st.floats(500, 2000), min_size=3, max_size=12))
def test_positions_lie_in_the_window_and_ids_have_no_gaps(seed, radius_nm):
    angle = np.linspace(0, 2 * np.pi, len(radius_nm), endpoint=False)
    window = polygon(np.array(radius_nm)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]))  # star-shaped about 0, so simple
    made = clusters_and_fibres(
        np.random.default_rng(seed),
        clusters=Clusters(per_um2=3.0, mean_size=5, sigma_nm=100.0),
        fibres=Fibres(um_per_um2=1.0, per_um=10.0),
        background_per_um2=3.0,
        window=window,
    )
    assert shapely.contains_xy(window, made.xy_nm).all()
    for ids in (made.cluster, made.fibre):
        assert set(ids) - {0} == set(range(1, ids.max(initial=0) + 1))


def test_same_generator_same_pattern():
    def made():
        return gaussian_clusters(
            np.random.default_rng(9),
            clusters=Clusters(per_um2=3, mean_size=9, sigma_nm=30),
            background_per_um2=9,
            window=rectangle(3e3, 3e3),
        )

    assert np.array_equal(made().xy_nm, made().xy_nm)
    assert np.array_equal(made().cluster, made().cluster)


@pytest.mark.parametrize(
    "build",
    [
        lambda: polygon(np.array([[0.0, 0], [1, 1], [1, 0], [0, 1]])),  # a bow tie
        lambda: polygon(np.zeros((2, 2))),
        lambda: csr(np.random.default_rng(0), density_per_um2=-1.0, window=rectangle(1, 1)),
        lambda: Clusters(per_um2=-1.0, mean_size=1, sigma_nm=1),
        lambda: Clusters(per_um2=1.0, mean_size=1.5, sigma_nm=1, fixed=True),
        lambda: Fibres(um_per_um2=1.0, per_um=1.0, sigma_nm=-1.0),
    ],
)
def test_impossible_wishes_are_refused(build):
    with pytest.raises(ConfigError, match="wanted"):
        build()


def _per_cluster(made):
    """Mean position, size and sum of squared distances to the mean of every cluster."""
    index = made.cluster[made.cluster > 0] - 1
    xy_nm = made.xy_nm[made.cluster > 0]
    size = np.bincount(index)
    centre_nm = np.column_stack([np.bincount(index, xy_nm[:, axis]) / size for axis in (0, 1)])
    return centre_nm, size, np.bincount(index, ((xy_nm - centre_nm[index]) ** 2).sum(axis=1))
