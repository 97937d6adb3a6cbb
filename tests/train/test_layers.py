"""Batch norm and dropout see the whole batch, however it is split."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from smlmbatch.methods.layers import BatchNorm, Dropout, set_ranks, set_step


class Pretend:
    """Two ranks played one after the other: what the other rank would have summed is known beforehand."""

    world = 2

    def __init__(self, rank, other=None):
        self.rank, self.other = rank, other
        self.asked = None

    def sum(self, values):
        self.asked = values.detach().clone()
        return values + (self.other if self.other is not None else torch.zeros_like(values))

    def gather(self, values):
        raise AssertionError("not asked for here")


class Meeting:
    """Ranks that are threads: each sum waits for all of them."""

    def __init__(self, world):
        self.barrier, self.values = threading.Barrier(world, timeout=60), [None] * world

    def rank(self, number):
        def add(values):
            self.values[number] = values.detach().clone()
            self.barrier.wait()
            total = sum(self.values)
            self.barrier.wait()
            return total

        return SimpleNamespace(rank=number, world=len(self.values), sum=add)


def test_batch_norm_of_one_rank_is_torchs():
    ours, theirs = BatchNorm(3), nn.BatchNorm2d(3)
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.var, theirs.running_var)


def test_batch_norm_over_two_ranks_is_that_of_the_whole():
    x = torch.randn(6, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = nn.BatchNorm2d(3).double()
    wanted = whole(x)
    halves = []
    for rank, (here, there) in enumerate([(x[:3], x[3:]), (x[3:], x[:3])]):
        asking = Pretend(rank)
        layer = BatchNorm(3).double()
        layer.ranks = asking
        layer(there)  # what the other rank contributes
        layer = BatchNorm(3).double()
        layer.ranks = Pretend(rank, asking.asked)
        halves.append(layer(here))
    assert torch.allclose(torch.cat(halves), wanted, atol=1e-12)
    assert torch.allclose(layer.mean, whole.running_mean, atol=1e-12)
    assert torch.allclose(layer.var, whole.running_var, atol=1e-12)


def test_gradients_over_two_ranks_are_those_of_the_whole():
    """Two ranks as threads that meet in each sum; the loss weighs each value differently."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(6, 3, 4, 5, dtype=torch.float64, generator=generator)
    weights, scale = torch.randn(x.shape, dtype=torch.float64, generator=generator), torch.tensor([0.5, 2.0, -1.0])
    whole, wanted = nn.BatchNorm2d(3).double(), x.clone().requires_grad_()
    whole.weight.data.copy_(scale)
    (whole(wanted).pow(2) * weights).sum().backward()

    meeting = Meeting(2)
    layers, halves = [], [x[:2].clone().requires_grad_(), x[2:].clone().requires_grad_()]
    for rank in (0, 1):
        layer = BatchNorm(3).double()
        layer.weight.data.copy_(scale)
        layer.ranks = meeting.rank(rank)
        layers.append(layer)

    def work(rank):
        part = weights[:2] if rank == 0 else weights[2:]
        (layers[rank](halves[rank]).pow(2) * part).sum().backward()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, (0, 1)))
    assert torch.allclose(torch.cat([half.grad for half in halves]), wanted.grad, atol=1e-12)
    assert torch.allclose(sum(layer.weight.grad for layer in layers), whole.weight.grad, atol=1e-12)
    assert torch.allclose(sum(layer.bias.grad for layer in layers), whole.bias.grad, atol=1e-12)


def test_batch_norm_over_ranks_sums_more_widely_than_bfloat16():
    """Of numbers around 100 that differ by 1: in bfloat16, mean and variance would be lost."""
    x = 100 + torch.randn(64, 2, 16, 16, generator=torch.Generator().manual_seed(3))
    asking = Pretend(0)
    layer = BatchNorm(2)
    layer.ranks = asking
    layer(x.bfloat16())
    layer = BatchNorm(2)
    layer.ranks = Pretend(1, asking.asked)
    out = layer(x.bfloat16()).detach()
    assert out.dtype == torch.bfloat16
    assert torch.allclose(layer.mean, 0.1 * x.bfloat16().float().mean((0, 2, 3)), rtol=1e-4)
    assert abs(float(out.float().std()) - 1) < 0.1


def test_batch_norm_in_evaluation_uses_what_it_learned():
    layer = BatchNorm(2)
    layer(torch.randn(8, 2, 3, generator=torch.Generator().manual_seed(2)))
    layer.eval()
    x = torch.randn(1, 2, 3)
    assert torch.allclose(layer(x), (x - layer.mean[:, None]) / torch.sqrt(layer.var[:, None] + layer.eps), atol=1e-6)


def test_dropout_masks_are_rows_of_one_mask_and_change_with_the_step():
    x = torch.ones(8, 100)
    whole, halves = nn.Sequential(Dropout(0.3)), []
    set_step(whole, seed=1, step=2)
    wanted = whole(x)
    for rank in (0, 1):
        part = nn.Sequential(Dropout(0.3))
        set_ranks(part, Pretend(rank))
        set_step(part, seed=1, step=2)
        halves.append(part(x[:4]))
    assert torch.equal(torch.cat(halves), wanted)
    assert float((wanted == 0).double().mean()) == pytest.approx(0.3, abs=0.05)
    assert float(wanted.mean()) == pytest.approx(1, abs=0.1)
    set_step(whole, seed=1, step=3)
    assert not torch.equal(whole(x), wanted)
    assert torch.equal(whole.eval()(x), x)


def test_two_dropout_layers_draw_different_masks():
    layers = nn.ModuleList([Dropout(0.5), Dropout(0.5)])
    set_ranks(layers, layers[0].ranks)
    x = torch.ones(4, 50)
    assert not torch.equal(layers[0](x), layers[1](x))
