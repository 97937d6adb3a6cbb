"""How often each true cluster meets each found one, kept sparse: two partitions of 10^6 locs meet in some 10^5 cells, not in 10^9.

Counting is by sorting. Noise is a class as any other here; who leaves it out selects the locs before.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Contingency:
    """The cells that are not empty, ordered by (true class, found class), and the size of each class.

    Attributes
    ----------
    true, found : (k,) i8, codes of a cell's classes, from 0 in the order of their labels
    count : (k,) i8, locs of a cell, at least 1
    true_size, found_size : (r,), (c,) i8, locs of each class
    """

    true: Ints
    found: Ints
    count: Ints
    true_size: Ints
    found_size: Ints

    @property
    def n(self) -> int:
        """Number of locs."""
        return int(self.count.sum())

    @property
    def equal(self) -> bool:
        """Whether both partitions are the same but for the names of their classes."""
        return len(self.count) == len(self.true_size) == len(self.found_size)


def contingency(truth: ArrayLike, labels: ArrayLike) -> Contingency:
    """Cells of two labelings of the same locs.

    Parameters
    ----------
    truth, labels : (n,) integers

    >>> contingency([0, 0, 7], [5, 5, 5])
    Contingency(true=array([0, 1]), found=array([0, 0]), count=array([2, 1]), true_size=array([2, 1]), found_size=array([3]))
    """
    _, true, true_size = np.unique(np.asarray(truth), return_inverse=True, return_counts=True)
    _, found, found_size = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    n_found = max(len(found_size), 1)
    cell, count = np.unique(true.astype(np.int64) * n_found + found, return_counts=True)
    return Contingency(cell // n_found, cell % n_found, count, true_size, found_size)
