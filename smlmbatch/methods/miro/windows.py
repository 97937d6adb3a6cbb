"""Densities around each loc of a field: quantiles over the 3 x 3 squares of 1 um about the loc's own.

A network that learned from fields of 1 to 4 um takes a mixture of regions for something that it never saw: on mosaics of sixteen fields
its JI_c fell from 0.73 to 0.27. So the densities that it is told are those of a window as large as such a field; a field of at most
4 um both ways is a window of its own. Squares lie at whole um of the field's coordinates, the same however the field is cut.

Of each square 128 locs speak, chosen by a hash of their rows: distances to neighbours are dear, and quantiles of 9 x 128 numbers are good
to 1 or 2 per cent of rank. (As good as all of them on three mosaics; with 32, JI_c of one fell from 0.64 to 0.59.) A window of fewer than
100 locs takes one ring of squares more, at most up to 9 x 9.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from smlmbatch.methods.miro.context import DENSITY_NEIGHBOURS, DENSITY_QUANTILES, N_DENSITY, density_context
from smlmbatch.methods.miro.graph import HALO_NM, Graph, log_length, neighbour_distances, row_jitter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Load = Callable[[Floats], tuple[Floats, NDArray[np.integer]]]

SMALL_NM: Final = 4000.0  # extent up to which a field is one window: the widest of the recipe
SQUARE_NM: Final = 1000.0
LEAST_LOCS: Final = 100  # of a window
MOST_RINGS: Final = 4
SPEAKING: Final = 128  # locs of a square
_ROW: Final = 1 << 32  # of squares, in their numbers


def is_small(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating]) -> bool:
    """Whether a field is one window: (n,) nm each, any n."""
    return len(x_nm) == 0 or max(float(axis.max()) - float(axis.min()) for axis in (x_nm, y_nm)) <= SMALL_NM


class Windows:
    """The densities of one channel, window by window, as they are asked for.

    Parameters
    ----------
    x_nm, y_nm : (n,), nm, of all locs of the channel
    load : gives all of these within a rectangle (x0, y0, x1, y1): (m, 2) nm, rows (m,)
    """

    def __init__(self, x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], load: Load) -> None:
        self._load = load
        self._filled, self._counts = np.unique(_numbers(x_nm, y_nm), return_counts=True)
        self._known = np.zeros(len(self._filled), dtype=bool)
        self._densities = np.empty((len(self._filled), N_DENSITY), dtype=np.float32)

    def around(self, xy_nm: Floats) -> NDArray[np.float32]:
        """What `context.density_context` is to a small field, for each of the channel's locs at (m, 2) nm: (m, N_DENSITY) f4."""
        square_of = np.searchsorted(self._filled, _numbers(xy_nm[:, 0], xy_nm[:, 1]))
        wanted = np.unique(square_of[~self._known[square_of]])
        if len(wanted):
            self._densities[wanted] = self._look(wanted)
            self._known[wanted] = True
        return self._densities[square_of]

    def _look(self, wanted: Ints) -> NDArray[np.float32]:
        """Densities of squares, numbers among the filled ones: (s, N_DENSITY)."""
        squares = self._filled[wanted]
        rings = _rings(squares, self._filled, self._counts)
        row, column = _row_column(squares)
        low = np.array([(column - rings).min(), (row - rings).min()])
        high = np.array([(column + rings).max(), (row + rings).max()]) + 1
        xy_nm, number = self._load(np.concatenate([low * SQUARE_NM - HALO_NM, high * SQUARE_NM + HALO_NM]))
        of = _numbers(xy_nm[:, 0], xy_nm[:, 1])
        speaking = _chosen(of, number, _heard(squares, rings, self._filled))
        near_nm = neighbour_distances(xy_nm, of=speaking, neighbours=DENSITY_NEIGHBOURS)
        values = log_length(near_nm).astype(np.float32)  # as `graph.local_features` rounds them
        return _quantiles(squares, rings, of[speaking], values)


