"""From locs of a field to labels: graph, two passes of the network, groups.

The first pass knows nothing of the clusters; those it finds, all of them, give the hint for the second. (Filtering them first would make
the hint speak of the large ones.) Where they are so different that a typical one means little, the first pass is the result. A hint from
outside, by someone who knows his structure, takes the first pass's place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.context import NO_HINT, acquisition, cluster_hint, seen_once, with_densities
from smlmbatch.methods.miro.features import Columns, medians_of, with_features
from smlmbatch.methods.miro.graph import UNIT_NM, Graph, build_graph
from smlmbatch.methods.miro.group import SEEN_ONCE, Grouping, group_locs
from smlmbatch.methods.miro.tuned import tuned_of
from smlmbatch.methods.miro.windows import densities_of

if TYPE_CHECKING:
    from torch import nn

    from smlmbatch.methods.miro.recipe import MiroConfig

Floats = NDArray[np.float32]
_CELL_NM: Final = 500.0  # of the order in which locs are gone through
_EDGES: Final = 1 << 16  # whose features are made at a time
_SURE: Final = 50.0  # logit whose probability is 1 in float32


@dataclass(frozen=True, slots=True)
class Contracted:
    """What the network says of n locs.

    Attributes
    ----------
    xy_nm : (n, 2) f4, contracted places, nm; float32 as they are stored, so that groups are the same before and after
    belonging : (n,) f4, probability of lying in a cluster
    radius_nm : (n,) f4, rms radius of that cluster
    shape : (n,) u1, most probable class, 0 = background; None where the network has none
    """

    xy_nm: Floats
    belonging: Floats
    radius_nm: Floats
    shape: NDArray[np.uint8] | None = None

    def take(self, index: NDArray[np.generic]) -> "Contracted":
        """The locs at `index` (integers or a mask)."""
        shape = None if self.shape is None else self.shape[index]
        return Contracted(self.xy_nm[index], self.belonging[index], self.radius_nm[index], shape)


@dataclass(frozen=True, slots=True)
class Found:
    """Labels (n,) i4, -1 = in no cluster, with what they rest on; `hint` is the one of the pass that gave them."""

    labels: NDArray[np.int32]
    contracted: Contracted
    hint: Floats


def find_clusters(
    network: "nn.Module",
    xy_nm: NDArray[np.floating],
    *,
    row: NDArray[np.integer] | None = None,
    taken: Floats | None = None,
    hint: Floats | None = None,
    rule: Grouping | None = None,
    columns: Columns = MappingProxyType({}),
) -> Found:
    """Clusters of one field by a network of the kind generalist, in memory and in one piece; `blocks` does the same for any field.

    Parameters
    ----------
    xy_nm : (n, 2), nm, finite; any n
    row : (n,) number of each loc in its source; 0 ... n - 1 where not given. In which order the arrays are is all the same
    taken : as `context.acquisition` gives it; None = nothing is known
    hint : as `context.cluster_hint` gives it; None = from a first pass
    rule : of grouping; None = the one for how the field was taken
    columns : of the locs, for the features that a network looks at (`features.COLUMNS`); None or missing = not known
    """
    row = np.arange(len(xy_nm)) if row is None else row
    order = side_by_side(xy_nm, row)
    told = told_to(network, taken=taken, hint=hint, rule=rule)
    own = {name: None if values is None else np.asarray(values)[order] for name, values in columns.items()}
    found = _find(network, np.asarray(xy_nm, dtype=np.float64)[order], row[order], told, own)
    back = np.empty(len(order), dtype=np.intp)
    back[order] = np.arange(len(order))
    return Found(found.labels[back], found.contracted.take(back), found.hint)


@dataclass(frozen=True, slots=True)
class Told:
    """What a network is told of a field besides its locs: acquisition, hint (None = find it by a first pass), rule of grouping."""

    taken: Floats
    hint: Floats | None
    rule: Grouping


def features_of(network: "nn.Module") -> tuple[str, ...]:
    """What a network looks at besides places, keys of `features.COLUMNS`."""
    return tuple(getattr(getattr(network, "config", None), "feature_names", ()))


def told_to(network: "nn.Module", *, taken: Floats | None = None, hint: Floats | None = None, rule: Grouping | None = None) -> Told:
    """What the caller knows; of a tuned model what it was tuned with; no hint for one that never saw any."""
    config = getattr(network, "config", None)
    own = tuned_of(network)
    if own is not None:
        return Told(own.taken, own.hint, own.rule)
    if config is not None and config.hint_share == 0:
        hint = NO_HINT
    taken = acquisition(blinking=None) if taken is None else taken
    return Told(taken, hint, rule or (SEEN_ONCE if seen_once(taken) else Grouping()))


def side_by_side(xy_nm: NDArray[np.floating], row: NDArray[np.integer]) -> NDArray[np.intp]:
    """An order in which neighbours stand near each other, by place and row alone: a large field is then twice as fast (caches)."""
    cell = np.floor(np.asarray(xy_nm, dtype=np.float64) / _CELL_NM)
    return np.lexsort((row, cell[:, 0], cell[:, 1]))


def _find(network: "nn.Module", xy_nm: NDArray[np.float64], row: NDArray[np.integer], told: Told, columns: Columns) -> Found:
    """`find_clusters` of locs in the order that suits it."""
    features = features_of(network)
    graph = with_features(build_graph(xy_nm, row), features, columns, medians_of(features, columns))
    densities = densities_of(xy_nm, row, graph)
    passes = 1 if told.hint is not None else 2
    given = NO_HINT if told.hint is None else told.hint
    for _ in range(passes):
        contracted = contract(network, xy_nm, graph, with_densities(densities, told.taken, given))
        labels = group_locs(contracted.xy_nm, contracted.belonging, contracted.radius_nm, row=row, rule=told.rule)
        found = Found(labels, contracted, given)
        given = hint_of(xy_nm, labels)
        if given[0] == 0.0:
            break
    return found


def contract(network: "nn.Module", xy_nm: NDArray[np.floating], graph: Graph, context: Floats) -> Contracted:
    """The network's last step on a graph, or on a part of one with enough hops around what is wanted of it."""
    return contract_steps(network, xy_nm, graph, context, last=1)[0]


