"""A structure is told from none, strangers from particles, and the error of rotations from the data alone."""

from itertools import pairwise

import numpy as np
import pytest

from smlmbatch.registration.agreement import judge_agreement
from smlmbatch.registration.fitting import RegisterConfig
from smlmbatch.registration.joint import register
from smlmbatch.registration.phase import angle_errors_deg, fit_phases
from smlmbatch.registration.rotations import angles_in_plane
from tests.registration.drawn import any_turns, flags, ragged

QUICK = RegisterConfig(components=24, starts=1, steps=12)


def blob(rng, n=20, sd_nm=18.0):
    """As many molecules as a flag's locs, anywhere, each seen three times."""
    return np.repeat(rng.normal(0, sd_nm, (n // 3 + 1, 2)), 3, axis=0) + rng.normal(0, 2, (3 * (n // 3 + 1), 2))


def test_flags_agree_and_their_error_is_known():
    start, points, truth = flags(40, seed=31)
    found = register(start, points, config=QUICK)
    judged = judge_agreement(start, points, found, config=QUICK)
    errors = angle_errors_deg(-angles_in_plane(found.rotation), angles_in_plane(truth))
    assert judged.gain_z > 8
    assert not judged.failed
    assert judged.poor.mean() <= 0.1
    assert judged.rotation_sd_deg == pytest.approx(1.4826 * np.median(np.abs(errors)), rel=0.8)


def test_where_there_is_no_structure_registration_has_failed():
    rng = np.random.default_rng(32)
    start, points = ragged([blob(rng) for _ in range(30)])
    judged = judge_agreement(start, points, register(start, points, config=QUICK), config=QUICK)
    assert judged.failed


def test_strangers_are_found():
    start, points, _ = flags(40, seed=33)
    rng = np.random.default_rng(34)
    particles = [points[a:b] for a, b in pairwise(start)]
    strangers = [3, 17, 30]
    for number in strangers:
        particles[number] = blob(rng)
    start, points = ragged(particles)
    judged = judge_agreement(start, points, register(start, points, config=QUICK), config=QUICK)
    assert set(strangers) <= set(np.flatnonzero(judged.poor).tolist())
    assert judged.poor.sum() <= len(strangers) + 3
    assert judged.score[strangers].max() < np.delete(judged.score, strangers).mean()


def test_space_is_judged_too():
    start, points, _ = flags(12, seed=35, axes=3, turns=any_turns(12, seed=36), seen=1.0, turn_nm=0.0)
    config = RegisterConfig(components=16, starts=1, steps=10, turns="space")
    judged = judge_agreement(start, points, register(start, points, config=config), config=config)
    assert not judged.failed
    assert np.isnan(judged.rotation_sd_deg)


def test_phases_of_rings_are_those_made():
    rng = np.random.default_rng(37)
    angle = rng.uniform(0, np.pi / 4, 20)
    corners = np.arange(8) * np.pi / 4
    rings = [50 * np.stack([np.cos(corners + a), np.sin(corners + a)], axis=1).repeat(4, axis=0) + rng.normal(0, 2, (32, 2)) for a in angle]
    found = fit_phases(*ragged(rings))
    assert np.abs(angle_errors_deg(found.angle_rad, angle, fold=8)).max() < 2
    assert found.contrast.min() > 0.8
    round_ring = 50 * np.stack([np.cos(np.arange(400) / 400 * 2 * np.pi), np.sin(np.arange(400) / 400 * 2 * np.pi)], axis=1)
    assert fit_phases(np.array([0, 400]), round_ring).contrast[0] < 0.01
