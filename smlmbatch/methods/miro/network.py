"""The network: messages along the edges of a graph move each loc towards the middle of its cluster, in steps of shared weights.

A recurrent message-passing block as in Pineda et al.'s MIRO (each edge and each loc keeps a state; both are renewed K times), with its
activation-free layers folded into one: a quarter of the cost for the same function. Unlike theirs it is one for all kinds of fields: what
is known of a loc's surroundings and of the field gates the numbers of its state (as the modulation of Perez et al. 2018, FiLM), so that
it can behave as one network for sparse fields and as another where molecules blink. Features are in physical units and the graph
carries no eigenvectors, so a field may be cut anywhere. Besides the displacement, a loc says whether it lies in a cluster at all, how large
that cluster is, and, where the recipe has classes, of which kind.

Shape letters: N locs, E edges, K steps, C channels of a loc's state, H of an edge's, O outputs.
"""

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from smlmbatch.methods.miro.context import N_CONTEXT
from smlmbatch.methods.miro.graph import N_LOCAL, UNIT_NM
from smlmbatch.methods.miro.group import Grouping
from smlmbatch.methods.miro.kernel import step_along_edges, steps_in_place

if TYPE_CHECKING:
    from smlmbatch.methods.miro.geometric import Data
    from smlmbatch.methods.miro.recipe import MiroConfig

N_EDGE: Final = 7  # features of an edge
_MEAN_DEGREE: Final = 6.0  # of a Delaunay graph
_NEAREST_NM: Final = 1.0
_LOG_D16: Final = 4  # column of the local features
# Outputs: displacement (2, in units), then the logit of lying in a cluster, then log(rms radius / unit), then classes.
LOGIT, LOG_RADIUS, FIRST_CLASS = 2, 3, 4


