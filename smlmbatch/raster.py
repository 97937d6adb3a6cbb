"""Locs to pictures: counts per pixel."""

import numpy as np
from numpy.typing import NDArray


def render_counts(
    x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], *, origin_nm: tuple[float, float], pixel_nm: float, shape: tuple[int, int]
) -> NDArray[np.uint32]:
    """Locs per pixel, rows along y; (rows, columns) u4.

    Bins are half-open; a loc exactly on the upper edge of the raster falls into the last bin, one beyond it is left out.

    >>> render_counts(np.array([0.0, 9.9, 20.0]), np.array([0.0, 10.0, 20.0]), origin_nm=(0, 0), pixel_nm=10, shape=(2, 2))
    array([[1, 0],
           [1, 1]], dtype=uint32)
    """
    rows, columns = shape
    column, row = (_bins(v, o, pixel_nm, n) for v, o, n in ((x_nm, origin_nm[0], columns), (y_nm, origin_nm[1], rows)))
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    if not inside.all():
        column, row = column[inside], row[inside]
    return np.bincount(row * columns + column, minlength=rows * columns).reshape(shape).astype(np.uint32)


def _bins(values: NDArray[np.floating], origin_nm: float, pixel_nm: float, n: int) -> NDArray[np.intp]:
    position = (values.astype(np.float64) - origin_nm) / pixel_nm
    bins = np.floor(position).astype(np.intp)
    # A side that is no exact multiple of the rounded pixel ends one step of float64 beyond n.
    bins[(bins == n) & (position <= np.nextafter(float(n), np.inf))] = n - 1
    return bins
