"""Descriptors per condition and channel, described at the level of replicates.

The replicate is the unit: ROIs of one cell and cells of one dish are not independent, so a condition's mean and
spread are taken over its replicates' means (Lord et al., J Cell Biol 219, e202001064, 2020). A replicate's mean is
taken over all its kept ROIs in which the descriptor is defined. ROIs are kept by the locs of all channels together, so
one may hold next to nothing of a channel; nearest neighbours or clusters of three locs are chance, and such ROIs enter
only what counts (`COUNTED`), where leaving them out would bias the mean upward. Replicates of one label within a condition are one
replicate, whichever field or batch they come from (`grouping` keeps those of different samples apart). Nothing here tests a hypothesis.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.columns import DESCRIPTORS

if TYPE_CHECKING:
    import pyarrow as pa

COUNTED = ("n_locs", "density_per_um2", "n_clusters")  # all other descriptors describe the pattern of locs


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateMean:
    """One descriptor of one replicate: mean over its ROIs (NaN where it is defined in none)."""

    condition: str
    channel: int | None  # None where channels are part of the condition
    descriptor: str
    replicate: str
    mean: float
    n_fields: int  # fields with a kept ROI
    n_rois: int  # kept ROIs that enter the mean
    block: str | None = None  # what pairs it with replicates of other conditions; None = nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionMean:
    """One descriptor of one condition: mean and sample standard deviation over replicates' means.

    `sd` is NaN below two replicates; `n_replicates` counts those in which the descriptor is defined.
    """

    condition: str
    channel: int | None
    descriptor: str
    mean: float
    sd: float
    n_replicates: int
    n_fields: int
    n_rois: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RipleyCurve:
    """Ripley's K of one replicate: mean over its ROIs that hold enough locs of the channel.

    Attributes
    ----------
    radius_nm, k_nm2 : (r,) f8
    """

    condition: str
    channel: int | None
    replicate: str
    n_rois: int
    radius_nm: NDArray[np.float64]
    k_nm2: NDArray[np.float64]

    @property
    def l_minus_r_nm(self) -> NDArray[np.float64]:
        """L(r) - r, 0 for complete spatial randomness; L = sqrt(K / pi)."""
        return np.sqrt(self.k_nm2 / np.pi) - self.radius_nm


def natural_key(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key under which "2 nM" stands before "10 nM" and "ctrl" before "EGF".

    >>> sorted(["EGF", "10 nM", "2 nM", "ctrl"], key=natural_key)
    ['2 nM', '10 nM', 'ctrl', 'EGF']
    """
    pieces = [piece for piece in re.split(r"(\d+)", text.casefold()) if piece]
    return [(0, int(piece), piece) if piece.isdecimal() else (1, 0, piece) for piece in pieces], text


def described(rois: "pa.Table", *, min_locs: int) -> "pa.Table":
    """Kept ROIs; descriptors of the pattern are null where a ROI has fewer than `min_locs` locs of the channel.

    Parameters
    ----------
    rois : as `tables.read_tables` gives it
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = rois.filter(pc.field("kept"))
    enough = pc.greater_equal(kept["n_locs"], min_locs)
    for i, name in enumerate(kept.column_names):
        if name in DESCRIPTORS and name not in COUNTED:
            kept = kept.set_column(i, name, pc.if_else(enough, kept[name], pa.scalar(None, kept[name].type)))
    return kept


def replicate_means(rois: "pa.Table", *, min_locs: int, descriptors: Sequence[str] = DESCRIPTORS) -> list[ReplicateMean]:
    """Means of each descriptor over each replicate's ROIs, by condition, channel, descriptor and replicate.

    Parameters
    ----------
    rois : as `tables.read_tables` or `grouping.group_rois` gives it; with the latter's column `block`, a replicate found in
        two blocks is two
    min_locs : fewest locs of the channel for the descriptors of the pattern, as in `described`
    """
    kept = described(rois, min_locs=min_locs)
    wanted = [(name, kind) for name in descriptors for kind in ("mean", "count")]
    keys = [name for name in ("condition", "channel", "replicate", "block") if name in kept.column_names]
    # one thread: sums of floats keep their order
    grouped = kept.group_by(keys, use_threads=False).aggregate([("key", "count_distinct"), *wanted])
    rows = sorted(grouped.to_pylist(), key=_order)
    return [
        ReplicateMean(
            **{key: row[key] for key in keys},
            descriptor=name,
            mean=np.nan if row[f"{name}_mean"] is None else row[f"{name}_mean"],
            n_fields=row["key_count_distinct"],
            n_rois=row[f"{name}_count"],
        )
        for row in rows
        for name in descriptors
    ]


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    channel = -1 if row["channel"] is None else row["channel"]
    return natural_key(row["condition"]), channel, natural_key(row["replicate"]), natural_key(row.get("block") or "")


def condition_means(replicates: Sequence[ReplicateMean]) -> list[ConditionMean]:
    """Mean and standard deviation over replicates, in the order in which conditions and descriptors come."""
    groups: dict[tuple[str, int | None, str], list[ReplicateMean]] = {}
    for r in replicates:
        groups.setdefault((r.condition, r.channel, r.descriptor), []).append(r)
    return [_condition_mean(members) for members in groups.values()]


def _condition_mean(members: Sequence[ReplicateMean]) -> ConditionMean:
    means = np.array([m.mean for m in members if m.n_rois])
    first = members[0]
    return ConditionMean(
        condition=first.condition,
        channel=first.channel,
        descriptor=first.descriptor,
        mean=float(means.mean()) if len(means) else np.nan,
        sd=float(means.std(ddof=1)) if len(means) > 1 else np.nan,
        n_replicates=len(means),
        n_fields=sum(m.n_fields for m in members),
        n_rois=sum(m.n_rois for m in members),
    )
