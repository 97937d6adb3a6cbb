"""Histograms of a field's columns per channel, counted while locs stream by: memory is that of the counts.

Bins are fixed in advance, so a histogram is the same whatever pieces the locs come in. Values beyond the ends count in the end bins;
NaN counts nowhere.
"""

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(slots=True)
class Histogram:
    """Equal bins of a quantity, or of its decimal logarithm, per channel.

    Attributes
    ----------
    low, step, n_bins : where the first bin starts and how wide each is, in the quantity's unit or in decades
    n_channels : columns of `counts`
    decades : bins of the logarithm
    counts : (n_bins, n_channels) i8
    """

    low: float
    step: float
    n_bins: int
    n_channels: int
    decades: bool = False
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.n_bins, self.n_channels), dtype=np.int64)

    def add(self, values: NDArray[np.generic], channel: NDArray[np.intp]) -> None:
        """Count values (n,); `channel` (n,) is each one's column."""
        _count(positions(values, self), channel, self.counts)

    @property
    def bounds(self) -> Floats:
        """(n_bins + 1,) in the quantity's own unit."""
        edges = self.low + self.step * np.arange(self.n_bins + 1)
        return np.asarray(10.0**edges if self.decades else edges)

    def medians(self) -> Floats:
        """Median of each channel, (n_channels,), interpolated within its bin; NaN without a value."""
        return quantiles(self.counts.T, self, 0.5)


def positions(values: NDArray[np.generic], bins: Histogram) -> Floats:
    """Where values lie, in bins from the first one's lower end; NaN stays."""
    wide = np.asarray(values, dtype=np.float64)
    if bins.decades:
        with np.errstate(divide="ignore", invalid="ignore"):
            wide = np.where(wide > 0, np.log10(wide), np.where(np.isnan(wide), np.nan, -np.inf))
    return np.asarray((wide - bins.low) / bins.step)


def quantiles(counts: Counts, bins: Histogram, share: float) -> Floats:
    """Quantile of each row of `counts` (..., n_bins); (...,) in the quantity's own unit, NaN in rows without a count."""
    below = counts.cumsum(axis=-1)
    total = below[..., -1:]
    wanted = share * total
    found = (below < wanted).sum(axis=-1, keepdims=True).clip(max=counts.shape[-1] - 1)
    inside = np.take_along_axis(counts, found, axis=-1)
    start = np.take_along_axis(below, found, axis=-1) - inside
    with np.errstate(invalid="ignore"):
        edge = bins.low + bins.step * (found + (wanted - start) / inside)
    values = np.where(total > 0, edge, np.nan)[..., 0]
    return np.asarray(10.0**values if bins.decades else values)


@njit(cache=True)
def _count(position: Floats, row: NDArray[np.intp], counts: Counts) -> None:
    """counts[bin, row] += 1 for every position that is a number."""
    last = counts.shape[0] - 1
    for i in range(len(position)):
        p = position[i]
        if p == p:
            counts[int(min(max(p, 0.0), last)), row[i]] += 1
