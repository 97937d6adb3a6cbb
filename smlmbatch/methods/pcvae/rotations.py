"""Proper rotations: of the plane about the z axis, and of space, uniform over all of them.

Every matrix is orthogonal with determinant 1. In training they are drawn, in inference they lie on an even grid.

Shape letters: B particles or rotations, D axes (2 or 3).
"""

import math
from typing import Final, Literal

import torch
from torch import Tensor

Rotation = Literal["plane", "space", "none"]
DRAWS: Final = 3  # uniform numbers that a rotation takes
_PSI: Final = 1.533751168755204288118041  # the root of psi**4 = psi + 4


def drawn_rotations(kind: Rotation, axes: int, uniform_B3: Tensor) -> Tensor:
    """Rotations of uniform numbers from 0 to 1: (B, D, D).

    Parameters
    ----------
    kind : "plane" about z by any angle; "space", any rotation with equal probability (Shoemake 1992); "none"
    axes : D; "space" needs 3
    """
    if kind == "space":
        return _of_quaternions(_shoemake(*uniform_B3.unbind(dim=1)))
    turn_B = uniform_B3[:, 0] * (2.0 * math.pi if kind == "plane" else 0.0)
    return _about_z(turn_B, axes)


def even_rotations(kind: Rotation, axes: int, n: int) -> Tensor:
    """`n` rotations spread evenly, the first of a plane being none: (n, D, D) f4; one for "none".

    Those of space lie on super-Fibonacci spirals (Alexa 2022).

    >>> even_rotations("plane", 2, 4)[1].round().int().tolist()
    [[0, -1], [1, 0]]
    """
    n = 1 if kind == "none" else n
    place_B = torch.arange(n, dtype=torch.float64)
    if kind != "space":
        return _about_z(place_B * (2.0 * math.pi / n), axes).float()
    share_B = (place_B + 0.5) / n
    first, second = (2.0 * math.pi * (place_B + 0.5) / step for step in (math.sqrt(2.0), _PSI))
    near, far = share_B.sqrt(), (1.0 - share_B).sqrt()
    q = torch.stack([near * first.sin(), near * first.cos(), far * second.sin(), far * second.cos()], dim=1)
    return _of_quaternions(q).float()


def _about_z(turn_B: Tensor, axes: int) -> Tensor:
    c, s = turn_B.cos(), turn_B.sin()
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    rows = [[c, -s], [s, c]] if axes == 2 else [[c, -s, zero], [s, c, zero], [zero, zero, one]]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def _shoemake(u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """Unit quaternions, even on their sphere: (B, 4)."""
    near, far = (1.0 - u).sqrt(), u.sqrt()
    v, w = 2.0 * math.pi * v, 2.0 * math.pi * w
    return torch.stack([near * v.sin(), near * v.cos(), far * w.sin(), far * w.cos()], dim=1)


def _of_quaternions(q_B4: Tensor) -> Tensor:
    """Rotation matrices of unit quaternions (x, y, z, w): (B, 3, 3)."""
    x, y, z, w = q_B4.unbind(dim=1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
