"""The course of a recording, from locs per bin of frames: how much it fades, and what share of it is missing.

A channel's recording goes from its first to its last loc (channels may be taken one after the other). Only a stretch so long that
at the rate around it 20 locs were to be expected is a gap: a sparse recording, or one that has bleached, has none.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_BINS: Final = 400
LEAST_LOCS: Final = 200  # a share of fewer is noise
_LEAST_BINS = 6  # of a quarter of fewer, half may lie in the bin that the channel only starts or ends in
_LEAST_GAP_FRAMES = 10  # shorter ones are activation frames and alternating lasers
_LEAST_MISSING = 20.0  # locs; none where 20 are expected does not happen by chance, not even in blinks of several
_AROUND = 5  # steps on each side from which the rate is taken


def frame_bounds(first: int, last: int) -> NDArray[np.int64]:
    """Bounds of at most 400 bins of equal numbers of frames; the last may reach beyond `last`."""
    step = -(-(last - first + 1) // MAX_BINS)
    return np.arange(first, last + step + 1, step)


def recorded(counts: NDArray[np.int64]) -> tuple[int, int]:
    """First bin with a loc and the one after the last, of (bins,) counts; (0, 0) if there is none."""
    filled = np.flatnonzero(counts)
    return (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 0)


def fading(counts: NDArray[np.int64], *, frame_bound: NDArray[np.int64], recording: tuple[int, int]) -> tuple[float, str]:
    """Locs per frame in the last quarter of one channel's recording over those in the first; NaN with the reason where unknown.

    Parameters
    ----------
    frame_bound : of the bins
    recording : the channel's first and last frame, from and to which its first and last bin are divided by
    """
    first, stop = recorded(counts)
    if counts.sum() < LEAST_LOCS:
        return np.nan, f"fewer than {LEAST_LOCS} locs"
    if stop - first < _LEAST_BINS:
        return np.nan, f"locs span fewer than {_LEAST_BINS} frames, or too little of the whole recording"
    quarter = -(-(stop - first) // 4)  # two bins at least, of which one is whole
    start = counts[first : first + quarter].sum() / (frame_bound[first + quarter] - recording[0])
    end = counts[stop - quarter : stop].sum() / (recording[1] + 1 - frame_bound[stop - quarter])
    return float(end / start), ""


def gaps(counts: NDArray[np.int64], *, frames_per_bin: int, channel: int) -> tuple[float, str]:
    """Share of one channel's recording in which locs are missing; NaN with the reason where unknown.

    Parameters
    ----------
    counts : (bins, channels) of all channels: where another has locs the camera was running
    """
    first, stop = recorded(counts[:, channel])
    if counts[:, channel].sum() < LEAST_LOCS:
        return np.nan, f"fewer than {LEAST_LOCS} locs"
    group = -(-_LEAST_GAP_FRAMES // frames_per_bin)
    per_step = np.add.reduceat(counts[first:stop].sum(axis=1), np.arange(0, stop - first, group))
    empty = np.concatenate([[0], (per_step == 0).astype(np.int8), [0]])
    starts, stops = np.flatnonzero(np.diff(empty) == 1), np.flatnonzero(np.diff(empty) == -1)
    missing = 0
    for start, end in zip(starts.tolist(), stops.tolist(), strict=True):
        rate = min(per_step[max(0, start - _AROUND) : start].mean(), per_step[end : end + _AROUND].mean())
        missing += (end - start) * bool(rate * (end - start) >= _LEAST_MISSING)
    return missing / len(per_step), ""
