"""Merging of blinks on the way through ingest: locs by frame, traces, merged locs.

Off unless asked for. The field's NeNA precision and the median of the stated one are measured before, whether or not the distance
is made of NeNA: merging takes away what it could be measured from, and merged locs have another precision. Many programs' exports
are merged already; NeNA then finds no blinks that go on. Where the distance was to be made of it, such a channel stays as it is, and
a warning says so.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.config import PrepareConfig
from smlmbatch.errors import InputError
from smlmbatch.ingest.clean import Batch, Tally, channel_counts, channel_numbers, count_batch, quantities
from smlmbatch.ingest.median import Median
from smlmbatch.ingest.sort import FRAME_ORDER, Spool
from smlmbatch.ingest.source import Source

if TYPE_CHECKING:
    from smlmbatch.blinks.sample import FrameSample

Records = NDArray[Any]
_OFF = "switch merging off (prepare.merge_nm = 0, prepare.merge_nena = 0), or take the file out of the input"


@dataclass(frozen=True, slots=True)
class Merging:
    """By channel in ascending order, of the locs before they were merged.

    Attributes
    ----------
    nena_nm : NeNA precision; NaN where none was found
    merge_radius_nm : the distance blinks were merged over; NaN = not
    precision : medians of the stated precision, exact once all merged locs were taken
    """

    nena_nm: tuple[float, ...]
    merge_radius_nm: tuple[float, ...]
    precision: tuple[Median, ...]

    def attributes(self) -> dict[str, list[float | None]]:
        """What the unit keeps of it; None where there is no value."""
        return {
            "nena_nm": [None if math.isnan(value) else value for value in self.nena_nm],
            "merge_radius_nm": [None if math.isnan(value) else value for value in self.merge_radius_nm],
            "precision_unmerged_nm": [median.exact() for median in self.precision],
        }


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
    sample, stated = FrameSample(), defaultdict[int, Median](Median)
    for batch in batches:
        spool.append(batch)
        sample.add(batch)
        for code, values in _by_code(batch):
            stated[code].add(values)
    merging, radius_nm = _measure(tally, sample, settings, _by_channel(tally, stated))
    left = Tally(n_read=tally.n_read, first_frame=tally.first_frame, words=tally.words)
    blocks = _refined(spool.sorted_blocks(FRAME_ORDER), merging, tally)
    return merging, left, _merged(source, blocks, tally, left, radius_nm, settings.merge_dark_frames)


def _by_code(columns: Batch | Records) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Stated precisions of each code of a channel; of none where there are none."""
    names = columns.dtype.names or () if isinstance(columns, np.ndarray) else columns.keys()
    if "precision_nm" not in names:
        return
    codes = columns["channel"] if "channel" in names else np.zeros(len(columns["precision_nm"]), dtype=np.uint8)
    for code in np.flatnonzero(np.bincount(codes)).tolist():
        yield code, columns["precision_nm"][codes == code]


def _by_channel(tally: Tally, stated: Mapping[int, Median]) -> tuple[Median, ...]:
    """The counts of all codes of a channel together."""
    numbers, _ = channel_numbers(tally)
    medians = {channel: Median() for channel in channel_counts(tally)[0]}
    for code, median in stated.items():
        medians[int(numbers[code])].join(median)
    return tuple(medians.values())


def _refined(blocks: Iterator[Records], merging: Merging, tally: Tally) -> Iterator[Records]:
    """The blocks as they are; on their way the medians have their second look."""
    numbers, _ = channel_numbers(tally)
    medians = dict(zip(channel_counts(tally)[0], merging.precision, strict=True))
    for block in blocks:
        for code, values in _by_code(block):
            medians[int(numbers[code])].refine(values)
        yield block


def _measure(
    tally: Tally, sample: "FrameSample", settings: PrepareConfig, precision: tuple[Median, ...]
) -> tuple[Merging, NDArray[np.float64]]:
    """What is measured of each channel, and the distances by channel number, (256,) f8."""
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
    return Merging(tuple(found), merged_over, precision), radius_nm


def _merged(
    source: Source, blocks: Iterator[Records], tally: Tally, left: Tally, radius_nm: NDArray[np.float64], dark_frames: int
) -> Iterator[Batch]:
    from smlmbatch.blinks.merge import merge_blinks

    numbers, _ = channel_numbers(tally)
    for batch in merge_blinks(blocks, path=source.path, channel_of=numbers, radius_nm=radius_nm, dark_frames=dark_frames):
        count_batch(batch, left)
        yield batch
