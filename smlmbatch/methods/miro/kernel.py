"""The step along edges in one pass over memory, for CPUs: gather both ends, add, cut at 0, sum at the destination.

With torch's own operations each of these writes and reads every edge's vector again (6 edges a loc, 64 numbers an edge): 4 times the time.
Edges must be sorted by destination. One thread; sums are made in the order of edges, so a loc's result hangs on its own edges alone.

Shape letters: N locs, E edges, H numbers of an edge's state.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


def step_along_edges(ends_N2H: Tensor, own_EH: Tensor, source_E: Tensor, start_N1: Tensor) -> tuple[Tensor, Tensor]:
    """State of edges max(0, source's first half + destination's second half + own), and its sum over incoming edges.

    Parameters
    ----------
    ends_N2H : what a loc gives as a source | as a destination
    own_EH : what the edge adds
    source_E, start_N1 : i8, as in `graph.Graph`

    Returns
    -------
    (E, H), (N, H)
    """
    if torch.is_grad_enabled() and (ends_N2H.requires_grad or own_EH.requires_grad):
        states, sums = _StepAlongEdges.apply(ends_N2H, own_EH, source_E, start_N1)  # type: ignore[no-untyped-call]
        return states, sums
    return _step(ends_N2H, own_EH, source_E, start_N1)


def _step(ends: Tensor, own: Tensor, source: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    states, sums = torch.empty_like(own), own.new_empty((len(ends), own.shape[1]))
    _forward(*(t.detach().numpy() for t in (ends, own, source, start, states, sums)))
    return states, sums


class _StepAlongEdges(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ends: Tensor, own: Tensor, source: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        ends, own = ends.contiguous(), own.contiguous()
        states, sums = _step(ends, own, source, start)
        ctx.save_for_backward(states, source, start)
        return states, sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        states, source, start = ctx.saved_tensors
        to_states, to_sums = (gradient.contiguous() for gradient in gradients)
        to_own = torch.empty_like(states)
        to_ends = states.new_zeros((len(start) - 1, 2 * states.shape[1]))
        _backward(*(t.numpy() for t in (states, source, start, to_states, to_sums, to_own, to_ends)))
        return to_ends, to_own, None, None


@njit(cache=True)
def _forward(ends: Floats, own: Floats, source: Ints, start: Ints, states: Floats, sums: Floats) -> None:
    width = own.shape[1]
    for i in range(len(start) - 1):
        here, total = ends[i, width:], sums[i]
        total[:] = 0
        for e in range(start[i], start[i + 1]):
            there, adds, state = ends[source[e]], own[e], states[e]
            for k in range(width):
                state[k] = max(there[k] + here[k] + adds[k], own.dtype.type(0))
            for k in range(width):
                total[k] += state[k]


@njit(cache=True)
def _backward(states: Floats, source: Ints, start: Ints, to_states: Floats, to_sums: Floats, to_own: Floats, to_ends: Floats) -> None:
    # a loop for each array that is written: the compiler can't tell that two rows of `to_ends` are not the same, and gives up vectors
    width = states.shape[1]
    for i in range(len(start) - 1):
        to_here, to_sum = to_ends[i, width:], to_sums[i]
        for e in range(start[i], start[i + 1]):
            state, to_state, to_adds, to_there = states[e], to_states[e], to_own[e], to_ends[source[e]]
            for k in range(width):
                to_adds[k] = to_state[k] + to_sum[k] if state[k] > 0 else states.dtype.type(0)
            for k in range(width):
                to_there[k] += to_adds[k]
            for k in range(width):
                to_here[k] += to_adds[k]
