"""The step along edges in one pass over memory, for CPUs: gather both ends, add, cut at 0, sum at the destination.

With torch's own operations each of these writes and reads the numbers of every edge again (6 edges a loc, 32 numbers an edge): twice the
time in all. Edges must be sorted by destination. One thread; sums are made in the order of edges, so a loc's result hangs on its own
edges alone.

Shape letters: N locs, E edges, H numbers of an edge's state.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
_STRETCH: Final = 8192  # edges; 1 MiB of 32 numbers


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


def steps_in_place(block: Any, x: Tensor, source: Tensor, edge_attr: Tensor, start: Tensor, *, last: int) -> list[Tensor]:
    """The locs' states (N, C) after each of the last steps of a `network.MiroBlock`, without gradients.

    In stretches of locs whose edges stay in the cache, so that each edge's numbers pass through memory once a step. What is the same in
    every step (of an edge 7 numbers in, 32 out) is made again each time, which costs no more than reading it. In memory lie, for a loc
    of 6 edges, the edges' states, 768 B, their features, 168 B, and the loc's own numbers, 1.1 kB.
    """
    edge_hidden = block.from_edges.out_features
    states_EH = edge_attr.new_empty((len(edge_attr), edge_hidden))
    given_N2H, gate_NC = block.given(x)
    ends_N2H, found = given_N2H, []
    mixed_LH = edge_attr.new_empty((_longest_stretch(start.numpy()), edge_hidden))
    mix_HH, given_FH = block.from_edges.weight.t(), block.edges_in.weight.t()
    for step in range(block.steps):
        wanted = x.new_empty((len(x), block.to_locs.out_features)) if step >= block.steps - last else None
        next_N2H = torch.empty_like(ends_N2H)
        for first, stop in _stretches(start.numpy()):
            edges = slice(int(start[first]), int(start[stop]))
            mixed = mixed_LH[: edges.stop - edges.start]
            torch.addmm(block.edges_in.bias, edge_attr[edges], given_FH, out=mixed)
            if step:
                mixed.addmm_(states_EH[edges], mix_HH)
            sums = x.new_empty((stop - first, edge_hidden))
            ends, sources, starts, states, total, mix = (t.numpy() for t in (ends_N2H, source, start, states_EH, sums, mixed))
            _forward_in_place(ends, sources, starts, states, total, mix, first, stop)
            locs = torch.relu_(block.to_locs(sums.mul_(block.per_degree)).mul_(gate_NC[first:stop]))
            torch.addmm(block.told(given_N2H[first:stop], step + 1), locs, block.from_locs.weight.t(), out=next_N2H[first:stop])
            if wanted is not None:
                wanted[first:stop] = locs
        ends_N2H = next_N2H
        found += [] if wanted is None else [wanted]
    return found


def _stretches(start: Ints) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of locs whose edges are at most a stretch, or of a single loc."""
    first = 0
    while first < len(start) - 1:
        stop = max(first + 1, int(np.searchsorted(start, start[first] + _STRETCH, "right")) - 1)
        yield first, stop
        first = stop


def _longest_stretch(start: Ints) -> int:
    """Edges of the longest stretch: one loc may have more than a stretch is meant to hold."""
    return max(_STRETCH, int(np.diff(start).max(initial=0)))


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
def _forward_in_place(ends: Floats, source: Ints, start: Ints, states: Floats, sums: Floats, mixed: Floats, first: int, stop: int) -> None:
    width = mixed.shape[1]
    for i in range(first, stop):
        here, total = ends[i, width:], sums[i - first]
        total[:] = 0
        for e in range(start[i], start[i + 1]):
            there, mix, state = ends[source[e]], mixed[e - start[first]], states[e]
            for k in range(width):
                state[k] = max(there[k] + here[k] + mix[k], mixed.dtype.type(0))
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
