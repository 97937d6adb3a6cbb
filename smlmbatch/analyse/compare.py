"""Descriptors per condition and channel, described at the level of replicates.

The replicate is the unit: ROIs of one cell and cells of one dish are not independent, so a condition's mean and
spread are taken over its replicates' means (Lord et al., J Cell Biol 219, e202001064, 2020). A replicate's mean is
taken over all its kept ROIs in which the descriptor is defined. ROIs are kept by the locs of all channels together, so
one may hold next to nothing of a channel; nearest neighbours or clusters of three locs are chance, and such ROIs enter
only what counts (`COUNTED`), where leaving them out would bias the mean upward. Replicates of one label within a condition are one
replicate, whichever field or batch they come from. Nothing here tests a hypothesis.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.columns import DESCRIPTORS
from smlmbatch.analyse.tables import STAGES, legible
from smlmbatch.errors import SmlmbatchError
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign

if TYPE_CHECKING:
    import pyarrow as pa

COUNTED = ("n_locs", "density_per_um2", "n_clusters")  # all other descriptors describe the pattern of locs


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateMean:
    """One descriptor of one replicate: mean over its ROIs (NaN where it is defined in none)."""

    condition: str
    channel: int
    descriptor: str
    replicate: str
    mean: float
    n_fields: int  # fields with a kept ROI
    n_rois: int  # kept ROIs that enter the mean


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionMean:
    """One descriptor of one condition: mean and sample standard deviation over replicates' means.

    `sd` is NaN below two replicates; `n_replicates` counts those in which the descriptor is defined.
    """

    condition: str
    channel: int
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
    channel: int
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
    rois : as `tables.read_tables` gives it
    min_locs : fewest locs of the channel for the descriptors of the pattern, as in `described`
    """
    kept = described(rois, min_locs=min_locs)
    wanted = [(name, kind) for name in descriptors for kind in ("mean", "count")]
    keys = ["condition", "channel", "replicate"]
    # one thread: sums of floats keep their order
    grouped = kept.group_by(keys, use_threads=False).aggregate([("key", "count_distinct"), *wanted])
    rows = sorted(grouped.to_pylist(), key=lambda row: (natural_key(row["condition"]), row["channel"], natural_key(row["replicate"])))
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


def condition_means(replicates: Sequence[ReplicateMean]) -> list[ConditionMean]:
    """Mean and standard deviation over replicates, in the order in which conditions and descriptors come."""
    groups: dict[tuple[str, int, str], list[ReplicateMean]] = {}
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


def ripley_curves(campaign: Campaign) -> list[RipleyCurve]:
    """Mean K of each replicate, sorted by condition, channel and replicate; fields are read one by one.

    K is averaged, not L: K's estimate is unbiased, its root is not. ROIs with fewer than `tile.min_locs` locs of the
    channel are left out.

    Raises
    ------
    SmlmbatchError
        fields with different radii: units of different settings
    """
    sums: dict[tuple[str, int, str], tuple[int, NDArray[np.float64]]] = {}
    radius_nm = np.empty(0)
    for result in campaign.fields:
        if result.failure or any(stage not in result.units for stage in STAGES):
            continue
        with UnitReader(result.units["measure"]) as measure:
            found_nm, k_nm2, channel = measure.read("radius_nm"), measure.read("ripley_k_nm2"), measure.read("channel")
            enough = measure.read("n_locs") >= campaign.config.tile.min_locs
        if len(radius_nm) and not np.array_equal(radius_nm, found_nm):
            raise SmlmbatchError(f"{result.field.path}: Ripley's K at other radii than in the fields before it")
        radius_nm = found_nm
        defined = enough & np.isfinite(k_nm2).all(axis=1)
        for c in np.unique(channel[defined]).tolist():
            rows = k_nm2[defined & (channel == c)]
            key = (legible(result.field.condition_of(c)), c, legible(result.field.replicate))
            n, total = sums.get(key, (0, np.zeros(len(radius_nm))))
            sums[key] = (n + len(rows), total + rows.sum(axis=0))
    ordered = sorted(sums, key=lambda key: (natural_key(key[0]), key[1], natural_key(key[2])))
    return [_curve(key, *sums[key], radius_nm) for key in ordered]


def _curve(key: tuple[str, int, str], n_rois: int, total_nm2: NDArray[np.float64], radius_nm: NDArray[np.float64]) -> RipleyCurve:
    condition, channel, replicate = key
    return RipleyCurve(
        condition=condition, channel=channel, replicate=replicate, n_rois=n_rois, radius_nm=radius_nm, k_nm2=total_nm2 / n_rois
    )
