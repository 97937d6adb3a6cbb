"""The localisations of one published field, by rectangle or streamed.

Ingest sorts locs by tile (row-major), so a rectangle is one contiguous range per row of tiles. A field of up to
`keep_rows` locs is read once and kept; a larger one is read per band of tile rows, the last band being kept, so
that a row of ROIs reads its band once. Both give the same locs in the same order.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from smlmbatch.locs import LOC_COLUMNS, REQUIRED_COLUMNS, Locs
from smlmbatch.store.arrays import UnitReader

KEEP_ROWS = 1 << 22  # 4 Mi locs of the required columns are 68 MiB
# Which tile a loc on an edge went to is the writer's rounding (float32 or float64); looking this much further finds it in either.
_EDGE_SLACK = 1e-6


class FieldLocs:
    """The locs of a published ingest unit, coordinates relative to the field's origin.

    Parameters
    ----------
    unit : a published unit of stage ingest
    columns : wanted besides the required ones (x_nm, y_nm, channel, row, which always come); one the field
        does not have is None in the Locs
    keep_rows : fields of at most this many locs are kept whole in memory; changes no result

    Attributes
    ----------
    n : number of locs
    """

    def __init__(self, unit: UnitReader, columns: Sequence[str] = ("x_nm", "y_nm", "channel"), *, keep_rows: int = KEEP_ROWS) -> None:
        unknown = set(columns) - set(LOC_COLUMNS)
        if unknown:
            raise KeyError(f"no column of a loc: {', '.join(sorted(unknown))}")
        self._unit = unit
        self._names = [name for name in LOC_COLUMNS if name in (*REQUIRED_COLUMNS, *columns) and unit.has(name)]
        self._tile_nm = float(unit.attrs["tile_nm"])
        self._tile_rows, self._tile_columns = (int(count) for count in unit.attrs["tile_grid"])
        self._tile_start: NDArray[np.int64] = unit.read("tile_start")
        self.n = unit.length("x_nm")
        self._keep_all = self.n <= keep_rows
        self._band: Locs | None = None
        self._band_range = (0, 0)
        self._extent: tuple[float, float, float, float] | None = None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Bounding box of all locs (x0, y0, x1, y1), nm; all zeros if there are none. Read off once."""
        if self._extent is None:
            corners = [(p.x_nm.min(), p.y_nm.min(), p.x_nm.max(), p.y_nm.max()) for p in self.pieces() if len(p)]
            table = np.array(corners or [(0.0,) * 4], dtype=np.float64)
            low, high = table[:, :2].min(axis=0), table[:, 2:].max(axis=0)
            self._extent = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        return self._extent

    def tile_counts(self) -> NDArray[np.int64]:
        """Locs per tile, (tile rows, tile columns) i8."""
        return np.diff(self._tile_start).reshape(self._tile_rows, self._tile_columns)

    @property
    def tile_nm(self) -> float:
        """Side of a tile; tile (0, 0) has its corner at the field's origin."""
        return self._tile_nm

    def pieces(self, rows: int = 1 << 18) -> Iterator[Locs]:
        """The whole field in stored order, `rows` locs at a time."""
        for start in range(0, self.n, rows):
            yield self._range(start, min(start + rows, self.n))

    def rectangle(self, x0_nm: float, y0_nm: float, x1_nm: float, y1_nm: float) -> Locs:
        """All locs with x0 <= x < x1 and y0 <= y < y1, in stored order."""
        return self.placed(x0_nm, y0_nm, x1_nm, y1_nm)[1]

    def placed(self, x0_nm: float, y0_nm: float, x1_nm: float, y1_nm: float) -> tuple[NDArray[np.int64], Locs]:
        """The same with their places in the field's order: (n,) i8."""
        if not (self.n and x0_nm < x1_nm and y0_nm < y1_nm):
            return np.empty(0, np.int64), self._range(0, 0)
        first_column, last_column = self._tiles(x0_nm, x1_nm, self._tile_columns)
        first_row, last_row = self._tiles(y0_nm, y1_nm, self._tile_rows)
        start, stop = self._tile_start[first_row * self._tile_columns], self._tile_start[(last_row + 1) * self._tile_columns]
        band, offset = self._rows(int(start), int(stop))
        hits = []
        for row in range(first_row, last_row + 1):
            base = row * self._tile_columns
            begin, end = self._tile_start[base + first_column] - offset, self._tile_start[base + last_column + 1] - offset
            inside = _within(band.x_nm[begin:end], x0_nm, x1_nm) & _within(band.y_nm[begin:end], y0_nm, y1_nm)
            hits.append(np.flatnonzero(inside) + begin)
        found = np.concatenate(hits)
        return found + offset, band.take(found)

    def _tiles(self, low_nm: float, high_nm: float, count: int) -> tuple[int, int]:
        """First and last tile along one axis that may hold a coordinate in low..high, clipped to the grid."""
        slack = _EDGE_SLACK * max(abs(low_nm), abs(high_nm), self._tile_nm)
        first, last = np.clip(np.floor([(low_nm - slack) / self._tile_nm, (high_nm + slack) / self._tile_nm]), 0, count - 1)
        return int(first), int(last)

    def _rows(self, start: int, stop: int) -> tuple[Locs, int]:
        """Locs that hold rows start..stop, and the row the first of them is."""
        if self._keep_all:
            start, stop = 0, self.n
        if self._band is None or not (self._band_range[0] <= start and stop <= self._band_range[1]):
            self._band = None  # free the old band before the new one is read
            self._band, self._band_range = self._read(start, stop), (start, stop)
        return self._band, self._band_range[0]

    def _range(self, start: int, stop: int) -> Locs:
        if not self._keep_all:
            return self._read(start, stop)
        return self._rows(start, stop)[0].take(slice(start, stop))

    def _read(self, start: int, stop: int) -> Locs:
        return Locs(**{name: self._unit.read(name, start, stop) for name in self._names})


def _within(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.bool_]:
    """low <= values < high, compared in float64: a bound rounded to float32 would move locs across it."""
    return (values >= np.float64(low)) & (values < np.float64(high))
