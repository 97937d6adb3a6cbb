"""Particles whose poses are known: a flag without any symmetry, copied, turned, shifted, blurred."""

import numpy as np

from smlmbatch.registration.rotations import plane_rotations

# A big L with a dot: no rotation of it is like another.
FLAG_NM = np.array([[0, 0], [0, 15], [0, 30], [0, 45], [15, 0], [30, 0], [28, 30]], dtype=float)
FLAG_NM -= FLAG_NM.mean(axis=0)
HEIGHTS_NM = np.array([0, 20, 0, -25, 30, -10, 15], dtype=float)


def ragged(particles):
    return np.concatenate([[0], np.cumsum([len(points) for points in particles])]), np.concatenate(particles)


def flags(count, *, seed, seen=0.8, blinks=4, error_nm=2.0, axes=2, turn_nm=3.0, turns=None):
    """(start, points, rotation): particle j is rotation_j applied to the template, its centre picked `turn_nm` beside."""
    rng = np.random.default_rng(seed)
    sites = FLAG_NM if axes == 2 else np.column_stack([FLAG_NM, HEIGHTS_NM - HEIGHTS_NM.mean()])
    rotation = plane_rotations(rng.uniform(-np.pi, np.pi, count), axes=axes) if turns is None else turns
    particles = []
    for turn in rotation:
        there = sites[rng.random(len(sites)) < seen]
        there = there if len(there) > 3 else sites
        locs = np.repeat(there, rng.integers(1, 2 * blinks, len(there)), axis=0)
        particles.append((locs + rng.normal(0, error_nm, locs.shape)) @ turn.T + rng.normal(0, turn_nm, axes))
    return *ragged(particles), rotation


def any_turns(count, *, seed):
    """Rotations of space, even by chance: (count, 3, 3)."""
    quaternion = np.random.default_rng(seed).normal(size=(count, 4))
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(quaternion).as_matrix()
