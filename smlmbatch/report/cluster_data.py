"""The clusters of a campaign, gathered once for their part of the report, the verdict and the words on methods.

What is compared stands in the tables (per ROI, so that the replicate stays the unit); the units say how clusters were found, what the
stage warned of, and which shapes were told. A campaign without clusters has no channels and a sentence that says why.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smlmbatch.analyse.cluster_rois import comparable
from smlmbatch.analyse.comparisons import measured_clusters, read_comparisons
from smlmbatch.analyse.tables import legible
from smlmbatch.config import Config
from smlmbatch.methods.folders import copy_name, is_whole
from smlmbatch.methods.origin import Origin, read_origin
from smlmbatch.report.numbers import Numbers, gather
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign, FieldResult

if TYPE_CHECKING:
    import pyarrow as pa

STAGE = "cluster"
COUNTS = "clusters per area"  # `cluster_rois.COUNTED` in words
_BACKGROUND, _UNTOLD = "background", 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """How the units say that clusters were found; `model` and `model_sha256` are "" without a network.

    `origin` is what a model of the campaign's own was made from; None for the shipped one, or where its copy is gone.
    """

    method: str
    model: str
    model_sha256: str
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Clusters of one replicate and channel by the shape that was told; `untold` = those of which none was."""

    condition: str
    replicate: str
    channel: int
    told: Mapping[str, int]
    untold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignClusters:
    """All channels.

    Attributes
    ----------
    facts : None where no field has clusters
    why_none : a sentence where there is nothing to show, else ""
    numbers : of the measures of clusters, as of descriptors
    warnings : sentences of the stage, with how many fields have each, the most frequent first
    shapes : by the sheet's condition, replicate and channel
    n_clusters, n_fields : in all fields; fields with a unit
    n_without : analysed fields without one
    """

    facts: ClusterFacts | None
    why_none: str
    numbers: Numbers
    warnings: Sequence[tuple[str, int]]
    shapes: Sequence[Shapes]
    n_clusters: int
    n_fields: int
    n_without: int


def read_clusters(campaign: Campaign, grouped: "pa.Table") -> CampaignClusters:
    """The clusters of a campaign whose tables are written.

    Parameters
    ----------
    grouped : ROIs as `grouping.group_rois` gives them
    """
    found = list(_fields(campaign))
    attrs = [own.attrs for own in found]
    with_any = [own for own in attrs if not own["why_none"]]
    n_clusters = sum(own.n_clusters for own in found)
    n_ok = sum(all(stage in result.units for stage in ("ingest", "measure")) for result in campaign.fields)
    warnings = Counter(text for own in attrs for text in dict.fromkeys(own["warnings"]))
    return CampaignClusters(
        facts=_facts(with_any[0], campaign.output) if with_any else None,
        why_none=_why_none(attrs, n_clusters=n_clusters, config=campaign.config),
        numbers=_numbers(campaign, grouped),
        warnings=sorted(warnings.items(), key=lambda item: (-item[1], item[0])),
        shapes=_shapes(found),
        n_clusters=n_clusters,
        n_fields=len(found),
        n_without=max(0, n_ok - len(found)),
    )


@dataclass(frozen=True, slots=True)
class _Field:
    """What one unit tells; `shapes` counts by channel and shape, None = not told."""

    result: FieldResult
    attrs: Mapping[str, Any]
    n_clusters: int
    shapes: Mapping[tuple[int, str | None], int]


def _fields(campaign: Campaign) -> Iterator[_Field]:
    for result in campaign.fields:
        if STAGE in result.units:
            with UnitReader(result.units[STAGE]) as unit:
                yield _field(result, unit)


def _field(result: FieldResult, unit: UnitReader) -> _Field:
    own = unit.read("n_children") == 0
    names, shapes = [str(name) for name in unit.attrs["shapes"]], Counter[tuple[int, str | None]]()
    if names:
        pairs, counts = np.unique(np.column_stack([unit.read("cluster_channel")[own], unit.read("shape")[own]]), axis=0, return_counts=True)
        for (channel, shape), n in zip(pairs.tolist(), counts.tolist(), strict=True):
            told = shape != _UNTOLD and names[shape] != _BACKGROUND
            shapes[channel, names[shape] if told else None] += n
    return _Field(result, dict(unit.attrs), int(own.sum()), shapes)


def _facts(attrs: Mapping[str, Any], output: Path) -> ClusterFacts:
    model, sha256 = str(attrs["model"] or ""), str(attrs["model_sha256"] or "")
    copy = output / "models" / copy_name(model, sha256)
    origin = read_origin(copy) if model and is_whole(copy, sha256) else None
    return ClusterFacts(method=str(attrs["method"]), model=model, model_sha256=sha256, origin=origin)


def _why_none(attrs: Sequence[Mapping[str, Any]], *, n_clusters: int, config: Config) -> str:
    """Why there is nothing to show, and what to do about it."""
    if n_clusters:
        return ""
    reasons = Counter(str(own["why_none"]).strip() for own in attrs if own["why_none"])
    if reasons:
        said = reasons.most_common(1)[0][0]
        return said if said.endswith(".") else f"{said}."
    if config.cluster.method == "none":
        return 'Clusters were not looked for: cluster.method is "none".'
    if not attrs:
        return "No field has come through the stage cluster yet; run again to go on."
    return "No cluster was found in any field."


def _numbers(campaign: Campaign, grouped: "pa.Table") -> Numbers:
    settings = campaign.config
    names = measured_clusters(grouped)
    return gather(
        comparable(grouped, min_locs=settings.tile.min_locs),
        [],
        read_comparisons(campaign.output, name="cluster_comparisons"),
        min_locs=settings.tile.min_locs,
        paired=bool(settings.compare.paired),
        descriptors=names,
        counts=COUNTS,
    )


def _shapes(found: Sequence[_Field]) -> list[Shapes]:
    """Fields of one condition, replicate and channel together, in the campaign's order."""
    groups: dict[tuple[str, str, int], Counter[str | None]] = {}
    for own in found:
        field = own.result.field
        for (channel, shape), n in own.shapes.items():
            group = legible(field.condition_of(channel)), legible(field.replicate), channel
            groups.setdefault(group, Counter())[shape] += n
    return [
        Shapes(
            condition=condition,
            replicate=replicate,
            channel=channel,
            told={name: n for name, n in sorted(counts.items(), key=lambda item: str(item[0])) if name is not None},
            untold=counts.get(None, 0),
        )
        for (condition, replicate, channel), counts in groups.items()
    ]
