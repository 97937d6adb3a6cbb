"""Super-particles, their pictures, and bins brought into one frame."""

import numpy as np
import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.registration.fitting import RegisterConfig
from smlmbatch.registration.joint import Registered
from smlmbatch.registration.mixture import Mixture
from smlmbatch.registration.rotations import plane_rotations
from smlmbatch.registration.series import align_mixture, align_series, mixture_overlap
from smlmbatch.registration.superparticle import SuperParticle, density_picture, super_particle
from tests.registration.drawn import FLAG_NM, HEIGHTS_NM


def flag_mixture(*, size=1.0, sd_nm=4.0, axes=2):
    centre = size * (FLAG_NM if axes == 2 else np.column_stack([FLAG_NM, HEIGHTS_NM]))
    return Mixture(centre, np.full(centre.shape, sd_nm**2), np.full(len(centre), 0.99 / len(centre)), 0.01, 90.0)


def as_particle(mixture):
    return SuperParticle(mixture.centre_nm, np.zeros(len(mixture.centre_nm), int), mixture, 2.0)


def test_super_particle_undoes_the_rotations():
    turns = plane_rotations(np.array([0.3, -1.2, 2.5]))
    start = np.array([0, 7, 14, 21])
    points = np.concatenate([FLAG_NM @ turn.T + [4, 5] for turn in turns])
    back = turns.transpose(0, 2, 1)
    registered = Registered(back, -back @ [4, 5], flag_mixture(), np.zeros(3), np.zeros(1), 1, 2.0, True)
    found = super_particle(start, points, registered)
    np.testing.assert_allclose(found.points_nm, np.tile(FLAG_NM, (3, 1)), atol=1e-12)
    np.testing.assert_array_equal(found.particle, np.repeat([0, 1, 2], 7))


def test_the_picture_counts_locs_per_particle_and_area():
    rng = np.random.default_rng(1)
    places = rng.normal([20, -5], 10, (4000, 2))
    picture = density_picture(SuperParticle(places, np.repeat([0, 1], 2000), flag_mixture(), 3.0))
    assert picture.per_nm2.sum() * picture.pixel_nm**2 == pytest.approx(2000, rel=0.01)
    row, column = np.unravel_index(picture.per_nm2.argmax(), picture.per_nm2.shape)
    assert column * picture.pixel_nm - picture.half_nm == pytest.approx(20, abs=6)
    assert row * picture.pixel_nm - picture.half_nm == pytest.approx(-5, abs=6)
    variance = 10**2 + 3.0**2
    assert picture.per_nm2.max() == pytest.approx(2000 / (2 * np.pi * variance), rel=0.15)


@pytest.mark.parametrize("axes", [2, 3])
def test_mixtures_are_brought_back(axes):
    truth = plane_rotations(np.array([2.2]), axes=axes)[0]
    fixed = flag_mixture(axes=axes)
    pose = align_mixture(fixed.moved(truth, np.full(axes, 3.0)), fixed, config=RegisterConfig())
    np.testing.assert_allclose(pose.rotation[0], truth.T, atol=0.01)
    assert mixture_overlap(fixed.moved(truth, np.full(axes, 3.0)).moved(pose.rotation[0], pose.shift_nm[0]), fixed) > 0.999


def test_overlap_of_two_gaussians_is_the_closed_form():
    one = Mixture(np.zeros((1, 2)), np.full((1, 2), 9.0), np.array([0.9]), 0.1, 50.0)
    away = Mixture(np.array([[4.0, 0]]), np.full((1, 2), 9.0), np.array([0.5]), 0.5, 50.0)
    assert mixture_overlap(one, one) == pytest.approx(1)
    assert mixture_overlap(one, away) == pytest.approx(np.exp(-(4.0**2) / (4 * 9)))


def test_a_series_of_growing_flags_comes_into_one_frame():
    angle = np.random.default_rng(2).uniform(-np.pi, np.pi, 7)
    sizes = np.linspace(0.8, 1.2, 7)
    turned = [flag_mixture(size=size).moved(turn, np.zeros(2)) for size, turn in zip(sizes, plane_rotations(angle), strict=True)]
    series = align_series([as_particle(mixture) for mixture in turned])
    left = series.rotation @ plane_rotations(angle)
    np.testing.assert_allclose(left, np.broadcast_to(left[3], left.shape), atol=0.03)
    assert series.overlap[3] == 1
    assert series.overlap.min() > 0.7
    np.testing.assert_allclose(series.particles[0].mixture.centre_nm, 0.8 * FLAG_NM @ left[3].T, atol=2.5)


def test_the_plane_and_space_do_not_go_together():
    with pytest.raises(ConfigError, match="all of the plane or all of space"):
        align_series([as_particle(flag_mixture()), as_particle(flag_mixture(axes=3))])
    with pytest.raises(ConfigError, match="0 super-particles"):
        align_series([])
