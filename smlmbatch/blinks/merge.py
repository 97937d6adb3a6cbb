"""Blinks merged: the locs of one trace become one loc.

    position      mean, weighted by 1 / precision²; of traces without a precision the plain mean
    z             the same with its own precision
    precision     1 / sqrt(sum of 1 / precision²), lateral and axial
    photons       sum; background (per pixel, as the source gives it) likewise, as both are of all the trace's frames
    PSF width     mean
    the rest      frame, channel, group, row: those of the first loc; n_merged: how many there were

A loc without a precision has no weight beside one that has, and one without z (or PSF width) does not enter that mean; photons and
background of a trace are unknown where one of its locs has none. Source: Picasso's `link` (postprocess.py: position, precision, photons,
background, frame, widths); ThunderSTORM sums the intensity likewise, and takes the mean of background and of positions without weights.
Sums run in order of frames, one loc after the other, so no cut of the data into pieces shows in a result.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.blinks.link import link_frames, no_traces
from smlmbatch.errors import InputError

Records = NDArray[Any]
Batch = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]

PIECE_ROWS = 1 << 16
# A camera of 4 million pixels can't hold more spots in one picture; what has more counts something else than frames.
MAX_FRAME_LOCS: Final = 1 << 20
_ALWAYS: Final = 1 << 32  # dark frames: more than there are
_SUMMED: Final = ("photons", "background")
_LINKED: Final = (("x_nm", "f8"), ("y_nm", "f8"), ("frame", "i8"))


def merge_blinks(
    blocks: Iterable[Records],
    *,
    path: Path,
    channel_of: NDArray[np.uint8],
    radius_nm: Floats,
    dark_frames: int,
    piece_rows: int = PIECE_ROWS,
) -> Iterator[Batch]:
    """Merged locs of a field, in order of the frame of their last loc; of these, in the order in which they began.

    Memory: some pieces, and the traces open at one time.

    Parameters
    ----------
    blocks : records in ascending order of `frame`, with x_nm, y_nm (f8) and row, and whichever other columns of a loc
    path : the file, for messages
    channel_of : (256,) u1, the channel of what stands in the column `channel`
    radius_nm : (256,) f8, nm, of each channel; 0 = not merged
    dark_frames : frames a blink may be dark
    piece_rows : how much is looked at together; changes no result

    Yields
    ------
    dict column → (n,), as in the records, with n_merged i4

    Raises
    ------
    InputError
        more locs in one frame than a camera can see
    """
    traces = _Traces(channel_of, radius_nm, min(dark_frames, _ALWAYS))
    for records in _whole_frames(blocks, path, lambda: max(piece_rows, len(traces))):
        yield traces.take(records)
    yield traces.close()


def _whole_frames(blocks: Iterable[Records], path: Path, least_rows: Callable[[], int]) -> Iterator[Records]:
    """The same records in pieces that end with a frame."""
    held: list[Records] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= least_rows():
            records = np.concatenate(held)
            cut = int(np.searchsorted(records["frame"], records["frame"][-1]))
            _check_crowd(records["frame"], path)
            held = [records[cut:]]
            if cut:
                yield records[:cut]
    if held:
        records = np.concatenate(held)
        _check_crowd(records["frame"], path)
        yield records


def _check_crowd(frame: NDArray[np.int32], path: Path) -> None:
    if len(frame) > MAX_FRAME_LOCS and (crowded := frame[MAX_FRAME_LOCS:] == frame[:-MAX_FRAME_LOCS]).any():
        finding = f"more than {MAX_FRAME_LOCS:,} localisations have the frame {frame[np.argmax(crowded)]}"
        mend = "correct the column of frames, or switch merging off (prepare.merge_nm = 0, prepare.merge_nena = 0)"
        raise InputError(path, finding, "frames of a camera, over which blinks can be merged", mend)


# ---- traces


class _Traces:
    """The traces that may go on: the last loc of each for linking, the first one and the sums so far for merging."""

    def __init__(self, channel_of: NDArray[np.uint8], radius_nm: Floats, dark_frames: int) -> None:
        self._channel_of, self._radius_nm, self._dark_frames = channel_of, radius_nm, dark_frames
        self._ends, self._sums = no_traces(), Batch()
        self._first: Records | None = None

    def __len__(self) -> int:
        return len(self._ends)

    def take(self, records: Records) -> Batch:
        """Go on with whole frames (one at least); returns what is closed by then, merged."""
        x_nm, y_nm, frame = (np.ascontiguousarray(records[name], dtype=kind) for name, kind in _LINKED)
        channel = self._channel_of[records["channel"]] if "channel" in _names(records) else np.zeros(len(records), dtype=np.uint8)
        ends, trace, opener = link_frames(self._ends, x_nm, y_nm, frame, channel, radius_nm=self._radius_nm, dark_frames=self._dark_frames)
        first = records[opener] if self._first is None else np.concatenate([self._first, records[opener]])
        sums = _added(self._sums, _addends(records, first, trace), trace, len(first))
        goes_on = ends.frame >= frame[-1] - self._dark_frames
        closed = _merged(first, sums, np.flatnonzero(~goes_on), ends.frame)
        self._ends, self._first = ends.take(goes_on), first[goes_on]
        self._sums = {name: values[goes_on] for name, values in sums.items()}
        return closed

    def close(self) -> Batch:
        """After the last frame: what was still open, merged."""
        assert self._first is not None
        return _merged(self._first, self._sums, np.arange(len(self)), self._ends.frame)


def _names(records: Records) -> tuple[str, ...]:
    return records.dtype.names or ()


# ---- sums over the locs of a trace


def _addends(records: Records, first: Records, trace: NDArray[np.int64]) -> Batch:
    """What each loc adds to the sums of its trace. Positions count from the trace's first loc: a trace of one loc keeps its own."""
    names = _names(records)
    dx, dy = (records[name] - first[name][trace] for name in ("x_nm", "y_nm"))
    added: Batch = {"n": np.ones(len(records), dtype=np.int64), "dx": dx, "dy": dy}
    if "precision_nm" in names:
        weight = _weight(records["precision_nm"])
        added |= {"w": weight, "w_dx": weight * dx, "w_dy": weight * dy}
    added |= {name: records[name].astype(np.float64) for name in _SUMMED if name in names}
    for name in ("psf_nm", "z_nm"):
        if name in names:
            known = np.isfinite(records[name])
            added |= {f"n_{name}": known.astype(np.float64), name: np.where(known, records[name], 0.0).astype(np.float64)}
    if "precision_z_nm" in names:
        weight = _weight(records["precision_z_nm"]) * added.get("n_z_nm", 1.0)
        added["w_z"] = weight
        if "z_nm" in names:
            added["w_z_nm"] = weight * added["z_nm"]
    return added


