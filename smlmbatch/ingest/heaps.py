"""Guards the HDF5 library against a heap on which it runs for ever.

Words of any length lie in heaps (global heap collections). The library walks over their objects by the sizes that
stand there, and one damaged byte, a free space of size 0, makes it walk on the spot; no limit of ours can stop it.
So whoever is going to read such a word lets this look at the heaps first. It costs one pass over the file.

Source: HDF5 File Format Specification, III.E; the loop is in H5HG__cache_heap_deserialize (HDF5 1.14, 2.0).
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from smlmbatch.errors import InputError

_SIGNATURE: Final = b"GCOL\x01\0\0\0"
_HEADER_BYTES: Final = 16  # of a heap (signature and size), and of an object (index, references, size)
_OBJECT: Final = struct.Struct("<HHIQ")
_PIECE_BYTES: Final = 8 << 20
_LARGEST_HEAP: Final = 64 << 20  # the library makes them 4 KiB, larger only for larger words


def refuse_endless_heaps(path: Path) -> None:
    """Look at every heap of an HDF5 file.

    Raises
    ------
    InputError
        a free space smaller than its own header
    """
    with path.open("rb") as file:
        for start in list(_heaps(file)):
            file.seek(start + len(_SIGNATURE))
            size = int.from_bytes(file.read(8), "little")
            if _is_endless(file.read(min(size, _LARGEST_HEAP))):
                finding = f"the HDF5 file is damaged: the heap at byte {start} has a free space of no size"
                raise InputError(path, finding, "a whole HDF5 file", "copy or export it again")


def _heaps(file: BinaryIO) -> Iterator[int]:
    """Bytes at which heaps begin, also where a signature lies across two pieces."""
    at, kept = 0, b""
    while piece := file.read(_PIECE_BYTES):
        data = kept + piece
        found = data.find(_SIGNATURE)
        while found >= 0:
            yield at - len(kept) + found
            found = data.find(_SIGNATURE, found + 1)
        at += len(piece)
        kept = data[-len(_SIGNATURE) + 1 :]


def _is_endless(objects: bytes) -> bool:
    at = 0
    while at + _HEADER_BYTES <= len(objects):
        index, _, _, size = _OBJECT.unpack_from(objects, at)
        if index == 0 and size < _HEADER_BYTES:
            return True
        at += size if index == 0 else _HEADER_BYTES + -(-size // 8) * 8
    return False
