"""Axes through latents: found where they are known to be, and reported on particles that they were not chosen on."""

import numpy as np
import pytest

from smlmbatch.methods.pcvae.axes import agreement, halves, pearson, principal_axes, supervised_axis


def latents(n=4000, seed=0):
    """Three directions of known variance, turned; and a value along the second."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    own = rng.normal(size=(n, 3)) * [3.0, 2.0, 0.5]
    return own @ turn.T + 5.0, own, turn


def test_principal_axes_are_those_of_the_draw():
    found, own, turn = latents()
    axes, share = principal_axes(found)
    assert share == pytest.approx(np.array([9, 4, 0.25]) / 13.25, abs=0.02)
    assert np.abs((axes.direction * turn).sum(axis=0)) == pytest.approx(np.ones(3), abs=1e-3)
    assert np.abs(np.diag(np.corrcoef(axes.places(found).T, own.T)[:3, 3:])) == pytest.approx(np.ones(3), abs=1e-3)
    assert (np.take_along_axis(axes.direction, np.abs(axes.direction).argmax(axis=0)[None], axis=0) > 0).all()


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
    found = np.array([list(agreement(rng.normal(size=(60, 100)), rng.normal(size=60), seed=s).values()) for s in range(30)])
    assert found.shape == (30, 3)
    assert (found.mean(axis=0) < 0.22).all()  # |r| of 30 pairs without any connection is 0.15 in the mean


def test_agreement_of_a_value_that_spreads_over_units():
    found, own, _ = latents()
    told = agreement(found, own[:, 0])
    assert told["principal axis"] > 0.99
    assert told["ridge"] > 0.99
    assert told["unit"] < told["ridge"]
    value = own[:, 0].copy()
    value[::3] = np.nan
    assert agreement(found, value)["ridge"] > 0.99
    assert agreement(found[:7], own[:7, 0]) == {}


def test_halves_are_halves():
    first, other = halves(11, seed=3)
    assert sorted([*first, *other]) == list(range(11))
    assert (len(first), len(other)) == (5, 6)
    assert not np.array_equal(first, halves(11, seed=4)[0])


def test_what_does_not_vary_goes_with_nothing():
    assert pearson(np.ones((5, 2)), np.arange(5.0)).tolist() == [0.0, 0.0]
