"""Stage cluster: the clusters of a whole field, channel by channel, by MIRO or by DBSCAN, and a row of numbers for each.

All locs of the field are looked at, inside cells and outside; regions only serve to say where a cluster lies. A field that is too empty is
a result and not an error: it has no clusters, and the attribute `warnings` says why. MIRO's blocks can be shared by ranks. Memory is
that of a block, and of the locs' labels: some 60 bytes a loc.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.cluster.regions import count_clustered, region_of
from smlmbatch.cluster.rows import Labelled, cluster_rows
from smlmbatch.config import ClusterConfig
from smlmbatch.methods.chosen import CLUSTER, Choice, choose, whole_folder
from smlmbatch.samples import BLINKING
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Sources, Work

if TYPE_CHECKING:
    from torch import nn

    from smlmbatch.methods.miro.blocks import MiroBlocks

_LEAST_LOCS: Final = 3  # of a channel; two are no cluster to either method
# A user knows typical values, not how much they vary: as much as clusters that were simulated alike do
_SPREAD_RADIUS, _SPREAD_LOCS = 0.15, 0.3


def blocks(sources: Sources) -> "MiroBlocks | None":
    """The field's blocks; None where no network is asked, or no channel has locs enough.

    Raises
    ------
    InputError
        the campaign's copy of its model is missing or damaged
    """
    ingest = sources.upstream["ingest"]
    channels = _filled(ingest)
    if sources.config.cluster.method != "miro" or not channels:
        return None
    from smlmbatch.methods.miro.blocks import MiroBlocks

    taken = [_taken(sources, channel) for channel in channels]
    return MiroBlocks(ingest, network=_network(sources), channels=channels, taken=taken, hint=_hint(sources.config.cluster))


def run(work: Work) -> None:
    """Find the clusters of a field and describe them.

    Raises
    ------
    InputError
        the campaign's copy of its model is missing or damaged
    """
    ingest, tile, settings = work.upstream["ingest"], work.upstream["tile"], work.config.cluster
    channels = [int(channel) for channel in ingest.attrs["channels"]] if settings.method != "none" else []
    sentences = [_too_few(ingest, channel) for channel in channels if channel not in _filled(ingest)]
    found, warnings, with_parents = _METHODS[settings.method](work)
    x_nm, y_nm = ingest.read("x_nm"), ingest.read("y_nm")
    z_nm = ingest.read("z_nm") if ingest.has("z_nm") else None
    rows = cluster_rows(found, x_nm, y_nm, z_nm, locs_per_molecule=settings.calibration_locs_per_molecule)
    rows["roi"] = region_of(rows["x_nm"], rows["y_nm"], tile)
    rows["roi_n_clustered"] = count_clustered(found.label, ingest, tile, channels=channels)
    for name, values in {"label": found.label, **found.contracted, **rows}.items():
        work.out.write(name, values)
    empty = [_found_none(channel, ingest) for channel in channels if channel in _filled(ingest) and not (found.channel == channel).any()]
    work.out.attrs |= _attributes(work, channels, rows, with_parents=with_parents)
    work.out.attrs["n_clustered"] = [int((found.channel[found.label[found.label >= 0]] == channel).sum()) for channel in channels]
    work.out.attrs["warnings"] = [*sentences, *warnings, *empty]


# ---- the methods: labels, sentences, whether clusters are looked for at two levels


def _by_miro(work: Work) -> tuple[Labelled, list[str], bool]:
    from smlmbatch.methods.miro.blocks import group_blocks

    ingest, cut = work.upstream["ingest"], blocks(work)
    if cut is None:
        return _nothing(ingest, contracted=True), [], False
    network = _network(work)
    clusters = group_blocks(ingest, work.team.gather(cut), channels=_filled(ingest), rules=cut.rules)
    contracted = {"contracted_x_nm": clusters.x_nm, "contracted_y_nm": clusters.y_nm, "belonging": clusters.belonging}
    found = Labelled(
        label=clusters.label,
        channel=clusters.channel,
        parent=clusters.parent,
        belonging=clusters.belonging,
        shape=clusters.shape,
        contracted=contracted,
    )
    config: Any = network.config
    return found, [*_unheard(work.config.cluster, config), *cut.warnings()], bool(config.parents_from)


def _by_dbscan(work: Work) -> tuple[Labelled, list[str], bool]:
    from smlmbatch.clustering.dbscan import dbscan_labels

    ingest, settings = work.upstream["ingest"], work.config.cluster
    of_channel, row = ingest.read("channel"), ingest.read("row")
    axes = [ingest.read(name) for name in ("x_nm", "y_nm", "z_nm") if ingest.has(name)]
    label, of_cluster = np.full(len(row), -1, dtype=np.int32), [np.empty(0, np.uint8)]
    for channel in _filled(ingest):
        own, places = _placed(axes, np.flatnonzero(of_channel == channel))
        found = by_smallest_row(dbscan_labels(*places, eps_nm=settings.eps_nm, min_locs=settings.min_locs, row=row[own]), row[own])
        label[own] = np.where(found >= 0, found + sum(map(len, of_cluster)), -1)
        of_cluster.append(np.full(found.max(initial=-1) + 1, channel, dtype=np.uint8))
    of_all = np.concatenate(of_cluster)
    return Labelled(label=label, channel=of_all, parent=np.full(len(of_all), -1, dtype=np.int32)), [], False


def _placed(axes: Sequence[NDArray[np.floating]], own: NDArray[np.intp]) -> tuple[NDArray[np.intp], list[NDArray[np.floating]]]:
    """A channel's locs that can be held against each other, and their axes: in space those with a z, in the plane where none has one."""
    has_z = np.isfinite(axes[2][own]) if len(axes) == 3 else np.zeros(len(own), bool)
    if not has_z.any():
        return own, [axis[own] for axis in axes[:2]]
    return own[has_z], [axis[own[has_z]] for axis in axes]


