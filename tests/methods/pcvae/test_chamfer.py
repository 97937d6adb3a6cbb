"""The Chamfer distance against loops over all pairs: values, gradients, padding, weights, tiles and trees."""

import numpy as np
import pytest
import torch

from smlmbatch.methods.pcvae import chamfer as module
from smlmbatch.methods.pcvae.chamfer import chamfer, nearest


def drawn(b, p, q, d, seed=0):
    rng = torch.Generator().manual_seed(seed)
    points, decoded = (torch.randn(b, n, d, generator=rng, dtype=torch.float64) for n in (p, q))
    sizes = torch.randint(1, p + 1, (b,), generator=rng)
    return points, torch.arange(p) < sizes[:, None], decoded


def by_loops(points, present, decoded, weight=None):
    found = []
    for i in range(len(points)):
        here, a = points[i][present[i]], (torch.ones_like(points[i, :, 0]) if weight is None else weight[i])[present[i]]
        there = sum(w * min(((x - y) ** 2).sum() for y in decoded[i]) for x, w in zip(here, a / a.sum(), strict=True))
        back = sum(min(((x - y) ** 2).sum() for x in here) for y in decoded[i]) / len(decoded[i])
        found.append(there + back)
    return torch.stack(found)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_values_and_gradients_are_those_of_loops(axes, weighted):
    points, present, decoded = drawn(4, 9, 6, axes)
    weight = torch.rand(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) if weighted else None
    one, two = (decoded.clone().requires_grad_() for _ in range(2))
    found, wanted = chamfer(points, present, one, weight_BP=weight), by_loops(points, present, two, weight)
    assert torch.allclose(found, wanted, atol=1e-12)
    found.sum().backward()
    wanted.sum().backward()
    assert torch.allclose(one.grad, two.grad, atol=1e-12)


def test_padding_makes_no_difference():
    points, present, decoded = drawn(5, 12, 7, 2)
    padded = torch.cat([points.masked_fill(~present[..., None], 1e3), torch.zeros(5, 20, 2, dtype=torch.float64)], dim=1)
    there = torch.nn.functional.pad(present, (0, 20))
    assert torch.allclose(chamfer(padded, there, decoded), chamfer(points, present, decoded), atol=1e-12)


def test_particle_without_points_costs_nothing():
    points, present, decoded = drawn(2, 4, 3, 2)
    present[1] = False
    decoded.requires_grad_()
    found = chamfer(points, present, decoded)
    assert found[1] == 0
    found.sum().backward()
    assert torch.isfinite(decoded.grad).all()
    assert (decoded.grad[1] == 0).all()


@pytest.mark.parametrize("setting", [{"_TILE": 10}, {"_TILE": 1}, {"_TREE_FROM": 1}])
def test_tiles_and_trees_find_the_same(monkeypatch, setting):
    points, present, decoded = drawn(6, 40, 30, 3)
    wanted = nearest(points, present, decoded)
    for name, value in setting.items():
        monkeypatch.setattr(module, name, value)
    for found, same in zip(nearest(points, present, decoded), wanted, strict=True):
        assert torch.equal(
            found[present] if found.shape == present.shape else found, same[present] if same.shape == present.shape else same
        )


def test_large_particles_take_the_tree_and_no_memory(monkeypatch):
    """20,000 points on either side: the whole matrix would take 1.6 GB."""
    monkeypatch.setattr(module, "_by_matrix", None)
    points, present, decoded = drawn(1, 20_000, 20_000, 2)
    there, back = nearest(points, present, decoded)
    i = np.flatnonzero(present[0])[:50]
    assert torch.equal(there[0, i], torch.cdist(points[0, i], decoded[0]).argmin(dim=1))
    assert present[0, back[0]].all()
