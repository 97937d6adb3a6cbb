"""Zip archives: members are read by name, in streams; nothing is ever written, so a member's name can do no harm.

A stream gives no more bytes than the archive's directory declares: whoever bounds the declared size bounds it all.
"""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from smlmbatch.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ZIP_MAGIC: Final = b"PK\x03\x04"
# Real tables of localisations shrink 2 to 20 times; what shrinks more and is large was made to fill memory or disk.
_BOMB_BYTES: Final = 256 << 20
_BOMB_RATIO: Final = 100
_MAC_FOLDER: Final = "__MACOSX/"  # what a Mac adds to an archive
_NOT_DATA: Final = ("/", ".DS_Store", "Thumbs.db")  # folders, and what file managers leave in them
# What zipfile raises for a damaged, encrypted or exotic archive.
_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError, KeyError)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Whatever zipfile or a decompressor says of damage becomes an InputError."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except (*_DAMAGE, struct.error, OSError) as error:
        finding = f"the zip archive can't be read ({str(error)[:200]})"
        raise InputError(path, finding, "a whole zip archive without a password", "copy or pack it again, or unpack it") from error


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, open for reading; damage is an InputError, also while members are read."""
    with _telling(path), zipfile.ZipFile(path) as file:
        yield file


def data_members(path: Path, file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members that may be data, by name; a name that is there twice is an error."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in file.infolist():
        if info.filename.startswith(_MAC_FOLDER) or info.filename.endswith(_NOT_DATA):
            continue
        if info.filename in found:
            raise InputError(path, f"two members are called {info.filename}", "a name of its own for each", "pack it again")
        found[info.filename] = info
    return found


def checked_size(path: Path, info: zipfile.ZipInfo) -> int:
    """Bytes a member unpacks to.

    Raises
    ------
    InputError
        it would unpack to more than 256 MiB at a ratio above 100
    """
    refuse_bomb(path, info.filename, packed_bytes=info.compress_size, unpacked_bytes=info.file_size)
    return info.file_size


def refuse_bomb(path: Path, what: str, *, packed_bytes: int, unpacked_bytes: int, ratio: int = _BOMB_RATIO) -> None:
    """Stop before something small grows beyond all measure: to more than 256 MiB and more than `ratio` times its size."""
    if unpacked_bytes > _BOMB_BYTES and unpacked_bytes > packed_bytes * ratio:
        finding = f"{what} would unpack from {packed_bytes:,} to {unpacked_bytes:,} bytes"
        raise InputError(path, finding, f"data that shrinks at most {ratio} times", "unpack it yourself if you trust it")


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[IO[bytes], int, str]]:
    """The file itself, or the one member of a zip archive: stream, its size in bytes, the member's name ("" if none).

    Raises
    ------
    InputError
        an archive that is damaged, a bomb, or holds another number of members than one
    """
    with path.open("rb") as file:
        if file.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
            file.seek(0)
            yield file, path.stat().st_size, ""
            return
    with opened_zip(path) as archive:
        members = list(data_members(path, archive).values())
        if len(members) != 1:
            names = ", ".join(info.filename for info in members[:10]) or "nothing"
            raise InputError(path, f"the archive holds {names}", "an archive of one file", "unpack it")
        size = checked_size(path, members[0])
        with archive.open(members[0]) as stream:
            yield stream, size, members[0].filename


def open_member(path: Path, name: str) -> io.BufferedIOBase:
    """A member as a stream of its own, for the text reader."""
    return _Member(path, name)


class _Member(io.BufferedIOBase):
    """A member's bytes; damage is an InputError."""

    def __init__(self, path: Path, name: str) -> None:
        self._opened = ExitStack()
        self._path = path
        with _telling(self._path):
            archive = self._opened.enter_context(zipfile.ZipFile(path))
            checked_size(path, archive.getinfo(name))
            self._stream = self._opened.enter_context(archive.open(name))

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        with _telling(self._path):
            return self._stream.read(-1 if size is None else size)

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        got = self.read(len(view))
        view[: len(got)] = got
        return len(got)

    def close(self) -> None:
        self._opened.close()
        super().close()
