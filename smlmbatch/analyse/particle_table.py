"""Rows of `tables/particles.parquet`: the particles of one field, in the order of its unit, at absolute places in the source's frame."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from smlmbatch.analyse.cluster_table import named_rows
from smlmbatch.analyse.columns import PARTICLE_COLUMNS, arrow_schema
from smlmbatch.store.arrays import UnitReader

if TYPE_CHECKING:
    import pyarrow as pa


def particle_table(
    pick: UnitReader, *, origin_nm: Sequence[float], names: Mapping[str, str], condition_of: Callable[[int], str]
) -> "pa.Table":
    """One row per particle of a field.

    Parameters
    ----------
    origin_nm : of the field, (x, y), in the source's frame
    names : columns that are the same in all rows
    condition_of : channel → condition
    """
    import pyarrow as pa

    channel, cluster, z_nm = pick.read("channel"), pick.read("cluster"), pick.read("z_nm")
    columns = named_rows(channel, names=names, condition_of=condition_of)
    columns |= {"channel": channel, "particle": np.arange(len(channel), dtype=np.int32), "cluster": pa.array(cluster, mask=cluster < 0)}
    columns |= {name: pick.read(name) if pick.has(name) else pa.nulls(len(channel)) for name in ("group", "pick")}
    columns |= {f"{axis}_nm": pick.read(f"{axis}_nm") + origin for axis, origin in zip("xy", origin_nm, strict=True)}
    columns["z_nm"] = pa.array(z_nm, mask=np.isnan(z_nm))
    columns["centre_by"] = pa.array([pick.attrs["centres"][code] for code in pick.read("centre_by").tolist()], pa.string())
    columns |= {"n_locs": pick.read("n_locs"), "n_points": np.diff(pick.read("start")), "radius_nm": pick.read("radius_nm")}
    schema = arrow_schema(PARTICLE_COLUMNS)
    return pa.Table.from_pydict({name: columns[name] for name in schema.names}, schema=schema)
