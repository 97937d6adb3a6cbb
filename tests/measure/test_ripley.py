"""Ripley's K against its formula, a lattice's count, complete randomness and a cluster process with a closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from smlmbatch.measure.ripley import nearest_neighbours_nm, peak_of_l_nm, ripley_k_nm2, ripley_radii_nm, thinned

SIDE_NM = 3000.0
RADII_NM = ripley_radii_nm(step_nm=10, max_nm=750)


def k_of(xy_nm: np.ndarray, radii_nm: np.ndarray = RADII_NM, window_nm: tuple[float, float] = (SIDE_NM, SIDE_NM)) -> np.ndarray:
    return ripley_k_nm2(xy_nm[:, 0], xy_nm[:, 1], window_nm=window_nm, radii_nm=radii_nm)


def k_by_formula(xy_nm: np.ndarray, radii_nm: np.ndarray, window_nm: tuple[float, float]) -> np.ndarray:
    """All ordered pairs, one term each."""
    n, (a, b) = len(xy_nm), window_nm
    gap = np.abs(xy_nm[:, None].astype(np.float64) - xy_nm[None])
    distance = np.where(np.eye(n, dtype=bool), np.inf, np.hypot(gap[..., 0], gap[..., 1]))
    with np.errstate(divide="ignore"):  # pairs a whole side apart, further than any radius
        weight = a * b / ((a - gap[..., 0]) * (b - gap[..., 1]))
    return np.array([a * b / (n * (n - 1)) * weight[distance <= r].sum() for r in radii_nm])


def thomas(rng: np.random.Generator, *, parents_per_nm2: float, locs: float, sigma_nm: float) -> np.ndarray:
    """Thomas process in the window; parents also lie around it, so that the window's edge is no edge of the process."""
    margin = 6 * sigma_nm
    side = SIDE_NM + 2 * margin
    parents = rng.uniform(-margin, SIDE_NM + margin, (rng.poisson(parents_per_nm2 * side**2), 2))
    xy_nm = np.repeat(parents, rng.poisson(locs, len(parents)), axis=0)
    xy_nm = xy_nm + rng.normal(0, sigma_nm, xy_nm.shape)
    return xy_nm[((xy_nm >= 0) & (xy_nm < SIDE_NM)).all(axis=1)]


