"""What `validate` looks at beside ingest's own tally: a sample of the locs, and how many of them are copies.

Both are bounded in memory and draw nothing at random. The sample is every k-th loc, k the smallest power of two that
keeps it within 2**17: all locs of most fields. Copies are found by hash: exact up to 2**20 locs; above, only those whose
hash falls into a share of all hashes are counted, so that of one position all copies are counted or none.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.ingest.clean import Batch

SAMPLE_ROWS: Final = 1 << 17
EXACT_ROWS: Final = 1 << 20
SAMPLED: Final = ("x_nm", "y_nm", "z_nm", "frame", "photons", "precision_nm")
_HASH_BITS: Final = 64
_THIN_BITS: Final = 3  # an eighth is kept when there are too many
# Odd 64-bit constants of Steele, Lea, Flood 2014, Fast splittable pseudorandom number generators (SplitMix64).
_MIX: Final = tuple(np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Sample:
    """Every `stride`-th loc in file order, columns of `SAMPLED`; `stride` doubles whenever more than `limit` are held."""

    def __init__(self, *, limit: int = SAMPLE_ROWS) -> None:
        self.stride = 1
        self._limit = limit
        self._n = self._held = 0
        self._pieces: list[Batch] = []  # columns of SAMPLED that the file has

    def add(self, batch: Batch) -> None:
        piece: Batch = {name: batch[name][-self._n % self.stride :: self.stride].copy() for name in SAMPLED if name in batch}
        self._pieces.append(piece)
        self._n += len(batch["x_nm"])
        self._held += len(piece["x_nm"])
        while self._held > self._limit:
            thinner = {name: values[::2].copy() for name, values in self.columns().items()}
            self._pieces, self._held = [thinner], len(thinner["x_nm"])
            self.stride *= 2

    def columns(self) -> Batch:
        """The sample: quantity → (k,)."""
        names = self._pieces[0] if self._pieces else ()
        return {name: np.concatenate([piece[name] for piece in self._pieces]) for name in names}


class Copies:
    """Counts locs that repeat an earlier one exactly in x, y and, where there is one, frame."""

    def __init__(self, *, limit: int = EXACT_ROWS) -> None:
        self._limit = limit
        self._bits = 0
        self._hashes: list[NDArray[np.uint64]] = []
        self._known = (np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64))  # different hashes and how often each came
        self._held = 0

    def add(self, batch: Batch) -> None:
        hashes = _counted(_hash(batch), self._bits)
        self._hashes.append(hashes)
        self._held += len(hashes)
        while self._held > self._limit:
            self._thin()

    def _thin(self) -> None:
        """Count a smaller share of all hashes; where copies of few positions remain, hold each with its number."""
        self._bits += _THIN_BITS
        self._hashes = [_counted(hashes, self._bits) for hashes in self._hashes]
        unique, counts = self._known
        kept = _counted_mask(unique, self._bits)
        self._known = unique[kept], counts[kept]
        self._held = sum(map(len, self._hashes)) + len(self._known[0])
        if self._held > self._limit // 2:
            self._compact()

    def _compact(self) -> None:
        new, n_new = np.unique(np.concatenate(self._hashes or [self._known[0][:0]]), return_counts=True)
        unique, inverse = np.unique(np.concatenate([self._known[0], new]), return_inverse=True)
        counts = np.zeros(len(unique), dtype=np.int64)
        np.add.at(counts, inverse, np.concatenate([self._known[1], n_new]))
        self._hashes, self._known, self._held = [], (unique, counts), len(unique)

    @property
    def exact(self) -> bool:
        """Whether every loc was counted."""
        return self._bits == 0

    def share(self) -> float:
        """Share of locs that are copies of an earlier one, 0 to 1."""
        self._compact()
        unique, counts = self._known
        n = int(counts.sum())
        return (n - len(unique)) / n if n else 0.0


def _hash(batch: Batch) -> NDArray[np.uint64]:
    """A 64-bit hash per loc; equal positions give equal hashes, 0 and -0 included."""
    with np.errstate(over="ignore"):
        mixed = _scrambled((batch["x_nm"] + 0.0).view(np.uint64), 0)
        mixed = _scrambled(mixed + (batch["y_nm"] + 0.0).view(np.uint64), 1)
        if "frame" in batch:
            mixed += batch["frame"].astype(np.uint64)
        return _scrambled(mixed, 2)


def _scrambled(values: NDArray[np.uint64], k: int) -> NDArray[np.uint64]:
    mixed = values * _MIX[k]
    mixed ^= mixed >> np.uint64(32)
    return mixed


def _counted(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    return hashes[_counted_mask(hashes, bits)] if bits else hashes


def _counted_mask(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.bool_]:
    bound = np.uint64((1 << (_HASH_BITS - bits)) - 1)
    mask: NDArray[Any] = hashes <= bound
    return mask
