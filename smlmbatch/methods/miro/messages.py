"""What passes along the edges in a step, as a torch-geometric layer: on a GPU, in double precision with gradients, and for layers of one's
own. It holds no weights. `kernel` does the same faster on a CPU and without torch-geometric, whose import alone costs two seconds.

Shape letters: N locs, E edges, H numbers of an edge's state.
"""

from functools import lru_cache

import torch
from torch import Tensor

from smlmbatch.methods.miro.geometric import MessagePassing


class Messages(MessagePassing):  # type: ignore[misc]
    """State of edges max(0, source's first half + destination's second half + own), and its sum over incoming edges."""

    def __init__(self) -> None:
        super().__init__(aggr="sum")

    def forward(self, edge_index: Tensor, ends_N2H: Tensor, own_EH: Tensor) -> tuple[Tensor, Tensor]:
        as_source_NH, as_target_NH = ends_N2H.chunk(2, dim=1)
        states_EH = self.edge_updater(edge_index, as_source=as_source_NH, as_target=as_target_NH, own=own_EH)
        return states_EH, self.propagate(edge_index, states=states_EH, size=(len(ends_N2H), len(ends_N2H)))

    def edge_update(self, as_source_j: Tensor, as_target_i: Tensor, own: Tensor) -> Tensor:
        return torch.relu(as_source_j + as_target_i + own)

    def message(self, states: Tensor) -> Tensor:
        return states


@lru_cache(maxsize=1)  # torch-geometric writes and compiles a module for each new one
def messages() -> Messages:
    """The layer."""
    return Messages()
