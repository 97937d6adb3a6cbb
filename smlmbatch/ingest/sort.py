"""Locs in tile order: tiles row by row, within a tile by frame, then as they came. In memory, or by way of the disk.

The order is total, so the result is the same however little memory there is. Locs are kept as records (one gather
of a whole record is one cache miss, a gather per column would be nine). Beyond the memory's limit they go to a file;
then buckets of equal keys, each small enough, are cut from a histogram of the sort key, written, sorted and read
back in order. A bucket that is still too large (all locs in few tiles) is split again by the finer key.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_TILES = 1 << 22  # the tile index of a field stays below 32 MiB
BLOCK_ROWS = 1 << 16
_GROW_ROWS = 1 << 20
_BINS = 1 << 16
_MAX_BUCKETS = 64  # files open at once in one pass, give or take one
# Beside a record: its key (i8), the order twice (i8) and numpy's working space while two digits are sorted.
SORT_BYTES_PER_ROW = 34

Records = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """The spatial index: `rows` x `columns` squares of `tile_nm`; `origin_nm` (x, y) is the first one's corner."""

    origin_nm: tuple[float, float]
    tile_nm: float
    rows: int
    columns: int

    def tile_of(self, records: Records) -> NDArray[np.int32]:
        """Tile index of each record, (n,) i4, row-major; coordinates absolute in float64."""
        first_column, first_row = (round(origin / self.tile_nm) for origin in self.origin_nm)
        column = np.floor(records["x_nm"] / self.tile_nm) - first_column
        row = np.floor(records["y_nm"] / self.tile_nm) - first_row
        tile: NDArray[np.int32] = (row * self.columns + column).astype(np.int32)
        return tile


# One tile that holds everything: tile order on it is the order of frames, and within a frame the one in which locs came.
FRAME_ORDER: Final = Grid((0.0, 0.0), math.inf, 1, 1)


def grid_of(low_nm: tuple[float, float], high_nm: tuple[float, float], tile_nm: float) -> Grid:
    """The grid over all locs, aligned to multiples of the tile's side; the side doubles until MAX_TILES suffice.

    >>> grid_of((-1.0, 2500.0), (1500.0, 2600.0), 1000.0)
    Grid(origin_nm=(-1000.0, 2000.0), tile_nm=1000.0, rows=1, columns=3)
    """
    while True:
        first = [math.floor(low / tile_nm) for low in low_nm]
        columns, rows = (math.floor(high / tile_nm) - start + 1 for high, start in zip(high_nm, first, strict=True))
        if rows * columns <= MAX_TILES:
            return Grid((first[0] * tile_nm, first[1] * tile_nm), tile_nm, rows, columns)
        tile_nm *= 2


