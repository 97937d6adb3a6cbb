"""Random numbers that are a function of their key alone: (seed, step, use) and the particle's number.

No stream is drawn from, so that a particle is turned the same way whatever stands beside it in its batch, on any number of ranks, and
after any interruption. A counter is mixed by the finaliser of SplitMix64 (Steele, Lea & Flood 2014), where the numbers are needed: on
the device, without the host waiting for it.

Shape letters: B particles.
"""

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor

_GOLDEN: Final = 0x9E3779B97F4A7C15
_FACTORS: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_SIGN: Final = 1 << 63
_BITS: Final = 24  # of a float32's mantissa


def uniform(key: tuple[int, ...], number_B: Tensor, n: int) -> Tensor:
    """Numbers from 0 to below 1: (B, n) f4.

    Parameters
    ----------
    key : what they are drawn for; whole numbers from 0
    number_B : (B,) of each particle, below 2**53

    >>> once = uniform((0, 1), torch.tensor([5, 7]), 3)
    >>> bool((once[1:] == uniform((0, 1), torch.tensor([7]), 3)).all()), bool(((once >= 0) & (once < 1)).all())
    (True, True)
    """
    base = _signed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
    row_B1 = _mixed(number_B.to(torch.int64)[:, None] * _signed(_GOLDEN) + base)
    place_N = torch.arange(1, n + 1, device=number_B.device) * _signed(_GOLDEN)
    return _shifted(_mixed(row_B1 + place_N), 64 - _BITS).float() * 2.0**-_BITS


def normal(key: tuple[int, ...], number_B: Tensor, n: int) -> Tensor:
    """Standard normal numbers (B, n) f4, by Box and Muller."""
    flat, turn = uniform(key, number_B, 2 * n).chunk(2, dim=1)
    return torch.sqrt(-2.0 * torch.log1p(-flat)) * torch.cos(2.0 * math.pi * turn)


def _signed(value: int) -> int:
    """The same 64 bits as torch's whole numbers have them."""
    return value - 2 * _SIGN if value >= _SIGN else value


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Shifted to the right, zeros coming in: torch's own shift would bring in the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _mixed(value: Tensor) -> Tensor:
    for bits, factor in _FACTORS:
        value = (value ^ _shifted(value, bits)) * _signed(factor)
    return value ^ _shifted(value, 31)
