"""Radii and heights of many particles against one at a time, closed forms, their own standard errors, and drawn truth."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from smlmbatch.clustering.centre import fit_sphere
from smlmbatch.clustering.particle_shapes import circle_radii, layer_heights, level_heights, mean_radii, median_radii
from smlmbatch.simulate.particles import draw_pores_2d, draw_pores_3d, draw_tetrahedra


def ragged(particles):
    return np.concatenate(particles), np.concatenate([[0], np.cumsum([len(one) for one in particles])])


def arcs(count, *, n=40, seed=0):
    """Three quarters of a circle of 50 nm, errors of 4 nm."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 1.5 * np.pi, (count, n))
    points = 50 * np.stack([np.cos(angle), np.sin(angle)], axis=2) + rng.normal(0, 4, (count, n, 2))
    return ragged(list(points))


def levels(count, *, n=200, apart=60.0, upper=0.3, seed=0):
    rng = np.random.default_rng(seed)
    z = np.where(rng.random((count, n)) < upper, apart, 0.0) + rng.normal(0, 10, (count, n)) + 500
    return ragged([np.column_stack([np.zeros((n, 2)), one]) for one in z])


def test_circles_are_those_of_the_fit_of_one() -> None:
    drawn = draw_pores_2d(1, count=40, share=0.5)
    found = circle_radii(drawn.points_nm, drawn.start)
    fits = [fit_sphere(drawn.points_nm[a:b]) for a, b in pairwise(drawn.start)]
    assert found.radius.nm == pytest.approx([fit.radius_nm for fit in fits], abs=1e-3)
    assert found.centre_nm == pytest.approx(np.array([fit.centre_nm for fit in fits]), abs=1e-3)
    assert found.scatter_nm == pytest.approx([fit.scatter_nm for fit in fits], rel=1e-6)


def test_means_and_medians_in_closed_form() -> None:
    rng = np.random.default_rng(3)
    particles = [rng.normal(10, 30, (n, 3)) for n in (2, 9, 50)]
    points, start = ragged(particles)
    radii = [np.linalg.norm((one - one.mean(axis=0))[:, :2], axis=1) for one in particles]
    means, medians = mean_radii(points, start), median_radii(points, start)
    assert means.nm == pytest.approx([r.mean() for r in radii])
    assert means.error_nm == pytest.approx([r.std(ddof=1) / np.sqrt(len(r)) for r in radii])
    assert medians.nm == pytest.approx([np.median(r) for r in radii])
    z = particles[2][:, 2]
    heights = layer_heights(points, start).nm
    assert np.isnan(heights[0])
    assert heights[2] == pytest.approx(np.median(z[z > z.mean()]) - np.median(z[z <= z.mean()]))


@pytest.mark.parametrize(
    ("measured", "true"),
    [
        (lambda: circle_radii(*arcs(600)).radius, 50 + 4**2 / 100),  # s² / 2R: what errors across the tangent add
        (lambda: level_heights(*levels(600)), 60.0),
        (lambda: level_heights(*levels(600, apart=35.0)), 35.0),
    ],
)
def test_standard_errors_are_those_of_repeated_draws(measured, true) -> None:
    found = measured()
    assert found.nm.mean() == pytest.approx(true, abs=5 * found.nm.std() / np.sqrt(600))
    assert np.sqrt((found.error_nm**2).mean()) == pytest.approx(found.nm.std(), rel=0.12)


def test_two_gaussians_are_as_likely_as_another_program_finds() -> None:
    points, start = levels(15, n=120, apart=40.0, upper=0.25, seed=4)
    found = level_heights(points, start).nm
    for k, (a, b) in enumerate(pairwise(start)):
        fit = GaussianMixture(2, covariance_type="tied", n_init=10, tol=1e-7, max_iter=1000, reg_covar=0, random_state=0).fit(
            points[a:b, 2:]
        )
        assert found[k] == pytest.approx(abs(np.diff(fit.means_[:, 0])[0]), abs=0.3)


@pytest.mark.parametrize("upper", [0.04, 0.96])
def test_a_small_level_is_found(upper) -> None:
    """From a split at the median alone, EM often ends with both Gaussians on the large one."""
    found = level_heights(*levels(100, n=400, upper=upper, seed=5)).nm
    assert np.mean(np.abs(found - 60) < 15) > 0.97


def test_drawn_particles() -> None:
    """Correlations with the truth, a little below what the yardsticks' table states."""
    flat, tetrahedra = draw_pores_2d(21, count=500), draw_tetrahedra(21, count=100)
    deep = draw_pores_3d(21, count=1000)

    def correlation(estimates, true_nm):
        return np.corrcoef(estimates.nm, true_nm)[0, 1]

    assert correlation(circle_radii(flat.points_nm, flat.start).radius, flat.radius_nm) > 0.985
    assert correlation(mean_radii(flat.points_nm, flat.start), flat.radius_nm) == pytest.approx(0.86, abs=0.05)
    assert correlation(circle_radii(deep.points_nm, deep.start).radius, deep.radius_nm) > 0.89
    assert correlation(level_heights(deep.points_nm, deep.start), deep.height_nm) > 0.48
    found = level_heights(tetrahedra.points_nm, tetrahedra.start)
    assert correlation(found, tetrahedra.height_nm) > 0.985
    assert np.abs(found.nm - tetrahedra.height_nm).max() < 15


def test_particles_that_show_no_shape() -> None:
    line = np.stack([np.arange(20.0), 2 * np.arange(20.0)], axis=1)
    few = np.array([[0.0, 1], [3, 4], [5, 9], [1, 7]])
    points, start = ragged([np.empty((0, 2)), line, few, np.ones((30, 2)), arcs(1)[0]])
    found = circle_radii(points, start)
    assert np.isnan(found.radius.nm).tolist() == [True, True, True, True, False]
    assert np.isnan(found.radius.error_nm).tolist() == [True, True, True, True, False]
    deep, ends = ragged([np.empty((0, 3)), np.ones((30, 3)), np.arange(6.0).reshape(2, 3), levels(1)[0]])
    assert np.isnan(level_heights(deep, ends).nm).tolist() == [True, True, True, False]
    assert np.isnan(layer_heights(deep, ends).nm).tolist() == [True, True, True, False]
    assert np.isnan(mean_radii(deep, ends).nm).tolist() == [True, False, False, False]
    assert len(mean_radii(np.empty((0, 2)), np.array([0])).nm) == 0
