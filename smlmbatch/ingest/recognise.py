"""Tells what a file is by its content: a field, a known companion, or localisations that no reader takes.

The first 64 KiB decide, and for HDF5 the names inside. A name's suffix decides only where content can't: that a
text is a script, or that an empty or binary file was meant to be a table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides
from smlmbatch.ingest.formats import COMPANION_MAGIC, COMPANION_SUFFIXES, LOCALISATION_MAGIC, TABLE_SUFFIXES
from smlmbatch.ingest.heads import HEAD_BYTES, UTF8_BOM, TextHead, is_binary, is_utf16
from smlmbatch.ingest.odd_heads import text_head
from smlmbatch.ingest.readers import is_special, missing_file
from smlmbatch.ingest.streams import GZIP_MAGIC, opener_of, read_head
from smlmbatch.ingest.text_columns import has_suffixed_xy, is_bare, vendor_of

_HDF5 = b"\x89HDF\r\n\x1a\n"
_MATLAB_HDF5 = b"MATLAB 7.3 MAT-file"
_MAP: Final = "give a map such as x=X,y=Y,unit=nm"
_RESULT: Final = "a table of results, made by smlmbatch"
_EXPORT: Final = f"export it as ThunderSTORM CSV, or as a table, and {_MAP}"
_IN_ARCHIVES: Final = TABLE_SUFFIXES | {".txt", ".npy", ".npz", ".smlm", ".feather", ".dat", ".xls"}
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
            try:
                return look(path, overrides)
            except InputError as error:
                return _unreadable(error.finding, error.mend)
    text = head.removeprefix(UTF8_BOM)
    for magic, what in LOCALISATION_MAGIC:
        if text.startswith(magic):
            return _of_other_program(what)
    for magic, what in COMPANION_MAGIC:
        if text.startswith(magic):
            return _ignored(what)
    if suffix in COMPANION_SUFFIXES:
        return _ignored(COMPANION_SUFFIXES[suffix])
    if is_binary(head):
        return _of_binary(head, suffix)
    return of_text(head, suffix, overrides)


def _of_other_program(what: str) -> Recognition:
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


def _of_bare(names: Sequence[str]) -> Recognition:
    """A table with x and y in a unit that nobody has told."""
    by_word = {name.strip().lower(): name for name in reversed(names)}
    pairs = [f"{word}={by_word[word]}" for word in ("x", "y", "z", "frame", "channel") if word in by_word]
    mend = f"give --unit nm (or um, px), unit in the sample sheet, or the map {','.join(pairs)},unit=nm"
    return _unreadable(f"a table that doesn't say in which unit x and y are; found {', '.join(names[:20])}", mend)


# ---- containers


def _of_hdf5(path: Path, overrides: Overrides) -> Recognition:
    import h5py

    from smlmbatch.ingest.binary import HDF5_DAMAGE

    try:
        with h5py.File(path, "r") as file:
            return _of_hdf5_names(path, file, overrides)
    except HDF5_DAMAGE as error:
        return _unreadable(f"the HDF5 file can't be opened, it was probably cut off ({str(error)[:120]})", _AGAIN)


def _of_hdf5_names(path: Path, file: "h5py.File", overrides: Overrides) -> Recognition:  # type: ignore[name-defined]  # noqa: F821
    import h5py

    from smlmbatch.ingest.binary import hdf5_tables, stored

    locs = stored(path, file, "locs")
    if isinstance(locs, h5py.Dataset) and locs.dtype.names and {"x", "y"} <= set(locs.dtype.names):
        return _field("picasso")
    smap = stored(path, file, "saveloc/loc")
    if isinstance(smap, h5py.Group) and {"xnm", "ynm"} <= set(smap):
        return _field("smap")
    if isinstance(stored(path, file, "data/xyz"), h5py.Dataset):
        return _field("decode")
    if {"DataSet", "DataSetInfo"} <= set(file) or "t00000" in file:
        return _ignored("image stack in HDF5")
    tables = hdf5_tables(path, file)
    if len(tables) == 1:
        return _of_columns(next(iter(tables.values())), overrides, "an HDF5 table")
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
    return _of_names(names, overrides) or _unreadable(f"a Parquet table whose columns no reader knows; {_found(names)}", _MAP)


def _of_feather(path: Path, overrides: Overrides) -> Recognition:
    from smlmbatch.ingest.feather import feather_names

    return _of_columns(feather_names(path), overrides, "a Feather table")


def _of_npy(path: Path, overrides: Overrides) -> Recognition:
    """A .npy file, also the one in an archive."""
    from smlmbatch.ingest.minflux import is_minflux
    from smlmbatch.ingest.npy import read_npy_head, scalar_names

    head = read_npy_head(path)
    if is_minflux(head.dtype) and len(head.shape) == 1:
        return _field("minflux")
    if head.dtype.names is None or len(head.shape) != 1:
        shape = " x ".join(map(str, head.shape))
        return _unreadable(f"a NumPy array ({shape}) whose columns have no names", "save it as CSV with a header line")
    return _of_columns(scalar_names(head.dtype), overrides, "a NumPy array of records")


def _of_columns(names: Sequence[str], overrides: Overrides, what: str) -> Recognition:
    """A table of one's own in a container."""
    if _is_result(names):
        return _ignored(_RESULT)
    if overrides.map or {"x_nm", "y_nm"} <= set(names):
        return _field("table")
    return _unreadable(f"{what} whose columns no reader knows; {_found(names)}", _MAP)


