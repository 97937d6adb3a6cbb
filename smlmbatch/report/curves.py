"""Ripley's K of each replicate of the conditions that are compared; fields are read one by one.

K is averaged, not L: K's estimate is unbiased, its root is not. ROIs with fewer than `tile.min_locs` locs of the channel are
left out.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.compare import RipleyCurve, natural_key
from smlmbatch.analyse.tables import STAGES, legible
from smlmbatch.errors import SmlmbatchError
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign

if TYPE_CHECKING:
    import pyarrow as pa

_Group = tuple[str, int | None, str]  # condition, channel, replicate


def ripley_curves(campaign: Campaign, rois: "pa.Table", grouped: "pa.Table") -> list[RipleyCurve]:
    """Mean K of each condition, channel and replicate, sorted by these.

    Parameters
    ----------
    rois : as `tables.read_tables` gives it
    grouped : the same rows, as `grouping.group_rois` gives them

    Raises
    ------
    SmlmbatchError
        fields with different radii: units of different settings
    """
    (codes, names), replicates = _codes(grouped), grouped["replicate"]
    channels, n_locs, rows_of = rois["channel"].to_numpy(), rois["n_locs"].to_numpy(), _rows_of_fields(rois)
    joined = grouped["channel"].null_count == len(grouped)
    sums: dict[_Group, tuple[int, NDArray[np.float64]]] = {}
    radius_nm = np.empty(0)
    for result in campaign.fields:
        rows = rows_of.get(legible(result.field.key))
        if rows is None or any(stage not in result.units for stage in STAGES):
            continue
        with UnitReader(result.units["measure"]) as measure:
            found_nm, k_nm2, roi, channel = (measure.read(name) for name in ("radius_nm", "ripley_k_nm2", "roi", "channel"))
        if len(radius_nm) and not np.array_equal(radius_nm, found_nm):
            raise SmlmbatchError(f"{result.field.path}: Ripley's K at other radii than in the fields before it")
        radius_nm = found_nm
        own = _rows_of_measured(channels[rows], roi, channel) + rows.start
        defined = (n_locs[own] >= campaign.config.tile.min_locs) & np.isfinite(k_nm2).all(axis=1)
        own = own[defined]
        for code, c in sorted(set(zip(codes[own].tolist(), channel[defined].tolist(), strict=True))):
            curves = k_nm2[defined][(codes[own] == code) & (channel[defined] == c)]
            group = names[code], None if joined else int(c), replicates[rows.start].as_py()
            n, total = sums.get(group, (0, np.zeros(len(radius_nm))))
            sums[group] = n + len(curves), total + curves.sum(axis=0)
    ordered = sorted(sums, key=lambda group: (natural_key(group[0]), -1 if group[1] is None else group[1], natural_key(group[2])))
    return [_curve(group, *sums[group], radius_nm) for group in ordered]


def _codes(grouped: "pa.Table") -> tuple[NDArray[np.int32], list[str]]:
    """Condition of each row as a number, and the conditions' names."""
    import pyarrow.compute as pc

    encoded = pc.dictionary_encode(grouped["condition"].combine_chunks())
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _rows_of_fields(rois: "pa.Table") -> dict[str, slice]:
    """Where each field's rows stand; they stand together."""
    import pyarrow.compute as pc

    if not len(rois):
        return {}
    runs = pc.run_end_encode(rois["key"].combine_chunks())
    ends = runs.run_ends.to_pylist()
    return {key: slice(start, end) for key, start, end in zip(runs.values.to_pylist(), [0, *ends[:-1]], ends, strict=True)}


def _rows_of_measured(channels: NDArray[np.uint8], roi: NDArray[np.int32], channel: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Row of each measured ROI and channel among a field's rows, which hold all channels of a ROI, then those of the next."""
    own = np.unique(channels)
    place = np.empty(256, dtype=np.intp)
    place[channels[: len(own)]] = np.arange(len(own))
    return roi.astype(np.intp) * len(own) + place[channel]


def _curve(group: _Group, n_rois: int, total_nm2: NDArray[np.float64], radius_nm: NDArray[np.float64]) -> RipleyCurve:
    condition, channel, replicate = group
    return RipleyCurve(
        condition=condition, channel=channel, replicate=replicate, n_rois=n_rois, radius_nm=radius_nm, k_nm2=total_nm2 / n_rois
    )
