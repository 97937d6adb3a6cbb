"""Opens a file for reading as text, unpacked where it is gzip-compressed, within bounds.

A text reader takes any function that opens a stream from its beginning, so a table reads the same from a file, from
gzip, or from an archive. What unpacks without end is refused before it fills anything: nothing is kept but a block.
"""

import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from smlmbatch.errors import InputError

GZIP_MAGIC: Final = b"\x1f\x8b"
# More than this, at more than this ratio, is no table of localisations: their digits pack to a third, not to a hundredth.
_BOMB_BYTES: Final = 256 << 20
_BOMB_RATIO: Final = 100
Opener = Callable[[], io.BufferedIOBase]


def opener_of(path: Path) -> Opener:
    """A function that opens the file at its beginning, unpacked where it is compressed."""
    with path.open("rb") as file:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    if packed:
        return lambda: _Unpacked(path)
    return lambda: path.open("rb")


def read_head(opened: Opener, size: int) -> bytes:
    """The first bytes of a stream, as many as `size` where it has them."""
    with opened() as stream:
        pieces = []
        while size and (piece := stream.read(size)):
            pieces.append(piece)
            size -= len(piece)
    return b"".join(pieces)


class _Unpacked(io.BufferedIOBase):
    """A gzip file's content; damage and bombs are InputErrors."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw = path.open("rb")
        self._file = gzip.GzipFile(fileobj=self._raw)
        self._n = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes; a size must be given, the whole may not fit into memory.

        Raises
        ------
        InputError
            the file is damaged, cut off, or unpacks to far more than a table does
        """
        assert size is not None
        assert size >= 0
        try:
            got = self._file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            finding = f"the gzip file can't be unpacked to its end ({error})"
            raise InputError(self._path, finding, "a whole gzip file", "copy it again, it was probably cut off") from error
        self._n += len(got)
        if self._n > _BOMB_BYTES and self._n > _BOMB_RATIO * self._raw.tell():
            finding = f"it unpacks to more than {_BOMB_RATIO} times its size"
            raise InputError(self._path, finding, "a compressed table of localisations", "unpack it yourself if it is one")
        return got

    def close(self) -> None:
        self._file.close()
        self._raw.close()
        super().close()
