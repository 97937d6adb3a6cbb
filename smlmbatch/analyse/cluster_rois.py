"""What the stage `cluster` found, per ROI and channel: columns of `tables/rois.parquet`, to compare conditions by as by descriptors.

A cluster belongs to the kept ROI that holds its centre, so each counts once, whole, and no ROI's edge cuts one. Of nested clusters the
innermost count: a parent would be its children once more. The share of locs in clusters is that of the ROI's own locs. Shares and means
need `min_locs` of the channel in the ROI, as descriptors do (`compare.described`); the number of clusters does not.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.columns import CLUSTER_MEASURES
from smlmbatch.store.arrays import UnitReader

if TYPE_CHECKING:
    import pyarrow as pa

COUNTED: Final = ("clusters_per_um2",)  # of every kept ROI; all others need locs, or clusters
# column → array of the unit whose mean over a ROI's clusters it is
_MEANS: Final[Mapping[str, str]] = {
    "cluster_locs": "n_locs",
    "cluster_gyration_nm": "radius_of_gyration_nm",
    "cluster_hull_nm2": "area_nm2",
    "cluster_eccentricity": "eccentricity",
    "cluster_nearest_nm": "nearest_nm",
    "cluster_molecules": "n_molecules",
}


def cluster_columns(cluster: UnitReader | None, tile: UnitReader, channels: Sequence[int]) -> dict[str, "pa.Array"]:
    """Columns of one field, one row per ROI and channel, ROI-major; null where nothing was clustered or a value is undefined.

    Parameters
    ----------
    cluster : the field's unit; None = there is none
    channels : in the order of the rows
    """
    import pyarrow as pa

    n_rows = tile.length("roi_kept") * len(channels)
    if cluster is None or not cluster.attrs["channels"]:
        return {name: pa.nulls(n_rows, pa.float64()) for name in CLUSTER_MEASURES}
    kept = np.repeat(tile.read("roi_kept").astype(bool), len(channels))
    values = _measures(cluster, tile, channels)
    return {name: pa.array(values[name], mask=~kept | ~np.isfinite(values[name])) for name in CLUSTER_MEASURES}


def _measures(cluster: UnitReader, tile: UnitReader, channels: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    n_rois, n_channels = tile.length("roi_kept"), len(channels)
    place_of = np.full(256, -1, dtype=np.intp)
    place_of[list(channels)] = np.arange(n_channels)
    roi, channel = cluster.read("roi"), cluster.read("cluster_channel")
    own = (roi >= 0) & (cluster.read("n_children") == 0)
    row = roi[own].astype(np.intp) * n_channels + place_of[channel[own]]
    area_um2 = np.repeat((tile.attrs["roi_nm"] / 1000.0) ** 2 * tile.read("roi_coverage"), n_channels)
    n_locs = tile.read("roi_n_locs").reshape(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {"clusters_per_um2": np.bincount(row, minlength=n_rois * n_channels) / area_um2}
        found["clustered_share"] = cluster.read("roi_n_clustered").reshape(-1) / n_locs
    for name, array in _MEANS.items():
        found[name] = _means(cluster.read(array)[own].astype(np.float64), row, n_rois * n_channels)
    return found


def _means(values: NDArray[np.float64], row: NDArray[np.intp], n_rows: int) -> NDArray[np.float64]:
    """Mean of the defined values of each row, NaN where there is none."""
    defined = np.isfinite(values)
    sums = np.bincount(row[defined], weights=values[defined], minlength=n_rows)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = sums / np.bincount(row[defined], minlength=n_rows)
    return means


def comparable(rois: "pa.Table", *, min_locs: int) -> "pa.Table":
    """The table of ROIs with shares and means null where a ROI has fewer than `min_locs` locs of the channel."""
    import pyarrow as pa
    import pyarrow.compute as pc

    enough: Any = pc.greater_equal(rois["n_locs"], min_locs)
    for name in CLUSTER_MEASURES:
        if name not in COUNTED:
            place = rois.schema.get_field_index(name)
            rois = rois.set_column(place, name, pc.if_else(enough, rois[name], pa.scalar(None, pa.float64())))
    return rois
