"""The .smlm format of ShareLoc, version 0.2: a zip archive with `manifest.json` and one table per channel.

Positions are stored as our store has them, float32 relative to the field's origin, and the origin is the column's
`offset`, so nothing is rounded. Tables are not compressed: coordinates lose a quarter, for three times the time. Frames
count from 1, as in files of ThunderSTORM's plugin. Equal fields give equal bytes: entry dates are fixed.

Source: imodpasteur/smlm-file-format, specification.md.
"""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.export.stored_field import Piece, StoredField
from smlmbatch.store.units import appears_whole

# Header, quantity, dtype, unit.
_COLUMNS: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("frame", "frame", "uint32", "frame"),
    ("x", "x_nm", "float32", "nm"),
    ("y", "y_nm", "float32", "nm"),
    ("z", "z_nm", "float32", "nm"),
    ("intensity", "photons", "float32", "photon"),
    ("background", "background", "float32", "photon"),
    ("sigma", "psf_nm", "float32", "nm"),
    ("uncertainty_xy", "precision_nm", "float32", "nm"),
    ("uncertainty_z", "precision_z_nm", "float32", "nm"),
    ("group", "group", "int32", ""),
)
_FORMAT: Final = "smlm-table(binary)"
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the first a zip archive can hold


@dataclass(slots=True)
class _Summary:
    """Smallest, largest and mean of each column's numbers, offset included."""

    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)
    total: dict[str, float] = field(default_factory=dict)
    n: dict[str, int] = field(default_factory=dict)

    def add(self, header: str, values: NDArray[Any]) -> None:
        finite = values[np.isfinite(values)].astype(np.float64)
        if len(finite):
            self.low[header] = min(self.low.get(header, np.inf), float(finite.min()))
            self.high[header] = max(self.high.get(header, -np.inf), float(finite.max()))
            self.total[header] = self.total.get(header, 0.0) + float(finite.sum())
            self.n[header] = self.n.get(header, 0) + len(finite)

    def to_dict(self) -> dict[str, dict[str, float]]:
        return {"min": self.low, "max": self.high, "avg": {header: total / self.n[header] for header, total in self.total.items()}}


def write_smlm(path: Path, stored: StoredField) -> None:
    """All channels of a field, each in the source's order."""
    columns = [column for column in _COLUMNS if column[1] in stored.names]
    offsets = dict(zip(("x", "y"), stored.origin_nm, strict=True))
    channels = list(zip(stored.attrs["channels"], stored.attrs["channel_names"], stored.attrs["n_per_channel"], strict=True))
    files = []
    with appears_whole(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for number, (channel, name, n) in enumerate(channels):
            table, summary = f"table-{number}.bin", _Summary()
            with archive.open(_entry(table), "w", force_zip64=True) as file:
                for piece in _of_channel(stored, channel):
                    file.write(_records(piece, columns, offsets, summary).tobytes())
            files.append(_file_entry(table, _channel_name(name, channel), n, columns, offsets) | summary.to_dict())
        archive.writestr(_entry("manifest.json"), json.dumps(_manifest(path, columns, files), indent=1))


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.external_attr = 0o644 << 16
    return info


def _channel_name(name: str, channel: int) -> str:
    """The source's name of a channel; a bare number where it has none, so that it is read as that number."""
    return str(channel) if name == f"channel {channel}" else name


def _of_channel(stored: StoredField, channel: int) -> Iterator[Piece]:
    for piece in stored.pieces_in_source_order():
        mask = piece["channel"] == channel
        if mask.any():
            yield piece if mask.all() else {name: values[mask] for name, values in piece.items()}


def _records(piece: Piece, columns: list[tuple[str, str, str, str]], offsets: dict[str, float], summary: _Summary) -> NDArray[Any]:
    """Packed little-endian rows."""
    records = np.empty(len(piece["row"]), dtype=[(header, np.dtype(kind).newbyteorder("<")) for header, _, kind, _ in columns])
    for header, quantity, _, _ in columns:
        values = piece[quantity].astype(np.int64) + 1 if quantity == "frame" else piece[quantity]
        summary.add(header, values)
        records[header] = values - offsets[header] if header in offsets else values
    return records


def _file_entry(table: str, channel: str, n: int, columns: list[tuple[str, str, str, str]], offsets: dict[str, float]) -> dict[str, Any]:
    offset = {header: offsets.get(header, 0.0) for header, _, _, _ in columns}
    return {"name": table, "type": "table", "format": _FORMAT, "channel": channel, "rows": n, "offset": offset, "exposure": 1}


def _manifest(path: Path, columns: list[tuple[str, str, str, str]], files: list[dict[str, Any]]) -> dict[str, Any]:
    headers, _, kinds, units = zip(*columns, strict=True)
    table = {
        "name": _FORMAT,
        "extension": ".bin",
        "type": "table",
        "mode": "binary",
        "columns": len(headers),
        "headers": headers,
        "dtype": kinds,
        "shape": [1] * len(headers),
        "units": units,
        "description": "localisations, frames counted from 1",
    }
    empty = dict.fromkeys(("description", "thumbnail", "sample", "labeling", "date", "author", "citation", "email"), "")
    return {"format_version": "0.2", "name": path.stem, "tags": ["smlmbatch"], "formats": {_FORMAT: table}, "files": files} | empty