def _weight(precision_nm: NDArray[np.float32]) -> Floats:
    """1 / precision², 0 where there is none."""
    with np.errstate(invalid="ignore"):
        weight = 1.0 / precision_nm.astype(np.float64) ** 2
    return np.where(np.isnan(weight), 0.0, weight)


def _added(sums: Batch, added: Batch, trace: NDArray[np.int64], n_traces: int) -> Batch:
    """The sums of all traces, `sums` being those of the first ones so far."""
    total = {}
    for name, values in added.items():
        total[name] = np.zeros(n_traces, dtype=values.dtype)
        if name in sums:
            total[name][: len(sums[name])] = sums[name]
        np.add.at(total[name], trace, values)  # one after the other, unlike a reduction by pairs
    return total


def _merged(first: Records, sums: Batch, which: NDArray[np.intp], last_frame: NDArray[np.int64]) -> Batch:
    """The merged locs of traces `which`, in order of their last frame."""
    which = which[np.argsort(last_frame[which], kind="stable")]
    chosen, total = first[which], {name: values[which] for name, values in sums.items()}
    merged: Batch = {name: chosen[name].copy() for name in _names(chosen)}
    n = total["n"]
    for name, shift in (("x_nm", "dx"), ("y_nm", "dy")):
        merged[name] += _mean(total[shift], n, total.get(f"w_{shift}"), total.get("w"))
    several = n > 1
    for name, values in _of_several(total).items():
        if name in merged:
            merged[name][several] = values[several]
    return merged | {"n_merged": n.astype(np.int32)}


def _of_several(total: Batch) -> Batch:
    """Quantities of traces of more than one loc, in f8; NaN where there is none."""
    values: Batch = {name: total[name] for name in _SUMMED if name in total}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name, weight in (("precision_nm", "w"), ("precision_z_nm", "w_z")):
            if weight in total:
                values[name] = np.where(total[weight] > 0, 1 / np.sqrt(total[weight]), np.nan)
        if "psf_nm" in total:
            values["psf_nm"] = total["psf_nm"] / total["n_psf_nm"]
        if "z_nm" in total:
            values["z_nm"] = _mean(total["z_nm"], total["n_z_nm"], total.get("w_z_nm"), total.get("w_z"))
    return values


def _mean(plain: Floats, n: NDArray[Any], weighted: Floats | None, weight: Floats | None) -> Floats:
    """Weighted mean where there is a weight, else the plain one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = plain / n
        return mean if weighted is None or weight is None else np.where(weight > 0, weighted / weight, mean)
