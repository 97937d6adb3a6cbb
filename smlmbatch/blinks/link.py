"""Which locs are the same blink: locs of one channel in following frames, near each other in the plane.

Frames are walked in order. In each, every loc near the last loc of an open trace makes a pair; pairs are taken from the
nearest on, one loc a trace (equal distances: the older trace first). What finds no trace opens one. A trace stays open for so many dark
frames. Distances are lateral, z plays no part. The rules are those of Picasso's `link` (postprocess.py: lateral distance to the last
loc, up to and including the radius, at most so many dark frames between), which takes the first loc it meets where this takes the
nearest pairs. Locs of one frame are looked at by place, so the file's order decides nothing but between locs of exactly one place.

Open traces lie in a hash of squares as wide as the radius: a loc looks into nine of them, however many traces are open.
"""

import heapq
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Squares are a little wider than the radius, so that rounding of x / width never puts neighbours two squares apart.
_SLACK = 1e-6
# Odd 64-bit constants of Steele, Lea, Flood 2014, Fast splittable pseudorandom number generators (SplitMix64).
_MIX_X, _MIX_Y = np.int64(-7046029254386353131), np.int64(-4658895280553007687)


@dataclass(frozen=True, slots=True)
class OpenTraces:
    """Traces that may go on, in the order in which they were opened: the last loc of each.

    Attributes
    ----------
    x_nm, y_nm : (k,) f8, nm
    frame : (k,) i8
    channel : (k,) u1
    """

    x_nm: Floats
    y_nm: Floats
    frame: Ints
    channel: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, kept: NDArray[np.bool_]) -> "OpenTraces":
        return OpenTraces(self.x_nm[kept], self.y_nm[kept], self.frame[kept], self.channel[kept])


def no_traces() -> OpenTraces:
    """Before the first frame."""
    return OpenTraces(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint8))


def link_frames(
    open_traces: OpenTraces,
    x_nm: Floats,
    y_nm: Floats,
    frame: Ints,
    channel: NDArray[np.uint8],
    *,
    radius_nm: Floats,
    dark_frames: int,
) -> tuple[OpenTraces, Ints, Ints]:
    """Go on with whole frames.

    Parameters
    ----------
    x_nm, y_nm : (n,) f8, nm, finite
    frame : (n,) i8, ascending, after those of `open_traces`
    channel : (n,) u1
    radius_nm : (256,) f8, nm, of each channel, inclusive; 0 = not linked
    dark_frames : frames without a loc that a trace may have between two of its locs

    Returns
    -------
    traces : the open ones first, then the new ones, all of them whether they may go on or not
    trace : (n,) i8, index of each loc's trace
    opener : (new traces,) i8, the loc that opened each
    """
    k, n = len(open_traces), len(frame)
    locs = _Locs(x_nm, y_nm, frame, channel, np.where(radius_nm > 0, radius_nm**2, -1.0)[channel])
    table = _table_of(open_traces, n, width_nm=float(radius_nm.max()) * (1 + _SLACK) or 1.0)
    trace, opener = _walk(locs, table, k, dark_frames)
    stop = k + len(opener)
    return OpenTraces(table.x[:stop], table.y[:stop], table.frame[:stop], table.channel[:stop]), trace, opener


class _Locs(NamedTuple):
    """The locs of whole frames, `reach2` the squared radius of each, negative where it is not linked."""

    x: Floats
    y: Floats
    frame: Ints
    channel: NDArray[np.uint8]
    reach2: Floats


class _Table(NamedTuple):
    """Last locs of traces, and where they lie: `head` is the first trace of each bucket, `follows` the next one of the same."""

    x: Floats
    y: Floats
    frame: Ints
    channel: NDArray[np.uint8]
    head: Ints
    follows: Ints
    width: float


def _table_of(open_traces: OpenTraces, n_locs: int, *, width_nm: float) -> _Table:
    """Room for the open traces and one more for each loc."""
    k = len(open_traces)
    x, y = np.concatenate([open_traces.x_nm, np.empty(n_locs)]), np.concatenate([open_traces.y_nm, np.empty(n_locs)])
    frame = np.concatenate([open_traces.frame, np.empty(n_locs, dtype=np.int64)])
    channel = np.concatenate([open_traces.channel, np.empty(n_locs, dtype=np.uint8)])
    head = np.full(1 << (2 * (k + n_locs)).bit_length(), -1, dtype=np.int64)
    table = _Table(x, y, frame, channel, head, np.full(k + n_locs, -1, dtype=np.int64), width_nm)
    _insert_first(table, k)
    return table


