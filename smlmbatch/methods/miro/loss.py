"""What the network is asked for: displacements to the middle of a loc's cluster, and neighbours that end up where their clusters lie.

The default loss looks at the second half of the steps, later ones more, and measures a cluster's errors in its own rms radius: 5 nm are
much in a small cluster and nothing in a large one. Background locs may go anywhere; a logit says what they are. Means are over a field's
locs, then over fields: so the loss is the same however a batch is shared among ranks. `paper_loss` is that of Pineda et al.'s code.

Shape letters: S steps looked at, N locs, O outputs, P pairs of neighbours.
"""

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from smlmbatch.methods.miro.data import PARENT, PARENT_RMS, RMS, SHAPE, Truth
from smlmbatch.methods.miro.graph import UNIT_NM
from smlmbatch.methods.miro.network import FIRST_CLASS, LOG_RADIUS, LOGIT

if TYPE_CHECKING:
    from smlmbatch.methods.method import Ranks
    from smlmbatch.methods.miro.geometric import Data
    from smlmbatch.methods.miro.recipe import MiroConfig

_LEAST_RMS_NM: Final = 4.0  # a smaller cluster's errors are no worse than this one's
_LEAST_NM2: Final = 1e-2  # added to squares of distances: the gradient of a root at 0 is infinite
_PAPER_PAIRS: Final = 10.0  # weight of the distances in the published code; 1 in the paper's equation 4


def generalist_loss(outputs_SNO: Tensor, graph: "Data", truth: Truth, config: "MiroConfig") -> tuple[Tensor, dict[str, Tensor]]:
    """(mean over fields, its parts)."""
    per_step_S = _step_weights(len(outputs_SNO), config.steps, outputs_SNO)
    centre_SN2, rms_SN = _aims(truth, config, len(outputs_SNO))
    in_cluster_N = truth.cluster > 0
    moved_SN2 = graph.pos - UNIT_NM * outputs_SNO[..., :2]
    of_all_N = _field_means(torch.ones_like(in_cluster_N), graph.batch, truth.n_fields, outputs_SNO.dtype)
    of_clustered_N = _field_means(in_cluster_N, graph.batch, truth.n_fields, outputs_SNO.dtype)
    missed_SN = (moved_SN2 - centre_SN2).abs().mean(dim=2) / rms_SN
    belongs_SN = outputs_SNO[..., LOGIT]
    wanted_SN = in_cluster_N.to(outputs_SNO.dtype).expand_as(belongs_SN)
    unlike_SN = (outputs_SNO[..., LOG_RADIUS] - (rms_SN / UNIT_NM).log()).abs()
    parts = {
        "moved": (missed_SN @ of_clustered_N) @ per_step_S,
        "apart": _pair_errors(moved_SN2, centre_SN2, rms_SN, graph, truth) @ per_step_S,
        "belongs": (binary_cross_entropy_with_logits(belongs_SN, wanted_SN, reduction="none") @ of_all_N) @ per_step_S,
        "radius": (unlike_SN @ of_clustered_N) @ per_step_S,
    }
    loss = parts["moved"] + config.pairs_weight * parts["apart"] + parts["belongs"] + config.radius_weight * parts["radius"]
    if config.classes:
        parts["class"] = (_class_errors(outputs_SNO[..., FIRST_CLASS:], truth) @ of_all_N) @ per_step_S
        loss = loss + config.class_weight * parts["class"]
    return loss, {"loss": loss.detach()} | {name: value.detach() for name, value in parts.items()}


