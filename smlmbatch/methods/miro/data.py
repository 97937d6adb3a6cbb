"""The shards of simulated fields that the network learns from, as graphs with their truth; and the batch as one graph.

Graphs lie in the shards: making them costs more than a tenth of a step, and an epoch needs them again.
"""

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.context import NO_HINT, acquisition, cluster_hint, density_context, inexact_hint
from smlmbatch.methods.miro.features import Columns, medians_of, with_features
from smlmbatch.methods.miro.graph import UNIT_NM, Graph, build_graph
from smlmbatch.methods.miro.paper_graph import build_paper_graph
from smlmbatch.simulate.acquired import draw_columns
from smlmbatch.simulate.clusters import ClusterField, draw_cluster_field
from smlmbatch.simulate.nested import draw_nested_field

if TYPE_CHECKING:
    import torch

    from smlmbatch.methods.method import Batch
    from smlmbatch.methods.miro.geometric import Data
    from smlmbatch.methods.miro.recipe import MiroConfig

_HINT: Final = 0x4177  # first number of the key of the hints
_NESTED: Final = 0x4178  # of the choice of nested fields
# of a field: locs, features, incoming edges of each loc, where these come from, cluster of each loc, clusters
RAGGED: Final = ("xy_nm", "local", "degree", "source", "cluster", "truth")
ARRAYS: Final = (*RAGGED, "context", "unit_nm")
# columns of `truth`: own centre (2), rms radius, shape; centre and rms radius of the parent, its own where it has none
RMS, SHAPE, PARENT, PARENT_RMS = 2, 3, slice(4, 6), 6


def training_shard(config: "MiroConfig", number: int) -> dict[str, Any]:
    """The arrays of one shard; ragged ones as a list of one array a field."""
    first = number * config.shard_samples
    return shard_of([training_field(config, first + i) for i in range(config.shard_samples)])


def shard_of(fields: list[dict[str, NDArray[Any]]]) -> dict[str, Any]:
    """Fields one beside the other."""
    return {name: ([f[name] for f in fields] if name in RAGGED else np.stack([f[name] for f in fields])) for name in ARRAYS}


def training_field(config: "MiroConfig", number: int) -> dict[str, NDArray[Any]]:
    """One simulated field as the network gets it."""
    field = draw_field(config, number)
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(_HINT, number)))
    hint = inexact_hint(cluster_hint(field.rms_nm, field.size), rng) if rng.random() < config.hint_share else NO_HINT
    told, exact = rng.random() < config.acquisition_share, rng.random() < 0.5
    taken = acquisition(blinking=field.blinking if told else None, error_nm=field.error_nm * np.exp(0.15 * rng.normal()) if exact else None)
    columns = draw_columns(field, config.seed, number) if config.features else {}
    return field_arrays(config, field, taken=taken, hint=hint, columns=columns)


def field_arrays(
    config: "MiroConfig",
    field: ClusterField,
    *,
    taken: NDArray[np.float32],
    hint: NDArray[np.float32],
    columns: Columns = MappingProxyType({}),
) -> dict[str, NDArray[Any]]:
    """A field with its truth, and what is told of it; `columns` of its locs for the recipe's features."""
    graph, unit_nm = _graph(config, field)
    graph = with_features(graph, config.feature_names, columns, medians_of(config.feature_names, columns))
    return {
        "xy_nm": field.xy_nm,
        "local": graph.local,
        "degree": np.diff(graph.start).astype(np.uint16),
        "source": graph.source.astype(np.uint16),
        "cluster": field.cluster.astype(np.uint16),
        "truth": truth_of(field),
        "context": np.concatenate([density_context(graph.local), taken, hint])
        if config.network == "generalist"
        else np.empty(0, np.float32),
        "unit_nm": unit_nm,
    }


def draw_field(config: "MiroConfig", number: int) -> ClusterField:
    """Field `number` of a recipe: where locs go on to parents, a share of `nested_share` is of the kinds of simulate.nested."""
    if config.parents_from == 0:
        return draw_cluster_field(config.seed, number, config.family)
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(_NESTED, number)))
    if rng.random() < config.nested_share:
        return draw_nested_field(config.seed, number, config.family)
    return draw_cluster_field(config.seed, number, dataclasses.replace(config.family, nested=0.0))


def _graph(config: "MiroConfig", field: ClusterField) -> tuple[Graph, NDArray[np.float32]]:
    if config.network == "paper":
        return build_paper_graph(field.xy_nm, reach=config.paper_reach)
    return build_graph(field.xy_nm), np.full(2, UNIT_NM, dtype=np.float32)


def truth_of(field: ClusterField) -> NDArray[np.float32]:
    """What is asked of the locs of each cluster: (c, 7) f4."""
    family_of = np.where(field.parent > 0, field.parent - 1, field.parent.max(initial=0) + np.arange(len(field.parent)))
    n = family_of.max(initial=-1) + 1
    size = field.size
    whole = np.maximum(np.bincount(family_of, weights=size, minlength=n), 1)
    middle = np.column_stack([np.bincount(family_of, weights=size * c, minlength=n) / whole for c in field.centre_nm.T])[family_of]
    # parallel axes: r² about the parent's middle is a child's own r² and its distance's square
    spread2 = field.rms_nm**2 + ((field.centre_nm - middle) ** 2).sum(axis=1)
    parent_rms = np.sqrt(np.bincount(family_of, weights=size * spread2, minlength=n) / whole)[family_of]
    return np.column_stack([field.centre_nm, field.rms_nm, field.shape, middle, parent_rms]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Truth:
    """What is asked of each loc of a batch.

    Attributes
    ----------
    cluster : (N,) i8, 0 = background, else numbered over all fields from 1
    rows : (C + 1, 7), as `truth_of`, with a row for the background before them
    unit_nm : (N, 2)
    n_fields : of the batch
    """

    cluster: "torch.Tensor"
    rows: "torch.Tensor"
    unit_nm: "torch.Tensor"
    n_fields: int


def batch_graph(batch: "Batch", config: "MiroConfig") -> "tuple[Data, Truth]":
    """The fields of a batch as one graph, and what is asked of its locs."""
    import torch

    from smlmbatch.methods.miro.network import graph_data
    from smlmbatch.methods.miro.paper import paper_data

    sizes = batch["xy_nm_sizes"]
    n_fields = len(sizes)
    field = torch.repeat_interleave(torch.arange(n_fields, device=sizes.device), sizes)
    before = sizes.cumsum(0) - sizes
    source = batch["source"] + torch.repeat_interleave(before, batch["source_sizes"])
    start = torch.nn.functional.pad(batch["degree"].cumsum(0), (1, 0))
    n_before = batch["truth_sizes"].cumsum(0) - batch["truth_sizes"]
    cluster = torch.where(batch["cluster"] > 0, batch["cluster"] + n_before[field], 0)
    rows = torch.cat([batch["truth"].new_ones((1, batch["truth"].shape[1])), batch["truth"]])
    unit_nm = batch["unit_nm"][field]
    found: dict[str, Any] = {"xy_nm": batch["xy_nm"], "local": batch["local"], "source": source, "start": start, "field": field}
    if config.network == "paper":
        return paper_data(**found, unit_nm=unit_nm), Truth(cluster, rows, unit_nm, n_fields)
    return graph_data(**found, context=batch["context"]), Truth(cluster, rows, unit_nm, n_fields)
