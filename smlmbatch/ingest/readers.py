"""The table of readers: name → how such a file is opened. Column names and units are data, in `formats` and `vendors`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from smlmbatch.errors import InputError
from smlmbatch.ingest import binary, decode, insight3, matlab5, minflux, smlm, text
from smlmbatch.ingest.archive import ZIP_MAGIC, open_member, unpacked
from smlmbatch.ingest.columns import Overrides
from smlmbatch.ingest.matfile import MAT5_MAGIC
from smlmbatch.ingest.npy import NPY_MAGIC, open_own_npy
from smlmbatch.ingest.source import Source
from smlmbatch.ingest.vendors import TEXT_FORMATS


@dataclass(frozen=True, slots=True)
class Reader:
    """One format: what it is called in messages, and the function that opens a file of it."""

    title: str
    open: Callable[[Path, Overrides], Source]


def _table(name: str, title: str) -> Reader:
    """A reader of tables that come as text and as Parquet."""

    def open_table(path: Path, overrides: Overrides) -> Source:
        with path.open("rb") as file:
            magic = file.read(8)
        if magic.startswith(b"PAR1"):
            return binary.open_parquet(path, name, overrides)
        for container, open_own in _OWN_CONTAINERS if name == text.OWN_TABLE else ():
            if magic.startswith(container):
                return open_own(path, overrides)
        return _open_zipped(path, name, overrides) if magic.startswith(ZIP_MAGIC) else text.open_text(path, name, overrides)

    return Reader(title, open_table)


def _open_zipped(path: Path, name: str, overrides: Overrides) -> Source:
    """The one member of a zip archive: a text table, or records of one's own as .npy."""
    with unpacked(path) as (stream, _, member):
        is_npy = stream.read(len(NPY_MAGIC)) == NPY_MAGIC
    if is_npy and name == text.OWN_TABLE:
        return open_own_npy(path, overrides)
    source = text.open_text(path, name, overrides, opened=lambda: open_member(path, member))
    return replace(source, members=((member, 0),))


def _own_feather(path: Path, overrides: Overrides) -> Source:
    from smlmbatch.ingest.feather import open_own_feather  # another part of pyarrow, for few files

    return open_own_feather(path, overrides)


def _open_smap(path: Path, overrides: Overrides) -> Source:
    with path.open("rb") as file:
        is_old = file.read(len(MAT5_MAGIC)) == MAT5_MAGIC
    return matlab5.open_smap5(path, overrides) if is_old else binary.open_smap(path, overrides)


_HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
# Containers of tables of one's own, by their first bytes.
_OWN_CONTAINERS: Final = (
    (_HDF5_MAGIC, binary.open_own_hdf5),
    (NPY_MAGIC, open_own_npy),
    (b"ARROW1", _own_feather),
    (MAT5_MAGIC[:8], matlab5.open_own_mat5),
)


READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        **{form.name: _table(form.name, form.title) for form in TEXT_FORMATS},
        "picasso": Reader("Picasso HDF5", binary.open_picasso),
        "smap": Reader("SMAP _sml.mat", _open_smap),
        "decode": Reader("DECODE HDF5", decode.open_decode),
        "smlm": Reader(".smlm", smlm.open_smlm),
        "minflux": Reader("MINFLUX .npy", minflux.open_minflux),
        "insight3": Reader("Insight3 .bin", insight3.open_insight3),
        "particles": Reader("segmented particles in MATLAB", matlab5.open_particles),
        "table": _table("table", "own table: CSV, Parquet, Feather, HDF5, .npy or MATLAB"),
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
        return _counted_from(reader.open(path, overrides), overrides)
    except FileNotFoundError as error:
        raise missing_file(path) from error
    except IsADirectoryError as error:
        raise InputError(path, "is a folder", "a localisation file", "correct the path in the sample sheet") from error


def _counted_from(source: Source, overrides: Overrides) -> Source:
    """The source with the user's number for its first frame. One's own tables have taken it, or their map's, already."""
    if overrides.frame_base < 0 or source.format == "table":
        return source
    return replace(source, resolved=replace(source.resolved, frame_base=overrides.frame_base))


def is_special(path: Path) -> bool:
    """Whether this is a pipe, socket or device: opening one may wait for ever. A missing file is none."""
    return path.exists() and not path.is_file() and not path.is_dir()


def missing_file(path: Path) -> InputError:
    """The error for a field whose file is gone."""
    return InputError(path, "is not there", "the localisation file", "put it there, or correct the path in the sample sheet")
