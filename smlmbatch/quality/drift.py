"""Drift that is left: by how much the second half of a recording is displaced against the first.

Both halves are counted into rasters of 40 nm, block by block of the field, and the blocks' cross-correlations are added: its maximum
lies at the offset. Pairs over the edges of blocks are missed, the more the farther apart, which is made up for before smoothing: after
it, offsets would come out longer. Blocks keep memory and time small, and only offsets up to `LARGEST_NM` are looked for.

Each half is split in two by every other bin of frames; the four correlations of parts of one half with parts of the other are
estimates of the same offset that share little of their noise. Where they don't agree there is no structure to go by, and no number
is given.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft

LARGEST_NM: Final = 800.0
_PIXEL_NM = 40.0  # the maximum is found to a fraction of it
_SMOOTH_NM = 50.0  # of the correlation: about its width from precisions of 10 to 30 nm, which costs least certainty
_MARGIN_NM = 200.0  # lags beyond the largest offset that smoothing takes in
_LEAST_AGREEMENT_NM = 60.0  # four maxima of noise scatter by some 400 nm
_LEAST_LOCS = 500


@dataclass(frozen=True, slots=True)
class Offset:
    """Second half minus first: (x, y) and its standard error, nm; NaN with the reason where it can't be told."""

    x_nm: float
    y_nm: float
    error_nm: float
    reason: str

    @property
    def length_nm(self) -> float:
        return float(np.hypot(self.x_nm, self.y_nm))


class DriftSum:
    """Adds up the correlations of one channel's blocks.

    Parameters
    ----------
    side_nm : the blocks' side, more than 1 um
    """

    def __init__(self, side_nm: float) -> None:
        self._n = int(np.ceil(side_nm / _PIXEL_NM))
        self._reach = int(LARGEST_NM / _PIXEL_NM)
        self._margin = int(_MARGIN_NM / _PIXEL_NM)
        self._padded = fft.next_fast_len(self._n + self._reach + self._margin, real=True)
        self._products = np.zeros((2, 2, self._padded, self._padded // 2 + 1), dtype=np.complex128)
        self._counts = np.zeros((2, 2), dtype=np.int64)

    def add(self, x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], half: NDArray[np.bool_], odd: NDArray[np.bool_]) -> None:
        """Locs of one block (n,), positions relative to its corner; `half` is the second half, `odd` every other bin of frames."""
        part = 2 * half.astype(np.intp) + odd
        present = np.bincount(part, minlength=4).reshape(2, 2)
        self._counts += present
        if not present.any(axis=1).all():
            return
        raster = np.zeros((4, self._padded, self._padded), dtype=np.float32)
        _count(x_nm, y_nm, part, _PIXEL_NM, self._n, raster)
        waves = fft.rfft2(raster, workers=1)
        for first in (0, 1):
            for second in (0, 1):
                self._products[first, second] += np.conj(waves[first]) * waves[2 + second]

    def offset(self) -> Offset:
        """The offset of all blocks together."""
        if self._counts.min() < _LEAST_LOCS / 4:
            return _unknown(f"a half of the recording has fewer than {_LEAST_LOCS // 2} locs")
        x, y = self._maximum(self._products.sum(axis=(0, 1)))
        (a, b), (c, d) = [[self._maximum(product) for product in row] for row in self._products]
        # two independent pairs of estimates; the mean of two has half their difference as its error
        pairs = np.array([np.subtract(a, d), np.subtract(b, c)]) / 2
        error_nm = float(np.sqrt((pairs**2).sum(axis=1).mean()))
        if error_nm > _LEAST_AGREEMENT_NM:
            return _unknown("parts of the recording don't agree on an offset: too few structures that both halves show")
        if max(abs(x), abs(y)) > LARGEST_NM - _PIXEL_NM:
            return _unknown(f"no offset up to {LARGEST_NM:g} nm fits")
        return Offset(x, y, error_nm, "")

    def _maximum(self, product: NDArray[np.complex128]) -> tuple[float, float]:
        """(x, y) of the smoothed correlation's maximum, nm."""
        frequency_y, frequency_x = fft.fftfreq(self._padded, _PIXEL_NM), fft.rfftfreq(self._padded, _PIXEL_NM)
        smoothing = np.exp(-2 * (np.pi * _SMOOTH_NM) ** 2 * (frequency_y[:, None] ** 2 + frequency_x**2))
        waves = smoothing * fft.rfft2(self._per_overlap(fft.irfft2(product, s=(self._padded, self._padded), workers=1)), workers=1)
        lags = np.arange(-self._reach, self._reach + 1)
        near = fft.irfft2(waves, s=(self._padded, self._padded), workers=1)[np.ix_(lags, lags)]
        row, column = np.unravel_index(int(near.argmax()), near.shape)
        y_nm, x_nm = (float(lags[at]) * _PIXEL_NM for at in (row, column))
        for step_nm in (_PIXEL_NM / 2, _PIXEL_NM / 8):  # the correlation between its pixels is the sum of its waves
            steps = step_nm * np.array([-1.0, 0.0, 1.0])
            waves_y = np.exp(2j * np.pi * np.outer(y_nm + steps, frequency_y))
            waves_x = np.exp(2j * np.pi * np.outer(frequency_x, x_nm + steps)) * np.where(frequency_x == 0, 1, 2)[:, None]
            around = (waves_y @ waves @ waves_x).real
            y_nm, x_nm = y_nm + step_nm * _vertex(around[:, 1]), x_nm + step_nm * _vertex(around[1])
        return x_nm, y_nm

    def _per_overlap(self, correlation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each lag over the share of its pairs that lie in one block; 0 at lags that are not looked at."""
        lags = np.arange(-self._reach - self._margin, self._reach + self._margin + 1)
        share, wanted = 1 - np.abs(lags) / self._n, np.ix_(lags, lags)
        even = np.zeros_like(correlation)
        even[wanted] = correlation[wanted] / np.outer(share, share)
        return even


def _vertex(line: NDArray[np.float64]) -> float:
    """Where the parabola through three values at -1, 0, 1 has its maximum, looked for between -2 and 2."""
    before, at, after = line.tolist()
    bend = before - 2 * at + after
    return min(max(0.5 * (before - after) / bend, -2.0), 2.0) if bend < 0 else 0.0


def _unknown(reason: str) -> Offset:
    return Offset(np.nan, np.nan, np.nan, reason)


@njit(cache=True)
def _count(
    x: NDArray[np.floating], y: NDArray[np.floating], part: NDArray[np.intp], pixel: float, n: int, raster: NDArray[np.float32]
) -> None:
    for i in range(len(x)):
        raster[part[i], min(int(y[i] / pixel), n - 1), min(int(x[i] / pixel), n - 1)] += 1