def _of_mat5(path: Path, overrides: Overrides) -> Recognition:
    from smlmbatch.ingest.matfile import read_mat5
    from smlmbatch.ingest.matlab5 import kind_of_mat5, mat5_columns

    variables = read_mat5(path)
    kind = kind_of_mat5(variables)
    if kind != "table":
        return _field(kind) if kind else _ignored("MATLAB file without a table")
    names = list(mat5_columns(variables))
    if overrides.map or {"x_nm", "y_nm"} <= set(names) or (overrides.unit and {"x", "y"} <= set(names)):
        return _field("table")
    if {"x", "y"} <= set(names):
        return _of_bare(names)
    return _unreadable(f"a MATLAB file whose variables no reader knows; {_found(names)}", _MAP)


def _of_zip(path: Path, overrides: Overrides) -> Recognition:
    from smlmbatch.ingest.archive import data_members, opened_zip
    from smlmbatch.ingest.smlm import MANIFEST

    try:
        with opened_zip(path) as file:
            members = data_members(path, file)
    except InputError as error:
        was_table = {path.suffix.lower(), Path(path.stem).suffix.lower()} & _IN_ARCHIVES
        return _unreadable(error.finding, error.mend) if was_table else _ignored("damaged archive")
    if path.suffix.lower() == ".smlm" or (MANIFEST in members and any(name.endswith(".bin") for name in members)):
        return _field("smlm")
    tables = [name for name in members if Path(name).suffix.lower() in _IN_ARCHIVES]
    if len(members) == 1 and tables:
        return _of_member(path, tables[0], overrides)
    if path.suffix.lower() == ".npz":
        return _unreadable(f"a .npz archive of arrays without column names; {_found(list(members))}", "save them as CSV with a header line")
    if path.suffix.lower() == ".pt":
        return _ignored("pickle of PyTorch, which can run code (DECODE writes .h5 and .csv, which are read)")
    if tables:
        return _unreadable(f"an archive of {len(members)} files; {_found(tables)}", "unpack it")
    return _ignored("archive or Office document")


def _of_member(path: Path, name: str, overrides: Overrides) -> Recognition:
    """The one file of an archive: read through if it is text or .npy; the others can't be read as a stream."""
    from smlmbatch.ingest.archive import open_member
    from smlmbatch.ingest.npy import NPY_MAGIC

    head = read_head(lambda: open_member(path, name), HEAD_BYTES)
    if head.startswith(NPY_MAGIC):
        return _of_npy(path, overrides)
    if not head or is_binary(head):
        return _unreadable(f"an archive that holds {name}", "unpack it")
    return of_text(head, Path(name).suffix.lower(), overrides)


