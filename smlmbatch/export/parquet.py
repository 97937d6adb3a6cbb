"""Parquet under our own names: every bit of the locs, units and ingest's attributes in the metadata."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smlmbatch.export.stored_field import StoredField
from smlmbatch.store.schema import SCHEMA
from smlmbatch.store.units import appears_whole

if TYPE_CHECKING:
    import pyarrow as pa

ATTRIBUTES: Final = b"smlmbatch"  # key of the metadata that holds ingest's attributes as JSON


def write_own_parquet(path: Path, field: StoredField) -> None:
    """Our own column names, frames from 0, the store's order, positions in float64."""
    import pyarrow as pa

    schema = _schema(field)
    with appears_whole(path) as partial, parquet_writer(partial, schema) as writer:
        for piece in field.pieces():
            writer.write_batch(pa.RecordBatch.from_arrays([pa.array(piece[name]) for name in field.names], schema=schema))


def _schema(field: StoredField) -> "pa.Schema":
    import pyarrow as pa

    units = {name: spec.unit for name, spec in SCHEMA["ingest"].items()}
    attributes = {name: value for name, value in field.attrs.items() if name != "stage"}
    columns = [pa.field(name, pa.from_numpy_dtype(field.dtype(name)), metadata={"unit": units.get(name, "1")}) for name in field.names]
    return pa.schema(columns, metadata={ATTRIBUTES: json.dumps(attributes, sort_keys=True).encode()})


def parquet_writer(path: Path, schema: "pa.Schema") -> "pa.parquet.ParquetWriter":
    """A writer for tables of measured values."""
    import pyarrow as pa
    from pyarrow import parquet

    # a dictionary of measured values only costs time: without it three times the speed and a smaller file
    repeated = [field.name for field in schema if not (pa.types.is_floating(field.type) or pa.types.is_int64(field.type))]
    return parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeated)
