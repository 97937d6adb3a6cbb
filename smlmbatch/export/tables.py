"""The campaign's tables of fields and regions as they are, or as CSV, where nested cells become JSON."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smlmbatch.export.parquet import parquet_writer
from smlmbatch.export.stored_field import PIECE_ROWS
from smlmbatch.store.units import appears_whole

if TYPE_CHECKING:
    import pyarrow as pa


def write_table_csv(source: Path, path: Path) -> None:
    """A Parquet table as CSV."""
    from pyarrow import csv, parquet

    with parquet.ParquetFile(source) as file, appears_whole(path) as partial:
        schema = _flat_schema(file.schema_arrow)
        with csv.CSVWriter(partial, schema) as writer:
            for batch in file.iter_batches(batch_size=PIECE_ROWS):
                writer.write_batch(_flat_batch(batch, schema))


def write_table_parquet(source: Path, path: Path) -> None:
    """A Parquet table again, value by value: a damaged one is noticed here."""
    from pyarrow import parquet

    with parquet.ParquetFile(source) as file, appears_whole(path) as partial, parquet_writer(partial, file.schema_arrow) as writer:
        for batch in file.iter_batches(batch_size=PIECE_ROWS):
            writer.write_batch(batch)


def _flat_schema(schema: "pa.Schema") -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([pa.field(field.name, pa.string() if pa.types.is_nested(field.type) else field.type) for field in schema])


def _flat_batch(batch: "pa.RecordBatch", schema: "pa.Schema") -> "pa.RecordBatch":
    import pyarrow as pa

    flat = [_as_json(values) if pa.types.is_nested(values.type) else values for values in batch.columns]
    return pa.RecordBatch.from_arrays(flat, schema=schema)


def _as_json(values: "pa.Array") -> "pa.Array":
    """Lists and maps as JSON text; null stays null."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(values.type):  # vectors of float32
        return pa.array([None if cell is None else _vector_text(cell) for cell in values.to_pylist()], pa.string())
    cells = values.to_pylist()
    if pa.types.is_map(values.type):  # a map comes as (key, value) pairs
        cells = [None if cell is None else dict(cell) for cell in cells]
    return pa.array([None if cell is None else json.dumps(cell, ensure_ascii=False) for cell in cells], pa.string())


def _vector_text(values: list[float | None]) -> str:
    """A vector of float32 as a list, each number with the fewest digits from which the same float32 is read.

    >>> _vector_text([0.10000000149011612, -3.0, None])
    '[0.1, -3.0, null]'
    """
    return f"[{', '.join('null' if value is None else str(np.float32(value)) for value in values)}]"
