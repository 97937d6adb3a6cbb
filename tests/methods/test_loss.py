"""The weighted NT-Xent against plain NT-Xent written as loops, and its properties."""

import numpy as np
import pytest
import torch

from smlmbatch.methods.contrastive.loss import parameter_weights, weighted_nt_xent


def vectors(n=8, f=5, seed=0):
    return torch.randn(n, f, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def plain_nt_xent(z, temperature):
    """Chen et al. 2020, equation 1, one anchor at a time."""
    z = z / z.norm(dim=1, keepdim=True)
    losses = []
    for i in range(len(z)):
        similar = [float(z[i] @ z[k]) / temperature for k in range(len(z))]
        below = np.log(sum(np.exp(similar[k]) for k in range(len(z)) if k != i))
        losses.append(below - similar[i ^ 1])
    return np.mean(losses)


def loss_of(z, parameters, weighting, temperature=0.1):
    return weighted_nt_xent(z, z, parameters, parameters, first=0, temperature=temperature, weighting=weighting)


def test_without_weights_it_is_nt_xent():
    z = vectors()
    loss, _ = loss_of(z, torch.zeros(8, 2, dtype=torch.float64), "none")
    assert float(loss) == pytest.approx(plain_nt_xent(z, 0.1), abs=1e-12)


@pytest.mark.parametrize("weighting", ["outside", "logit"])
def test_equal_distances_are_plain_nt_xent(weighting):
    """Pairs at the corners of a simplex are all equally far from one another, so that every weight is 1."""
    z, parameters = vectors(), torch.eye(4, dtype=torch.float64).repeat_interleave(2, dim=0)
    loss, _ = loss_of(z, parameters, weighting)
    assert float(loss) == pytest.approx(plain_nt_xent(z, 0.1), abs=1e-9)


def test_weights_have_mean_one_over_negatives():
    parameters = vectors(10, 3, seed=1).repeat_interleave(2, dim=0)
    partner = torch.arange(20) ^ 1
    weights = parameter_weights(parameters, parameters, partner)
    negatives = torch.ones(20, 20).bool()
    negatives[torch.arange(20), torch.arange(20)] = negatives[torch.arange(20), partner] = False
    assert float(weights[negatives].mean()) == pytest.approx(1, abs=1e-6)


def test_negative_made_alike_has_next_to_no_pull():
    z = vectors().requires_grad_()
    parameters = torch.eye(4, dtype=torch.float64)[[0, 0, 0, 0, 1, 1, 2, 2]]  # the first two pairs share their parameters
    anchors = z[:1]
    loss, _ = weighted_nt_xent(anchors, z, parameters[:1], parameters, first=0, temperature=0.1, weighting="outside")
    loss.backward()
    assert z.grad[2:4].norm() < 0.01 * z.grad[4:].norm()


def test_swapping_views_and_scaling_change_nothing():
    z, parameters = vectors(), vectors(4, 3, seed=2).repeat_interleave(2, dim=0)
    whole, _ = loss_of(z, parameters, "outside")
    swapped, _ = loss_of(z[torch.arange(8) ^ 1], parameters, "outside")
    scaled, _ = loss_of(3 * z, parameters, "outside")
    assert float(whole) == pytest.approx(float(swapped), abs=1e-12)
    assert float(whole) == pytest.approx(float(scaled), abs=1e-12)


def test_rows_of_one_rank_sum_to_the_whole():
    z, parameters = vectors(), vectors(4, 3, seed=2).repeat_interleave(2, dim=0)
    whole, _ = loss_of(z, parameters, "outside")
    settings = {"temperature": 0.1, "weighting": "outside"}
    parts = [weighted_nt_xent(z[i : i + 4], z, parameters[i : i + 4], parameters, first=i, **settings)[0] for i in (0, 4)]
    assert float(sum(parts) / 2) == pytest.approx(float(whole), abs=1e-12)


def test_nearest_partner_is_counted():
    z = torch.eye(4, dtype=torch.float64).repeat_interleave(2, dim=0)
    _, right = loss_of(z, torch.zeros(8, 1, dtype=torch.float64), "none")
    assert float(right) == 1.0
