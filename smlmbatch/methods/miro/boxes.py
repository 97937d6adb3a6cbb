"""How a field is cut: rectangles of about as many locs each, halved again and again where the locs lie.

A function of the locs alone. A rectangle is drawn tightly around its locs, so that none reaches into an empty part of the field for its
surroundings. Every loc lies in exactly one; one that holds more than asked for has all of them on one place.
"""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]


def cut_boxes(x_nm: NDArray[np.float32], y_nm: NDArray[np.float32], *, most_locs: int) -> Boxes:
    """Rectangles of at most so many locs, and at least half as many: (b, 4) f8, nm, x0 <= x < x1 and y0 <= y < y1 being its own.

    Parameters
    ----------
    x_nm, y_nm : (n,) f4, nm, finite

    Returns
    -------
    (b, 4) f8, columns x0, y0, x1, y1; rectangles side by side follow one another

    >>> cut_boxes(np.array([0, 1, 8, 9], np.float32), np.zeros(4, np.float32), most_locs=2)[:, 0].tolist()
    [0.0, 8.0]
    """
    boxes, waiting = [], [(x_nm, y_nm)] if len(x_nm) else []
    while waiting:
        x, y = waiting.pop()
        before = _first_half(x, y) if len(x) > most_locs else None
        if before is None:
            boxes.append(_around(x, y))
            continue
        waiting += [(x[~before], y[~before]), (x[before], y[before])]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _first_half(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Which locs lie before the middle one, along the longer side; None where all share a place."""
    axis = x if np.ptp(x) >= np.ptp(y) else y
    middle = np.partition(axis, len(axis) // 2)[len(axis) // 2]
    before: NDArray[np.bool_] = axis < middle
    if not before.any():  # half of them lie on the edge
        before = axis == middle
    return None if before.all() else before


def _around(x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[float, float, float, float]:
    return float(x.min()), float(y.min()), float(np.nextafter(float(x.max()), np.inf)), float(np.nextafter(float(y.max()), np.inf))


def spread_by_density(boxes: Boxes, n: int) -> Boxes:
    """So many of rectangles that hold about as many locs each, evenly from the densest to the sparsest: (n, 4)."""
    sides = boxes[:, 2:] - boxes[:, :2]
    by_area = np.lexsort((np.arange(len(boxes)), sides.prod(axis=1)))
    return boxes[np.sort(by_area[(np.arange(n) * 2 + 1) * len(boxes) // (2 * n)])]
