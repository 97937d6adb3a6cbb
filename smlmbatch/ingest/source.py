"""What a reader hands over: a `Source`, the plan of a file with a function that streams its raw blocks.

Readers give values as the file has them, in the file's units; `clean` turns them into locs. So every reader is
only about its container, and every rule about locs stands in one place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smlmbatch.ingest.columns import Resolved
from smlmbatch.ingest.formats import Filter


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of words: (n,) i4 indices into `names`, -1 where the cell is empty."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBlock:
    """Some records of a file, in file order.

    Attributes
    ----------
    n_records : records this block stands for, malformed ones included
    index : (n,) i8, which of these records the rows are; None where all of them are
    columns : source column → (n,) float or integer, or TextColumn
    """

    n_records: int
    columns: dict[str, NDArray[np.generic] | TextColumn]
    index: NDArray[np.int64] | None = None


@dataclass(slots=True)
class Malformed:
    """What a reader finds out on its way: a sentence about the first malformed record, and whether the file ends within
    a line, as a torn copy does (its last number may be short of digits)."""

    first: str = ""
    cut_off: bool = False

    def note(self, record: int, sentence: str) -> None:
        if not self.first:
            self.first = f"record {record} (counted from 0): {sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file ready to be streamed. `blocks` starts from the file's beginning at every call.

    Attributes
    ----------
    filters : records to drop; their columns are in the blocks like those of `resolved.uses`
    members : (name of the member or table, its first record) where one file holds several, in record order
    notes : sentences about the whole file that become warnings
    """

    path: Path
    format: str
    resolved: Resolved
    blocks: Callable[[], Iterator[RawBlock]]
    malformed: Malformed = field(default_factory=Malformed)
    filters: tuple[Filter, ...] = ()
    members: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
