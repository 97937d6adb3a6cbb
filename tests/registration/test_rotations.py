"""Rotations are proper and even, and the best of them is found."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smlmbatch.registration.rotations import angles_in_plane, best_rotations, degrees_between, plane_rotations, space_rotations


def test_rotations_of_space_are_proper_and_leave_no_gap():
    turns = space_rotations(576)
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-12)
    np.testing.assert_allclose(turns[0], np.eye(3), atol=1e-12)
    any_turn = Rotation.random(300, random_state=5).as_matrix()
    nearest = degrees_between(turns[None], any_turn[:, None]).min(axis=1)
    assert nearest.max() < 36
    assert nearest.mean() < 20


@pytest.mark.parametrize("axes", [2, 3])
def test_plane_rotations_turn_about_z(axes):
    angle = np.array([-3.0, -0.2, 0.0, 1.4])
    turns = plane_rotations(angle, axes=axes)
    np.testing.assert_allclose(angles_in_plane(turns), angle, atol=1e-12)
    np.testing.assert_allclose(turns[:, :, 2:], np.broadcast_to(np.eye(axes)[:, 2:], (4, axes, axes - 2)))


@pytest.mark.parametrize(("axes", "in_plane"), [(2, True), (3, True), (3, False)])
def test_best_rotation_is_the_one_that_was_made(axes, in_plane):
    rng = np.random.default_rng(3)
    truth = plane_rotations(rng.uniform(-3, 3, 20), axes=axes) if in_plane else Rotation.random(20, random_state=6).as_matrix()
    points = rng.normal(size=(20, 9, axes))
    covariance = np.einsum("knd,kne->kde", points, np.einsum("kde,kne->knd", truth, points))
    np.testing.assert_allclose(best_rotations(covariance, in_plane=in_plane), truth, atol=1e-10)


def test_a_mirror_image_gives_no_reflection():
    points = np.random.default_rng(4).normal(size=(30, 3))
    covariance = (points.T @ (points * [1, 1, -1]))[None]
    assert np.linalg.det(best_rotations(covariance, in_plane=False)[0]) == pytest.approx(1)


def test_degrees_between_are_those_of_a_known_turn():
    first = Rotation.random(10, random_state=7)
    turned = first * Rotation.from_rotvec(np.radians(25) * np.array([0, 0.6, 0.8]))
    np.testing.assert_allclose(degrees_between(first.as_matrix(), turned.as_matrix()), 25, atol=1e-6)
    flat = plane_rotations(np.array([0.1, 0.5]))
    np.testing.assert_allclose(degrees_between(flat[0], flat[1]), np.degrees(0.4), atol=1e-6)
