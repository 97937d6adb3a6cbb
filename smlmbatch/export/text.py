"""Text formats: our own CSV, ThunderSTORM's results table, SMAP's CSV. One writer, each layout a table of columns.

Lengths have three decimals where another program reads them: 0.001 nm is finer than any localisation and than a float32's
step over a field of 16 um. In our own CSV only positions have; other numbers are written so that the same float32 is read.
How numbers become text is in `digits`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.export.labelled_field import LABEL_DTYPES
from smlmbatch.export.stored_field import Piece, StoredField
from smlmbatch.locs import LOC_COLUMNS
from smlmbatch.store.units import appears_whole

_BLOCK_ROWS: Final = 1 << 14  # 4 MiB of text, which the processor's cache holds


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column: its header, the quantity in it, what is added, and whether it is rounded to three decimals."""

    header: str
    quantity: str
    plus: int = 0
    rounded: bool = False


def _column(header: str, quantity: str) -> TextColumn:
    return TextColumn(header, quantity, plus=int(quantity in ("row", "frame")), rounded=quantity.endswith("_nm"))


# Frames and ids from 1, as both programs count. Sources: ThunderSTORM's MoleculeDescriptor, SMAP's CSV export.
THUNDERSTORM: Final = tuple(
    _column(f'"{header}"', quantity)
    for header, quantity in (
        ("id", "row"),
        ("frame", "frame"),
        ("x [nm]", "x_nm"),
        ("y [nm]", "y_nm"),
        ("z [nm]", "z_nm"),
        ("sigma [nm]", "psf_nm"),
        ("intensity [photon]", "photons"),
        ("offset [photon]", "background"),
        ("uncertainty_xy [nm]", "precision_nm"),
        ("uncertainty_z [nm]", "precision_z_nm"),
        ("channel", "channel"),
    )
)
_TWO_SIGMAS: Final = (_column('"sigma1 [nm]"', "psf_nm"), _column('"sigma2 [nm]"', "psf_nm"))
SMAP: Final = tuple(
    _column(header, quantity)
    for header, quantity in (
        ("ID", "row"),
        ("frame", "frame"),
        ("xnm", "x_nm"),
        ("ynm", "y_nm"),
        ("znm", "z_nm"),
        ("phot", "photons"),
        ("bg", "background"),
        ("locprecnm", "precision_nm"),
        ("locprecznm", "precision_z_nm"),
        ("PSFxnm", "psf_nm"),
        ("channel", "channel"),
        ("groupindex", "group"),
    )
)
OWN: Final = tuple(TextColumn(f'"{name}"', name, rounded=name in ("x_nm", "y_nm")) for name in (*LOC_COLUMNS, *LABEL_DTYPES))


def write_own_csv(path: Path, field: StoredField) -> None:
    """Our own column names, frames from 0, the store's order; positions to 0.001 nm, the rest exactly."""
    _write(path, OWN, field, field.pieces())


def write_thunderstorm(path: Path, field: StoredField) -> None:
    """ThunderSTORM's results table: no groups, the channel only where there are several.

    With a z, the width stands there twice, as `sigma1` and `sigma2`: ThunderSTORM has no `sigma` in 3D, and Picasso refuses it.
    """
    layout = _without_lone_channel(THUNDERSTORM, field)
    if "z_nm" in field.names:
        layout = [each for column in layout for each in (_TWO_SIGMAS if column.quantity == "psf_nm" else (column,))]
    _write(path, layout, field, field.pieces_in_source_order())


def write_smap_csv(path: Path, field: StoredField) -> None:
    """SMAP's CSV: the channel only where there are several."""
    _write(path, _without_lone_channel(SMAP, field), field, field.pieces_in_source_order())


def _without_lone_channel(layout: Sequence[TextColumn], field: StoredField) -> list[TextColumn]:
    return [column for column in layout if column.quantity != "channel" or field.attrs["channels"] != [0]]


def _write(path: Path, layout: Sequence[TextColumn], field: StoredField, pieces: Iterable[Piece]) -> None:
    columns = [column for column in layout if column.quantity in field.names]
    with appears_whole(path) as partial, partial.open("wb") as file:
        file.write((",".join(column.header for column in columns) + "\n").encode())
        for piece in pieces:
            for text in _lines(columns, piece):
                file.write(text)


def _lines(columns: Sequence[TextColumn], piece: Piece) -> Iterator[memoryview]:
    """The piece as text, block by block; each block is to be used before the next is asked for."""
    from smlmbatch.export.digits import CELL_BYTES, EXACT, FIXED, INTEGER, format_rows

    is_float = [piece[column.quantity].dtype.kind == "f" for column in columns]
    kinds = [(FIXED if column.rounded else EXACT) if floating else INTEGER for column, floating in zip(columns, is_float, strict=True)]
    n_rows = len(piece["row"])
    out = np.empty(min(n_rows, _BLOCK_ROWS) * len(columns) * CELL_BYTES, dtype=np.uint8)
    for start in range(0, n_rows, _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, n_rows))
        numbers = [piece[column.quantity][rows] for column in columns]
        integers = [
            values.astype(np.int64) + column.plus for values, column in zip(numbers, columns, strict=True) if values.dtype.kind != "f"
        ]
        floats = [values.astype(np.float64) for values in numbers if values.dtype.kind == "f"]
        n_bytes = format_rows(_stacked(integers, np.int64), _stacked(floats, np.float64), np.array(kinds, dtype=np.int8), out)
        yield out[:n_bytes].data


def _stacked(columns: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.stack(columns) if columns else np.empty((0, 0), dtype=dtype)
