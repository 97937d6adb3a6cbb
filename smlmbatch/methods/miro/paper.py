"""The published network, for the recipe `paper`: Pineda et al. 2024 as their code has it, linear layers unfolded.

Embeddings of eigenvectors v' and of edges e' (no activation), states h, f from 0; in each of K steps, weights shared:

    a = A [h | v'],  b = B [f | e'],  f = ReLU(F [a_source | a_target | b]),  h = ReLU(H sum of f over arriving edges),  out = O h

where the paper's equations 2 and 3 feed [h | v'] and [f | e'] to F and H without A and B. Displacements are in units of the reach.

Shape letters: N locs, E edges, K steps, C hidden, S last steps, O outputs.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from smlmbatch.methods.miro.geometric import Data, MessagePassing
from smlmbatch.methods.miro.paper_graph import N_EIGENVECTORS

if TYPE_CHECKING:
    from smlmbatch.methods.miro.recipe import MiroConfig


class PaperNet(MessagePassing):  # type: ignore[misc]
    """Features of locs, edges and their features → outputs (S, N, O) after the last S steps: displacement (2), then classes."""

    def __init__(self, config: "MiroConfig") -> None:
        super().__init__(aggr="sum")
        self.config = config
        c = config.hidden
        self.steps = config.steps
        self.locs_in, self.edges_in = nn.Linear(N_EIGENVECTORS, c), nn.Linear(3, c)
        self.join_locs, self.join_edges = nn.Linear(2 * c, c), nn.Linear(2 * c, c)
        self.to_edges, self.to_locs = nn.Linear(3 * c, c), nn.Linear(c, c)
        self.head = nn.Linear(c, 2 + config.classes)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, start: Tensor, last: int = 1) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # see network.MiroNet
            return self._contract(x, edge_index, edge_attr, last)

    def _contract(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, last: int) -> Tensor:
        given_NC, given_EC = self.locs_in(x), self.edges_in(edge_attr)
        locs_NC, edges_EC = torch.zeros_like(given_NC), torch.zeros_like(given_EC)
        found = []
        for step in range(self.steps):
            ends_NC = self.join_locs(torch.cat([locs_NC, given_NC], dim=1))
            own_EC = self.join_edges(torch.cat([edges_EC, given_EC], dim=1))
            edges_EC = self.edge_updater(edge_index, ends=ends_NC, own=own_EC)
            sums_NC = self.propagate(edge_index, states=edges_EC, size=(len(x), len(x)))
            locs_NC = torch.relu(self.to_locs(sums_NC))
            if step >= self.steps - last:
                found.append(self.head(locs_NC))
        return torch.stack(found)

    def edge_update(self, ends_j: Tensor, ends_i: Tensor, own: Tensor) -> Tensor:
        return torch.relu(self.to_edges(torch.cat([ends_j, ends_i, own], dim=1)))

    def message(self, states: Tensor) -> Tensor:
        return states


def paper_data(*, xy_nm: Tensor, local: Tensor, source: Tensor, start: Tensor, field: Tensor, unit_nm: Tensor) -> Data:
    """One or several fields as one graph; edges have (dx, dy, d), source minus target, in units of the reach: unit_nm (N, 2)."""
    target = torch.repeat_interleave(torch.arange(len(xy_nm), device=xy_nm.device), start.diff())
    delta_E2 = (xy_nm[source] - xy_nm[target]) / unit_nm[target]
    edge_attr = torch.cat([delta_E2, delta_E2.square().sum(dim=1, keepdim=True).sqrt()], dim=1)
    return Data(x=local, edge_index=torch.stack([source, target]), edge_attr=edge_attr, pos=xy_nm, start=start, batch=field)
