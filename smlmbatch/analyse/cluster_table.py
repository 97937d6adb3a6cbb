"""The table of clusters, `tables/clusters.parquet`, and what the table of fields says of each field's clusters.

Places are absolute, in the source's frame, as corners are in the table of ROIs. What is said of a field counts innermost clusters only (a
parent would be its children once more), as medians, for the largest of them are mostly several that touch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.columns import FIELD_CLUSTER_COLUMNS, arrow_schema
from smlmbatch.store.arrays import UnitReader

if TYPE_CHECKING:
    import pyarrow as pa

_COPIED: Final = ("n_locs", "z_nm", "radius_of_gyration_nm", "area_nm2", "eccentricity", "shape_share", "belonging_mean")
_RELATED: Final = ("n_children", "nearest_nm", "n_molecules")
_OR_NONE: Final = ("parent", "roi")  # -1 = none
_MEDIANS: Final[Mapping[str, str]] = {
    "cluster_radius_nm": "radius_of_gyration_nm",
    "cluster_locs": "n_locs",
    "cluster_nearest_nm": "nearest_nm",
}  # column of the table of fields → array of the unit


def named_rows(channel: NDArray[np.integer], *, names: Mapping[str, str], condition_of: Callable[[int], str]) -> dict[str, Any]:
    """The columns that say whose rows these are: those that are the same in all rows, and the condition of each row's channel."""
    import pyarrow as pa

    columns: dict[str, Any] = {name: pa.repeat(pa.scalar(text), len(channel)) for name, text in names.items()}
    conditions = {one: condition_of(one) for one in np.unique(channel).tolist()}
    return columns | {"condition": pa.array([conditions[one] for one in channel.tolist()], pa.string())}


def cluster_table(
    cluster: UnitReader, *, origin_nm: Sequence[float], names: Mapping[str, str], condition_of: Callable[[int], str]
) -> "pa.Table":
    """One row per cluster of a field, in the order of the unit.

    Parameters
    ----------
    origin_nm : of the field, (x, y), in the source's frame
    names : columns that are the same in all rows
    condition_of : channel → condition
    """
    import pyarrow as pa

    channel = cluster.read("cluster_channel")
    columns = named_rows(channel, names=names, condition_of=condition_of)
    columns |= {"channel": channel, "cluster": np.arange(len(channel), dtype=np.int32)}
    columns |= {f"{axis}_nm": cluster.read(f"{axis}_nm") + origin for axis, origin in zip("xy", origin_nm, strict=True)}
    columns |= {name: _defined(cluster.read(name)) for name in (*_COPIED, *_RELATED)}
    columns |= {name: pa.array(values, mask=values < 0) for name, values in ((name, cluster.read(name)) for name in _OR_NONE)}
    shapes = dict(enumerate(cluster.attrs["shapes"]))
    columns["shape"] = pa.array([shapes.get(code) for code in cluster.read("shape").tolist()], pa.string())
    schema = arrow_schema(FIELD_CLUSTER_COLUMNS)
    return pa.Table.from_pydict({name: columns[name] for name in schema.names}, schema=schema)


def _defined(values: NDArray[Any]) -> "pa.Array":
    import pyarrow as pa

    return pa.array(values, mask=np.isnan(values) if values.dtype.kind == "f" else None)


def cluster_summary(cluster: UnitReader, inside: NDArray[np.bool_], *, area_um2: float, n_per_channel: Mapping[int, int]) -> dict[str, Any]:
    """Columns of the table of fields; lists have one entry for each channel.

    Parameters
    ----------
    inside : (c,), whether each cluster's centroid lies in a cell
    area_um2 : of all cells
    n_per_channel : channel → locs
    """
    attrs, channel = cluster.attrs, cluster.read("cluster_channel")
    found: dict[str, Any] = {"cluster_method": attrs["method"], "cluster_warnings": attrs["warnings"]}
    if not attrs["channels"]:
        return found
    innermost = cluster.read("n_children") == 0
    own = [innermost & (channel == one) for one in n_per_channel]
    clustered = dict(zip(attrs["channels"], attrs["n_clustered"], strict=True))
    fits = dict(zip(attrs["channels"], attrs["locs_per_spot"], strict=True))
    found["n_clusters"] = [int(rows.sum()) for rows in own]
    found["clusters_per_um2"] = [float((rows & inside).sum() / area_um2) if area_um2 else None for rows in own]
    found["clustered_share"] = [clustered[one] / n if n else None for one, n in n_per_channel.items()]
    found["locs_per_spot"] = [fits[one]["mean"] if fits[one] else None for one in n_per_channel]
    return found | {name: [_median(cluster.read(array)[rows]) for rows in own] for name, array in _MEDIANS.items()}


def _median(values: NDArray[Any]) -> float | None:
    defined = values[np.isfinite(values)]
    return float(np.median(defined)) if len(defined) else None
