"""The table of readers: name → how such a file is opened. Column names and units are data, in `formats`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from smlmbatch.errors import InputError
from smlmbatch.ingest import binary, text
from smlmbatch.ingest.columns import Overrides
from smlmbatch.ingest.source import Source


@dataclass(frozen=True, slots=True)
class Reader:
    """One format: what it is called in messages, and the function that opens a file of it."""

    title: str
    open: Callable[[Path, Overrides], Source]


def _open_own(path: Path, overrides: Overrides) -> Source:
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    return binary.open_own_parquet(path, overrides) if is_parquet else text.open_own_text(path, overrides)


READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "thunderstorm": Reader("ThunderSTORM CSV", text.open_thunderstorm),
        "picasso": Reader("Picasso HDF5", binary.open_picasso),
        "smap": Reader("SMAP _sml.mat", binary.open_smap),
        "table": Reader("own table, CSV or Parquet", _open_own),
    }
)


def open_source(path: Path, format_name: str, overrides: Overrides) -> Source:
    """Open a localisation file with the reader `format_name`.

    Raises
    ------
    InputError
        no such file or reader, or the file isn't what the reader reads
    """
    reader = READERS.get(format_name)
    if reader is None:
        raise InputError(
            path, f"no reader is called {format_name!r}", f"one of {', '.join(READERS)}", "correct `format`, or leave it empty"
        )
    if is_special(path):
        raise InputError(path, "is no regular file", "a localisation file", "copy the data into a file")
    try:
        return reader.open(path, overrides)
    except FileNotFoundError as error:
        raise missing_file(path) from error
    except IsADirectoryError as error:
        raise InputError(path, "is a folder", "a localisation file", "correct the path in the sample sheet") from error


def is_special(path: Path) -> bool:
    """Whether this is a pipe, socket or device: opening one may wait for ever. A missing file is none."""
    return path.exists() and not path.is_file() and not path.is_dir()


def missing_file(path: Path) -> InputError:
    """The error for a field whose file is gone."""
    return InputError(path, "is not there", "the localisation file", "put it there, or correct the path in the sample sheet")
