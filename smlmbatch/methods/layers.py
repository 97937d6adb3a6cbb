"""Layers whose result does not depend on how a batch was split over ranks.

torch's SyncBatchNorm refuses CPU tensors, and its dropout draws from one stream per rank: with both, two ranks train another network
than one. These two see the global batch: statistics are summed over ranks, masks are drawn for all samples and each rank takes its rows.
A linear or convolution before the normalisation needs no bias: it would be subtracted again, and its gradient is rounding noise.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smlmbatch.methods.method import Alone, Ranks

_PIECE = 1 << 16  # numbers: a quarter of a MiB


class BatchNorm(nn.Module):
    """Batch normalisation over all ranks (Ioffe & Szegedy 2015): channels are axis 1, statistics over all others.

    In evaluation the running statistics are used, as torch's `BatchNorm2d` does (momentum 0.1, unbiased variance).
    """

    def __init__(self, channels: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.mean: Tensor
        self.var: Tensor
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.momentum, self.eps = momentum, eps
        self.ranks: Ranks = Alone()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.ranks.world == 1:  # torch's own kernels: the same formula, fused
            return nn.functional.batch_norm(
                x, self.mean, self.var, self.weight, self.bias, training=self.training, momentum=self.momentum, eps=self.eps
            )
        with torch.no_grad():
            mean, var, n = self._over_ranks(x)
            self.mean.lerp_(mean.to(self.mean.dtype), self.momentum)
            self.var.lerp_((var * n / (n - 1)).to(self.var.dtype), self.momentum)
        found: Tensor = _Normalise.apply(x, self.weight, self.bias, mean, var, n, self.eps, self.ranks)  # type: ignore[no-untyped-call]
        return found

    def _over_ranks(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, biased variance and number of values of each channel, by one message."""
        wide = x if x.dtype is torch.float64 else x.float()  # sums in bfloat16 would have three digits
        square, plain = _channel_sums(wide, wide, wide.new_zeros(x.shape[1]), wide.new_ones(x.shape[1]), self.eps)
        sums = torch.cat([plain, square, wide.new_tensor([float(x.numel() // x.shape[1])])])
        square, n = (total := self.ranks.sum(sums).double())[x.shape[1] : -1], total[-1]
        mean = total[: x.shape[1]] / n
        return mean.to(wide.dtype), (square / n - mean * mean).to(wide.dtype), n.to(wide.dtype)


class _Normalise(torch.autograd.Function):
    """(x - mean) / sd * weight + bias with statistics over all ranks, which depend on x: the gradient by its closed form.

    As plain operations, autograd would go over an activation a dozen times; torch's kernels and one product do it in four. With g the
    gradient of the result and x' the normalised x, that of x is weight / sd (g - <g> - x' <g x'>), means over all ranks.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, n: Tensor, eps: float, ranks: Ranks
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, var, n)
        ctx.eps, ctx.ranks = eps, ranks
        return nn.functional.batch_norm(x, mean, var, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var, n = ctx.saved_tensors
        g, rstd = gradients[0].contiguous(), torch.rsqrt(var + ctx.eps)
        g_weight, g_bias = _channel_sums(g, x, mean, rstd, ctx.eps)
        along, plain = (ctx.ranks.sum(torch.cat([g_weight, g_bias])) / n).chunk(2)
        scale = weight * rstd
        rest = nn.functional.batch_norm(x, mean, var, -scale * along, -scale * plain, eps=ctx.eps)
        shape = [1, -1] + [1] * (x.dim() - 2)
        return rest.addcmul_(g, scale.view(shape).to(g.dtype)), g_weight, g_bias, None, None, None, None, None


def _channel_sums(g: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Sums over all axes but the channels' of g (x - mean) rstd, and of g: torch's kernel for the gradients of weight and bias.

    One pass instead of three; on a CPU it adds up in float64.
    """
    found = torch.ops.aten.native_batch_norm_backward(g, x, torch.ones_like(mean), None, None, mean, rstd, True, eps, [False, True, True])
    return found[1], found[2]


class Mish(nn.Module):
    """x tanh(softplus(x)) (Misra 2020); without gradients, on a CPU, three times as fast as torch's own.

    With e = exp(x), tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2): one exponential, in pieces that stay in the cache.
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.is_cuda:
            return nn.functional.mish(x)
        found = torch.empty_like(x, memory_format=torch.contiguous_format)
        flat, flat_found = x.contiguous().view(-1), found.view(-1)
        for start in range(0, len(flat), _PIECE):
            piece, share = flat[start : start + _PIECE], flat_found[start : start + _PIECE]
            torch.clamp(piece, max=20.0, out=share)  # beyond, the share is 1 in float32, and e (e + 2) would overflow at 44
            share.exp_().mul_(share + 2.0)
            share.div_(share + 2.0).mul_(piece)
        return found


class Keyed(nn.Module):
    """A layer that draws: it is told the seed and the step by `set_step`, its number and the ranks by `set_ranks`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = 0
        self.key = (0, 0)  # seed, step
        self.ranks: Ranks = Alone()


class Dropout(Keyed):
    """Dropout whose mask is a function of (seed, step, layer, row of the global batch); set by `set_step`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        seed, step = self.key
        # Drawn on the CPU for the whole batch: the same numbers on any device and for any number of ranks.
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence((seed, step, self.layer)).generate_state(1, np.uint64)[0] >> 1)
        )
        rows = len(x)
        mask = torch.empty((rows * self.ranks.world, *x.shape[1:]), dtype=torch.float32).uniform_(generator=generator) >= self.p
        here = mask[self.ranks.rank * rows : (self.ranks.rank + 1) * rows].to(x.device)
        return x * here / (1.0 - self.p)


def set_ranks(model: nn.Module, ranks: Ranks) -> None:
    """Tell the layers which ranks train together, and number them."""
    for number, layer in enumerate(module for module in model.modules() if isinstance(module, BatchNorm | Keyed)):
        layer.ranks = ranks
        if isinstance(layer, Keyed):
            layer.layer = number


def set_step(model: nn.Module, *, seed: int, step: int) -> None:
    """What the draws of the next forward pass are keyed by."""
    for module in model.modules():
        if isinstance(module, Keyed):
            module.key = (seed, step)
