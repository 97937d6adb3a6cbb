"""Rotations are proper and even; what is drawn is a function of its key."""

import numpy as np
import pytest
import torch

from smlmbatch.methods.pcvae.draws import normal, uniform
from smlmbatch.methods.pcvae.rotations import DRAWS, drawn_rotations, even_rotations

NUMBERS = torch.arange(4000)
KINDS = [("plane", 2), ("plane", 3), ("space", 3), ("none", 2), ("none", 3)]


@pytest.mark.parametrize(("kind", "axes"), KINDS)
def test_every_rotation_is_orthogonal_with_determinant_1(kind, axes):
    for turns in (drawn_rotations(kind, axes, uniform((1, 2), NUMBERS, DRAWS).double()), even_rotations(kind, axes, 50).double()):
        assert turns.shape[1:] == (axes, axes)
        assert torch.allclose(turns @ turns.mT, torch.eye(axes, dtype=torch.float64).expand_as(turns), atol=1e-6)
        assert torch.allclose(torch.linalg.det(turns), torch.ones(len(turns), dtype=torch.float64), atol=1e-6)


def test_rotations_of_the_plane_leave_z_alone():
    turns = drawn_rotations("plane", 3, uniform((0,), NUMBERS, DRAWS))
    assert torch.equal(turns[:, 2], torch.tensor([0.0, 0.0, 1.0]).expand(len(turns), 3))
    angle = torch.atan2(turns[:, 1, 0], turns[:, 0, 0])
    counts = torch.histc(angle, 8, -np.pi, np.pi)
    assert (counts - 500).abs().max() < 5 * np.sqrt(500)


def test_rotations_of_space_are_uniform():
    """The trace of a uniform rotation has moments 0, 1 and 1; a drawn axis is uniform over the sphere: <z^2> = 1/3."""
    for turns, tolerance in ((drawn_rotations("space", 3, uniform((3,), NUMBERS, DRAWS)), 0.08), (even_rotations("space", 3, 4000), 0.02)):
        trace = turns.diagonal(dim1=1, dim2=2).sum(dim=1)
        assert [float(trace.mean()), float(trace.square().mean()), float(trace.pow(3).mean())] == pytest.approx(
            [0, 1, 1], abs=2 * tolerance
        )
        assert torch.allclose(turns.square().mean(dim=0), torch.full((3, 3), 1 / 3), atol=tolerance)


def test_draws_depend_on_key_and_number_alone():
    whole = uniform((7, 3, 1), NUMBERS, 5)
    assert torch.equal(uniform((7, 3, 1), NUMBERS[[17, 4]], 5), whole[[17, 4]])
    assert torch.equal(uniform((7, 3, 1), NUMBERS.double(), 5), whole)
    for other in (uniform((7, 4, 1), NUMBERS, 5), uniform((8, 3, 1), NUMBERS, 5), whole.roll(1, 0), whole.roll(1, 1)):
        assert abs(np.corrcoef(other.flatten(), whole.flatten())[0, 1]) < 0.04


def test_draws_have_their_distributions():
    """Kolmogorov and Smirnov at 0.1 %."""
    from scipy.stats import kstest

    assert kstest(uniform((1,), NUMBERS, 3).flatten().numpy(), "uniform").pvalue > 1e-3
    assert kstest(normal((1,), NUMBERS, 3).flatten().numpy(), "norm").pvalue > 1e-3