class MiroBlock(nn.Module):
    """K renewals of the states of edges and locs; gives the locs' states after each of the last steps."""

    def __init__(self, *, locs_in: int, edges_in: int, hidden: int, edge_hidden: int, steps: int, parents_from: int = 0) -> None:
        super().__init__()
        self.steps, self.parents_from, self.per_degree = steps, parents_from, 1.0 / _MEAN_DEGREE
        self.fused = True  # the one-pass kernel, where the tensors are a CPU's
        self.read, self.edges_in = nn.Linear(locs_in, hidden), nn.Linear(edges_in, edge_hidden)
        self.locs_in, self.gates = nn.Linear(hidden, 2 * edge_hidden), nn.Linear(hidden, hidden)
        self.from_locs = nn.Linear(hidden, 2 * edge_hidden, bias=False)
        self.from_edges = nn.Linear(edge_hidden, edge_hidden, bias=False)
        self.to_locs = nn.Linear(edge_hidden, hidden)
        if parents_from:  # weights are the same in all steps, and counting them is hard to learn: this says "go on to the parent"
            self.onwards = nn.Parameter(torch.zeros(2 * edge_hidden))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, start: Tensor, *, last: int) -> list[Tensor]:
        if self.fused and x.device.type == "cpu" and not torch.is_grad_enabled():
            return steps_in_place(self, x, edge_index[0].contiguous(), edge_attr, start, last=last)
        (given_N2H, gate_NC), given_EH = self.given(x), self.edges_in(edge_attr)
        ends_N2H, own_EH = given_N2H, given_EH
        found = []
        for step in range(self.steps):
            states_EH, sums_NH = self._renew_edges(edge_index, start, ends_N2H, own_EH)
            locs_NC = torch.relu(self.to_locs(sums_NH * self.per_degree) * gate_NC)
            if step >= self.steps - last:
                found.append(locs_NC)
            if step < self.steps - 1:
                ends_N2H = torch.addmm(self.told(given_N2H, step + 1), locs_NC, self.from_locs.weight.t())
                own_EH = torch.addmm(given_EH, states_EH, self.from_edges.weight.t())
        return found

    def given(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What features say of each loc in every step: numbers that are added at its edges, and how much each of its own counts."""
        read_NC = torch.relu(self.read(x))
        return self.locs_in(read_NC), 2.0 * torch.sigmoid(self.gates(read_NC))

    def told(self, given_N2H: Tensor, step: int) -> Tensor:
        """What locs are given in a step: from `parents_from` on, that it leads to the parent."""
        return given_N2H + self.onwards if 0 < self.parents_from <= step else given_N2H

    def _renew_edges(self, edge_index: Tensor, start: Tensor, ends_N2H: Tensor, own_EH: Tensor) -> tuple[Tensor, Tensor]:
        if self.fused and own_EH.device.type == "cpu":
            return step_along_edges(ends_N2H, own_EH, edge_index[0], start)
        from smlmbatch.methods.miro.messages import messages

        states_EH, sums_NH = messages()(edge_index, ends_N2H, own_EH)
        return states_EH, sums_NH


class MiroNet(nn.Module):
    """Features of locs, edges and their features → outputs (S, N, O) after the last S steps.

    Never in bfloat16: eight bits of a displacement of 300 nm are a nanometre.
    """

    def __init__(self, config: "MiroConfig") -> None:
        super().__init__()
        self.config = config
        self.block = MiroBlock(
            locs_in=N_LOCAL + len(config.feature_names) + N_CONTEXT,
            edges_in=N_EDGE,
            hidden=config.hidden,
            edge_hidden=config.edge_hidden,
            steps=config.steps,
            parents_from=config.parents_from,
        )
        self.before_head, self.head = nn.Linear(config.hidden, config.hidden), nn.Linear(config.hidden, FIRST_CLASS + config.classes)
        if config.templates:  # reach and core locs of grouping, chosen after learning (`tuning`)
            usual = Grouping()
            self.register_buffer("linking", torch.tensor([usual.reach, float(usual.core_locs)]))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, start: Tensor, last: int = 1) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            locs_SNC = torch.stack(self.block(x, edge_index, edge_attr, start, last=last))
            outputs_SNO: Tensor = self.head(torch.relu(self.before_head(locs_SNC)))
        return outputs_SNO


def outputs_of(network: nn.Module, graph: "Data", *, last: int = 1) -> Tensor:
    """Outputs (S, N, O) of a graph after the last S steps, by a network of either kind."""
    outputs_SNO: Tensor = network(graph.x, graph.edge_index, graph.edge_attr, graph.start, last)
    return outputs_SNO


def graph_data(*, xy_nm: Tensor, local: Tensor, source: Tensor, start: Tensor, context: Tensor, field: Tensor) -> "Data":
    """One or several fields as one graph, with the features the network sees.

    Parameters
    ----------
    xy_nm : (N, 2), nm
    local : (N, N_LOCAL), and a column more for each of the recipe's features
    source, start : i8, as in `graph.Graph`, numbered over all fields
    context : (fields, N_CONTEXT)
    field : (N,) i8, the field of each loc
    """
    from smlmbatch.methods.miro.geometric import Data

    target = torch.repeat_interleave(torch.arange(len(xy_nm), device=xy_nm.device), start.diff())
    return Data(
        x=torch.cat([local, context[field]], dim=1),
        edge_index=torch.stack([source, target]),
        edge_attr=edge_features(xy_nm, local, source, target),
        pos=xy_nm,
        start=start,
        batch=field,
    )


def edge_features(xy_nm: Tensor, local: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Where an edge leads, in units and as direction, its length and its logarithm, and how density changes along it: (E, N_EDGE)."""
    delta_nm = xy_nm[source] - xy_nm[target]
    length_nm = delta_nm.square().sum(dim=1, keepdim=True).sqrt()
    near_nm = length_nm.clamp(min=_NEAREST_NM)
    log_d16 = local[:, _LOG_D16 : _LOG_D16 + 1]
    columns = [delta_nm / UNIT_NM, length_nm / UNIT_NM, delta_nm / near_nm, (near_nm / UNIT_NM).log(), log_d16[source] - log_d16[target]]
    return torch.cat(columns, dim=1)


def build(config: "MiroConfig") -> Any:
    """The network of a recipe, with fresh weights."""
    return _KINDS[config.network](config)


def _paper_network(config: "MiroConfig") -> nn.Module:
    from smlmbatch.methods.miro.paper import PaperNet  # torch-geometric: seconds and 150 MiB, and a folder in the temporary folder

    return PaperNet(config)


_KINDS: Final = {"generalist": MiroNet, "paper": _paper_network}
