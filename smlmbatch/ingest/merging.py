"""Merging of blinks on the way through ingest: locs by frame, traces, merged locs.

Off unless asked for. The field's NeNA precision is measured before, whether or not the distance is made of it: merging takes
away what it could be measured from. Many programs' exports are merged already; NeNA then finds no blinks that go on. Where the
distance was to be made of it, such a channel stays as it is, and a warning says so.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smlmbatch.config import PrepareConfig
from smlmbatch.errors import InputError
from smlmbatch.ingest.clean import Batch, Tally, channel_counts, channel_numbers, count_batch, quantities
from smlmbatch.ingest.sort import FRAME_ORDER, Spool
from smlmbatch.ingest.source import Source

if TYPE_CHECKING:
    from smlmbatch.blinks.sample import FrameSample

_OFF = "switch merging off (prepare.merge_nm = 0, prepare.merge_nena = 0), or take the file out of the input"


@dataclass(frozen=True, slots=True)
class Merging:
    """By channel in ascending order, nm: NeNA precision, NaN where none was found; the distance blinks were merged over, NaN = not."""

    nena_nm: tuple[float, ...]
    merge_radius_nm: tuple[float, ...]


def is_merging(settings: PrepareConfig) -> bool:
    return settings.merge_nm > 0 or settings.merge_nena > 0


def merged_batches(
    source: Source, batches: Iterator[Batch], tally: Tally, settings: PrepareConfig, *, scratch: Path, limit_rows: int
) -> tuple[Merging, Tally, Iterator[Batch]]:
    """Take up all batches, then hand out merged locs.

    Parameters
    ----------
    tally : filled by `batches`
    limit_rows : records to hold in memory while they are brought into the order of frames

    Returns
    -------
    what was measured; a tally of the merged locs, which fills as they are taken; the merged locs, with n_merged

    Raises
    ------
    InputError
        no frames; more locs in a frame than a camera can see
    """
    from smlmbatch.blinks.sample import FrameSample  # numba, for nobody else

    kinds = quantities(source)
    if "frame" not in kinds:
        raise InputError(source.path, "blinks can't be merged: the file has no frames", "a column of frames", _OFF)
    spool = Spool(np.dtype(list(kinds.items())), scratch=scratch, limit_rows=limit_rows, name="frames")
    sample = FrameSample()
    for batch in batches:
        spool.append(batch)
        sample.add(batch)
    merging, radius_nm = _measure(tally, sample, settings)
    left = Tally(n_read=tally.n_read, first_frame=tally.first_frame, words=tally.words)
    return merging, left, _merged(source, spool, tally, left, radius_nm, settings.merge_dark_frames)


def _measure(tally: Tally, sample: "FrameSample", settings: PrepareConfig) -> tuple[Merging, NDArray[np.float64]]:
    """NeNA precision and distance of each channel, and the distances by channel number, (256,) f8."""
    numbers, _ = channel_numbers(tally)
    channels, _, names = channel_counts(tally)
    radius_nm = np.zeros(256)
    found = []
    for channel, name in zip(channels, names, strict=True):
        nena = sample.nena(np.flatnonzero(numbers == channel))
        found.append(nena.precision_nm)
        if settings.merge_nena and math.isnan(nena.precision_nm):
            tally.warnings[f"blinks of {name} not merged, no NeNA precision to take the distance from: {nena.reason}"] = 1
        else:
            radius_nm[channel] = settings.merge_nm or settings.merge_nena * nena.precision_nm
    merged_over = tuple(float(radius_nm[channel]) or math.nan for channel in channels)
    return Merging(tuple(found), merged_over), radius_nm


def _merged(source: Source, spool: Spool, tally: Tally, left: Tally, radius_nm: NDArray[np.float64], dark_frames: int) -> Iterator[Batch]:
    from smlmbatch.blinks.merge import merge_blinks

    numbers, _ = channel_numbers(tally)
    blocks = spool.sorted_blocks(FRAME_ORDER)
    for batch in merge_blinks(blocks, path=source.path, channel_of=numbers, radius_nm=radius_nm, dark_frames=dark_frames):
        count_batch(batch, left)
        yield batch
