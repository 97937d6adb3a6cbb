"""The .smlm format of ShareLoc, version 0.2: a zip archive with `manifest.json` and tables of packed records.

Several tables are read one after the other in the manifest's order; their channels are named by the manifest.
`offset` of each file is added to its columns. Numbers may come as JSON strings, units may be empty (nm for lengths,
says the specification). How many rows there are is believed only if the member has exactly that many bytes.
Text tables are not read: the specification wants them in a .zip of their own. The format says nothing of the number
of the first frame: a frame 0 tells.

Source: imodpasteur/smlm-file-format, specification.md; names that ThunderSTORM's plugin and Locan write.
"""

import json
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError
from smlmbatch.ingest.archive import checked_size, data_members, opened_zip
from smlmbatch.ingest.columns import Overrides, Resolved, Use
from smlmbatch.ingest.formats import LENGTH_NM, PIXEL_UNITS
from smlmbatch.ingest.source import RawBlock, Source, TextColumn

MANIFEST: Final = "manifest.json"
_MANIFEST_BYTES: Final = 16 << 20
_PIECE_BYTES: Final = 8 << 20
_DTYPES: Final = frozenset({"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"})
_CHANNEL: Final = "channel of the table"
_MEND: Final = "export it again, e.g. as ThunderSTORM CSV"

# Quantity → alternatives, best first (columns of one are averaged), and whether it is a length.
_RULES: Final = (
    ("x_nm", (("x",), ("position_x",)), True),
    ("y_nm", (("y",), ("position_y",)), True),
    ("z_nm", (("z",), ("position_z",)), True),
    ("frame", (("frame",),), False),
    ("photons", (("intensity",), ("photons",)), False),
    ("precision_nm", (("uncertainty_xy",), ("uncertainty",), ("x_precision", "y_precision"), ("uncertainty_x", "uncertainty_y")), True),
    ("precision_z_nm", (("uncertainty_z",), ("z_precision",)), True),
    ("background", (("background",), ("offset",), ("local_background",)), False),
    ("psf_nm", (("sigma",), ("sigma1", "sigma2"), ("psf_sigma",)), True),
    ("channel", (("channel",),), False),
    ("group", (("group",),), False),
)


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of the manifest. `offsets`: what is added to a column, in the column's unit."""

    name: str
    record: np.dtype[Any]
    units: dict[str, str]
    n: int
    channel: str
    offsets: dict[str, float]


def open_smlm(path: Path, overrides: Overrides) -> Source:
    """All tables of localisations of an .smlm file.

    Raises
    ------
    InputError
        a manifest that can't be understood, no tables, tables with different columns, rows that aren't there
    """
    with opened_zip(path) as file:
        members = data_members(path, file)
        manifest = _manifest(path, file, members)
        tables = [_table(path, manifest, entry, members) for entry in _entries(path, manifest)]
    if not tables:
        raise InputError(path, "the manifest names no table", "an .smlm file of localisations", _MEND)
    resolved = _resolve(path, tables[0], overrides)
    for table in tables[1:]:
        if _resolve(path, table, overrides) != resolved:
            finding = f"the tables {tables[0].name} and {table.name} have different columns or units"
            raise InputError(path, finding, "tables of one kind", "export each into a file of its own")
    has_column = any(use.quantity == "channel" for use in resolved.uses)
    if not has_column and len({table.channel for table in tables}) > 1:
        resolved = _with_channel(resolved)
    starts = np.cumsum([0, *(table.n for table in tables)])
    members_read = tuple((table.name, int(start)) for table, start in zip(tables, starts, strict=False))
    return Source(path=path, format="smlm", resolved=resolved, blocks=lambda: _blocks(path, tables, resolved), members=members_read)


