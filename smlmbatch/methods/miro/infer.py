"""From locs of a field to labels: graph, two passes of the network, groups.

The first pass knows nothing of the clusters; those it finds, all of them, give the hint for the second. (Filtering them first would make
the hint speak of the large ones.) Where they are so different that a typical one means little, the first pass is the result. A hint from
outside, by someone who knows his structure, takes the first pass's place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.context import NO_HINT, cluster_hint, density_context
from smlmbatch.methods.miro.graph import UNIT_NM, Graph, build_graph
from smlmbatch.methods.miro.group import Grouping, group_locs

if TYPE_CHECKING:
    from torch import nn

    from smlmbatch.methods.miro.recipe import MiroConfig

Floats = NDArray[np.float32]
_CELL_NM: Final = 500.0  # of the order in which locs are gone through


@dataclass(frozen=True, slots=True)
class Contracted:
    """What the network says of n locs.

    Attributes
    ----------
    xy_nm : (n, 2) f8, contracted places, nm
    belonging : (n,) f4, probability of lying in a cluster
    radius_nm : (n,) f4, rms radius of that cluster
    """

    xy_nm: NDArray[np.float64]
    belonging: Floats
    radius_nm: Floats


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
    hint: Floats | None = None,
    rule: Grouping | None = None,
) -> Found:
    """Clusters of one field by a network of the kind generalist, on one thread.

    Parameters
    ----------
    xy_nm : (n, 2), nm, finite; any n
    row : (n,) number of each loc in its source; 0 ... n - 1 where not given. In which order the arrays are is all the same
    hint : as `context.cluster_hint` gives it; None = from a first pass
    """
    row = np.arange(len(xy_nm)) if row is None else row
    order = _side_by_side(xy_nm, row)
    found = _find(network, np.asarray(xy_nm, dtype=np.float64)[order], row[order], hint, rule)
    back = np.empty(len(order), dtype=np.intp)
    back[order] = np.arange(len(order))
    contracted = Contracted(found.contracted.xy_nm[back], found.contracted.belonging[back], found.contracted.radius_nm[back])
    return Found(found.labels[back], contracted, found.hint)


def _side_by_side(xy_nm: NDArray[np.floating], row: NDArray[np.integer]) -> NDArray[np.intp]:
    """An order in which neighbours stand near each other, by place and row alone: a large field is then twice as fast (caches)."""
    cell = np.floor(np.asarray(xy_nm, dtype=np.float64) / _CELL_NM)
    return np.lexsort((row, cell[:, 0], cell[:, 1]))


def _find(network: "nn.Module", xy_nm: NDArray[np.float64], row: NDArray[np.integer], hint: Floats | None, rule: Grouping | None) -> Found:
    """`find_clusters` of locs in the order that suits it."""
    graph = build_graph(xy_nm, row)
    densities = density_context(graph.local)
    passes = 1 if hint is not None else 2
    given = NO_HINT if hint is None else hint
    for _ in range(passes):
        contracted = contract(network, xy_nm, graph, np.concatenate([densities, given]))
        labels = group_locs(contracted.xy_nm, contracted.belonging, contracted.radius_nm, row=row, rule=rule)
        found = Found(labels, contracted, given)
        given = hint_of(xy_nm, labels)
        if given[0] == 0.0:
            break
    return found


def contract(network: "nn.Module", xy_nm: NDArray[np.floating], graph: Graph, context: Floats) -> Contracted:
    """The network's last step on a graph, or on a part of one with enough hops around what is wanted of it."""
    import torch

    from smlmbatch.methods.miro.network import LOG_RADIUS, LOGIT, graph_data, outputs_of

    xy_nm = np.asarray(xy_nm, dtype=np.float64)
    arrays: Mapping[str, Any] = {"local": graph.local, "source": graph.source, "start": graph.start, "context": context[None]}
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    network.eval()
    with torch.inference_mode():
        data = graph_data(**tensors, xy_nm=torch.from_numpy(xy_nm), field=torch.zeros(len(xy_nm), dtype=torch.long))
        data.x, data.edge_attr = data.x.float(), data.edge_attr.float()
        outputs = outputs_of(network, data)[0]
    out = outputs.double().numpy()
    belonging = 1.0 / (1.0 + np.exp(-out[:, LOGIT]))
    radius_nm = UNIT_NM * np.exp(np.clip(out[:, LOG_RADIUS], -5.0, 5.0))
    return Contracted(xy_nm - UNIT_NM * out[:, :2], belonging.astype(np.float32), radius_nm.astype(np.float32))


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
    from smlmbatch.methods.miro.network import outputs_of
    from smlmbatch.methods.miro.paper import paper_data
    from smlmbatch.methods.miro.paper_graph import build_paper_graph

    graph, unit_nm = build_paper_graph(xy_nm, reach=config.paper_reach)
    arrays: Mapping[str, Any] = {"local": graph.local, "source": graph.source, "start": graph.start}
    places, field = torch.from_numpy(np.asarray(xy_nm, dtype=np.float32)), torch.zeros(len(xy_nm), dtype=torch.long)
    units = torch.from_numpy(unit_nm).expand(len(xy_nm), 2)
    network.eval()
    with torch.inference_mode():
        data = paper_data(**{k: torch.from_numpy(v) for k, v in arrays.items()}, xy_nm=places, field=field, unit_nm=units)
        outputs = outputs_of(network, data)[0]
        moved_nm = (places - outputs[:, :2] * units).double().numpy()
    return dbscan_labels(moved_nm[:, 0], moved_nm[:, 1], eps_nm=config.paper_eps_nm, min_locs=config.paper_min_locs)
