"""MATLAB files before version 7.3: the container, parsed into variables without copying their numbers.

Own code of one page and not `scipy.io.loadmat`: that believes every size a file claims before anything is checked.
Here each element must lie within the one around it, and a compressed variable may not grow beyond all measure. The
format can't be streamed: a variable is unpacked as a whole, so memory is what the file unpacks to, at most 4 GiB.

Source: MathWorks, MAT-File Format, version 5.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError
from smlmbatch.ingest.archive import refuse_bomb

MAT5_MAGIC: Final = b"MATLAB 5.0 MAT-file"
_HEADER_BYTES: Final = 128
_MOST_BYTES: Final = 4 << 30
_STEP_BYTES: Final = 64 << 20
_DEEPEST: Final = 16  # nested structs and cells
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _DOUBLE, _UINT64 = 1, 2, 6, 15  # classes; the numeric ones are 6 to 15
_COMPLEX: Final = 0x0800
_NUMBERS: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, a field of a struct or a cell.

    Attributes
    ----------
    shape : MATLAB's dimensions
    numbers : (product of shape,) in MATLAB's order, columns first; None if it is no real numeric array
    fields : names, of a struct; the parts come struct after struct, field after field
    parts : of a struct or a cell array
    """

    name: str
    shape: tuple[int, ...]
    numbers: NDArray[Any] | None = None
    fields: tuple[str, ...] = ()
    parts: tuple["Variable", ...] = ()

    def field(self, name: str) -> "Variable | None":
        """A field of a single struct."""
        single = len(self.parts) == len(self.fields) and name in self.fields
        return self.parts[self.fields.index(name)] if single else None

    def structs(self) -> tuple["Variable", ...]:
        """The structs of a struct array, one by one."""
        step = len(self.fields)
        parts = [self.parts[k : k + step] for k in range(0, len(self.parts), max(step, 1))]
        return tuple(Variable(self.name, (1, 1), fields=self.fields, parts=part) for part in parts)

    def columns(self) -> list[NDArray[Any]]:
        """The columns of a matrix (a vector has one, lying or standing), [] for anything else."""
        if self.numbers is None or len(self.shape) != 2:
            return []
        if 1 in self.shape:
            return [self.numbers]
        return list(self.numbers.reshape(self.shape[1], self.shape[0]))


class _DamageError(ValueError):
    """An element that isn't what the format allows."""