def _of_insight3(path: Path, overrides: Overrides) -> Recognition:
    del path, overrides
    return _field("insight3")


_CONTAINERS: Final[tuple[tuple[bytes, Callable[[Path, Overrides], Recognition]], ...]] = (
    (_HDF5, _of_hdf5),
    (_MATLAB_HDF5, _of_hdf5),
    (b"PAR1", _of_parquet),
    (b"PK\x03\x04", _of_zip),
    (b"ARROW1", _of_feather),
    (b"\x93NUMPY", _of_npy),
    (b"MATLAB 5.0 MAT-file", _of_mat5),
    (b"M425", _of_insight3),
    (GZIP_MAGIC, lambda path, overrides: _of_gzip(path, overrides)),
)


# ---- text


def _of_gzip(path: Path, overrides: Overrides) -> Recognition:
    inner = Path(path.stem).suffix.lower()
    if inner in COMPANION_SUFFIXES:
        return _ignored(f"compressed {COMPANION_SUFFIXES[inner]}")
    try:
        head = read_head(opener_of(path), HEAD_BYTES)
    except InputError as error:
        return _unreadable(error.finding, error.mend) if inner in TABLE_SUFFIXES | {".txt"} else _ignored("damaged archive")
    if head and not is_binary(head):
        return of_text(head, inner, overrides)
    return _unreadable("a compressed file that holds no text", "unpack it") if inner in TABLE_SUFFIXES else _ignored("compressed file")


def of_text(content: bytes, suffix: str, overrides: Overrides) -> Recognition:
    """What a text is by its first bytes, wherever it comes from; `suffix` is its name's, in lower case."""
    head = text_head(content)
    if head.problem:
        return _unreadable(head.problem, head.mend)
    if suffix in _VISP_SUFFIXES and head.numeric_cells >= _VISP_COLUMNS:
        return _of_visp(head)
    named = _of_names(head.names, overrides, head)
    if not (named or has_suffixed_xy(head.names) or head.numeric_cells >= 2):
        if suffix in TABLE_SUFFIXES and head.names and not head.sample and len(head.names) > 1:
            return _unreadable(f"a table without a record; {_found(head.names)}", _AGAIN)
        return _ignored("text without a table of numbers")
    if not head.names:
        return _unreadable("a table without a header line", "add a first line that names the columns, e.g. frame,x_nm,y_nm")
    return named or _unreadable(f"a table whose columns no reader knows; {_found(head.names)}", _MAP)


def _of_names(names: Sequence[str], overrides: Overrides, head: TextHead | None = None) -> Recognition | None:
    """What a table is by its column names; None if they say nothing."""
    numeric = head is None or head.numeric_cells >= 2
    vendor = vendor_of(names, spaced=head is not None and head.spaced)
    ours = {"x_nm", "y_nm"} <= set(names)
    if _is_result(names):
        return _ignored(_RESULT)
    if overrides.map_wins and names and (vendor or ours or has_suffixed_xy(names) or numeric):
        return _field("table")
    if vendor:
        return _field(vendor.name)
    if has_suffixed_xy(names) and not (head and head.commented):
        return _field("thunderstorm")
    if ours or (overrides.map and names and numeric):
        return _field("table")
    if is_bare(names) and numeric:
        return _field("xyz") if overrides.unit else _of_bare(names)
    return None


_VISP_SUFFIXES: Final = frozenset({".3d", ".3dlp"})
_VISP_COLUMNS: Final = 5


def _of_visp(head: TextHead) -> Recognition:
    names = "x,y,z,dx,dy,dz,intensity,frame" if len(head.sample[0]) > _VISP_COLUMNS else "x,y,z,intensity,frame"
    mend = f"add a first line that names the columns, {names} with the file's own delimiter, and give --unit nm"
    return _unreadable("this is a ViSP file, which has no header line", mend)


def _found(names: Sequence[str]) -> str:
    return f"found {', '.join(names[:20])}"
