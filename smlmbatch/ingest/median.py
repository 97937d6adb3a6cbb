"""Exact median of many positive float32 values in two passes and 1.5 MiB.

Positive floats sort like their bits. The first pass counts the upper 16 bits, which tells in which bins the middle
values lie; the second counts the lower 16 bits within these. The result does not depend on how values arrive.
"""

import numpy as np
from numpy.typing import NDArray

_BINS = 1 << 16


class Median:
    """Call `add` with all values, then `refine` with all values again, then `exact`.

    >>> m = Median(); values = np.array([3.0, 1.0, 2.0, np.nan], dtype=np.float32)
    >>> m.add(values); m.refine(values); m.exact()
    2.0
    """

    def __init__(self) -> None:
        self._upper = np.zeros(_BINS, dtype=np.int64)
        self._lower: dict[int, NDArray[np.int64]] | None = None

    @property
    def n(self) -> int:
        """Values counted so far."""
        return int(self._upper.sum())

    def add(self, values: NDArray[np.float32]) -> None:
        """First pass: (n,) f4 above 0 or NaN; NaN don't count."""
        self._upper += np.bincount(_upper(_bits(values)), minlength=_BINS)

    def join(self, other: "Median") -> None:
        """Count what another one counted too; both before their second pass."""
        self._upper += other._upper

    def refine(self, values: NDArray[np.float32]) -> None:
        """Second pass over the same values, in any order and pieces."""
        if self._lower is None:
            self._lower = {bin_: np.zeros(_BINS, dtype=np.int64) for bin_, _ in self._middle()}
        bits = _bits(values)
        upper = _upper(bits)
        for bin_, counts in self._lower.items():
            counts += np.bincount((bits[upper == bin_] & 0xFFFF).astype(np.intp), minlength=_BINS)

    def estimate(self) -> float | None:
        """The median to within 0.4 % (half a bin is 2**-8 of a value), after the first pass."""
        if not self.n:
            return None
        return float(np.mean([_value(bin_, _BINS // 2) for bin_, _ in self._middle()]))

    def exact(self) -> float | None:
        """The median, the mean of the two middle values where their number is even; None without values."""
        if not self.n or self._lower is None:
            return None
        values = [_value(bin_, int(np.searchsorted(self._lower[bin_].cumsum(), rank, side="right"))) for bin_, rank in self._middle()]
        return float(np.mean(values))

    def _middle(self) -> list[tuple[int, int]]:
        """The two middle values (one twice if their number is odd): bin, rank within the bin."""
        if not self.n:
            return []
        cumulated = self._upper.cumsum()
        found = []
        for rank in ((self.n - 1) // 2, self.n // 2):
            bin_ = int(np.searchsorted(cumulated, rank, side="right"))
            found.append((bin_, rank - int(cumulated[bin_ - 1]) if bin_ else rank))
        return found


def _bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    kept = values[~np.isnan(values)]
    return np.ascontiguousarray(kept, dtype=np.float32).view(np.uint32)


def _upper(bits: NDArray[np.uint32]) -> NDArray[np.intp]:
    return (bits >> np.uint32(16)).astype(np.intp)


def _value(upper: int, lower: int) -> float:
    return float(np.array((upper << 16) | lower, dtype=np.uint32).view(np.float32))
