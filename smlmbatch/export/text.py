"""Text formats: our own CSV, ThunderSTORM's results table, SMAP's CSV. One writer, each layout a table of columns.

Lengths have three decimals where another program reads them: 0.001 nm is finer than any localisation and than a float32's
step over a field of 16 um. In our own CSV only positions have; other numbers are written so that the same float32 is read.
Three decimals are written from integers (Arrow's decimals), at half the cost of a float's shortest digits; so they are
taken wherever they say the same, which is so for numbers that came from a vendor's text. No value is `NaN`, which Java, R
and NumPy all read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.export.stored_field import Piece, StoredField
from smlmbatch.locs import LOC_COLUMNS
from smlmbatch.store.units import appears_whole

if TYPE_CHECKING:
    import pyarrow as pa

DECIMALS: Final = 3
_LARGEST_FIXED: Final = 2.0**52  # beyond it the integers that stand for the decimals are not exact


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column: its header, the quantity in it, what is added, and whether it is rounded to DECIMALS."""

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
OWN: Final = tuple(TextColumn(f'"{name}"', name, rounded=name in ("x_nm", "y_nm")) for name in LOC_COLUMNS)


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
    from pyarrow import csv

    columns = [column for column in layout if column.quantity in field.names]
    options = csv.WriteOptions(include_header=False, quoting_style="needed", batch_size=1 << 14)
    with appears_whole(path) as partial, partial.open("wb") as file:
        file.write((",".join(column.header for column in columns) + "\n").encode())
        for piece in pieces:
            csv.write_csv(_table(columns, piece), file, options)


def _table(columns: Sequence[TextColumn], piece: Piece) -> "pa.Table":
    import pyarrow as pa

    cells = [_cells(piece[column.quantity], column) for column in columns]
    return pa.Table.from_arrays(cells, names=[str(i) for i in range(len(columns))])


def _cells(values: NDArray[Any], column: TextColumn) -> "pa.Array":
    """The values as Arrow writes them fastest without loss of what is promised."""
    import pyarrow as pa

    if values.dtype.kind != "f":
        return pa.array(values.astype(np.int64) + column.plus if column.plus else values)
    if not np.isfinite(values).all():
        return _with_words(values, column)
    scaled = np.rint(values.astype(np.float64) * 10.0**DECIMALS)
    if not len(scaled) or np.abs(scaled).max() > _LARGEST_FIXED:
        return pa.array(values)
    if column.rounded or np.array_equal((scaled / 10.0**DECIMALS).astype(values.dtype), values):
        return _decimals(scaled.astype(np.int64))
    return pa.array(values)


def _decimals(scaled: NDArray[np.int64]) -> "pa.Array":
    """Integers as decimal numbers: 128 bits each, two's complement, the lower half first."""
    import pyarrow as pa

    halves = np.empty((len(scaled), 2), dtype="<i8")
    halves[:, 0] = scaled
    halves[:, 1] = scaled >> 63
    return pa.Array.from_buffers(pa.decimal128(38, DECIMALS), len(scaled), [None, pa.py_buffer(halves)])


def _with_words(values: NDArray[Any], column: TextColumn) -> "pa.Array":
    """Text, for a piece in which some number is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    finite = np.isfinite(values)
    cells = pc.cast(_cells(np.where(finite, values, values.dtype.type(0)), column), pa.string())
    words = pa.array(["NaN", "Infinity", "-Infinity"])
    which = np.where(np.isnan(values), 0, np.where(values > 0, 1, 2)).astype(np.int32)
    return pc.if_else(pa.array(finite), cells, words.take(pa.array(which)))