@njit(cache=True)
def _bucket(column: np.int64, row: np.int64, table: _Table) -> np.int64:
    """Number of a square's bucket; other squares may share it."""
    mixed = column * _MIX_X ^ row * _MIX_Y
    return (mixed ^ (mixed >> 32)) & (len(table.head) - 1)


@njit(cache=True)
def _square(x: float, y: float, table: _Table) -> tuple[np.int64, np.int64]:
    return np.int64(np.floor(x / table.width)), np.int64(np.floor(y / table.width))


@njit(cache=True)
def _insert(t: int, table: _Table) -> None:
    column, row = _square(table.x[t], table.y[t], table)
    bucket = _bucket(column, row, table)
    table.follows[t] = table.head[bucket]
    table.head[bucket] = t


@njit(cache=True)
def _insert_first(table: _Table, k: int) -> None:
    for t in range(k):
        _insert(t, table)


@njit(cache=True)
def _remove(t: int, table: _Table) -> None:
    column, row = _square(table.x[t], table.y[t], table)
    bucket = _bucket(column, row, table)
    if table.head[bucket] == t:
        table.head[bucket] = table.follows[t]
        return
    before = table.head[bucket]
    while table.follows[before] != t:
        before = table.follows[before]
    table.follows[before] = table.follows[t]


@njit(cache=True)
def _nearest(i: int, locs: _Locs, table: _Table, dark: int) -> tuple[float, int]:
    """Squared distance from loc i to the nearest open trace without a loc in this frame, and which it is; -1 = none.

    Traces that have been dark for too long are taken out on the way.
    """
    best2, best, now = locs.reach2[i], -1, locs.frame[i]
    column, row = _square(locs.x[i], locs.y[i], table)
    for side in range(9):
        bucket = _bucket(column + side % 3 - 1, row + side // 3 - 1, table)
        before, t = -1, table.head[bucket]
        while t >= 0:
            after = table.follows[t]
            if table.frame[t] < now - 1 - dark:
                if before < 0:
                    table.head[bucket] = after
                else:
                    table.follows[before] = after
                t = after
                continue
            if table.frame[t] < now and table.channel[t] == locs.channel[i]:
                dx, dy = table.x[t] - locs.x[i], table.y[t] - locs.y[i]
                distance2 = dx * dx + dy * dy
                if distance2 < best2 or (distance2 == best2 and (best < 0 or t < best)):
                    best2, best = distance2, t
            before, t = t, after
    return best2, best


@njit(cache=True)
def _by_place(x: Floats, y: Floats) -> Ints:
    """Order by x, then y, then as given."""
    order = np.argsort(y, kind="mergesort")
    return order[np.argsort(x[order], kind="mergesort")]


@njit(cache=True)
def _go_on(order: Ints, locs: _Locs, table: _Table, dark: int, trace: Ints) -> None:
    """Give locs of one frame to open traces, the nearest pair first. A loc whose trace is taken by a nearer one looks again."""
    pairs = [(0.0, 0, 0)]
    pairs.clear()
    for k in range(len(order)):
        distance2, t = _nearest(order[k], locs, table, dark)
        if t >= 0:
            heapq.heappush(pairs, (distance2, t, k))
    while len(pairs) > 0:
        distance2, t, k = heapq.heappop(pairs)
        i = order[k]
        if table.frame[t] == locs.frame[i]:
            distance2, t = _nearest(i, locs, table, dark)
            if t >= 0:
                heapq.heappush(pairs, (distance2, t, k))
            continue
        trace[i] = t
        _remove(t, table)
        table.x[t], table.y[t], table.frame[t] = locs.x[i], locs.y[i], locs.frame[i]
        _insert(t, table)


@njit(cache=True)
def _walk(locs: _Locs, table: _Table, n_open: int, dark: int) -> tuple[Ints, Ints]:
    """Trace of each loc, and the loc that opened each new one; the table is filled and kept up to date."""
    n = len(locs.x)
    trace, opener = np.full(n, -1, np.int64), np.empty(n, np.int64)
    n_new, start = 0, 0
    while start < n:
        stop = start + 1
        while stop < n and locs.frame[stop] == locs.frame[start]:
            stop += 1
        order = start + _by_place(locs.x[start:stop], locs.y[start:stop])
        _go_on(order, locs, table, dark, trace)
        for i in order:
            if trace[i] < 0:
                t = n_open + n_new
                table.x[t], table.y[t], table.frame[t], table.channel[t] = locs.x[i], locs.y[i], locs.frame[i], locs.channel[i]
                _insert(t, table)
                trace[i], opener[n_new] = t, i
                n_new += 1
        start = stop
    return trace, opener[:n_new]
