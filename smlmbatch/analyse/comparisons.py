"""The table of comparisons: `tables/comparisons.parquet`, one row per channel, pair of conditions and descriptor.

Made of the two tables that are already written, so it needs no unit of the store. Only kept ROIs and the columns that are
compared are read: about 150 bytes a row.
"""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smlmbatch.analyse.columns import COMPARISON_COLUMNS, ROI_COLUMNS, arrow_schema
from smlmbatch.analyse.fingerprint import FINGERPRINT_KEY, table_path
from smlmbatch.analyse.results import Comparison
from smlmbatch.analyse.statistics import COMPARED, compare
from smlmbatch.config import Config
from smlmbatch.store.units import appears_whole

if TYPE_CHECKING:
    import pyarrow as pa

_NOT_NEEDED = ("field", "roi", "cell", "x_nm", "y_nm", "side_nm", "coverage", "reason")


def write_comparisons(output: Path, *, config: Config, fingerprint: str) -> list[Comparison]:
    """Compare the conditions of a campaign whose tables of fields and ROIs are written, and write the outcome beside them.

    Parameters
    ----------
    fingerprint : hash of all that the tables depend on, kept in the file

    Raises
    ------
    ConfigError
        a column, or a reference condition, that there is not
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [*(name for name in ROI_COLUMNS if name not in _NOT_NEEDED), *COMPARED]
    rois = pq.ParquetFile(table_path(output, "rois")).read(columns=columns)
    fields = pq.ParquetFile(table_path(output, "fields")).read()
    found = compare(rois, fields, config=config.compare, min_locs=config.tile.min_locs)
    schema = arrow_schema(COMPARISON_COLUMNS).with_metadata({FINGERPRINT_KEY: fingerprint.encode()})
    with appears_whole(table_path(output, "comparisons")) as partial:
        pq.write_table(pa.Table.from_pylist([_row(one) for one in found], schema=schema), partial, compression="zstd")
    return found


def read_comparisons(output: Path) -> list[Comparison]:
    """The rows of `tables/comparisons.parquet`, in its order."""
    import pyarrow.parquet as pq

    return comparisons_of(pq.ParquetFile(table_path(output, "comparisons")).read())


def comparisons_of(table: "pa.Table") -> list[Comparison]:
    """Rows of the table as records; null becomes NaN where the column holds numbers."""
    floats = {name for name, column in COMPARISON_COLUMNS.items() if column.kind == "double"}
    rows: list[dict[str, Any]] = table.to_pylist()
    return [Comparison(**row | {name: math.nan for name in floats if row[name] is None}) for row in rows]


def _row(one: Comparison) -> dict[str, Any]:
    """A record with null where a number is undefined."""
    values = dataclasses.asdict(one)
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}
