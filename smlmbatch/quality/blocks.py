"""A field cut into squares of about 4 um, of whole tiles, so that each is read in few ranges."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from smlmbatch.store.field_locs import FieldLocs

_SIDE_NM: Final = 4000.0


@dataclass(frozen=True, slots=True)
class Block:
    """A square of the field with locs in it; `sampled` = chosen where a sample suffices."""

    x0_nm: float
    y0_nm: float
    side_nm: float
    sampled: bool


def block_side_nm(tile_nm: float) -> float:
    """Side of the blocks on tiles of this size."""
    return max(1, round(_SIDE_NM / tile_nm)) * tile_nm


def part_nm(side_nm: float) -> float:
    """Side of the equal squares of at most 4 um that a block is cut into: one runaway loc makes tiles, and so blocks, huge."""
    return side_nm / math.ceil(side_nm / _SIDE_NM)


def blocks(locs: FieldLocs, *, max_locs: int) -> Iterator[Block]:
    """Squares that hold locs, row by row.

    Parameters
    ----------
    max_locs : of a field with more, every k-th block is in the sample, about so many locs together
    """
    side_nm = block_side_nm(locs.tile_nm)
    per_block = round(side_nm / locs.tile_nm)
    counts = locs.tile_counts()
    for axis in (0, 1):
        counts = np.add.reduceat(counts, np.arange(0, counts.shape[axis], per_block), axis=axis)
    step = max(1, -(-locs.n // max_locs))
    filled = np.argwhere(counts)
    step = min(step, max(1, len(filled)))
    for number, (row, column) in enumerate(filled.tolist()):
        yield Block(column * side_nm, row * side_nm, side_nm, number % step == step // 2)
