"""NumPy's .npy files of records, also as the one member of a zip archive: header checked, then streamed.

`numpy.load` is not used: it would hold the whole file, believe its header, and for arrays of objects run a pickle.
"""

import ast
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from smlmbatch.errors import InputError
from smlmbatch.ingest.archive import unpacked
from smlmbatch.ingest.columns import Overrides, resolve_own
from smlmbatch.ingest.source import RawBlock, Source

NPY_MAGIC: Final = b"\x93NUMPY"
PIECE_BYTES: Final = 8 << 20
_HEAD_BYTES: Final = 1 << 16  # MINFLUX headers have about 1,000 bytes
_LENGTH_BYTES: Final = {b"\x01": 2, b"\x02": 4, b"\x03": 4}  # version → bytes of the header's length
# The header is a Python literal: what the parser and the making of a dtype raise for damaged ones.
_DAMAGE: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError, MemoryError, SyntaxError)


@dataclass(frozen=True, slots=True)
class NpyHead:
    """What a .npy header says. `start`: first byte of the data; `member`: its name in an archive, "" without one."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    member: str


def read_npy_head(path: Path) -> NpyHead:
    """The header, held against the size of the file.

    Raises
    ------
    InputError
        a damaged header, Python objects, fewer bytes than the header promises
    """
    with unpacked(path) as (stream, size, member):
        head = stream.read(_HEAD_BYTES)
    try:
        dtype, shape, start = _parsed(head)
        n_bytes = math.prod(shape) * dtype.itemsize
    except _DAMAGE as error:
        finding = f"the header of the NumPy file can't be understood ({str(error)[:200]})"
        raise InputError(path, finding, "a whole .npy file", "copy or export it again") from error
    if dtype.hasobject:
        finding = "the NumPy file holds Python objects, which are a pickle and can run code"
        raise InputError(path, finding, "a .npy file of numbers", "save it as numbers, or as CSV")
    if start + n_bytes > size:
        finding = f"the NumPy file ends early: {size:,} of {start + n_bytes:,} bytes are there"
        raise InputError(path, finding, "a whole .npy file", "copy or export it again, it was probably cut off")
    return NpyHead(dtype, shape, start, member)


def _parsed(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type, shape and first byte of the data. Raises one of _DAMAGE."""
    if not head.startswith(NPY_MAGIC) or head[6:7] not in _LENGTH_BYTES:
        raise ValueError("no header of version 1, 2 or 3")
    start = 8 + _LENGTH_BYTES[head[6:7]]
    end = start + int.from_bytes(head[8:start], "little")
    if end > len(head):
        raise ValueError(f"a header of {end - start:,} bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the parser, about strange literals in a damaged header
        told = ast.literal_eval(head[start:end].decode("utf-8" if head[6] == 3 else "latin-1").strip())
    dtype, shape = npy_format.descr_to_dtype(told["descr"]), tuple(told["shape"])
    if not dtype.itemsize or not all(isinstance(length, int) and length >= 0 for length in shape):
        raise ValueError(f"shape {shape}, {dtype.itemsize} bytes each")
    return dtype, shape, end


def record_blocks(path: Path, head: NpyHead) -> Iterator[NDArray[Any]]:
    """The records of a 1-D array, about 8 MiB at a time.

    Raises
    ------
    InputError
        a record larger than that; a damaged archive
    """
    rows = PIECE_BYTES // head.dtype.itemsize
    if not rows:
        raise InputError(path, f"one record takes {head.dtype.itemsize:,} bytes", "records of localisations", "export it again")
    with unpacked(path) as (stream, _, _):
        stream.read(head.start)
        for start in range(0, head.shape[0], rows):
            n = min(rows, head.shape[0] - start)
            raw = stream.read(n * head.dtype.itemsize)
            if len(raw) < n * head.dtype.itemsize:
                raise InputError(path, "the NumPy file ends early", "a whole .npy file", "copy or export it again")
            yield np.frombuffer(raw, dtype=head.dtype)


def scalar_names(dtype: np.dtype[Any]) -> list[str]:
    """The fields of a record that are one number each."""
    return [name for name in dtype.names or () if dtype[name].kind in "fiub" and not dtype[name].shape]


def open_own_npy(path: Path, overrides: Overrides) -> Source:
    """A structured array of one's own, by a map or by our own column names.

    Raises
    ------
    InputError
        a plain array: its columns have no names, and nothing is guessed from their order
    """
    head = read_npy_head(path)
    if head.dtype.names is None or len(head.shape) != 1:
        shape = " x ".join(map(str, head.shape)) or "a single value"
        mend = "save it as CSV with a header line, or as a structured array with fields x_nm and y_nm"
        raise InputError(path, f"a plain NumPy array ({shape}) has no column names", "a structured array of one dimension", mend)
    resolved = resolve_own(path, scalar_names(head.dtype), overrides=overrides)
    names = [name for use in resolved.uses for name in use.columns]

    def blocks() -> Iterator[RawBlock]:
        for records in record_blocks(path, head):
            yield RawBlock(n_records=len(records), columns={name: records[name] for name in names})

    return Source(path=path, format="table", resolved=resolved, blocks=blocks, members=((head.member, 0),) if head.member else ())
