"""The localisations of one field with what was found of each: its cluster, how likely it lies in one, its particle.

Clusters are numbered from 1, and -1 is none: so a table of marked clusters (`train miro --templates`) and `score` read the column as it is.
It is one more than `cluster` in tables/clusters.parquet. Particles have the numbers of tables/particles.parquet; -1 is none.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.export.stored_field import PIECE_ROWS, Piece, StoredField
from smlmbatch.store.arrays import UnitReader

LABEL_DTYPES: Final[Mapping[str, str]] = MappingProxyType({"cluster": "i4", "belonging": "f4", "particle": "i4"})
_NONE: Final = -1


class LabelledField(StoredField):
    """Locs of a published ingest unit with the labels that later stages gave them.

    Parameters
    ----------
    unit : the field's published unit of stage ingest
    units : stage → published unit of the field; of `cluster` and `pick` what is there is used
    """

    def __init__(self, unit: UnitReader, units: Mapping[str, Path]) -> None:
        super().__init__(unit)
        self._labels = {**_clusters(units), **_particles(units, self.n)}
        self.names = (*self.names, *self._labels)

    def dtype(self, name: str) -> np.dtype[Any]:
        return np.dtype(LABEL_DTYPES[name]) if name in self._labels else super().dtype(name)

    def pieces(self) -> Iterator[Piece]:
        """All locs in the store's order, each piece with its labels."""
        for start, piece in zip(range(0, self.n, PIECE_ROWS), super().pieces(), strict=True):
            yield piece | {name: values[start : start + PIECE_ROWS] for name, values in self._labels.items()}


def _clusters(units: Mapping[str, Path]) -> dict[str, NDArray[Any]]:
    """`cluster`, and `belonging` where a network told it; 4 bytes a loc each."""
    if "cluster" not in units:
        return {}
    with UnitReader(units["cluster"]) as unit:
        if not unit.has("label"):
            return {}
        label = unit.read("label")
        found: dict[str, NDArray[Any]] = {"cluster": np.where(label < 0, _NONE, label + 1).astype(np.int32)}
        return found | ({"belonging": unit.read("belonging")} if unit.has("belonging") else {})


def _particles(units: Mapping[str, Path], n: int) -> dict[str, NDArray[Any]]:
    """`particle`: of a loc that lies in several, with their margins, the lowest number."""
    if "pick" not in units:
        return {}
    with UnitReader(units["pick"]) as unit:
        start, loc = unit.read("start"), unit.read("loc")
    particle = np.full(n, _NONE, dtype=np.int32)
    number = np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))
    particle[loc[::-1]] = number[::-1]  # the last assignment stands, and that is the lowest
    return {"particle": particle}
