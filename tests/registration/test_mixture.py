"""The E-step against the formula written out, the raster against the density, poses against matrices."""

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from smlmbatch.registration.mixture import Mixture, Poses, expect, maximise, rasterise
from smlmbatch.registration.ragged import arrange
from smlmbatch.registration.rotations import plane_rotations
from tests.registration.drawn import ragged


def some(axes, *, seed=1):
    rng = np.random.default_rng(seed)
    particles = arrange(*ragged([rng.normal(0, 20, (n, axes)) for n in (5, 9, 4)]), source="x")
    poses = Poses(plane_rotations(rng.uniform(-3, 3, 3), axes=axes), rng.normal(0, 5, (3, axes)))
    share = rng.dirichlet(np.ones(6)) * 0.9
    return particles, poses, Mixture(rng.normal(0, 15, (6, axes)), rng.uniform(60, 300, (6, axes)), share, 0.1, 120.0)


def densities(mixture, places):
    """Of each component at each place, (n, K)."""
    each = [multivariate_normal(c, np.diag(v)).pdf(places) for c, v in zip(mixture.centre_nm, mixture.variance_nm2, strict=True)]
    return mixture.share * np.stack(each, axis=1)


@pytest.mark.parametrize("axes", [2, 3])
def test_e_step_is_the_formula(axes):
    particles, poses, mixture = some(axes)
    weight = np.random.default_rng(2).uniform(0.5, 2, len(particles.points_nm))
    sums = expect(particles, poses, mixture, weight)
    places = np.concatenate(
        [
            particles.points_nm[a:b] @ turn.T + shift
            for a, b, turn, shift in zip(particles.start, particles.start[1:], poses.rotation, poses.shift_nm, strict=False)
        ]
    )
    np.testing.assert_allclose(poses.place(particles), places)
    volume = math.pi * 120**2 if axes == 2 else 4 / 3 * math.pi * 120**3
    each = densities(mixture, places)
    whole = each.sum(axis=1) + 0.1 / volume
    part = weight[:, None] * each / whole[:, None]
    own = np.add.reduceat
    np.testing.assert_allclose(sums.log_likelihood, own(weight * np.log(whole), particles.start[:-1]), rtol=1e-6)
    np.testing.assert_allclose(sums.weight, own(part, particles.start[:-1]), atol=1e-6)
    np.testing.assert_allclose(sums.first_nm, own(part[..., None] * particles.points_nm[:, None], particles.start[:-1]), atol=1e-4)
    assert sums.background == pytest.approx((weight * 0.1 / volume / whole).sum(), rel=1e-5)


def test_em_never_lowers_the_likelihood():
    particles, poses, mixture = some(2)
    weight = np.ones(len(particles.points_nm))
    last = -np.inf
    for _ in range(5):  # without the pull towards the common spread of few steps it would be exact; it may cost 1e-2 nats here
        sums = expect(particles, poses, mixture, weight)
        assert sums.log_likelihood.sum() > last - 1e-2
        last = sums.log_likelihood.sum()
        mixture = maximise(sums, poses, mixture, least_sd_nm=5.0, z_apart=False)
        assert mixture.share.sum() + mixture.background == pytest.approx(1)
        assert (mixture.variance_nm2 >= 25).all()


def test_m_step_keeps_z_apart_where_told():
    particles, poses, mixture = some(3)
    sums = expect(particles, poses, mixture, np.ones(len(particles.points_nm)))
    apart = maximise(sums, poses, mixture, least_sd_nm=1.0, z_apart=True).variance_nm2
    np.testing.assert_array_equal(apart[:, 0], apart[:, 1])
    assert (apart[:, 2] != apart[:, 0]).all()
    tied = maximise(sums, poses, mixture, least_sd_nm=1.0, z_apart=False).variance_nm2
    np.testing.assert_array_equal(tied, np.repeat(tied[:, :1], 3, axis=1))


@pytest.mark.parametrize("axes", [2, 3])
def test_the_raster_looks_up_the_likelihood(axes):
    particles, poses, mixture = some(axes)
    weight = np.ones(len(particles.points_nm))
    turns = plane_rotations(np.array([0.0, 0.7]), axes=axes)
    found = rasterise(mixture, most_steps=128).look_up(particles, poses.place(particles), turns, weight)
    for number, turn in enumerate(turns):
        truth = expect(particles, poses.then(np.repeat(turn[None], 3, axis=0)), mixture, weight).log_likelihood
        np.testing.assert_allclose(found[:, number], truth, atol=0.15)
