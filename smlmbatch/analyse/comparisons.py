"""The tables of comparisons: `tables/comparisons.parquet`, one row per channel, pair of conditions and descriptor; and the same of what
the stage `cluster` found, `tables/cluster_comparisons.parquet`, a family of its own, so that neither costs the other's tests their power.

Made of the two tables that are already written, so it needs no unit of the store. Only kept ROIs and the columns that are
compared are read: about 150 bytes a row.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smlmbatch.analyse.cluster_rois import comparable
from smlmbatch.analyse.columns import CLUSTER_MEASURES, COMPARISON_COLUMNS, ROI_COLUMNS, arrow_schema
from smlmbatch.analyse.fingerprint import FINGERPRINT_KEY, table_path
from smlmbatch.analyse.results import Comparison
from smlmbatch.analyse.statistics import COMPARED, compare
from smlmbatch.config import Config
from smlmbatch.store.units import appears_whole

if TYPE_CHECKING:
    import pyarrow as pa

_NOT_NEEDED = ("field", "roi", "cell", "x_nm", "y_nm", "side_nm", "coverage", "reason")


def write_comparisons(output: Path, *, config: Config, fingerprint: str) -> list[Comparison]:
    """Compare the conditions of a campaign whose tables of fields and ROIs are written, and write both outcomes beside them.

    Parameters
    ----------
    fingerprint : hash of all that the tables depend on, kept in the file

    Returns
    -------
    those of the descriptors

    Raises
    ------
    ConfigError
        a column, or a reference condition, that there is not
    """
    import pyarrow.parquet as pq

    columns = [*(name for name in ROI_COLUMNS if name not in _NOT_NEEDED), *COMPARED, *CLUSTER_MEASURES]
    rois = pq.ParquetFile(table_path(output, "rois")).read(columns=columns)
    fields = pq.ParquetFile(table_path(output, "fields")).read()
    min_locs = config.tile.min_locs
    found = compare(rois, fields, config=config.compare, min_locs=min_locs)
    measured = measured_clusters(rois)
    of_clusters = comparable(rois, min_locs=min_locs) if measured else rois
    clusters = compare(of_clusters, fields, config=config.compare, min_locs=min_locs, descriptors=measured) if measured else []
    _write(table_path(output, "comparisons"), found, fingerprint)
    _write(table_path(output, "cluster_comparisons"), clusters, fingerprint)
    return found


def measured_clusters(rois: "pa.Table") -> list[str]:
    """Columns of clusters that any ROI has a value of: none without the stage. Copy numbers stand for numbers of locs where there are some:
    as these over a constant they would only be the same test twice."""
    found = [name for name in CLUSTER_MEASURES if rois[name].null_count < len(rois)]
    return [name for name in found if name != "cluster_locs" or "cluster_molecules" not in found]


def _write(path: Path, found: Sequence[Comparison], fingerprint: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(COMPARISON_COLUMNS).with_metadata({FINGERPRINT_KEY: fingerprint.encode()})
    with appears_whole(path) as partial:
        pq.write_table(pa.Table.from_pylist(comparison_rows(found), schema=schema), partial, compression="zstd")


def comparison_rows(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Records as rows, with null where a number is undefined."""
    return [_row(one) for one in found]


def read_comparisons(output: Path, *, name: str = "comparisons") -> list[Comparison]:
    """The rows of `tables/comparisons.parquet` (or `cluster_comparisons`), in its order."""
    import pyarrow.parquet as pq

    return comparisons_of(pq.ParquetFile(table_path(output, name)).read())


def comparisons_of(table: "pa.Table") -> list[Comparison]:
    """Rows of the table as records; null becomes NaN where the column holds numbers."""
    floats = {name for name, column in COMPARISON_COLUMNS.items() if column.kind == "double"}
    rows: list[dict[str, Any]] = table.to_pylist()
    return [Comparison(**row | {name: math.nan for name in floats if row[name] is None}) for row in rows]


def _row(one: Comparison) -> dict[str, Any]:
    """A record with null where a number is undefined."""
    values = dataclasses.asdict(one)
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}
