"""The symmetric Chamfer distance between point sets of different sizes, with weights.

d(x, y) = sum_i a_i min_j |x_i - y_j|^2 + mean_j min_i |x_i - y_j|^2, the weights a of a particle adding up to 1 (all equal: the mean). Who
is nearest is found without gradient, and distances are then worked out for these pairs alone: autograd through the whole matrix takes
five times as long. On a CPU large sets are searched by a tree.

Shape letters: B particles, P points, Q decoded points, D axes.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor

_TILE: Final = 1 << 22  # distances at a time: 16 MiB
_TREE_FROM: Final = 768  # points on either side; measured on a CPU in 2D and 3D


def chamfer(points_BPD: Tensor, present_BP: Tensor, decoded_BQD: Tensor, *, weight_BP: Tensor | None = None) -> Tensor:
    """Distance of each particle, with gradient: (B,).

    Parameters
    ----------
    points_BPD, present_BP : a particle's points, and which of them there are; 0 for a particle without any
    decoded_BQD : what it is compared with; all of these points count
    weight_BP : how much each point counts, 0 or more, of any sum
    """
    to_decoded_BP, to_point_BQ = nearest(points_BPD, present_BP, decoded_BQD)
    weight_BP = present_BP.to(points_BPD.dtype) if weight_BP is None else weight_BP * present_BP
    weight_BP = weight_BP / weight_BP.sum(dim=1, keepdim=True).clamp(min=1e-12)
    there_BP = (points_BPD - _picked(decoded_BQD, to_decoded_BP)).square().sum(dim=2)
    back_BQ = (_picked(points_BPD, to_point_BQ) - decoded_BQD).square().sum(dim=2)
    return (there_BP * weight_BP).sum(dim=1) + back_BQ.mean(dim=1) * present_BP.any(dim=1)


@torch.no_grad()
def nearest(points_BPD: Tensor, present_BP: Tensor, decoded_BQD: Tensor) -> tuple[Tensor, Tensor]:
    """Of each point the nearest decoded one, (B, P) i8, and of each decoded one the nearest point that is there, (B, Q) i8."""
    n_points, n_decoded = points_BPD.shape[1], decoded_BQD.shape[1]
    if points_BPD.device.type == "cpu" and min(n_points, n_decoded) >= _TREE_FROM:
        return _by_tree(points_BPD, present_BP, decoded_BQD)
    many = max(1, _TILE // max(1, n_points * n_decoded))  # particles at a time
    rows = _TILE // max(1, n_decoded) if many == 1 else n_points
    pieces = [slice(first, first + many) for first in range(0, len(points_BPD), many)]
    found = [_by_matrix(points_BPD[piece], present_BP[piece], decoded_BQD[piece], rows=max(1, rows)) for piece in pieces]
    return torch.cat([there for there, _ in found]), torch.cat([back for _, back in found])


def _by_matrix(points_BPD: Tensor, present_BP: Tensor, decoded_BQD: Tensor, *, rows: int) -> tuple[Tensor, Tensor]:
    """By all distances, `rows` points at a time; |x|^2 - 2 x y + |y|^2, of which each side needs but two parts."""
    length_BQ = decoded_BQD.square().sum(dim=2)
    length_BP = points_BPD.square().sum(dim=2).masked_fill(~present_BP, torch.inf)
    there, best_BQ, back_BQ = [], torch.full_like(length_BQ, torch.inf), torch.zeros_like(length_BQ, dtype=torch.int64)
    for first in range(0, points_BPD.shape[1], rows):
        piece = slice(first, first + rows)
        cross_BPQ = torch.baddbmm(length_BQ[:, None], points_BPD[:, piece], decoded_BQD.transpose(1, 2), alpha=-2.0)
        there.append(cross_BPQ.argmin(dim=2))
        least_BQ, of_BQ = (cross_BPQ + length_BP[:, piece, None]).min(dim=1)
        back_BQ = torch.where(least_BQ < best_BQ, of_BQ + first, back_BQ)
        best_BQ = torch.minimum(best_BQ, least_BQ)
    return torch.cat(there, dim=1), back_BQ


def _by_tree(points_BPD: Tensor, present_BP: Tensor, decoded_BQD: Tensor) -> tuple[Tensor, Tensor]:
    from scipy.spatial import cKDTree

    points, present, decoded = points_BPD.numpy(), present_BP.numpy(), decoded_BQD.numpy()
    there, back = np.zeros(points.shape[:2], np.int64), np.zeros(decoded.shape[:2], np.int64)
    for i, here in enumerate(present):
        place = np.flatnonzero(here)
        if len(place):
            there[i, place] = cKDTree(decoded[i]).query(points[i, place])[1]
            back[i] = place[cKDTree(points[i, place]).query(decoded[i])[1]]
    return torch.from_numpy(there), torch.from_numpy(back)


def _picked(points_BPD: Tensor, index_BQ: Tensor) -> Tensor:
    return points_BPD.gather(1, index_BQ[..., None].expand(-1, -1, points_BPD.shape[2]))