def _by_nobody(work: Work) -> tuple[Labelled, list[str], bool]:
    return _nothing(work.upstream["ingest"], contracted=False), [], False


_METHODS: Final[Mapping[str, Callable[[Work], tuple[Labelled, list[str], bool]]]] = MappingProxyType(
    {"miro": _by_miro, "dbscan": _by_dbscan, "none": _by_nobody}
)


def _nothing(ingest: UnitReader, *, contracted: bool) -> Labelled:
    n = ingest.length("x_nm")
    unknown = np.full(n, np.nan, dtype=np.float32)
    names = ("contracted_x_nm", "contracted_y_nm", "belonging") if contracted else ()
    none = np.empty(0, dtype=np.int32)
    return Labelled(
        label=np.full(n, -1, dtype=np.int32), channel=none.astype(np.uint8), parent=none, contracted=dict.fromkeys(names, unknown)
    )


def by_smallest_row(label: NDArray[np.int32], row: NDArray[np.integer]) -> NDArray[np.int32]:
    """The same clusters numbered by the smallest row of each.

    >>> by_smallest_row(np.array([0, 1, -1, 1], np.int32), np.array([7, 9, 0, 2])).tolist()
    [1, 0, -1, 0]
    """
    in_order = np.argsort(row)
    in_order = in_order[label[in_order] >= 0]
    _, first = np.unique(label[in_order], return_index=True)
    number = np.empty(len(first), dtype=np.int32)
    number[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return np.where(label >= 0, np.append(number, -1)[label], -1).astype(np.int32)


# ---- what MIRO is told


def _network(sources: Sources) -> "nn.Module":
    from smlmbatch.methods.model import load_model

    return load_model(whole_folder(choose(sources.config, CLUSTER), sources.models, CLUSTER)).network


def _taken(sources: Sources, channel: int) -> NDArray[np.float32]:
    """How the channel was taken: whether molecules blink, by the sample sheet; how exact its locs are, by their median precision."""
    from smlmbatch.methods.miro.context import acquisition

    ingest = sources.upstream["ingest"]
    error_nm = None
    if ingest.has("precision_nm"):
        precision_nm = ingest.read("precision_nm")[ingest.read("channel") == channel]
        known = precision_nm[np.isfinite(precision_nm) & (precision_nm > 0)]
        error_nm = float(np.median(known)) if len(known) else None
    return acquisition(
        blinking=BLINKING.get(sources.field.blinking), error_nm=error_nm
    )  # planned by an earlier version, it may be any word


def _hint(settings: ClusterConfig) -> NDArray[np.float32] | None:
    """What the user knows of his clusters, as the network is told it; None = nothing."""
    if not settings.cluster_radius_nm:
        return None
    from smlmbatch.methods.miro.context import cluster_hint

    apart = np.array([-1.0, 1.0])
    n_locs = np.maximum(np.rint(settings.locs_per_cluster * np.exp(_SPREAD_LOCS * apart)), 1)
    return cluster_hint(settings.cluster_radius_nm * np.exp(_SPREAD_RADIUS * apart), n_locs.astype(np.int64))


def _unheard(settings: ClusterConfig, config: Any) -> list[str]:
    """A sentence where the user's hint is nothing the model can use."""
    if not settings.cluster_radius_nm:
        return []
    if config.templates:
        return ["The model was tuned to marked clusters and knows their size; cluster_radius_nm and locs_per_cluster are not used."]
    if not config.hint_share:
        return ["The model was trained without being told sizes; cluster_radius_nm and locs_per_cluster are not used."]
    return []


# ---- what is said of the whole field


def _filled(ingest: UnitReader) -> list[int]:
    """Channels with locs enough to look for clusters."""
    return [int(c) for c, n in zip(ingest.attrs["channels"], ingest.attrs["n_per_channel"], strict=True) if n >= _LEAST_LOCS]


def _of(channel: int, ingest: UnitReader) -> str:
    return f"Channel {channel}" if len(ingest.attrs["channels"]) > 1 else "The field"


def _too_few(ingest: UnitReader, channel: int) -> str:
    n = dict(zip(ingest.attrs["channels"], ingest.attrs["n_per_channel"], strict=True))[channel]
    return f"{_of(channel, ingest)} has {n} localisation{'' if n == 1 else 's'}, too few to look for clusters."


def _found_none(channel: int, ingest: UnitReader) -> str:
    return f"{_of(channel, ingest)} has no clusters."


def _attributes(work: Work, channels: list[int], rows: Mapping[str, NDArray[Any]], *, with_parents: bool) -> dict[str, Any]:
    settings, choice = work.config.cluster, choose(work.config, CLUSTER)
    by_dbscan = settings.method == "dbscan"
    return {
        "method": settings.method,
        "model": choice.name,
        "model_sha256": choice.sha256,
        "why_none": choice.why_none if settings.method == "none" else "",
        "channels": channels,
        "shapes": _shapes(work, choice),
        "with_parents": with_parents,
        "eps_nm": settings.eps_nm if by_dbscan else None,
        "min_locs": settings.min_locs if by_dbscan else None,
        "locs_per_molecule": settings.calibration_locs_per_molecule or None,
        "locs_per_spot": [_fit(rows, channel) for channel in channels],
    }


def _shapes(work: Work, choice: Choice) -> list[str]:
    """Names of the shapes that the model tells."""
    if not choice.name:
        return []
    from smlmbatch.methods.folders import stated_settings
    from smlmbatch.simulate.cluster_shapes import SHAPES

    return list(SHAPES) if stated_settings(whole_folder(choice, work.models, CLUSTER))[CLUSTER.method]["classes"] else []


def _fit(rows: Mapping[str, NDArray[Any]], channel: int) -> dict[str, Any] | None:
    """Numbers of locs as if clusters were single molecules; parents can't be."""
    from smlmbatch.clustering.molecules import fit_geometric

    fit = fit_geometric(rows["n_locs"][(rows["cluster_channel"] == channel) & (rows["n_children"] == 0)])
    return None if fit is None else dataclasses.asdict(fit)
