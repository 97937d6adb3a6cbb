"""The nearest loc of another frame (or of the same one), within a reach: what NeNA, blinks and crowding are read from.

Locs are sorted by frame and x, once; two frames are then walked side by side and only a window of x is looked at, so a loc costs
the few locs of one frame that lie within reach along x, whatever the recording's length.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

_FRAME_BITS = 32  # key = frame * 2^32 + the bits of a float32 x above 0, which sort as the numbers do


@dataclass(frozen=True, slots=True)
class ByFrame:
    """Locs in order of frame, then x.

    Attributes
    ----------
    x_nm, y_nm : (n,) f8, nm; one runaway loc metres away would make f4 coarse for all
    frame : (n,) i8
    order : (n,) i8, where each stood in the order given
    """

    x_nm: NDArray[np.float64]
    y_nm: NDArray[np.float64]
    frame: NDArray[np.int64]
    order: NDArray[np.int64]

    def nearest_nm(self, lag: int, *, reach_nm: float) -> NDArray[np.float32]:
        """Distance of each loc to the nearest one `lag` frames later (earlier where negative).

        Parameters
        ----------
        lag : 0 = the nearest other loc of the same frame
        reach_nm : what is farther away is not found

        Returns
        -------
        (n,) f4, nm, in order of frame and x; infinite where no loc lies within reach.

        >>> locs = sort_by_frame(np.array([50.0, 3, 0]), np.array([0.0, 4, 0]), np.array([2, 2, 1]))
        >>> locs.nearest_nm(1, reach_nm=100), locs.order
        (array([ 5., inf, inf], dtype=float32), array([2, 1, 0]))
        """
        return np.asarray(_walk(self.x_nm, self.y_nm, self.frame, int(lag), float(reach_nm)))


def sort_by_frame(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], frame: NDArray[np.integer]) -> ByFrame:
    """Sort locs; (n,) each, nm and frames, finite, in any order. Equals keep the order given."""
    if len(x_nm) == 0:
        return ByFrame(np.empty(0), np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
    x, y, wide = x_nm.astype(np.float64), y_nm.astype(np.float64), frame.astype(np.int64)
    key = (wide << _FRAME_BITS) | (x - x.min()).astype(np.float32).view(np.int32)
    order = np.argsort(key, kind="stable")  # three times as fast as a sort by frame and float64 x
    order = _ties_by_x(order, key[order], x)
    return ByFrame(x[order], y[order], wide[order], order)


def _ties_by_x(order: NDArray[np.int64], key: NDArray[np.int64], x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order locs whose x the key can't tell apart; few, unless a runaway loc makes it coarse. `key` in `order`."""
    same = key[1:] == key[:-1]
    tied = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
    order[tied] = order[tied][np.lexsort((x[order[tied]], key[tied]))]
    return order


@njit(cache=True)
def _walk(x: NDArray[np.float64], y: NDArray[np.float64], frame: NDArray[np.int64], lag: int, reach_nm: float) -> NDArray[np.float32]:
    n = len(x)
    found = np.full(n, np.inf, np.float32)
    first = stop = window = 0  # locs of the frame `lag` later, and those of them within reach along x
    for i in range(n):
        if i == 0 or frame[i] != frame[i - 1]:
            wanted = frame[i] + lag
            while first < n and frame[first] < wanted:
                first += 1
            stop = max(stop, first)
            while stop < n and frame[stop] == wanted:
                stop += 1
            window = first
        while window < stop and x[window] < x[i] - reach_nm:
            window += 1
        nearest2 = reach_nm * reach_nm
        for j in range(window, stop):
            dx, dy = x[j] - x[i], y[j] - y[i]
            if dx > 0 and dx * dx > nearest2:
                break
            distance2 = dx * dx + dy * dy
            if distance2 <= nearest2 and j != i:
                nearest2, found[i] = distance2, np.sqrt(distance2)
    return found