def densities_of(xy_nm: Floats, row: NDArray[np.integer], graph: Graph) -> NDArray[np.float32]:
    """Densities of a field in memory: (N_DENSITY,) f4 where it is small, else around each of its n locs (n, N_DENSITY)."""
    if is_small(xy_nm[:, 0], xy_nm[:, 1]):
        return density_context(graph.local)

    def load(box: Floats) -> tuple[Floats, NDArray[np.integer]]:
        inside = ((xy_nm >= box[:2]) & (xy_nm < box[2:])).all(axis=1)
        return xy_nm[inside], row[inside]

    return Windows(xy_nm[:, 0], xy_nm[:, 1], load).around(xy_nm)


def _numbers(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating]) -> Ints:
    """The square of each loc, one number by row and column."""
    column, row = (np.floor(axis.astype(np.float64) / SQUARE_NM).astype(np.int64) for axis in (x_nm, y_nm))
    return np.asarray(row * _ROW + column)


def _row_column(squares: Ints) -> tuple[Ints, Ints]:
    row = (squares + _ROW // 2) // _ROW
    return row, squares - row * _ROW


def _chosen(of: Ints, row: NDArray[np.integer], heard: Ints) -> NDArray[np.intp]:
    """The locs that speak for the squares `heard`: the first of each square by a hash of their rows; by square."""
    mine = np.flatnonzero(np.isin(of, heard))
    mine = mine[np.lexsort((row_jitter(row[mine])[:, 0], of[mine]))]
    first = np.searchsorted(of[mine], of[mine])
    return mine[np.arange(len(mine)) - first < SPEAKING]


@njit(cache=True)
def _rings(squares: Ints, filled: Ints, counts: Ints) -> Ints:
    """How many rings around each square its window needs."""
    rings = np.empty(len(squares), np.int64)
    for i in range(len(squares)):
        n_locs, ring = 0, 1
        while True:
            n_locs = 0
            for row in range(-ring, ring + 1):
                first = np.searchsorted(filled, squares[i] + row * _ROW - ring)
                while first < len(filled) and filled[first] <= squares[i] + row * _ROW + ring:
                    n_locs += counts[first]
                    first += 1
            if n_locs >= LEAST_LOCS or ring == MOST_RINGS:
                break
            ring += 1
        rings[i] = ring
    return rings


@njit(cache=True)
def _heard(squares: Ints, rings: Ints, filled: Ints) -> Ints:
    """Filled squares that lie in any of the windows."""
    inside = np.zeros(len(filled), np.bool_)
    for i in range(len(squares)):
        for row in range(-rings[i], rings[i] + 1):
            first = np.searchsorted(filled, squares[i] + row * _ROW - rings[i])
            while first < len(filled) and filled[first] <= squares[i] + row * _ROW + rings[i]:
                inside[first] = True
                first += 1
    return filled[inside]


@njit(cache=True)
def _quantiles(squares: Ints, rings: Ints, of: Ints, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quantiles over each window of the values (m, neighbours) of locs that are sorted by square `of`."""
    n_quantiles = len(DENSITY_QUANTILES)
    found = np.empty((len(squares), values.shape[1] * n_quantiles), np.float32)
    pool = np.empty(values.shape, np.float64)
    for i in range(len(squares)):
        n = 0
        for row in range(-rings[i], rings[i] + 1):
            first = np.searchsorted(of, squares[i] + row * _ROW - rings[i])
            while first < len(of) and of[first] <= squares[i] + row * _ROW + rings[i]:
                pool[n] = values[first]
                n += 1
                first += 1
        for k in range(values.shape[1]):
            column = np.sort(pool[:n, k])
            for q in range(n_quantiles):
                place = DENSITY_QUANTILES[q] * (n - 1)
                below = int(place)
                above = min(below + 1, n - 1)
                found[i, k * n_quantiles + q] = column[below] + (place - below) * (column[above] - column[below])
    return found
