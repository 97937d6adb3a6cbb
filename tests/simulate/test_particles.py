"""Drawn particles against what they were said to be drawn from: shape, pose, errors, counts; and what each is a function of."""

from itertools import pairwise

import numpy as np
import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.particles import (
    AXIAL_TIMES,
    PORES_2D,
    PORES_3D,
    TETRAHEDRA,
    draw_particles,
    draw_pores_2d,
    draw_pores_3d,
    draw_tetrahedra,
    turn_matrix,
)

DRAWN = {"pores 2d": (draw_pores_2d, PORES_2D), "pores 3d": (draw_pores_3d, PORES_3D), "tetrahedra": (draw_tetrahedra, TETRAHEDRA)}


def per_particle(drawn):
    return [drawn.points_nm[a:b] for a, b in pairwise(drawn.start)]


def true_places_nm(population, drawn):
    """Where each loc would be seen without error, written out again."""
    places = []
    for k, (a, b) in enumerate(pairwise(drawn.start)):
        turn = turn_matrix(drawn.rotation_rad[k], *drawn.tilt_rad[k])
        sites = population.template.sites_nm(drawn.radius_nm[k], np.nan_to_num(drawn.height_nm[k]))
        places.append((sites @ turn.T)[drawn.site[a:b], : population.axes] + drawn.centre_nm[k])
    return np.concatenate(places)


@pytest.mark.parametrize("name", DRAWN)
def test_a_particle_is_a_function_of_seed_and_number(name) -> None:
    draw, _ = DRAWN[name]
    few, more, other = draw(7, count=5), draw(7, count=9), draw(8, count=5)
    for field in few.__slots__:
        ours = getattr(few, field)
        np.testing.assert_array_equal(ours, getattr(more, field)[: len(ours)])
    assert not np.isin(few.radius_nm + np.nan_to_num(few.height_nm), other.radius_nm + np.nan_to_num(other.height_nm)).any()


@pytest.mark.parametrize("name", DRAWN)
def test_a_share_keeps_a_part_of_what_larger_shares_do(name) -> None:
    draw, _ = DRAWN[name]
    whole = draw(3, count=12)
    for share in (0.5, 0.2):
        part = draw(3, count=12, share=share)
        assert np.diff(part.start).tolist() == np.ceil(share * np.diff(whole.start)).tolist()
        for ours, theirs in zip(per_particle(part), per_particle(whole), strict=True):
            np.testing.assert_array_equal(ours, theirs[: len(ours)])
        np.testing.assert_array_equal(part.radius_nm, whole.radius_nm)


@pytest.mark.parametrize("name", DRAWN)
def test_locs_lie_about_their_sites_by_their_own_error(name) -> None:
    draw, population = DRAWN[name]
    drawn = draw(11, count=60)
    away = (drawn.points_nm - true_places_nm(population, drawn)) / drawn.precision_nm[:, None]
    wanted = [1.0, 1.0, AXIAL_TIMES][: population.axes]
    assert away.std(axis=0) == pytest.approx(wanted, rel=0.05)
    assert np.abs(away.mean(axis=0)).max() < 0.05
    assert population.precision_nm[0] <= drawn.precision_nm.min() < drawn.precision_nm.max() <= population.precision_nm[1]


@pytest.mark.parametrize("name", DRAWN)
def test_truth_covers_its_range_and_pose_its_spread(name) -> None:
    draw, population = DRAWN[name]
    drawn = draw(5, count=400)
    for found, (low, high) in ((drawn.radius_nm, population.radius_nm), (drawn.height_nm, population.height_nm)):
        if population.axes == 2 and found is drawn.height_nm:
            assert np.isnan(found).all()
            continue
        assert found.mean() == pytest.approx((low + high) / 2, abs=(high - low) / 15)
        assert found.std() == pytest.approx((high - low) / np.sqrt(12), rel=0.1)
    turn = 2 * np.pi / population.fold
    assert np.histogram(drawn.rotation_rad, bins=4, range=(0, turn))[0].min() > 70
    assert drawn.centre_nm.std(axis=0) == pytest.approx([population.pick_nm] * population.axes, rel=0.12)
    assert drawn.tilt_rad.std(axis=0) == pytest.approx([population.tilt_rad] * 2, rel=0.12)
    if population is PORES_3D:
        assert abs(np.corrcoef(drawn.radius_nm, drawn.height_nm)[0, 1]) < 0.12


def test_as_many_locs_as_published_sets_have() -> None:
    """154, 79 and 1,240 of a particle; of the mean of 400 particles, the standard error is 2 %."""
    for draw, mean in ((draw_pores_2d, 154), (draw_pores_3d, 79), (draw_tetrahedra, 1240)):
        assert np.diff(draw(9, count=400).start).mean() == pytest.approx(mean, rel=0.06)


def test_order_of_locs_tells_nothing() -> None:
    """The first fifth of a particle's locs holds its sites as all of them do."""
    drawn = draw_pores_2d(2, count=300)
    whole = np.concatenate([np.arange(n) < n / 5 for n in np.diff(drawn.start)])
    early, late = (np.bincount(drawn.site[of] // 4, minlength=8) / of.sum() for of in (whole, ~whole))
    assert early == pytest.approx(late, abs=0.02)


def test_templates_repeat_themselves_after_their_part_of_a_turn() -> None:
    for population in (PORES_2D, PORES_3D, TETRAHEDRA):
        sites = population.template.sites_nm(55.0, 70.0)
        turned = sites @ turn_matrix(2 * np.pi / population.fold, 0.0, 0.0).T
        nearest = np.linalg.norm(turned[:, None] - sites, axis=2).min(axis=1)
        apex = (population.template.outward == 0).all(axis=1)
        assert nearest[~apex] == pytest.approx(0, abs=1e-9)
        assert sites.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-9)


def test_nobody_and_what_cannot_be() -> None:
    none = draw_pores_3d(1, count=0)
    assert (len(none), none.points_nm.shape, none.centre_nm.shape, none.start.tolist()) == (0, (0, 3), (0, 3), [0])
    for wrong in ({"share": 0.0}, {"share": 1.2}, {"count": -1}):
        with pytest.raises(ConfigError, match="wanted"):
            draw_particles(PORES_2D, 1, **({"count": 3} | wrong))
