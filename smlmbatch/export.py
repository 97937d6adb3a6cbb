"""Results out of a campaign, in formats everything reads: the tables, and each field's localisations.

    TARGET/fields.csv        TARGET/rois.csv        copies of OUTPUT/tables
    TARGET/locs/<field key>.csv                     one per field with published localisations

Localisations come out in absolute nm: the field's origin (float64) plus the stored offset (float32), in the store's
order (by tile); `row` joins them to the source's records. The CSV header is our own column names, which ingest reads
back. Parquet holds every bit; CSV holds positions to 0.001 nm (a float32 offset's own step over a 16 um field).
A CSV cell can't hold a list: nested cells of the tables are JSON. Fields are streamed, so memory stays small.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.locs import LOC_COLUMNS
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.units import appears_whole
from smlmbatch.work import Campaign

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = ("fields", "rois")
EXPORTS = (*TABLES, "locs")
PIECE_ROWS = 1 << 18  # four chunks of the store; some 30 MiB with all columns
_CSV_POSITION_DECIMALS = 3


def export_campaign(
    campaign: Campaign,
    target: Path,
    *,
    format: str = "csv",  # noqa: A002 - named as the option is
    what: Sequence[str] = EXPORTS,
    overwrite: bool = False,
    workers: int = 1,
) -> list[Path]:
    """Write the campaign's tables and localisations into `target`; returns the files written, in order.

    Parameters
    ----------
    target : a folder, made if needed
    format : "csv" or "parquet"
    what : any of "fields", "rois", "locs"
    overwrite : replace files of these names
    workers : fields written at a time; changes no file

    Raises
    ------
    ConfigError
        unknown format or kind, a table that is not there yet, no field with localisations, files in the way
    """
    _check_choice("format", [format], tuple(_WRITERS))
    _check_choice("what", what, EXPORTS)
    tables = {target / f"{name}.{format}": campaign.output / "tables" / f"{name}.parquet" for name in TABLES if name in what}
    units = _units(campaign, target / "locs", format) if "locs" in what else {}
    _check_sources(campaign, tables, units, wants_locs="locs" in what)
    _check_targets([*tables, *units], overwrite=overwrite)
    for path, source in tables.items():
        _export_table(source, path, format)
    with ThreadPoolExecutor(max(1, workers)) as pool:  # pyarrow formats and compresses outside the interpreter's lock
        for _ in pool.map(_export_locs, units.values(), units.keys(), repeat(format)):  # a failure cancels what has not begun
            pass
    return [*tables, *units]


def _units(campaign: Campaign, folder: Path, format_name: str) -> dict[Path, Path]:
    """Exported file → published ingest unit, of the fields that have one (the others are in failed.csv)."""
    published = ((result.field.key, result.units["ingest"]) for result in campaign.fields if "ingest" in result.units)
    return {folder / f"{key}.{format_name}": unit for key, unit in published}


def _check_choice(name: str, found: Sequence[str], known: tuple[str, ...]) -> None:
    unknown = [value for value in found if value not in known]
    if unknown or not found:
        raise ConfigError(f"export: {name} {', '.join(unknown) or 'is empty'}: wanted one of {', '.join(known)}")


def _check_sources(campaign: Campaign, tables: Mapping[Path, Path], units: Mapping[Path, Path], *, wants_locs: bool) -> None:
    for source in tables.values():
        if not source.is_file():
            raise ConfigError(f"{source}: is not there; finish the campaign with `smlmbatch run`, or export locs only")
    if wants_locs and not units:
        raise ConfigError(f"{campaign.output}: no field has localisations in the store yet; run `smlmbatch run` first (see failed.csv)")


def _check_targets(paths: Sequence[Path], *, overwrite: bool) -> None:
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise ConfigError(f"{there[0]}{more} would be overwritten: name another folder, or give --overwrite")


def _export_table(source: Path, path: Path, format_name: str) -> None:
    from pyarrow import parquet

    with parquet.ParquetFile(source) as file:
        batches = file.iter_batches(batch_size=PIECE_ROWS)
        flat = format_name == "csv"
        schema = _flat_schema(file.schema_arrow) if flat else file.schema_arrow
        _write(path, format_name, schema, (_flat_batch(batch, schema) if flat else batch for batch in batches))


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

    cells = values.to_pylist()
    if pa.types.is_map(values.type):  # a map comes as (key, value) pairs
        cells = [None if cell is None else dict(cell) for cell in cells]
    return pa.array([None if cell is None else json.dumps(cell, ensure_ascii=False) for cell in cells], pa.string())


def _export_locs(unit_path: Path, path: Path, format_name: str) -> None:
    import pyarrow as pa

    with UnitReader(unit_path) as unit:
        names = [name for name in LOC_COLUMNS if unit.has(name)]
        origin_nm = dict(zip(("x_nm", "y_nm"), unit.attrs["origin_nm"], strict=False))
        decimals = _CSV_POSITION_DECIMALS if format_name == "csv" else None
        types = [pa.float64() if name in origin_nm else pa.from_numpy_dtype(unit.array(name).dtype) for name in names]
        schema = pa.schema(list(zip(names, types, strict=True)))

        def pieces() -> Iterator["pa.RecordBatch"]:
            for start in range(0, unit.length("x_nm"), PIECE_ROWS):
                columns = (unit.read(name, start, start + PIECE_ROWS) for name in names)
                placed = [_absolute(values, origin_nm.get(name), decimals) for name, values in zip(names, columns, strict=True)]
                yield pa.RecordBatch.from_arrays([pa.array(values) for values in placed], schema=schema)

        _write(path, format_name, schema, pieces())


def _absolute(values: NDArray[Any], origin_nm: float | None, decimals: int | None) -> NDArray[Any]:
    if origin_nm is None:
        return values
    absolute_nm = origin_nm + values.astype(np.float64)
    return absolute_nm if decimals is None else absolute_nm.round(decimals)


def _write(path: Path, format_name: str, schema: "pa.Schema", batches: Iterator["pa.RecordBatch"]) -> None:
    with appears_whole(path) as partial, _WRITERS[format_name](partial, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _csv_writer(path: Path, schema: "pa.Schema") -> AbstractContextManager[Any]:
    from pyarrow import csv

    writer: AbstractContextManager[Any] = csv.CSVWriter(path, schema)
    return writer


def _parquet_writer(path: Path, schema: "pa.Schema") -> AbstractContextManager[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    # a dictionary of measured values only costs time: without it three times the speed and a smaller file
    repeated = [field.name for field in schema if not (pa.types.is_floating(field.type) or pa.types.is_int64(field.type))]
    writer: AbstractContextManager[Any] = parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeated)
    return writer


_WRITERS: Mapping[str, Callable[[Path, "pa.Schema"], AbstractContextManager[Any]]] = MappingProxyType(
    {"csv": _csv_writer, "parquet": _parquet_writer}
)
