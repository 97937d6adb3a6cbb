"""Evaluation ROIs: numbers of locs, places, and that equal totals are equal."""

import numpy as np
import pytest

from smlmbatch.simulate.rois import SETS, SIDE_NM, RoiSpec, draw_roi, draw_set, thin


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
