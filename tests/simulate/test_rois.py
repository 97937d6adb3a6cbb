"""Evaluation ROIs: numbers of locs, places, and that equal totals are equal."""

from dataclasses import replace

import numpy as np
import pytest

from smlmbatch.simulate.rois import SETS, SIDE_NM, RoiSpec, draw_pattern, draw_roi, draw_set, thin


def rng(*key):
    return np.random.default_rng(np.random.SeedSequence(0, spawn_key=key))


@pytest.mark.parametrize("name", SETS)
def test_every_set_lies_in_its_roi_and_keeps_its_total(name):
    drawn = draw_set(name, rois_per_condition=3, seed=1)
    assert [condition for condition, _ in drawn] == [c for c in SETS[name] for _ in range(3)]
    for condition, xy_nm in drawn:
        assert ((xy_nm >= 0) & (xy_nm < SIDE_NM)).all()
        total = SETS[name][condition].total
        assert len(xy_nm) == total if total else len(xy_nm) > 50


def test_roi_does_not_depend_on_how_many_are_drawn():
    few, many = (draw_set("clusters_poisson", rois_per_condition=n, seed=5) for n in (2, 4))
    assert all((many[4 * (i // 2) + i % 2][1] == xy).all() for i, (_, xy) in enumerate(few))


def test_clusters_hold_what_they_say():
    xy_nm = draw_roi(RoiSpec(clusters=1, size=400, sigma_nm=20, background=0), rng(1))
    centre = np.median(xy_nm, axis=0)
    distance = np.hypot(*(xy_nm - centre).T)
    assert abs(np.sqrt((distance**2).mean() / 2) / 20 - 1) < 0.1


def test_random_cluster_size_is_one_per_roi():
    n = [len(draw_roi(RoiSpec(clusters=1, size=100, sigma_nm=1, background=0, count="random"), rng(2, i))) for i in range(400)]
    assert min(n) >= 49
    assert max(n) <= 200
    assert abs(np.mean(n) / 125 - 1) < 0.05


def test_fibres_are_straight_and_thin():
    xy_nm = draw_roi(RoiSpec(fibres=1, size=500, background=0), rng(3))
    across = np.linalg.svd(xy_nm - xy_nm.mean(axis=0), full_matrices=False)[1][1] / np.sqrt(len(xy_nm))
    assert abs(across / 15 - 1) < 0.15


def test_thinning_takes_without_replacement():
    points = np.arange(20.0).reshape(10, 2)
    kept = thin(points, 4, rng(4))
    assert len({tuple(p) for p in kept}) == 4
    assert len(thin(points, 30, rng(4))) == 10


# ---- statistics of the sets


def numbers(name, *, rois=60):
    """Condition → number of locs of each ROI."""
    found = {}
    for condition, xy_nm in draw_set(name, rois_per_condition=rois, seed=11):
        found.setdefault(condition, []).append(len(xy_nm))
    return {condition: np.array(n) for condition, n in found.items()}


def test_fixed_and_poisson_numbers():
    """100 locs a cluster and a quarter more at random, less what falls outside; fixed varies by what is lost, Poisson by its own root too.

    Of a Gaussian cluster with a uniform centre a share 2 x 0.7979 sigma / side / 2 is lost at each of the two sides of an axis.
    """
    lost = 4 * 50 * np.sqrt(1 / (2 * np.pi)) / SIDE_NM
    for name in ("clusters_fixed", "clusters_poisson"):
        for condition, n in numbers(name).items():
            clusters = int(condition.split()[0])
            expected = 100 * clusters * (1 - lost) + 25 * clusters
            assert abs(n.mean() / expected - 1) < 0.05, (name, condition)
    fixed, poisson = numbers("clusters_fixed")["20 clusters"], numbers("clusters_poisson")["20 clusters"]
    assert fixed.max() <= 2500
    assert poisson.var() > fixed.var() + 0.5 * 2500


def test_random_numbers_are_one_per_roi_from_half_to_twice():
    """Of p uniform from 50 to 200: mean 125, and a spread of the ROI's total that no sum of independent clusters has."""
    for condition, n in numbers("clusters_random_4", rois=200).items():
        clusters = int(condition.split()[0])
        per_cluster = n / (1.25 * clusters)
        assert abs(per_cluster.mean() / 125 - 1) < 0.1, condition
        assert abs(per_cluster.std() / (150 / np.sqrt(12)) - 1) < 0.2, condition
        assert per_cluster.max() <= 201


@pytest.mark.parametrize(("name", "total"), [("clusters_equal_n", 1000), ("clusters_900", 900), ("kinds_900", 900), ("sigma_900", 900)])
def test_number_tells_nothing_where_it_must_not(name, total):
    assert all((n == total).all() for n in numbers(name, rois=5).values())


def test_densities_are_those_of_their_names():
    for name in ("density_random", "density_clusters"):
        assert {condition: int(n[0]) for condition, n in numbers(name, rois=1).items()} == {f"{d}/um2": 9 * d for d in (50, 100, 200, 400)}


def test_fibre_gradient_is_locs_per_fibre_over_locs_per_cluster():
    for condition, spec in SETS["fibre_gradient"].items():
        pattern = draw_pattern(replace(spec, background=0.0), rng(8))
        per_fibre = np.bincount(pattern.fibre)[1:]
        assert len(per_fibre) == 5
        # the middle one, for a chord along the edge loses locs sideways
        assert abs(np.median(per_fibre) / (100 * float(condition[:-1])) - 1) < 0.05, condition


def test_truth_names_who_belongs_where():
    spec = RoiSpec(clusters=3, fibres=2, sigma_nm=10, background=0.5, count="poisson")
    pattern = draw_pattern(spec, rng(9))
    assert (draw_roi(spec, rng(9)) == pattern.xy_nm).all()
    assert set(pattern.cluster) == {0, 1, 2, 3}
    assert set(pattern.fibre) == {0, 1, 2}
    assert not ((pattern.cluster > 0) & (pattern.fibre > 0)).any()
    for number in (1, 2, 3):
        assert pattern.xy_nm[pattern.cluster == number].std(axis=0).max() < 13
    for number in (1, 2):
        own = pattern.xy_nm[pattern.fibre == number]
        across = np.linalg.svd(own - own.mean(axis=0), full_matrices=False)[1][1] / np.sqrt(len(own))
        assert abs(across / 15 - 1) < 0.25


def test_mixture_is_half_and_half():
    pattern = draw_pattern(SETS["kinds_900"]["mixture"], rng(10))
    shares = [(pattern.cluster > 0).mean(), (pattern.fibre > 0).mean(), ((pattern.cluster == 0) & (pattern.fibre == 0)).mean()]
    assert np.allclose(shares, [0.4, 0.4, 0.2], atol=0.06)


def test_randomness_is_complete():
    """Quadrat counts of the random ROIs are multinomial: chi-square over 36 squares."""
    counts = np.zeros((6, 6))
    chi2 = []
    for condition, xy_nm in draw_set("kinds_900", rois_per_condition=40, seed=12):
        if condition == "random":
            counts = np.histogram2d(*xy_nm.T, bins=6, range=[[0, SIDE_NM]] * 2)[0]
            chi2.append(((counts - 25) ** 2 / 25).sum())
    assert abs(np.mean(chi2) - 35) < 4 * np.sqrt(2 * 35 / 40)