def paper_loss(outputs_SNO: Tensor, graph: "Data", truth: Truth, config: "MiroConfig", ranks: "Ranks") -> tuple[Tensor, dict[str, Tensor]]:
    """Mean over steps of L1(displacement) + 10 L1(lengths of contracted edges), each a mean over all locs or edges of all ranks.

    Lengths are in the unit square, displacements in units of the reach; the target of background locs is not to move.
    """
    centre_N2 = torch.where(truth.cluster[:, None] > 0, truth.rows[truth.cluster, :2], graph.pos)
    wanted_N2 = (graph.pos - centre_N2) / truth.unit_nm
    n_locs = ranks.sum(outputs_SNO.new_tensor(float(len(wanted_N2)))) / ranks.world
    n_edges = ranks.sum(outputs_SNO.new_tensor(float(graph.num_edges))) / ranks.world
    moved = (outputs_SNO[..., :2] - wanted_N2).abs().sum(dim=(1, 2)).mean() / (2.0 * n_locs)
    source, target = graph.edge_index
    place_SN2 = graph.pos / truth.unit_nm - outputs_SNO[..., :2]
    aim_N2 = centre_N2 / truth.unit_nm
    length_SE = _lengths(place_SN2[:, source] - place_SN2[:, target], 1e-12)
    wanted_E = _lengths(aim_N2[source] - aim_N2[target], 1e-12)
    apart = config.paper_reach * (length_SE - wanted_E).abs().sum(dim=1).mean() / n_edges.clamp(min=1.0)
    loss = moved + _PAPER_PAIRS * apart
    parts = {"moved": moved.detach(), "apart": apart.detach()}
    if config.classes:
        classes = _class_errors(outputs_SNO[..., 2:], truth).sum(dim=1).mean() / n_locs
        loss, parts["class"] = loss + config.class_weight * classes, classes.detach()
    return loss, {"loss": loss.detach()} | parts


def _step_weights(n_seen: int, n_steps: int, like: Tensor) -> Tensor:
    """Proportional to the number of the step, sum 1: (S,)."""
    number = torch.arange(n_steps - n_seen + 1, n_steps + 1, dtype=like.dtype, device=like.device)
    return number / number.sum()


def _aims(truth: Truth, config: "MiroConfig", n_seen: int) -> tuple[Tensor, Tensor]:
    """Where each loc should be, and in which lengths that is measured, after each step: (S, N, 2), (S, N).

    Its cluster's middle; after step `parents_from` the middle of the cluster's parent.
    """
    of_N7 = truth.rows[truth.cluster]
    child, parent = (of_N7[:, :2], of_N7[:, RMS]), (of_N7[:, PARENT], of_N7[:, PARENT_RMS])
    first = config.steps - n_seen
    chosen = [parent if 0 < config.parents_from <= first + s else child for s in range(n_seen)]
    return torch.stack([centre for centre, _ in chosen]), torch.stack([rms for _, rms in chosen]).clamp(min=_LEAST_RMS_NM)


def _field_means(chosen_N: Tensor, field_N: Tensor, n_fields: int, dtype: torch.dtype) -> Tensor:
    """Weights whose sum over chosen locs (or pairs) is the mean over fields of the mean over a field's chosen ones: (N,)."""
    count = torch.zeros(n_fields, dtype=dtype, device=field_N.device).index_add_(0, field_N, chosen_N.to(dtype))
    return chosen_N / (count.clamp(min=1.0) * n_fields)[field_N]


def _pair_errors(moved_SN2: Tensor, centre_SN2: Tensor, rms_SN: Tensor, graph: "Data", truth: Truth) -> Tensor:
    """By how much neighbours that are both clustered end up too far from each other, or too near: (S,)."""
    source, target = graph.edge_index
    pair = torch.nonzero((source < target) & (truth.cluster[source] > 0) & (truth.cluster[target] > 0)).squeeze(1)
    i, j = source[pair], target[pair]
    weight_P = _field_means(torch.ones_like(i, dtype=torch.bool), graph.batch[i], truth.n_fields, moved_SN2.dtype)
    length_SP = _lengths(moved_SN2[:, i] - moved_SN2[:, j], _LEAST_NM2)
    wanted_SP = _lengths(centre_SN2[:, i] - centre_SN2[:, j], 0.0)
    error_S: Tensor = ((length_SP - wanted_SP).abs() / (0.5 * (rms_SN[:, i] + rms_SN[:, j]))) @ weight_P
    return error_S


def _lengths(delta: Tensor, least2: float) -> Tensor:
    return (delta.square().sum(dim=-1) + least2).sqrt()


def _class_errors(scores_SNO: Tensor, truth: Truth) -> Tensor:
    """Cross entropy of the shapes, background being class 0: (S, N)."""
    wanted_N = torch.where(truth.cluster > 0, truth.rows[truth.cluster, SHAPE].long() + 1, 0)
    flat = cross_entropy(scores_SNO.flatten(0, 1), wanted_N.repeat(len(scores_SNO)), reduction="none")
    return flat.view(scores_SNO.shape[:2])
