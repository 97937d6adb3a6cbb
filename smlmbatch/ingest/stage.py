"""Ingest: one vendor file → sorted locs with a spatial index, in nanometres, in one unit of the store.

The file is read once, in bounded memory; positions are float64 until the field's origin is known, then stored as
float32 relative to it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.ingest.clean import Tally, channel_counts, channel_numbers, clean_batches, frame_base, quantities
from smlmbatch.ingest.columns import overrides_of
from smlmbatch.ingest.readers import open_source
from smlmbatch.ingest.recognise import recognised_format
from smlmbatch.ingest.sort import SORT_BYTES_PER_ROW, Grid, Spool, grid_of
from smlmbatch.ingest.source import Source
from smlmbatch.locs import LOC_COLUMNS
from smlmbatch.work import Work

# What the process needs beside the records: interpreter and libraries 250 MiB, parser and writers 150 MiB (measured).
_RESERVED_BYTES = 400 << 20
_LEAST_ROWS = 1 << 14  # with less memory than the libraries need: slow, and still right


def run(work: Work) -> None:
    """Read `work.source`, write its locs and what is known of them.

    Raises
    ------
    InputError
        the file can't be read or holds no localisation
    """
    overrides = overrides_of(work.field, work.config.ingest)
    source = open_source(work.source, recognised_format(work.source, overrides=overrides), overrides)
    kinds = quantities(source)
    dtype = np.dtype(list(kinds.items()))
    spool = Spool(dtype, scratch=work.scratch, limit_rows=rows_within(work.memory_bytes, dtype.itemsize))
    tally = Tally()
    for batch in clean_batches(source, tally):
        spool.append(batch)
    corners = (tally.x_nm.low, tally.y_nm.low), (tally.x_nm.high, tally.y_nm.high)
    grid = grid_of(*corners, work.config.ingest.tile_nm)
    per_tile = _write_locs(work, spool, grid, source, tally)
    work.out.write("tile_start", np.concatenate([[0], per_tile.cumsum()]))
    work.out.attrs.update(_attributes(source, tally, grid))


def rows_within(memory_bytes: int, itemsize: int) -> int:
    """How many records may be held and sorted so that the whole process stays within `memory_bytes`."""
    return max(_LEAST_ROWS, (memory_bytes - _RESERVED_BYTES) // (itemsize + SORT_BYTES_PER_ROW))


def _stored_quantities(source: Source, tally: Tally) -> list[str]:
    """What gets written: what the source has, without a z that is 0 throughout and a precision that is none throughout."""
    left_out = set() if tally.dims == 3 else {"z_nm", "precision_z_nm"}
    if not tally.precision.n:
        left_out.add("precision_nm")
    return [name for name in LOC_COLUMNS if name in quantities(source) and name not in left_out]


def _write_locs(work: Work, spool: Spool, grid: Grid, source: Source, tally: Tally) -> NDArray[np.int64]:
    """Stream the sorted locs into their arrays; returns locs per tile (rows x columns of the grid,)."""
    names = [name for name in LOC_COLUMNS if name in _stored_quantities(source, tally) or name == "channel"]
    columns = {name: work.out.column(name, spool.n) for name in names}
    origin = {"x_nm": grid.origin_nm[0], "y_nm": grid.origin_nm[1], "frame": frame_base(source, tally)}
    numbers, _ = channel_numbers(tally)
    has_channel = "channel" in quantities(source)
    per_tile = np.zeros(grid.rows * grid.columns, dtype=np.int64)
    for block in spool.sorted_blocks(grid):
        _count_tiles(grid.tile_of(block), per_tile)
        for name, column in columns.items():
            if name == "channel":
                values = numbers[block[name]] if has_channel else np.zeros(len(block), dtype=np.uint8)
            else:
                values = block[name] - origin[name] if name in origin else block[name]
            column.append(values)
        if "precision_nm" in columns:
            tally.precision.refine(block["precision_nm"])
    return per_tile


def _count_tiles(tiles: NDArray[np.int32], per_tile: NDArray[np.int64]) -> None:
    """Add the counts of ascending tiles."""
    counts = np.bincount(tiles - tiles[0])
    per_tile[tiles[0] : tiles[0] + len(counts)] += counts


def _attributes(source: Source, tally: Tally, grid: Grid) -> dict[str, Any]:
    resolved = source.resolved
    base = frame_base(source, tally)
    stored = _stored_quantities(source, tally)
    channels, counts, names = channel_counts(tally)
    frames = tally.frame.pair()
    return {
        "format": source.format,
        "columns": {use.quantity: ", ".join(use.columns) for use in resolved.uses if use.quantity in stored},
        "unit": resolved.unit,
        "pixel_size_nm": resolved.pixel_size_nm,
        "pixel_offset_px": resolved.pixel_offset_px,
        "frame_base": base if "frame" in stored else None,
        "n_read": tally.n_read,
        "n": tally.n,
        "dropped": {reason: n for reason, n in sorted(tally.dropped.items()) if n},
        "warnings": {reason: n for reason, n in sorted(tally.warnings.items()) if n},
        "origin_nm": list(grid.origin_nm),
        "tile_nm": grid.tile_nm,
        "tile_grid": [grid.rows, grid.columns],
        "extent_nm": [[tally.x_nm.low, tally.y_nm.low], [tally.x_nm.high, tally.y_nm.high]],
        "z_extent_nm": tally.z_nm.pair() if tally.dims == 3 else None,
        "frame_extent": [int(frame) - base for frame in frames] if frames else None,
        "precision_median_nm": tally.precision.exact(),
        "channels": channels,
        "channel_names": names,
        "n_per_channel": counts,
        "dims": tally.dims,
        **({"members": [list(member) for member in source.members]} if source.members else {}),
    }
