"""The outlines as a mask of bins, and how much of them runs along the field's edge."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

# An outline found by density keeps this near to the edge that cuts it (smoothing of 300 nm, bins of 100 nm).
EDGE_NM = 300.0
_STEP_NM = 50.0


def share_cut(rings: list[NDArray[np.float64]], extent_nm: tuple[float, float, float, float]) -> float:
    """Share of the rings' length nearer than 300 nm to the edge of the field (x0, y0, x1, y1); NaN without a ring.

    >>> share_cut([np.array([[0.0, 0], [3000, 0], [3000, 1000], [0, 1000]])], (0, 0, 9000, 9000))
    0.575
    """
    near = length = 0.0
    for ring in rings:
        for start, end in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            long = float(np.hypot(*(end - start)))
            n = int(np.ceil(long / _STEP_NM))
            at = start + (end - start) * ((np.arange(n) + 0.5) / max(n, 1))[:, None]
            depth = np.minimum(at - extent_nm[:2], np.asarray(extent_nm[2:]) - at).min(axis=1)
            near += long * float((depth < EDGE_NM).mean()) if n else 0.0
            length += long
    return near / length if length else np.nan


def share_inside(mask: NDArray[np.bool_], *, bin_nm: float) -> float:
    """Share of a mask's bins that are set, without a margin of 300 nm where an outline that is cut may end; NaN without such bins.

    >>> mask = np.zeros((20, 20), dtype=bool); mask[2:-2, 2:-2] = True; mask[10, 3:17] = False
    >>> share_inside(mask, bin_nm=100.0)
    0.9285714285714286
    """
    margin = int(np.ceil(EDGE_NM / bin_nm))
    inner = mask[margin:-margin, margin:-margin]
    return float(inner.mean()) if inner.size else np.nan


def mask_of(
    rings: list[NDArray[np.float64]], cell: list[int], *, origin_nm: tuple[float, float], bin_nm: float, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which bins have their centre in a cell; (rows, columns) bool, rows along y. A ring in a ring of the same cell is a hole."""
    mask = np.zeros(shape, dtype=bool)
    for number in sorted(set(cell)):
        own = [ring for ring, of in zip(rings, cell, strict=True) if of == number]
        inside = np.zeros(shape, dtype=bool)
        for ring in own:
            _toggle((np.ascontiguousarray(ring) - origin_nm) / bin_nm, inside)
        mask |= inside
    return mask


@njit(cache=True)
def _toggle(ring: NDArray[np.float64], inside: NDArray[np.bool_]) -> None:
    """Flip every bin whose centre lies within the ring (even-odd rule): each edge flips what lies to its right, row by row."""
    rows, columns = inside.shape
    for i in range(len(ring)):
        x0, y0 = ring[i]
        x1, y1 = ring[(i + 1) % len(ring)]
        if y1 < y0:
            x0, y0, x1, y1 = x1, y1, x0, y0
        for row in range(max(0, int(np.ceil(y0 - 0.5))), min(rows, int(np.ceil(y1 - 0.5)))):
            x = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            for column in range(max(0, int(np.ceil(x - 0.5))), columns):
                inside[row, column] = not inside[row, column]
