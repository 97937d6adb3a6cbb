"""Axes through latents: found where they are known to be, and reported on particles that they were not chosen on."""

import numpy as np
import pytest

from smlmbatch.methods.pcvae.axes import Axes, agreement, halves, pearson, principal_axes, supervised_axis


def latents(n=4000, seed=0):
    """Three directions of known variance, turned; and a value along the second."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    own = rng.normal(size=(n, 3)) * [3.0, 2.0, 0.5]
    return own @ turn.T + 5.0, own, turn


def halved(own, turn, noise, seed=1):
    """Two halves of each particle: what is its own, and noise of this size along each of its directions."""
    rng = np.random.default_rng(seed)
    return [(own + noise * rng.normal(size=own.shape)) @ turn.T + 5.0 for _ in range(2)]


def test_principal_axes_are_those_of_the_draw():
    found, own, turn = latents()
    axes, share = principal_axes(*halved(own, turn, noise=1.0))
    assert share == pytest.approx(np.array([9, 4, 0.25]) / 13.25, abs=0.02)
    assert np.abs(np.diag(np.corrcoef(axes.places(found).T, own.T)[:3, 3:])) == pytest.approx(np.ones(3), abs=2e-2)
    assert (np.take_along_axis(axes.direction, np.abs(axes.direction).argmax(axis=0)[None], axis=0) > 0).all()


def test_what_varies_by_noise_alone_comes_last_and_like_variances_do_not_mix():
    """Of three directions of one variance, the first is all signal, the second half, the third none: latents alone can't tell them."""
    rng = np.random.default_rng(2)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    own = rng.normal(size=(6000, 3)) * np.sqrt([1.0, 0.5, 0.0])
    one, two = halved(own, turn, noise=np.sqrt([0.0, 0.5, 1.0]))
    axes, share = principal_axes(one, two)
    seen = np.abs(np.corrcoef(axes.places((one + two) / 2).T, own[:, :2].T)[:3, 3:])
    assert seen[0, 0] > 0.99
    assert seen[1, 1] > 0.8  # of sqrt(2 / 3), which noise leaves
    assert share[2] < 0.02
    plain = np.linalg.svd(one - one.mean(axis=0), full_matrices=False)[2]
    assert np.abs(np.corrcoef((one @ plain.T).T, own[:, :2].T)[:3, 3:]).max(axis=0)[0] < 0.97


@pytest.mark.parametrize("noise", [0.0, 1e-7, 1.0])
def test_principal_axes_of_particles_that_are_all_alike(noise):
    """Differences in the last digits are none: nothing is blown up."""
    rng = np.random.default_rng(0)
    axes, share = principal_axes(*(np.ones((50, 3)) + noise * rng.normal(size=(50, 3)) for _ in range(2)))
    assert np.abs(axes.direction).max() < 10
    assert share.sum() == pytest.approx(1.0 if noise == 1.0 else 0.0)


def test_supervised_axis_is_least_squares_where_particles_are_many():
    found, own, _ = latents()
    value = 40.0 + 2.0 * own[:, 1] + np.random.default_rng(1).normal(size=len(own))
    axis = supervised_axis(found, value)
    wanted = np.linalg.lstsq(found - found.mean(axis=0), value - value.mean(), rcond=None)[0]
    assert axis.direction[:, 0] == pytest.approx(wanted, abs=0.01)


def test_penalty_keeps_few_particles_from_being_learned_by_heart():
    """Thirty units of noise and one that tells, forty particles: on others, better than least squares."""
    gains = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        known, fresh = rng.normal(size=(40, 31)), rng.normal(size=(2000, 31))
        value = known[:, 0] + rng.normal(size=40)
        ridge = pearson(supervised_axis(known, value).places(fresh), fresh[:, 0])[0]
        plain = np.linalg.lstsq(known - known.mean(axis=0), value - value.mean(), rcond=None)[0]
        gains.append(ridge - pearson((fresh @ plain)[:, None], fresh[:, 0])[0])
    assert np.mean(gains) > 0.1


def test_axis_is_reported_on_the_other_half():
    """A hundred units of pure noise, sixty particles: the best would reach 0.4 on the half that it was chosen on."""
    rng = np.random.default_rng(0)
    as_they_are = Axes(np.zeros(100), np.eye(100))
    found = np.array(
        [list(agreement(rng.normal(size=(60, 100)), rng.normal(size=60), axes=as_they_are, seed=s).values()) for s in range(30)]
    )
    assert found.shape == (30, 3)
    assert (found.mean(axis=0) < 0.22).all()  # |r| of 30 pairs without any connection is 0.15 in the mean


def test_agreement_of_a_value_that_spreads_over_units():
    found, own, turn = latents()
    axes, _ = principal_axes(*halved(own, turn, noise=1.0))
    told = agreement(found, own[:, 0], axes=axes)
    assert told["principal axis"] > 0.99
    assert told["ridge"] > 0.99
    assert told["unit"] < told["ridge"]
    value = own[:, 0].copy()
    value[::3] = np.nan
    assert agreement(found, value, axes=axes)["ridge"] > 0.99
    assert agreement(found[:7], own[:7, 0], axes=axes) == {}


def test_halves_are_halves():
    first, other = halves(11, seed=3)
    assert sorted([*first, *other]) == list(range(11))
    assert (len(first), len(other)) == (5, 6)
    assert not np.array_equal(first, halves(11, seed=4)[0])


def test_what_does_not_vary_goes_with_nothing():
    assert pearson(np.ones((5, 2)), np.arange(5.0)).tolist() == [0.0, 0.0]
