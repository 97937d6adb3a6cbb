"""The localisations of one published field as exporters want them: absolute nm, piece by piece, in either order.

Our own formats keep the store's order (by tile). Other programs get the order of the source file, which is nearly always
that of frames, and which their record numbers mean. That order costs one pass over the field for every `PASS_ROWS`
records, so that memory stays bounded: each pass puts the records of a range into their places.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.locs import LOC_COLUMNS
from smlmbatch.store.arrays import UnitReader

PIECE_ROWS: Final = 1 << 18  # four chunks of the store; some 30 MiB with all columns
PASS_ROWS: Final = 1 << 22  # 160 to 240 MiB

Piece = dict[str, NDArray[Any]]


class StoredField:
    """Locs of a published ingest unit, read piece by piece.

    Attributes
    ----------
    names : the quantities that are there, in stored order
    n : locs
    attrs : what ingest found out about the file
    is_part : whether these are only some of the file's locs, so that their places don't tell their records
    """

    is_part = False

    def __init__(self, unit: UnitReader) -> None:
        self._unit = unit
        self.attrs: Mapping[str, Any] = unit.attrs
        self.names = tuple(name for name in LOC_COLUMNS if unit.has(name))
        self.n = unit.length("x_nm")
        self._origin_nm = dict(zip(("x_nm", "y_nm"), unit.attrs["origin_nm"], strict=True))

    @property
    def origin_nm(self) -> tuple[float, float]:
        """What stored positions are relative to."""
        return self._origin_nm["x_nm"], self._origin_nm["y_nm"]

    def dtype(self, name: str) -> np.dtype[Any]:
        """Of a column in the pieces: positions are float64, the others as they are stored."""
        return np.dtype("f8" if name in self._origin_nm else LOC_COLUMNS[name])

    def pieces(self) -> Iterator[Piece]:
        """All locs in the store's order: quantity → (k,), x and y absolute in float64."""
        for start in range(0, self.n, PIECE_ROWS):
            yield self._piece(start, start + PIECE_ROWS)

    def pieces_in_source_order(self, *, pass_rows: int = PASS_ROWS) -> Iterator[Piece]:
        """All locs in the order of the source's records."""
        stop = self._n_places()
        for first in range(0, stop, pass_rows):
            columns, present = self._records(first, min(first + pass_rows, stop))
            there = np.flatnonzero(present)
            for start in range(0, len(there), PIECE_ROWS):
                index = there[start : start + PIECE_ROWS]
                yield {name: values[index] for name, values in columns.items()}

    def _n_places(self) -> int:
        """One more than the largest place: here of the source's last record."""
        return 1 + max((int(self._unit.read("row", start, start + PIECE_ROWS).max()) for start in range(0, self.n, PIECE_ROWS)), default=-1)

    def _placed(self) -> Iterator[tuple[NDArray[np.int64], Piece]]:
        """All pieces, with the place of each loc in the order of the source: here its record."""
        for piece in self.pieces():
            yield piece["row"], piece

    def _records(self, first: int, stop: int) -> tuple[Piece, NDArray[np.bool_]]:
        """Columns at the places first..stop of the source's order, and where there are locs."""
        columns = {name: np.empty(stop - first, dtype=self.dtype(name)) for name in self.names}
        present = np.zeros(stop - first, dtype=np.bool_)
        for place, piece in self._placed():
            at = place - first
            mask = (at >= 0) & (at < stop - first)
            inside = slice(None) if mask.all() else mask
            present[at[inside]] = True
            for name, values in piece.items():
                columns[name][at[inside]] = values[inside]
        return columns, present

    def _piece(self, start: int, stop: int) -> Piece:
        piece = {name: self._unit.read(name, start, stop) for name in self.names if self._unit.has(name)}
        for name, origin_nm in self._origin_nm.items():
            piece[name] = piece[name].astype(np.float64) + origin_nm
        return piece