class Spool:
    """Collects records in the order in which they come, at most `limit_rows` in memory, the rest in files `name` under `scratch`.

    Attributes
    ----------
    n : records so far
    """

    def __init__(self, dtype: np.dtype[Any], *, scratch: Path, limit_rows: int, name: str = "spool") -> None:
        self.dtype, self.scratch, self.limit_rows = dtype, scratch, max(1, limit_rows)
        self.n = 0
        self._records = np.empty(0, dtype=dtype)
        self._held = 0
        self._path = scratch / f"{name}.bin"
        self._spilled = False
        self._frames: list[int] = []  # lowest and highest frame of each spill

    def append(self, batch: Mapping[str, NDArray[Any]]) -> None:
        """Add the columns of a batch, one of which is `row`."""
        n, start = len(batch["row"]), 0
        while start < n:
            if self._held == self.limit_rows:
                self._spill()
            count = min(n - start, self.limit_rows - self._held)
            self._reserve(self._held + count)
            for name in self.dtype.names or ():
                self._records[name][self._held : self._held + count] = batch[name][start : start + count]
            self._held += count
            start += count
        self.n += n

    def _reserve(self, rows: int) -> None:
        if rows > len(self._records):
            # numpy's resize is a realloc: big arrays grow by moving pages, without a copy beside them
            self._records.resize(min(self.limit_rows, rows + max(_GROW_ROWS, rows // 8)), refcheck=False)

    def _spill(self) -> None:
        held = self._records[: self._held]
        if "frame" in (self.dtype.names or ()) and len(held):
            self._frames += [int(held["frame"].min()), int(held["frame"].max())]
        with self._path.open("ab") as file:
            held.tofile(file)
        self._held, self._spilled = 0, True

    def sorted_blocks(self, grid: Grid) -> Iterator[Records]:
        """All records in tile order, in blocks of up to BLOCK_ROWS. Once only: the spool is used up."""
        if not self._spilled:
            records, self._records = self._records[: self._held], np.empty(0, dtype=self.dtype)
            yield from _sorted_in_memory(records, grid)
            return
        self._spill()
        self._records = np.empty(0, dtype=self.dtype)
        frames = self._frames or [0]
        keys = _Keys(grid, min(frames), max(frames) - min(frames) + 1)
        yield from _sorted_file(_File(self._path, self.dtype), keys, 0, keys.end, self.limit_rows)


# ---- in memory


def _sorted_in_memory(records: Records, grid: Grid) -> Iterator[Records]:
    order = _order(records, grid)
    for start in range(0, len(records), BLOCK_ROWS):
        yield records.take(order[start : start + BLOCK_ROWS])


def _order(records: Records, grid: Grid) -> NDArray[np.intp]:
    """The stable order by (tile, frame): 16 bits at a time from the lowest, for which numpy has a radix sort."""
    digits: list[NDArray[np.uint16]] = []
    if not _frames_ascend(records):
        digits += _digits(records["frame"].astype(np.int64) - int(records["frame"].min()))
    tile = np.concatenate([grid.tile_of(records[s : s + BLOCK_ROWS]) for s in range(0, len(records), BLOCK_ROWS)])
    digits += _digits(tile)
    del tile
    order: NDArray[np.intp] = np.argsort(digits[0], kind="stable")
    for digit in digits[1:]:
        order = order[np.argsort(digit[order], kind="stable")]
    return order


def _frames_ascend(records: Records) -> bool:
    """Whether file order is frame order already (as acquired), so that the sort by tile keeps it."""
    if "frame" not in (records.dtype.names or ()):
        return True
    frame = records["frame"]
    pieces = (frame[start : start + BLOCK_ROWS + 1] for start in range(0, len(frame), BLOCK_ROWS))
    return all(bool((piece[1:] >= piece[:-1]).all()) for piece in pieces)


def _digits(key: NDArray[Any]) -> list[NDArray[np.uint16]]:
    """Keys of 0 or more cut into 16-bit digits, lowest first."""
    n_digits = max(1, math.ceil(int(key.max(initial=0)).bit_length() / 16))
    return [((key >> (16 * k)) & 0xFFFF).astype(np.uint16) for k in range(n_digits)]


# ---- by way of the disk


@dataclass(frozen=True, slots=True)
class _File:
    """Records in a file, read in blocks."""

    path: Path
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.path.stat().st_size // self.dtype.itemsize

    def blocks(self) -> Iterator[Records]:
        with self.path.open("rb", buffering=0) as file:
            while len(block := np.fromfile(file, dtype=self.dtype, count=BLOCK_ROWS)):
                yield block


@dataclass(frozen=True, slots=True)
class _Keys:
    """One integer that sorts like (tile, frame); below 2**53, since tiles are 2**22 and frames 2**31 at most."""

    grid: Grid
    first_frame: int
    n_frames: int

    @property
    def end(self) -> int:
        return self.grid.rows * self.grid.columns * self.n_frames

    def of(self, records: Records) -> NDArray[np.int64]:
        key = self.grid.tile_of(records).astype(np.int64)
        if "frame" in (records.dtype.names or ()):
            key = key * self.n_frames + (records["frame"].astype(np.int64) - self.first_frame)
        return key


def _sorted_file(file: _File, keys: _Keys, low: int, high: int, limit_rows: int) -> Iterator[Records]:
    """The file's records, keys low <= key < high, in order; the file is removed on the way."""
    n = len(file)
    if n <= limit_rows:
        records = np.fromfile(file.path, dtype=file.dtype)
        file.path.unlink()
        yield from _sorted_in_memory(records, keys.grid)
    elif high - low == 1:  # one tile and frame: file order is the order
        yield from file.blocks()
        file.path.unlink()
    else:
        width = -(-(high - low) // _BINS)
        counts = _histogram(file, keys, low, width, -(-(high - low) // width))
        cuts = _cut(counts, max(limit_rows, -(-n // (_MAX_BUCKETS // 2))))
        buckets = _distribute(file, keys, low, width, [first for first, _ in cuts])
        file.path.unlink()
        for bucket, (first, last) in zip(buckets, cuts, strict=True):
            yield from _sorted_file(bucket, keys, low + first * width, min(high, low + (last + 1) * width), limit_rows)


def _histogram(file: _File, keys: _Keys, low: int, width: int, n_bins: int) -> NDArray[np.int64]:
    counts = np.zeros(n_bins, dtype=np.int64)
    for block in file.blocks():
        counts += np.bincount((keys.of(block) - low) // width, minlength=n_bins)
    return counts


def _cut(counts: NDArray[np.int64], target: int) -> list[tuple[int, int]]:
    """First and last bin of buckets of up to `target` records each (one bin at least); at most 2 n / target + 1 buckets."""
    cuts: list[tuple[int, int]] = []
    held = 0
    for bin_ in np.flatnonzero(counts).tolist():
        if not cuts or held + int(counts[bin_]) > target:
            cuts.append((bin_, bin_))
            held = 0
        cuts[-1] = cuts[-1][0], bin_
        held += int(counts[bin_])
    return cuts


def _distribute(file: _File, keys: _Keys, low: int, width: int, first_bins: list[int]) -> list[_File]:
    """Write every record to its bucket's file, file order kept."""
    buckets = [_File(file.path.with_name(f"{file.path.stem}.{i}.bin"), file.dtype) for i in range(len(first_bins))]
    handles = [bucket.path.open("wb", buffering=0) for bucket in buckets]
    try:
        for block in file.blocks():
            number = (np.searchsorted(first_bins, (keys.of(block) - low) // width, side="right") - 1).astype(np.uint8)
            ordered = block.take(np.argsort(number, kind="stable"))
            bounds = np.bincount(number, minlength=len(buckets)).cumsum()
            for handle, start, stop in zip(handles, [0, *bounds[:-1]], bounds, strict=True):
                if start < stop:
                    ordered[start:stop].tofile(handle)
    finally:
        for handle in handles:
            handle.close()
    return buckets
