"""The localisations of some particles of one field, as exporters want them: each with its particle's number as its group.

A loc that lies in the margins of two particles is there twice. The file's own groups are left out: the index of the exported
particles holds them where particles come of them. Of the store's pieces only those are read that hold a wanted loc, and of the
points only which loc and which particle they are stays in memory: 12 bytes a point, in the source's order 28.
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smlmbatch.export.stored_field import PIECE_ROWS, Piece, StoredField
from smlmbatch.locs import LOC_COLUMNS
from smlmbatch.store.arrays import UnitReader

_GROUP = "group"


class ParticleField(StoredField):
    """Locs of some particles, in the order of the field's locs.

    Parameters
    ----------
    unit : the field's published unit of stage ingest
    pick : of stage pick
    number : (k,) rows of the wanted particles in `pick`
    """

    is_part = True

    def __init__(self, unit: UnitReader, pick: UnitReader, number: NDArray[np.integer]) -> None:
        super().__init__(unit)
        self.names = tuple(name for name in LOC_COLUMNS if name in (*self.names, _GROUP))
        loc, particle = _points(pick, number)
        order = np.argsort(loc, kind="stable")  # so a loc of several particles has the lowest number first
        self._loc, self._particle = loc[order], particle[order]
        self.n = len(loc)

    def pieces(self) -> Iterator[Piece]:
        """The locs in the store's order; a loc of several particles once for each."""
        for low, high in self._ranges():
            first = int(self._loc[low])
            piece = self._piece(first, int(self._loc[high - 1]) + 1)
            at = self._loc[low:high] - first
            piece = {name: values[at] for name, values in piece.items()} | {_GROUP: self._particle[low:high]}
            yield {name: piece[name] for name in self.names}

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """Ranges of these locs whose locs in the store are at most a piece."""
        low = 0
        while low < self.n:
            high = int(np.searchsorted(self._loc, self._loc[low] // PIECE_ROWS * PIECE_ROWS + PIECE_ROWS))
            yield low, high
            low = high

    def _n_places(self) -> int:
        return self.n

    def _placed(self) -> Iterator[tuple[NDArray[np.int64], Piece]]:
        for (low, high), piece in zip(self._ranges(), self.pieces(), strict=True):
            yield self._place[low:high], piece

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        """Of each loc, in the order of the source's records."""
        row = np.empty(self.n, np.int64)
        for low, high in self._ranges():
            first = int(self._loc[low])
            row[low:high] = self._unit.read("row", first, int(self._loc[high - 1]) + 1)[self._loc[low:high] - first]
        place = np.empty(self.n, np.int64)
        place[np.argsort(row, kind="stable")] = np.arange(self.n)
        return place


def _points(pick: UnitReader, number: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Which loc each point of the wanted particles is, and of which particle, in the order of particles."""
    start = pick.read("start")
    particle = np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))
    wanted = np.isin(particle, number)
    n_points = len(particle)
    pieces = [pick.read("loc", first, first + PIECE_ROWS)[wanted[first : first + PIECE_ROWS]] for first in range(0, n_points, PIECE_ROWS)]
    return np.concatenate([np.empty(0, np.int64), *pieces]), particle[wanted]
