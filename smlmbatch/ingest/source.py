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
    """What is known of malformed records: a sentence about the first one, for the user."""

    first: str = ""

    def note(self, record: int, sentence: str) -> None:
        if not self.first:
            self.first = f"record {record} (counted from 0): {sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file ready to be streamed. `blocks` starts from the file's beginning at every call.

    `cut_off`: a text file that ends within a line, as a torn copy does; its last number may be short of digits.
    """

    path: Path
    format: str
    resolved: Resolved
    blocks: Callable[[], Iterator[RawBlock]]
    malformed: Malformed = field(default_factory=Malformed)
    cut_off: bool = False
