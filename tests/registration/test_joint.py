"""Registration finds rotations that were made, gives the same whatever the order, and refuses what can't be registered."""

from itertools import pairwise

import numpy as np
import pytest

from smlmbatch.errors import ConfigError, InputError
from smlmbatch.registration.fitting import RegisterConfig
from smlmbatch.registration.joint import register
from smlmbatch.registration.phase import angle_errors_deg, fit_phases
from smlmbatch.registration.rotations import angles_in_plane, degrees_between
from smlmbatch.simulate.particles import draw_pores_2d
from tests.registration.drawn import any_turns, flags, ragged

QUICK = RegisterConfig(components=16, starts=2, steps=15)


def errors_deg(found, truth):
    """What is left of found rotations after made ones, against the particle that agrees best with all; degrees."""
    left = found @ truth
    return min((degrees_between(left, one[None]) for one in left), key=np.median)


@pytest.mark.parametrize("axes", [2, 3])
def test_turns_in_the_plane_are_found(axes):
    start, points, truth = flags(30, seed=11, axes=axes, seen=1.0)  # with sites missing, one arm may be taken for the other
    found = register(start, points, config=QUICK)
    errors = errors_deg(found.rotation, truth)
    assert np.median(errors) < 3
    assert errors.max() < 10
    assert found.in_plane
    assert np.sqrt(np.median(found.mixture.variance_nm2[:, 0])) == pytest.approx(2.0, abs=1.0)
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1, atol=1e-9)


def test_turns_in_space_are_found():
    start, points, truth = flags(20, seed=12, axes=3, turns=any_turns(20, seed=13), turn_nm=0.0, seen=0.95)
    found = register(start, points, config=RegisterConfig(components=16, starts=2, steps=15, turns="space"))
    errors = errors_deg(found.rotation, truth)
    assert np.median(errors) < 5
    assert (errors < 15).mean() >= 0.9


def test_pores_are_turned_as_well_as_by_their_phase():
    pores = draw_pores_2d(3, count=20)
    found = register(pores.start, pores.points_nm, config=RegisterConfig(starts=1))
    registered = np.abs(angle_errors_deg(-angles_in_plane(found.rotation), pores.rotation_rad, fold=8))
    by_phase = np.abs(angle_errors_deg(fit_phases(pores.start, pores.points_nm).angle_rad, pores.rotation_rad, fold=8))
    assert np.median(registered) < min(1.5, 1.5 * np.median(by_phase))


def test_the_order_given_changes_no_digit():
    start, points, _ = flags(10, seed=14)
    rng = np.random.default_rng(15)
    order = rng.permutation(10)
    shuffled = [rng.permutation(points[start[k] : start[k + 1]]) for k in order]
    one, other = register(start, points, config=QUICK), register(*ragged(shuffled), config=QUICK)
    np.testing.assert_array_equal(other.rotation, one.rotation[order])
    np.testing.assert_array_equal(other.shift_nm, one.shift_nm[order])
    np.testing.assert_array_equal(other.mixture.centre_nm, one.mixture.centre_nm)
    again = register(start, points, config=QUICK)
    np.testing.assert_array_equal(again.rotation, one.rotation)


def test_stray_locs_are_background():
    start, points, truth = flags(30, seed=16)
    rng = np.random.default_rng(17)
    with_strays = [np.concatenate([points[a:b], rng.uniform(-60, 60, (5, 2))]) for a, b in pairwise(start)]
    found = register(*ragged(with_strays), config=QUICK)
    assert np.median(errors_deg(found.rotation, truth)) < 4
    assert 0.02 < found.mixture.background < 0.35


def test_the_floor_is_the_precision_where_it_is_given():
    start, points, _ = flags(6, seed=18)
    quick = RegisterConfig(components=8, starts=1, steps=2)
    assert register(start, points, config=quick, precision_nm=np.full(len(points), 1.7)).least_sd_nm == 1.7
    assert register(start, points, config=RegisterConfig(components=8, starts=1, steps=2, least_sd_nm=0.5)).least_sd_nm == 0.5
    unknown = register(start, points, config=quick, precision_nm=np.full(len(points), np.nan))
    assert 0.3 < unknown.least_sd_nm < 2.0  # the locs' own error is 2 nm


def test_one_particle_alone_registers_to_itself():
    start, points, _ = flags(1, seed=19)
    assert register(start, points, config=QUICK).rotation.shape == (1, 2, 2)


@pytest.mark.parametrize(
    ("particles", "words"),
    [
        ([np.zeros((5, 2)), np.zeros((2, 2))], "1 particles of fewer than 3 locs, the first is number 1"),
        (
            [np.column_stack([np.eye(3, 2), [1, 2, 3]]), np.column_stack([np.eye(3, 2), [np.nan] * 3])],
            "1 of 2 particles have locs without z",
        ),
        ([np.full((4, 2), np.nan)], "places that are no numbers"),
        ([np.zeros((4, 4))], "points of shape"),
    ],
)
def test_what_cannot_be_registered_is_refused(particles, words):
    with pytest.raises(InputError, match=words) as caught:
        register(*ragged(particles), source="field A")
    assert caught.value.path == "field A"
    assert caught.value.mend


def test_no_particles_are_refused():
    with pytest.raises(InputError, match="no particles"):
        register(np.zeros(1, int), np.zeros((0, 2)))


def test_wrong_settings_are_refused():
    start, points, _ = flags(3, seed=20)
    with pytest.raises(ConfigError, match="no z"):
        register(start, points, config=RegisterConfig(turns="space"))
    for wrong in ({"turns": "round"}, {"components": 0}, {"starts": 0}, {"least_sd_nm": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            RegisterConfig(**wrong)
