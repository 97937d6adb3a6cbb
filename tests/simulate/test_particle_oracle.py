"""The oracle against closed forms and truth: exact without errors, at the limit of information with them, better than plain fits."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from smlmbatch.clustering.particle_shapes import circle_radii, level_heights
from smlmbatch.simulate.particle_oracle import _place_sites, fit_particles
from smlmbatch.simulate.particles import PORES_2D, PORES_3D, TETRAHEDRA, draw_particles, turn_matrix


def correlation(found, true):
    return np.corrcoef(found, true)[0, 1]


def turned_away(found_rad, true_rad, fold):
    """Difference modulo the symmetry, degrees."""
    turn = 2 * np.pi / fold
    return np.degrees((found_rad - true_rad + turn / 2) % turn - turn / 2)


def test_slopes_of_sites_are_their_differences() -> None:
    numbers = np.array([1.0, -2.0, 3.0, 54.0, 48.0, 0.3, 0.1, -0.2])
    template = (TETRAHEDRA.template.outward, TETRAHEDRA.template.upward, TETRAHEDRA.template.offset_nm)
    sites, slopes = _place_sites(numbers, *template)
    assert sites == pytest.approx(TETRAHEDRA.template.sites_nm(54.0, 48.0) @ turn_matrix(0.3, 0.1, -0.2).T + numbers[:3])
    for number, step in enumerate(np.eye(8) * 1e-6):
        difference = (_place_sites(numbers + step, *template)[0] - _place_sites(numbers - step, *template)[0]) / 2e-6
        assert slopes[:, :, number] == pytest.approx(difference, abs=1e-6)


@pytest.mark.parametrize(
    ("population", "away_deg"), [(PORES_2D, 0.1), (PORES_3D, 0.1), (TETRAHEDRA, 1.5)], ids=["pores 2d", "pores 3d", "tetrahedra"]
)
def test_without_errors_it_finds_what_was_drawn(population, away_deg) -> None:
    """Errors are told as 1 nm: finer, EM walks from afar by tiny steps; coarser, the sites of a corner, 3 nm apart, run together. Those of
    a tetrahedron's vertex lie round it, so a likelihood has peaks a degree apart, and the next one may be climbed."""
    sharp = dataclasses.replace(population, precision_nm=(0.05, 0.05), blinks=6.0, labelled=0.9, pick_nm=0.5)
    drawn = draw_particles(sharp, 31, count=12)
    blurred = dataclasses.replace(drawn, precision_nm=np.full_like(drawn.precision_nm, 1.0))
    found = fit_particles(sharp, blurred)
    assert found.radius_nm == pytest.approx(drawn.radius_nm, abs=0.1)
    assert turned_away(found.rotation_rad, drawn.rotation_rad, population.fold) == pytest.approx(np.zeros(12), abs=away_deg)
    if population.axes == 3:
        assert found.height_nm == pytest.approx(drawn.height_nm, abs=0.3)
    else:
        assert np.isnan(found.height_nm).all()


def test_pores_in_the_plane() -> None:
    """Better than the circle, also of few locs, and nearly as good as if each loc's corner were known (0.45 nm by 1 / sqrt(sum 1 / s²))."""
    for share, least in ((1.0, 0.985), (0.2, 0.95)):
        drawn = draw_particles(PORES_2D, 41, count=150, share=share)
        found = fit_particles(PORES_2D, drawn)
        circle = correlation(circle_radii(drawn.points_nm, drawn.start).radius.nm, drawn.radius_nm)
        assert correlation(found.radius_nm, drawn.radius_nm) > max(least, circle)
    away = np.abs(turned_away(fit_particles(PORES_2D, draw_particles(PORES_2D, 41, count=150)).rotation_rad, drawn.rotation_rad, 8))
    assert np.median(away) < 1.0


def test_pores_in_3d_and_tetrahedra() -> None:
    drawn = draw_particles(PORES_3D, 41, count=200)
    found = fit_particles(PORES_3D, drawn)
    circle = correlation(circle_radii(drawn.points_nm, drawn.start).radius.nm, drawn.radius_nm)
    plain = correlation(level_heights(drawn.points_nm, drawn.start).nm, drawn.height_nm)
    assert correlation(found.radius_nm, drawn.radius_nm) > max(0.9, circle)
    assert correlation(found.height_nm, drawn.height_nm) > max(0.55, plain)
    high = draw_particles(TETRAHEDRA, 41, count=20)
    told = fit_particles(TETRAHEDRA, high)
    plain_nm = level_heights(high.points_nm, high.start).nm
    assert np.std(told.height_nm - high.height_nm) < min(1.7, np.std(plain_nm - high.height_nm))


def test_order_of_locs_and_few_of_them() -> None:
    drawn = draw_particles(PORES_2D, 51, count=3)
    back = np.concatenate([np.arange(a, b)[::-1] for a, b in pairwise(drawn.start)])
    turned = dataclasses.replace(drawn, points_nm=drawn.points_nm[back], precision_nm=drawn.precision_nm[back])
    assert fit_particles(PORES_2D, turned).radius_nm == pytest.approx(fit_particles(PORES_2D, drawn).radius_nm, abs=1e-6)
    two = dataclasses.replace(drawn, start=np.array([0, 2, drawn.start[1], drawn.start[2]]))
    few = dataclasses.replace(two, points_nm=drawn.points_nm[: drawn.start[2]], precision_nm=drawn.precision_nm[: drawn.start[2]])
    assert np.isnan(fit_particles(PORES_2D, few).radius_nm).tolist() == [True, False, False]
