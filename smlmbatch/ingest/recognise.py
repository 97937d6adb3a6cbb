"""Tells what a file is by its content: a field, a known companion, or localisations that no reader takes.

The first 64 KiB decide, and for HDF5 the names inside. A name's suffix decides only where content can't: that a
text is a script, or that an empty or binary file was meant to be a table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides, has_suffixed_xy
from smlmbatch.ingest.formats import COMPANION_MAGIC, COMPANION_SUFFIXES, LOCALISATION_MAGIC, TABLE_SUFFIXES, TEXT_SIGNATURES
from smlmbatch.ingest.heads import HEAD_BYTES, UTF8_BOM, TextHead, is_binary, is_utf16, parse_head
from smlmbatch.ingest.readers import is_special, missing_file

_HDF5 = b"\x89HDF\r\n\x1a\n"
_MATLAB_HDF5 = b"MATLAB 7.3 MAT-file"
_MAP: Final = "give a map such as x=X,y=Y,unit=nm"
_RESULT: Final = "a table of results, made by smlmbatch"
_EXPORT: Final = f"export it as ThunderSTORM CSV, or as a table, and {_MAP}"
_AGAIN: Final = "copy or export it again"


@dataclass(frozen=True, slots=True)
class Recognition:
    """What a file is.

    Attributes
    ----------
    kind : "field" (a reader takes it), "ignored" (no localisations), "unreadable" (localisations, it seems, and no reader)
    format : the reader's name, "" unless kind is "field"
    reason : why, for people
    mend : what to do about a file that is unreadable, else ""
    """

    kind: Literal["field", "ignored", "unreadable"]
    format: str
    reason: str
    mend: str = ""


def _field(format_name: str) -> Recognition:
    return Recognition("field", format_name, "recognised by content")


def _ignored(reason: str) -> Recognition:
    return Recognition("ignored", "", reason)


def _unreadable(reason: str, mend: str) -> Recognition:
    return Recognition("unreadable", "", reason, mend)


def recognise(path: Path, *, overrides: Overrides) -> Recognition:
    """Look at a file's head. A format the user gives is believed for whatever is no companion.

    Raises
    ------
    OSError
        the file can't be opened
    """
    if is_special(path):
        return _ignored("is no regular file")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    seen = _by_content(path, head, overrides)
    return _field(overrides.format) if overrides.format and seen.kind != "ignored" else seen


def recognised_format(path: Path, *, overrides: Overrides) -> str:
    """The reader for a file that has to be read: the user's word, or what the content says.

    Raises
    ------
    InputError
        the file is gone, or no reader takes it; the reason says what it looks like
    """
    if overrides.format:
        return overrides.format
    try:
        seen = recognise(path, overrides=overrides)
    except FileNotFoundError as error:
        raise missing_file(path) from error
    except IsADirectoryError as error:
        raise InputError(path, "is a folder", "a localisation file", "correct the path in the sample sheet") from error
    if seen.kind != "field":
        raise InputError(path, seen.reason, "a localisation file that is read", seen.mend or "take it out of the input")
    return seen.format


def _by_content(path: Path, head: bytes, overrides: Overrides) -> Recognition:
    suffix = path.suffix.lower()
    if not head:
        return _unreadable("the file is empty", _AGAIN) if suffix in TABLE_SUFFIXES else _ignored("empty file")
    for magic, look in _CONTAINERS:
        if head.startswith(magic):
            return look(path, overrides)
    text = head.removeprefix(UTF8_BOM)
    for magic, what in LOCALISATION_MAGIC:
        if text.startswith(magic):
            return _of_other_program(path, magic, what)
    for magic, what in COMPANION_MAGIC:
        if text.startswith(magic):
            return _ignored(what)
    if suffix in COMPANION_SUFFIXES:
        return _ignored(COMPANION_SUFFIXES[suffix])
    if is_binary(head):
        return _of_binary(head, suffix)
    return _of_text(parse_head(head), suffix, overrides)


def _of_other_program(path: Path, magic: bytes, what: str) -> Recognition:
    if magic == b"\x1f\x8b":
        inner = Path(path.stem).suffix.lower()
        is_table = inner in TABLE_SUFFIXES | {".txt"}
        return _unreadable("this is a gzip-compressed table", "unpack it") if is_table else _ignored("compressed file")
    return _unreadable(f"this is {what}, which isn't read yet", _EXPORT)


def _of_binary(head: bytes, suffix: str) -> Recognition:
    if suffix not in TABLE_SUFFIXES:
        return _ignored("binary file of no known kind")
    if is_utf16(head):
        return _unreadable("the text is encoded as UTF-16", 'save it again as "CSV UTF-8"')
    return _unreadable(f"the name ends in {suffix} and the content is binary of no known kind", _AGAIN)


def _is_result(names: Sequence[str]) -> bool:
    """Whether a table is one of ours: of ROIs or fields, exported or copied into INPUT."""
    return any(columns <= set(names) for columns in ({"key", "roi", "coverage"}, {"key", "n_rois", "n_rois_kept"}))


def _map_for(names: Sequence[str]) -> str:
    """How to mend a table that needs a map: with its own columns where their names say enough."""
    by_word = {name.strip().lower(): name for name in reversed(names)}
    pairs = [f"{word}={by_word[word]}" for word in ("x", "y", "z", "frame", "channel") if word in by_word]
    if not {"x", "y"} <= by_word.keys():
        return _MAP
    return f"give the map {','.join(pairs)},unit=nm (or um, px: what x and y are in)"


# ---- containers


def _of_hdf5(path: Path, overrides: Overrides) -> Recognition:
    import h5py

    from smlmbatch.ingest.binary import HDF5_DAMAGE

    del overrides
    try:
        with h5py.File(path, "r") as file:
            return _of_hdf5_names(path, file)
    except InputError as error:
        return _unreadable(error.finding, error.mend)
    except HDF5_DAMAGE as error:
        return _unreadable(f"the HDF5 file can't be opened, it was probably cut off ({str(error)[:120]})", _AGAIN)


def _of_hdf5_names(path: Path, file: "h5py.File") -> Recognition:  # type: ignore[name-defined]  # noqa: F821
    import h5py

    from smlmbatch.ingest.binary import stored

    locs = stored(path, file, "locs")
    if isinstance(locs, h5py.Dataset) and locs.dtype.names and {"x", "y"} <= set(locs.dtype.names):
        return _field("picasso")
    smap = stored(path, file, "saveloc/loc")
    if isinstance(smap, h5py.Group) and {"xnm", "ynm"} <= set(smap):
        return _field("smap")
    if isinstance(stored(path, file, "data/xyz"), h5py.Dataset) or {"data", "meta"} <= set(file):
        return _unreadable("this is a DECODE file, which isn't read yet", _EXPORT)
    if {"DataSet", "DataSetInfo"} <= set(file) or "t00000" in file:
        return _ignored("image stack in HDF5")
    names = ", ".join(sorted(file)[:10]) or "nothing"
    return _unreadable(f"an HDF5 file without Picasso's /locs or SMAP's /saveloc/loc; found {names}", _EXPORT)


def _of_parquet(path: Path, overrides: Overrides) -> Recognition:
    from smlmbatch.ingest.binary import parquet_names

    try:
        names = parquet_names(path)
    except InputError as error:
        return _unreadable(error.finding, error.mend)
    if _is_result(names):
        return _ignored(_RESULT)
    if overrides.map or {"x_nm", "y_nm"} <= set(names):
        return _field("table")
    vendor = _vendor_of(names)
    what = f"this is {vendor} saved as Parquet" if vendor else "a Parquet table whose columns no reader knows"
    return _unreadable(f"{what}; found {', '.join(names[:20])}", _map_for(names))


def _of_zip(path: Path, overrides: Overrides) -> Recognition:
    import struct
    import zipfile

    del overrides
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):  # zipfile tells of damage in any of these
        return _ignored("damaged archive")
    if path.suffix.lower() == ".smlm" or ("manifest.json" in names and any(name.endswith(".bin") for name in names)):
        return _unreadable("this is an .smlm file, which isn't read yet", _EXPORT)
    if len(names) == 1 and Path(names[0]).suffix.lower() in TABLE_SUFFIXES | {".npy"}:
        return _unreadable(f"an archive that holds {names[0]}", "unpack it")
    return _ignored("archive or Office document")


_CONTAINERS: Final[tuple[tuple[bytes, Callable[[Path, Overrides], Recognition]], ...]] = (
    (_HDF5, _of_hdf5),
    (_MATLAB_HDF5, _of_hdf5),
    (b"PAR1", _of_parquet),
    (b"PK\x03\x04", _of_zip),
)


# ---- text


def _of_text(head: TextHead, suffix: str, overrides: Overrides) -> Recognition:
    vendor = _vendor_of(head.names)
    is_table = vendor or has_suffixed_xy(head.names) or {"x_nm", "y_nm"} <= set(head.names) or head.numeric_cells >= 2
    if not is_table:
        if suffix in TABLE_SUFFIXES and head.names and not head.sample and len(head.names) > 1:
            return _unreadable(f"a table without a record; found the columns {', '.join(head.names[:20])}", _AGAIN)
        return _ignored("text without a table of numbers")
    if _is_result(head.names):
        return _ignored(_RESULT)
    if overrides.map_wins and head.names:
        return _field("table")
    if not vendor and not head.commented and has_suffixed_xy(head.names):
        return _field("thunderstorm")
    if head.names and (overrides.map or (not vendor and {"x_nm", "y_nm"} <= set(head.names))):
        return _field("table")
    if vendor:
        return _unreadable(f"this is {vendor}, which isn't read yet", _EXPORT)
    if not head.names:
        return _unreadable("a table without a header line", "add a first line that names the columns, e.g. frame,x_nm,y_nm")
    found = ", ".join(head.names[:20])
    return _unreadable(f"a table whose columns no reader knows; found {found}", _map_for(head.names))


def _vendor_of(names: tuple[str, ...] | list[str]) -> str:
    """The program that writes such a header; "" if none is known."""
    lowered = {name.lstrip("# ").lower() for name in names}
    return next((vendor for signature, vendor in TEXT_SIGNATURES if signature <= lowered), "")