def contract_steps(network: "nn.Module", xy_nm: NDArray[np.floating], graph: Graph, context: Floats, *, last: int) -> list[Contracted]:
    """What the network says after the first and the last of so many last steps; once where that is one step.

    Parameters
    ----------
    xy_nm : (n, 2), nm; float64 while differences are taken, so that a place far from the origin is as good as any
    context : (N_CONTEXT,) f4 of the field, or (n, N_CONTEXT) of each loc
    """
    import torch

    from smlmbatch.methods.devices import steady

    places: NDArray[np.float64] = np.asarray(xy_nm, dtype=np.float64)
    local = graph.local.astype(np.float32)
    x = np.concatenate([local, np.broadcast_to(context, (len(local), context.shape[-1]))], axis=1)
    ends = np.stack([graph.source, graph.target])
    network.eval()
    with steady(), torch.inference_mode():
        edge_attr = _edge_features(places, local, ends)
        outputs = network(*(torch.from_numpy(values) for values in (x, ends, edge_attr, graph.start)), last)
        return [_said(places, outputs[step].double().numpy()) for step in ((0,) if last == 1 else (0, -1))]


def _edge_features(xy_nm: NDArray[np.float64], local: Floats, ends: NDArray[np.int64]) -> Floats:
    """Of all edges, some at a time: in float64 they would need more memory than the network itself."""
    import torch

    from smlmbatch.methods.miro.network import N_EDGE, edge_features

    found = np.empty((ends.shape[1], N_EDGE), dtype=np.float32)
    places, locals_ = torch.from_numpy(xy_nm), torch.from_numpy(local)
    for first in range(0, len(found), _EDGES):
        source, target = torch.from_numpy(ends[:, first : first + _EDGES])
        found[first : first + _EDGES] = edge_features(places, locals_, source, target).numpy()
    return found


def _said(xy_nm: NDArray[np.float64], out: NDArray[np.float64]) -> Contracted:
    """Outputs of one step in nm and probabilities."""
    from smlmbatch.methods.miro.network import FIRST_CLASS, LOG_RADIUS, LOGIT

    places = (xy_nm - UNIT_NM * out[:, :2]).astype(np.float32)
    belonging = 1.0 / (1.0 + np.exp(-np.clip(out[:, LOGIT], -_SURE, _SURE)))
    radius_nm = UNIT_NM * np.exp(np.clip(out[:, LOG_RADIUS], -5.0, 5.0))
    shape = out[:, FIRST_CLASS:].argmax(axis=1).astype(np.uint8) if out.shape[1] > FIRST_CLASS else None
    return Contracted(places, belonging.astype(np.float32), radius_nm.astype(np.float32), shape)


def hint_of(xy_nm: NDArray[np.floating], labels: NDArray[np.integer]) -> Floats:
    """The hint that clusters found in a field give."""
    size, rms_nm = cluster_sizes(xy_nm, labels)
    return cluster_hint(rms_nm, size)


def cluster_sizes(xy_nm: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Locs, and rms distance from their mean (nm), of each cluster: (c,) i8, (c,) f8."""
    inside = labels >= 0
    of = labels[inside]
    size = np.bincount(of)
    variance = np.zeros(len(size))
    for values in np.asarray(xy_nm, dtype=np.float64)[inside].T:
        mean = np.bincount(of, weights=values) / size
        variance += np.bincount(of, weights=(values - mean[of]) ** 2) / size
    return size, np.sqrt(variance)


def group_paper(network: "nn.Module", xy_nm: NDArray[np.floating], config: "MiroConfig") -> NDArray[np.int32]:
    """Clusters by a network of the kind paper: contracted, then DBSCAN with the recipe's settings; (n,) i4, -1 = in no cluster."""
    import torch

    from smlmbatch.clustering.dbscan import dbscan_labels
    from smlmbatch.methods.devices import steady
    from smlmbatch.methods.miro.network import outputs_of
    from smlmbatch.methods.miro.paper import paper_data
    from smlmbatch.methods.miro.paper_graph import build_paper_graph

    graph, unit_nm = build_paper_graph(xy_nm, reach=config.paper_reach)
    arrays: Mapping[str, Any] = {"local": graph.local, "source": graph.source, "start": graph.start}
    places, field = torch.from_numpy(np.asarray(xy_nm, dtype=np.float32)), torch.zeros(len(xy_nm), dtype=torch.long)
    units = torch.from_numpy(unit_nm).expand(len(xy_nm), 2)
    network.eval()
    with steady(), torch.inference_mode():
        data = paper_data(**{k: torch.from_numpy(v) for k, v in arrays.items()}, xy_nm=places, field=field, unit_nm=units)
        outputs = outputs_of(network, data)[0]
        moved_nm = (places - outputs[:, :2] * units).double().numpy()
    return dbscan_labels(moved_nm[:, 0], moved_nm[:, 1], eps_nm=config.paper_eps_nm, min_locs=config.paper_min_locs)