def read_mat5(path: Path) -> list[Variable]:
    """All variables of a file.

    Raises
    ------
    InputError
        damage of any kind, more than 4 GiB, or a compressed variable that grows more than a hundredfold
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
            order = {b"IM": "<", b"MI": ">"}.get(head[126:128], "")
            if not head.startswith(MAT5_MAGIC) or not order:
                raise _DamageError("no header of version 5")
            size = path.stat().st_size
            if size > _MOST_BYTES:
                raise _too_large(path)
            data = file.read(size - _HEADER_BYTES)
        return list(_variables(path, data, order))
    except (_DamageError, struct.error, zlib.error) as error:
        finding = f"the MATLAB file is damaged ({error})"
        raise InputError(path, finding, "a whole MATLAB file", "copy or save it again, it was probably cut off") from error


def _too_large(path: Path) -> InputError:
    mend = "save it with -v7.3, or as CSV or Parquet, which are read piece by piece"
    return InputError(path, "the file unpacks to more than 4 GiB", "a MATLAB file that fits into memory", mend)


def _variables(path: Path, data: bytes, order: str) -> Iterator[Variable]:
    at, total = 0, 0
    while at < len(data):
        kind, start, size, at = _element(data, at, len(data), order)
        if kind == _COMPRESSED:
            inner = _inflated(path, memoryview(data)[start : start + size], _MOST_BYTES - total)
            total += len(inner)
            kind, start, size, _ = _element(inner, 0, len(inner), order)
        else:
            inner = data
        if kind == _MATRIX:
            yield _matrix(inner, start, start + size, order, 0)


def _inflated(path: Path, packed: memoryview, most: int) -> bytes:
    """A variable unpacked, a step at a time: so a bomb is noticed before it has grown."""
    unpacker = zlib.decompressobj()
    steps: list[bytes] = [unpacker.decompress(packed, _STEP_BYTES)]
    total = len(steps[0])
    while unpacker.unconsumed_tail:
        refuse_bomb(path, "a variable", packed_bytes=len(packed), unpacked_bytes=total + 1)
        if total > most:
            raise _too_large(path)
        steps.append(unpacker.decompress(unpacker.unconsumed_tail, _STEP_BYTES))
        total += len(steps[-1])
    if not unpacker.eof:
        raise _DamageError("a compressed variable ends early")
    return b"".join(steps)


def _element(data: bytes, at: int, end: int, order: str) -> tuple[int, int, int, int]:
    """Type, first byte, number of bytes, and where the next element begins. Up to 4 bytes are stored within the tag."""
    if at + 8 > end:
        raise _DamageError(f"an element is missing at byte {at}")
    kind, size = struct.unpack_from(f"{order}II", data, at)
    if kind >> 16:
        if kind >> 16 > 4:
            raise _DamageError(f"a short element of {kind >> 16} bytes at byte {at}")
        return kind & 0xFFFF, at + 4, kind >> 16, at + 8
    if at + 8 + size > end:
        raise _DamageError(f"an element of {size} bytes at byte {at}, where {end - at - 8} are left")
    padded = size if kind == _COMPRESSED else -(-size // 8) * 8
    return kind, at + 8, size, min(at + 8 + padded, end)


def _matrix(data: bytes, start: int, end: int, order: str, depth: int) -> Variable:
    if start == end:
        return Variable("", (0, 0))
    if depth > _DEEPEST:
        raise _DamageError("structs within structs without end")
    _, at, size, following = _element(data, start, end, order)
    flags = struct.unpack_from(f"{order}I", data, at)[0] if size >= 4 else 0
    group = flags & 0xFF
    shape, following = _shape(data, following, end, order) if group not in (0, 17) else ((), following)  # 17: no array
    _, at, size, following = _element(data, following, end, order)
    name = data[at : at + size].decode("latin-1").rstrip("\0")
    if _DOUBLE <= group <= _UINT64:
        return Variable(name, shape, numbers=None if flags & _COMPLEX else _numbers(data, following, end, order, shape))
    if group == _CELL:
        return Variable(name, shape, parts=_parts(data, following, end, order, math.prod(shape), depth))
    if group == _STRUCT:
        fields, following = _field_names(data, following, end, order)
        return Variable(name, shape, fields=fields, parts=_parts(data, following, end, order, math.prod(shape) * len(fields), depth))
    return Variable(name, shape)  # text, sparse, objects, functions


def _shape(data: bytes, at: int, end: int, order: str) -> tuple[tuple[int, ...], int]:
    _, start, size, following = _element(data, at, end, order)
    shape = struct.unpack_from(f"{order}{size // 4}i", data, start)
    if min(shape, default=-1) < 0:
        raise _DamageError(f"the dimensions {shape}")
    return shape, following


def _numbers(data: bytes, at: int, end: int, order: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Stored in the smallest type that holds them, whatever the class."""
    kind, start, size, _ = _element(data, at, end, order)
    if kind not in _NUMBERS:
        raise _DamageError(f"numbers of type {kind}")
    dtype = np.dtype(order + _NUMBERS[kind])
    if size != math.prod(shape) * dtype.itemsize:
        raise _DamageError(f"{size} bytes for an array of {' x '.join(map(str, shape))}")
    return np.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=start) if size else np.empty(0, dtype=dtype)


def _field_names(data: bytes, at: int, end: int, order: str) -> tuple[tuple[str, ...], int]:
    _, start, size, following = _element(data, at, end, order)
    width = struct.unpack_from(f"{order}i", data, start)[0] if size == 4 else 0
    _, start, size, following = _element(data, following, end, order)
    if width < 1:
        raise _DamageError(f"field names of {width} characters")
    cells = [data[i : i + width] for i in range(start, start + size, width)]
    return tuple(cell.split(b"\0")[0].decode("latin-1") for cell in cells), following


def _parts(data: bytes, at: int, end: int, order: str, n: int, depth: int) -> tuple[Variable, ...]:
    if n * 8 > end - at:
        raise _DamageError(f"{n} parts in {end - at} bytes")
    parts = []
    for _ in range(n):
        kind, start, size, at = _element(data, at, end, order)
        if kind != _MATRIX:
            raise _DamageError(f"a part of type {kind}")
        parts.append(_matrix(data, start, start + size, order, depth + 1))
    return tuple(parts)
