"""Ingest: one vendor file → sorted locs with a spatial index, in nanometres, in one unit of the store.

The file is read once, in bounded memory (twice where locs are filtered by frame and nothing but the frames themselves tells
where they count from); positions are float64 until the field's origin is known, then stored as float32 relative to it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.config import PrepareConfig
from smlmbatch.ingest.clean import Batch, Tally, channel_counts, channel_numbers, clean_batches, frame_base, quantities, read_frame_base
from smlmbatch.ingest.columns import overrides_of
from smlmbatch.ingest.merging import Merging, is_merging, merged_batches
from smlmbatch.ingest.prepare import LocFilter, check_filtered, filters_of, has_frame_filter, not_applied
from smlmbatch.ingest.readers import open_source
from smlmbatch.ingest.recognise import recognised_format
from smlmbatch.ingest.sort import SORT_BYTES_PER_ROW, Grid, Spool, grid_of
from smlmbatch.ingest.source import Source
from smlmbatch.locs import LOC_COLUMNS
from smlmbatch.work import Work

# What the process needs beside the records: interpreter and libraries 250 MiB, parser and writers 150 MiB (measured).
_RESERVED_BYTES = 400 << 20
_LEAST_ROWS = 1 << 14  # with less memory than the libraries need: slow, and still right


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The locs that are to be stored, to be taken once, and what is known of them.

    Attributes
    ----------
    read : tally of the locs that were read and pass the filters
    left : tally of what is stored: `read`, or that of the merged locs
    merging : None where blinks are not merged
    """

    source: Source
    filters: Sequence[LocFilter]
    read: Tally
    left: Tally
    merging: Merging | None
    batches: Iterator[Batch]

    def quantities(self) -> dict[str, np.dtype[Any]]:
        """What a batch holds: quantity → dtype."""
        found = quantities(self.source) | ({} if self.merging is None else {"n_merged": np.dtype(LOC_COLUMNS["n_merged"])})
        return {name: found[name] for name in LOC_COLUMNS if name in found}

    def stored(self) -> list[str]:
        """What gets written: all of it, without a z that is 0 throughout and a precision that is none throughout."""
        left_out = set() if self.left.dims == 3 else {"z_nm", "precision_z_nm"}
        if not self.left.precision.n:
            left_out.add("precision_nm")
        return [name for name in self.quantities() if name not in left_out]


def run(work: Work) -> None:
    """Read `work.source`, write its locs and what is known of them.

    Raises
    ------
    InputError
        the file can't be read, holds no localisation, none passes the filters, or its blinks can't be merged
    """
    overrides = overrides_of(work.field, work.config.ingest)
    source = open_source(work.source, recognised_format(work.source, overrides=overrides), overrides)
    prepared = _prepare(source, work.config.prepare, scratch=work.scratch, memory_bytes=work.memory_bytes)
    dtype = np.dtype(list(prepared.quantities().items()))
    n_spools = 1 if prepared.merging is None else 2
    spool = Spool(dtype, scratch=work.scratch, limit_rows=rows_within(work.memory_bytes, dtype.itemsize, n_spools=n_spools))
    for batch in prepared.batches:
        spool.append(batch)
    left = prepared.left
    grid = grid_of((left.x_nm.low, left.y_nm.low), (left.x_nm.high, left.y_nm.high), work.config.ingest.tile_nm)
    per_tile = _write_locs(work, spool, grid, prepared)
    work.out.write("tile_start", np.concatenate([[0], per_tile.cumsum()]))
    work.out.attrs.update(_attributes(prepared, grid) | {"prepare": dataclasses.asdict(work.config.prepare)})


def rows_within(memory_bytes: int, itemsize: int, *, n_spools: int = 1) -> int:
    """How many records each of several spools may hold and sort so that the whole process stays within `memory_bytes`."""
    return max(_LEAST_ROWS, (memory_bytes - _RESERVED_BYTES) // (itemsize + SORT_BYTES_PER_ROW) // n_spools)


# ---- filters and merging


def _prepare(source: Source, settings: PrepareConfig, *, scratch: Path, memory_bytes: int) -> _Prepared:
    filters = filters_of(settings, frame_base=read_frame_base(source) if has_frame_filter(settings) else 0)
    read = Tally()
    batches = _filtered_batches(source, read, filters)
    if not is_merging(settings):
        return _Prepared(source, filters, read, read, None, batches)
    record_bytes = sum(kind.itemsize for kind in quantities(source).values())
    limit_rows = rows_within(memory_bytes, record_bytes, n_spools=2)
    merging, left, merged = merged_batches(source, batches, read, settings, scratch=scratch, limit_rows=limit_rows)
    return _Prepared(source, filters, read, left, merging, merged)


def _filtered_batches(source: Source, tally: Tally, filters: Sequence[LocFilter]) -> Iterator[Batch]:
    yield from clean_batches(source, tally, filters=filters)
    check_filtered(source, tally, filters)


# ---- writing


def _write_locs(work: Work, spool: Spool, grid: Grid, prepared: _Prepared) -> NDArray[np.int64]:
    """Stream the sorted locs into their arrays; returns locs per tile (rows x columns of the grid,)."""
    tally, stored = prepared.left, prepared.stored()
    names = [name for name in LOC_COLUMNS if name in stored or name == "channel"]
    columns = {name: work.out.column(name, spool.n) for name in names}
    origin = {"x_nm": grid.origin_nm[0], "y_nm": grid.origin_nm[1], "frame": frame_base(prepared.source, tally)}
    numbers, _ = channel_numbers(tally)
    has_channel = "channel" in stored
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


def _attributes(prepared: _Prepared, grid: Grid) -> dict[str, Any]:
    source, tally, stored = prepared.source, prepared.left, prepared.stored()
    resolved, base = source.resolved, frame_base(source, tally)
    channels, counts, names = channel_counts(tally)
    frames = tally.frame.pair()
    return {
        "format": source.format,
        "columns": {use.quantity: ", ".join(use.columns) for use in resolved.uses if use.quantity in stored},
        "unit": resolved.unit,
        "pixel_size_nm": resolved.pixel_size_nm,
        "pixel_offset_px": resolved.pixel_offset_px,
        "frame_base": base if "frame" in stored else None,
        "n": tally.n,
        **_losses(prepared),
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


def _losses(prepared: _Prepared) -> dict[str, Any]:
    """How the records that were read became the locs that are stored: n_read = n + all `dropped` + n_merged_away.

    `not_applied` are filters that are on, but whose quantity no loc of the file has.
    """
    read, merging = prepared.read, prepared.merging
    return {
        "n_read": read.n_read,
        "dropped": {reason: n for reason, n in sorted((read.dropped + read.filtered).items()) if n},
        "warnings": {reason: n for reason, n in sorted(read.warnings.items()) if n},
        "n_filtered": read.filtered.total(),
        "n_merged_away": read.n - prepared.left.n,
        "not_applied": [rule.setting for rule in not_applied(read, prepared.filters)],
        **({} if merging is None else merging.attributes()),
    }