def _manifest(path: Path, file: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> dict[str, Any]:
    if MANIFEST not in members:
        raise InputError(path, f"no {MANIFEST} in the archive", "an .smlm file", _MEND)
    if members[MANIFEST].file_size > _MANIFEST_BYTES:
        raise InputError(path, f"{MANIFEST} is larger than {_MANIFEST_BYTES >> 20} MiB", "an .smlm file", _MEND)
    try:
        found = json.loads(file.read(members[MANIFEST]).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"{MANIFEST} is not JSON ({str(error)[:100]})", "an .smlm file", _MEND) from error
    if not isinstance(found, dict) or not isinstance(found.get("formats"), dict):
        raise InputError(path, f"{MANIFEST} has no formats", "an .smlm file, version 0.2", _MEND)
    return found


def _entries(path: Path, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The manifest's tables; images beside them are no localisations."""
    files = manifest.get("files")
    if not isinstance(files, list) or not all(isinstance(entry, dict) for entry in files):
        raise InputError(path, f"{MANIFEST} has no list of files", "an .smlm file, version 0.2", _MEND)
    return [entry for entry in files if entry.get("type") == "table"]


# ---- one table


def _table(path: Path, manifest: dict[str, Any], entry: dict[str, Any], members: dict[str, zipfile.ZipInfo]) -> _Table:
    name = str(entry.get("name", "")).removeprefix("./")
    if name not in members:
        raise InputError(path, f"the manifest names the table {name!r}, which is not in the archive", "a whole .smlm file", _MEND)
    form = manifest["formats"].get(str(entry.get("format")))
    if not isinstance(form, dict) or form.get("mode", "binary") != "binary":
        raise InputError(path, f"{name} is no binary table", "a binary table", "unpack the archive, or export it again")
    record = _record(path, name, form)
    n = _whole(path, f"rows of {name}", entry.get("rows"))
    there = checked_size(path, members[name])
    if n * record.itemsize != there:
        finding = f"the manifest promises {n} rows of {record.itemsize} bytes in {name}, which has {there} bytes"
        raise InputError(path, finding, "a whole .smlm file", "copy or export it again")
    offset = entry.get("offset") or {}
    offsets = {str(key): _number(path, f"offset of {key}", value) for key, value in offset.items()} if isinstance(offset, dict) else {}
    return _Table(name, record, _units(form), n, str(entry.get("channel", "")), offsets)


def _record(path: Path, name: str, form: dict[str, Any]) -> np.dtype[Any]:
    """The packed record, little-endian; columns of several numbers (image patches) are skipped over."""
    headers, dtypes, shapes = (form.get(key) for key in ("headers", "dtype", "shape"))
    lists = [part for part in (headers, dtypes, shapes) if isinstance(part, list) and part]
    if len(lists) != 3 or len({len(part) for part in lists}) != 1 or "" in lists[0] or len(set(map(str, lists[0]))) != len(lists[0]):
        finding = f"headers, dtype and shape of {name} are no lists of one length, or a header is empty or there twice"
        raise InputError(path, finding, "the description of each column", _MEND)
    fields = []
    for header, kind, shape in zip(*lists, strict=True):
        if kind not in _DTYPES:
            raise InputError(path, f"the column {header} has the type {str(kind)[:40]!r}", f"one of {', '.join(sorted(_DTYPES))}", _MEND)
        sides = tuple(_whole(path, f"shape of {header}", side) for side in (shape if isinstance(shape, list) else [shape]))
        if math.prod(sides) < 1:
            raise InputError(path, f"the column {header} has the shape {sides}", "at least one number per row", _MEND)
        fields.append((str(header), np.dtype(kind).newbyteorder("<"), sides))
    if sum(kind.itemsize * math.prod(sides) for _, kind, sides in fields) > _PIECE_BYTES:
        raise InputError(path, f"a row of {name} takes more than {_PIECE_BYTES >> 20} MiB", "rows of localisations", _MEND)
    return np.dtype([(header, kind) if sides == (1,) else (header, kind, sides) for header, kind, sides in fields])


def _units(form: dict[str, Any]) -> dict[str, str]:
    units = form.get("units")
    listed = units if isinstance(units, list) else []
    return {str(header): str(unit or "").strip() for header, unit in zip(form["headers"], listed, strict=False)}


def _whole(path: Path, what: str, value: object) -> int:
    number = _number(path, what, value)
    if number != int(number) or not 0 <= number < 1 << 53:
        raise InputError(path, f"{what}: {value!r}", "a whole number", _MEND)
    return int(number)


def _number(path: Path, what: str, value: object) -> float:
    """A number, also one in quotes."""
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(path, f"{what}: {str(value)[:40]!r}", "a number", _MEND)
    return number


# ---- columns


def _resolve(path: Path, table: _Table, overrides: Overrides) -> Resolved:
    columns = {name for name in table.record.names or () if not table.record[name].shape}
    uses, units = [], []
    for quantity, alternatives, is_length in _RULES:
        found = next((names for names in alternatives if columns.issuperset(names)), ())
        if found:
            unit = (_unit(path, table, found) or _said(overrides, quantity)) if is_length else ""
            scale = _scale(path, found[0], unit, overrides) if is_length else 1.0
            uses.append(Use(quantity, found, scale))
            units.append(unit or "nm")
    if [use.quantity for use in uses[:2]] != ["x_nm", "y_nm"]:
        listed = ", ".join(table.record.names or ())
        raise InputError(path, f"no columns x and y in {table.name}; found {listed[:300]}", "a table of localisations", _MEND)
    pixel = overrides.pixel_size_nm if PIXEL_UNITS.intersection(units) else None
    return Resolved(uses=tuple(uses), unit=units[0], pixel_size_nm=pixel, frame_base=None)


def _said(overrides: Overrides, quantity: str) -> str:
    """The user's unit, for what the file gives none; a pixel has no depth."""
    return "" if overrides.unit in PIXEL_UNITS and quantity in ("z_nm", "precision_z_nm") else overrides.unit


def _unit(path: Path, table: _Table, columns: tuple[str, ...]) -> str:
    units = [table.units.get(column, "").lower() for column in columns]
    if len(set(units)) > 1:
        raise InputError(path, f"{' and '.join(columns)} have the units {' and '.join(units)}", "one unit for both", _MEND)
    return units[0]


def _scale(path: Path, column: str, unit: str, overrides: Overrides) -> float:
    """Nanometres per unit; no unit is nm by the specification."""
    if unit in PIXEL_UNITS:
        if overrides.pixel_size_nm <= 0:
            mend = "give the camera's pixel size, e.g. pixel_size_nm = 117, in the sample sheet or the configuration"
            raise InputError(path, f"{column} is in camera pixels and no pixel size is known", "a pixel size", mend)
        return overrides.pixel_size_nm
    if unit and unit not in LENGTH_NM:
        raise InputError(path, f"{column} has the unit {unit[:40]!r}", f"one of {', '.join(LENGTH_NM)}, px", _MEND)
    return LENGTH_NM[unit or "nm"]


def _with_channel(resolved: Resolved) -> Resolved:
    uses = (*resolved.uses, Use("channel", (_CHANNEL,)))
    return Resolved(uses=uses, unit=resolved.unit, pixel_size_nm=resolved.pixel_size_nm, frame_base=resolved.frame_base)


def _blocks(path: Path, tables: list[_Table], resolved: Resolved) -> Iterator[RawBlock]:
    names = [name for use in resolved.uses for name in use.columns if name != _CHANNEL]
    named = any(use.columns == (_CHANNEL,) for use in resolved.uses)
    with opened_zip(path) as file:
        for table in tables:
            for records in _records(path, file, table):
                columns: dict[str, NDArray[Any] | TextColumn] = {name: _shifted(records[name], table.offsets.get(name)) for name in names}
                if named:
                    columns[_CHANNEL] = TextColumn(np.zeros(len(records), dtype=np.int32), (table.channel or table.name,))
                yield RawBlock(n_records=len(records), columns=columns)


def _records(path: Path, file: zipfile.ZipFile, table: _Table) -> Iterator[NDArray[Any]]:
    rows = _PIECE_BYTES // table.record.itemsize
    with file.open(table.name) as stream:
        for start in range(0, table.n, rows):
            n = min(rows, table.n - start)
            raw = stream.read(n * table.record.itemsize)
            if len(raw) < n * table.record.itemsize:
                raise InputError(path, f"{table.name} ends early", "a whole .smlm file", "copy or export it again")
            yield np.frombuffer(raw, dtype=table.record)


def _shifted(values: NDArray[Any], offset: float | None) -> NDArray[Any]:
    """Offsets make signed numbers of unsigned ones: added in float64, or the sum would wrap around."""
    return values.astype(np.float64) + offset if offset else values
