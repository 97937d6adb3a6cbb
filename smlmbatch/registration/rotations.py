"""Rotations to start from: evenly in the plane, evenly in space, and the best rigid motion between points and what they should meet.

In space the starts are a spiral on the sphere of quaternions that covers all rotations evenly (Alexa, Super-Fibonacci Spirals, CVPR 2022):
576 of them leave no rotation farther than about 30 degrees from one. All are proper: orthogonal with determinant 1.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_PSI: Final = 1.533751168755204288118041  # the real root of psi^4 = psi + 4, sec. 4 of the paper


def plane_rotations(angle: Floats, *, axes: int = 2) -> Floats:
    """Rotations by angles (n,), rad, in the plane of the first two axes; (n, axes, axes).

    >>> plane_rotations(np.array([np.pi / 2])).round(6).tolist()
    [[[0.0, -1.0], [1.0, 0.0]]]
    """
    turns = np.tile(np.eye(axes), (len(angle), 1, 1))
    turns[:, 0, 0] = turns[:, 1, 1] = np.cos(angle)
    turns[:, 1, 0] = np.sin(angle)
    turns[:, 0, 1] = -turns[:, 1, 0]
    return turns


def space_rotations(count: int) -> Floats:
    """`count` rotations spread evenly over all rotations of space, the first is none at all; (count, 3, 3)."""
    step = np.arange(count) + 0.5
    near, far = np.sqrt(step / count), np.sqrt(1 - step / count)
    first, second = 2 * np.pi * step / np.sqrt(2), 2 * np.pi * step / _PSI
    turns = _of_quaternions(np.stack([near * np.sin(first), near * np.cos(first), far * np.sin(second), far * np.cos(second)], axis=1))
    from_first: Floats = turns @ turns[0].T
    return from_first


def _of_quaternions(unit: Floats) -> Floats:
    w, x, y, z = unit.T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def best_rotations(covariance: Floats, *, in_plane: bool) -> Floats:
    """The rotation R that makes sum w (R v) y largest, given sum w v y' (about the means) of each particle; (n, d, d).

    In the plane of the first two axes a closed form; in space Umeyama's (1991), the determinant kept at 1.
    """
    axes = covariance.shape[1]
    if in_plane:
        along = covariance[:, 0, 0] + covariance[:, 1, 1]
        across = covariance[:, 0, 1] - covariance[:, 1, 0]
        return plane_rotations(np.arctan2(across, along), axes=axes)
    left, _, right = np.linalg.svd(covariance)
    sign = np.ones((len(covariance), axes))
    sign[:, -1] = np.sign(np.linalg.det(left) * np.linalg.det(right))
    rotation: Floats = np.einsum("mea,me,mbe->mab", right, sign, left)
    return rotation


def angles_in_plane(rotation: Floats) -> Floats:
    """How far rotations (n, d, d) turn about the last axis (d = 3: z), rad in (-pi, pi]; (n,)."""
    return np.arctan2(rotation[:, 1, 0] - rotation[:, 0, 1], rotation[:, 0, 0] + rotation[:, 1, 1])


def degrees_between(first: Floats, second: Floats) -> Floats:
    """The angle of the rotation that leads from one to the other, (…, d, d) each; degrees."""
    axes = first.shape[-1]
    trace = np.einsum("...ab,...ab->...", first, second)
    cosine = trace / 2 if axes == 2 else (trace - 1) / 2
    angle: Floats = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return angle