def assert_mean_is(samples: np.ndarray, truth: np.ndarray | float) -> None:
    """The samples' mean lies within 4 of its standard errors of the truth, everywhere."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    np.testing.assert_array_less(np.abs(samples.mean(axis=0) - truth), 4 * error)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 120),
    window_nm=st.sampled_from([(3000.0, 3000.0), (3000.0, 1700.0), (900.0, 2500.0)]),
    lattice_nm=st.sampled_from([0.0, 10.0, 30.0]),
    step_nm=st.sampled_from([10.0, 33.3, 400.0]),
)
def test_k_is_the_formulas(seed: int, n: int, window_nm: tuple[float, float], lattice_nm: float, step_nm: float) -> None:
    """On a lattice distances equal radii exactly (30, 40, 50); a pair on the edge of a ring belongs to it."""
    xy_nm = np.random.default_rng(seed).uniform(0, window_nm, (n, 2))
    if lattice_nm:
        xy_nm = np.floor(xy_nm / lattice_nm) * lattice_nm
    xy_nm = xy_nm.astype(np.float32)
    radii_nm = ripley_radii_nm(step_nm=step_nm, max_nm=min(window_nm) / 2)
    np.testing.assert_allclose(k_of(xy_nm, radii_nm, window_nm), k_by_formula(xy_nm, radii_nm, window_nm), rtol=1e-9, atol=1e-9)


def test_uneven_radii_are_as_good() -> None:
    xy_nm, radii_nm = np.random.default_rng(3).uniform(0, SIDE_NM, (300, 2)), np.array([0.5, 1, 7, 200, 201, 1400])
    np.testing.assert_allclose(k_of(xy_nm, radii_nm), k_by_formula(xy_nm, radii_nm, (SIDE_NM, SIDE_NM)), rtol=1e-12)


def test_k_of_a_square_lattice_counts_lattice_points_in_a_disk() -> None:
    """The correction makes every displacement count as if it had no edge: K = (points in the disk - 1) / density · N²/(N² - 1)."""
    spacing_nm, points = 50.0, 60
    steps = spacing_nm * np.arange(points)
    xy_nm = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2) + 7
    reach = np.arange(-20, 21)
    square = (reach[:, None] ** 2 + reach[None] ** 2) * spacing_nm**2
    in_disk = np.array([(square <= r**2).sum() - 1 for r in RADII_NM])
    expected = in_disk * spacing_nm**2 * points**2 / (points**2 - 1)
    np.testing.assert_allclose(k_of(xy_nm), expected, rtol=1e-12)
    k_nm2 = dict(zip(RADII_NM, k_of(xy_nm), strict=True))
    assert k_nm2[40.0] == 0  # Gauss's circle problem: 5 - 1 points within one spacing, 81 - 1 within five
    assert k_nm2[50.0] == pytest.approx(4 * 2500, rel=1e-3)
    assert k_nm2[250.0] == pytest.approx(80 * 2500, rel=1e-3)


@pytest.fixture(scope="module")
def random_k() -> np.ndarray:
    """K of 200 regions without structure, 500 locs each; (200, 75)."""
    rng = np.random.default_rng(11)
    return np.array([k_of(rng.uniform(0, SIDE_NM, (500, 2))) for _ in range(200)])


def test_without_structure_k_is_a_disks_area(random_k: np.ndarray) -> None:
    assert_mean_is(random_k, np.pi * RADII_NM**2)


def test_without_structure_l_is_r(random_k: np.ndarray) -> None:
    assert_mean_is(np.sqrt(random_k / np.pi) - RADII_NM, 0.0)


def test_without_structure_95_percent_stay_in_the_envelope(random_k: np.ndarray) -> None:
    low, high = np.quantile(random_k, [0.025, 0.975], axis=0)
    rng = np.random.default_rng(12)
    fresh = np.array([k_of(rng.uniform(0, SIDE_NM, (500, 2))) for _ in range(200)])
    inside = ((fresh >= low) & (fresh <= high)).mean(axis=0)
    assert inside.mean() == pytest.approx(0.95, abs=0.02)
    assert inside.min() > 0.88  # 4 standard errors of a share, of both the envelope and the sample


@pytest.mark.parametrize("sigma_nm", [20.0, 60.0])
def test_k_of_a_thomas_process(sigma_nm: float) -> None:
    """K = pi r² + (1 - exp(-r² / 4 sigma²)) / kappa (Illian et al. 2008, section 6.3). With the true density in place of n / A unbiased."""
    kappa, locs = 5e-6, 8.0
    rng = np.random.default_rng(int(sigma_nm))
    samples = []
    for _ in range(150):
        xy_nm = thomas(rng, parents_per_nm2=kappa, locs=locs, sigma_nm=sigma_nm)
        samples.append(k_of(xy_nm) * len(xy_nm) * (len(xy_nm) - 1) / (kappa * locs * SIDE_NM**2) ** 2)
    assert_mean_is(np.array(samples), np.pi * RADII_NM**2 + -np.expm1(-(RADII_NM**2) / (4 * sigma_nm**2)) / kappa)


def test_peak_radius_grows_with_the_clusters_width() -> None:
    rng = np.random.default_rng(5)
    unit = rng.normal(0, 1, (400, 2))
    background = rng.uniform(0, SIDE_NM, (100, 2))
    peaks = [peak_of_l_nm(k_of(np.concatenate([SIDE_NM / 2 + s * unit, background])), RADII_NM) for s in (20, 40, 60, 80, 100)]
    radius, height = np.array(peaks).T
    assert (np.diff(radius) > 0).all()
    assert (height > 0).all()


def test_peak_of_l() -> None:
    radii_nm = np.array([10.0, 20, 30])
    assert peak_of_l_nm(np.pi * (radii_nm + np.array([3, 7, 5])) ** 2, radii_nm) == pytest.approx((20, 7))
    assert np.isnan(peak_of_l_nm(k_of(np.ones((1, 2)), radii_nm), radii_nm)).all()


@pytest.mark.parametrize("n", [0, 1])
def test_k_needs_two_locs(n: int) -> None:
    assert np.isnan(k_of(np.ones((n, 2)))).all()


@pytest.mark.parametrize(("step_nm", "max_nm", "n", "last"), [(10, 750, 75, 750), (0.1, 0.3, 3, 0.3), (10, 759.9, 75, 750), (10, 9, 0, 0)])
def test_radii(step_nm: float, max_nm: float, n: int, last: float) -> None:
    radii_nm = ripley_radii_nm(step_nm=step_nm, max_nm=max_nm)
    assert len(radii_nm) == n
    assert n == 0 or radii_nm[-1] == pytest.approx(last)


def thin(n: int, limit: int, *, seed: int = 0, field_key: str = "a-00000000", roi: int = 0, channel: int = 0) -> np.ndarray:
    return thinned(n, limit=limit, seed=seed, field_key=field_key, roi=roi, channel=channel)


def test_thinning_leaves_k_unbiased() -> None:
    xy_nm = thomas(np.random.default_rng(2), parents_per_nm2=6e-6, locs=20, sigma_nm=40)
    samples = np.array([k_of(xy_nm[thin(len(xy_nm), 300, roi=roi)]) for roi in range(300)])
    assert_mean_is(samples, k_of(xy_nm))


def test_thinning_is_keyed_by_what_it_is_for() -> None:
    chosen = thin(1000, 50)
    assert len(np.unique(chosen)) == 50
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, thin(1000, 50))
    for other in ({"seed": 1}, {"field_key": "b-00000000"}, {"roi": 1}, {"channel": 1}):
        assert not np.array_equal(chosen, thin(1000, 50, **other))
    np.testing.assert_array_equal(thin(50, 50), np.arange(50))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 200), lattice_nm=st.sampled_from([0.0, 100.0, 500.0]))
def test_nearest_neighbours_are_a_trees(seed: int, n: int, lattice_nm: float) -> None:
    xy_nm = np.random.default_rng(seed).uniform(0, SIDE_NM, (n, 2)).astype(np.float32)
    if lattice_nm:
        xy_nm = np.floor(xy_nm / lattice_nm) * np.float32(lattice_nm)
    expected = cKDTree(xy_nm).query(xy_nm, k=2)[0][:, 1]
    np.testing.assert_allclose(nearest_neighbours_nm(*xy_nm.T), expected, rtol=1e-12)


def test_nearest_neighbour_without_structure_is_half_the_spacing() -> None:
    """Mean 1 / (2 sqrt(density)) (Clark and Evans 1954), away from the edge; spread 0.26 / sqrt(density), so 2 % is 4 sigma."""
    n = 20_000
    xy_nm = np.random.default_rng(1).uniform(0, SIDE_NM, (n, 2))
    inner = (np.abs(xy_nm - SIDE_NM / 2) < 0.45 * SIDE_NM).all(axis=1)
    mean_nm = nearest_neighbours_nm(*xy_nm.T)[inner].mean()
    assert mean_nm == pytest.approx(0.5 / np.sqrt(n / SIDE_NM**2), rel=0.02)
