"""Binary readers: Picasso's and SMAP's HDF5 files, tables of one's own in HDF5, and Parquet.

Picasso keeps its settings in a YAML file beside the data; it is read with `safe_load_all` (Picasso's own loader
can execute code from a data file).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError
from smlmbatch.ingest.archive import refuse_bomb
from smlmbatch.ingest.columns import Overrides, Resolved, resolve_fixed, resolve_own
from smlmbatch.ingest.formats import PICASSO, SMAP, Filter
from smlmbatch.ingest.source import RawBlock, Source, TextColumn
from smlmbatch.ingest.text_columns import HeadSays, filters_of, form_of, resolve_text

PIECE_ROWS = 1 << 16
_PICASSO_OFFSET_PX = 0.5  # Picasso counts from the first pixel's centre, every other format from its corner
_HDF5_RATIO: Final = 1100  # deflate reaches 1032 on a constant column, which is no fault; more was never written
_MOST_NUMBERS: Final = 1024  # in an attribute
AVERAGED: Final = "molecules averaged over many frames: the mean frames are left out"
_CACHE_BYTES = 4 << 20
HDF5_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # h5py tells of a damaged file in any of these


@contextmanager
def opened_hdf5(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; whatever h5py says of damage becomes an InputError."""
    try:
        with h5py.File(path, "r", rdcc_nbytes=_CACHE_BYTES) as file:
            yield file
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except HDF5_DAMAGE as error:
        finding = f"the HDF5 file can't be read ({str(error)[:200]})"
        raise InputError(path, finding, "a whole HDF5 file", "copy or export it again, it was probably cut off") from error


def stored(path: Path, file: h5py.File, name: str) -> Any:
    """What the HDF5 file holds under `name`, without following links; None if there is nothing.

    Raises
    ------
    InputError
        it is kept in another file: only the file itself goes into the fingerprint, so a change there would not be seen;
        or it claims to hold far more than the file has room for
    """
    item: Any = file
    for part in name.split("/"):
        if not isinstance(item, h5py.Group) or not item.id.links.exists(part.encode()):
            return None
        if item.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            raise _kept_elsewhere(path, name, "a link")
        item = item[part]
    if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
        raise _kept_elsewhere(path, name, "a virtual dataset" if item.is_virtual else "a dataset with external storage")
    if isinstance(item, h5py.Dataset) and item.shape is not None:
        n_bytes, packed = item.size * item.dtype.itemsize, item.id.get_storage_size()
        refuse_bomb(path, f"/{name}", packed_bytes=packed, unpacked_bytes=n_bytes, ratio=_HDF5_RATIO)
    return item


def attribute(item: Any, name: str) -> Any:
    """The value of an attribute that is a word, a number or a few; None for anything else.

    In damaged files the library takes other types for lists of any length, and dies of what it then reads.
    """
    if name not in item.attrs:
        return None
    found = item.attrs.get_id(name)
    is_plain = found.get_type().get_class() in (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)
    return item.attrs[name] if is_plain and math.prod(found.shape or ()) <= _MOST_NUMBERS else None


def _kept_elsewhere(path: Path, name: str, what: str) -> InputError:
    finding = f"/{name} is {what}: its values may stand in another file"
    return InputError(path, finding, "an HDF5 file that holds its values itself", "copy the data into one file, e.g. with h5repack")


def is_sound(kind: np.dtype[Any]) -> bool:
    """Whether no members of a compound overlap. h5py derives their sizes from damaged bytes, and reading would then
    write beyond its buffer."""
    end = 0
    for member, start, *_ in sorted((kind.base.fields or {}).values(), key=lambda entry: entry[1]):
        if start < end or not is_sound(member):
            return False
        end = start + member.itemsize
    return end <= kind.base.itemsize


def row_pieces(n: int, chunk: int) -> Iterator[tuple[int, int]]:
    """Ranges of about PIECE_ROWS rows that don't cut a compressed chunk twice."""
    step = chunk * max(1, PIECE_ROWS // chunk)
    for start in range(0, n, step):
        yield start, min(start + step, n)


# ---- Picasso


def open_picasso(path: Path, overrides: Overrides) -> Source:
    """An HDF5 file with a compound dataset `/locs`.

    Raises
    ------
    InputError
        no `/locs`, no x and y in it, no pixel size, a YAML file that can't be read, a damaged file
    """
    with opened_hdf5(path) as file:
        locs = stored(path, file, "locs")
        if not isinstance(locs, h5py.Dataset) or locs.dtype.names is None or locs.ndim != 1:
            found = ", ".join(sorted(file)) or "nothing"
            raise InputError(path, f"no table /locs; found {found}", "a Picasso file of localisations", "save it again in Picasso")
        if not is_sound(locs.dtype):
            finding = "the HDF5 file is damaged: the columns of /locs overlap"
            raise InputError(path, finding, "a whole HDF5 file", "copy or export it again")
        names = [name for name in locs.dtype.names if locs.dtype[name].kind in "fiub"]
        averaged = _is_molecule_map(locs)
    from smlmbatch.ingest.picasso_info import pixel_nm_of  # which stands on this file

    pixel_nm = pixel_nm_of(path, overrides)
    names = [name for name in names if not (averaged and name == "frame")]
    resolved = resolve_fixed(path, PICASSO, names, pixel_size_nm=pixel_nm, offset_px=_PICASSO_OFFSET_PX, frame_base=0)
    notes = (AVERAGED,) if averaged else ()
    return Source(path=path, format="picasso", resolved=resolved, blocks=lambda: _table_blocks(path, "locs", resolved), notes=notes)


def _is_molecule_map(locs: h5py.Dataset) -> bool:
    """Whether these are molecules (RESI, G5M, cluster centres): their frame is a mean over many localisations.

    `std_frame` gives them away, or a frame that is no whole number in most records; a few such frames are damage.
    """
    if "frame" not in locs.dtype.names or locs.dtype["frame"].kind != "f":
        return False
    if "std_frame" in locs.dtype.names:
        return True
    n_broken = 0
    for start, stop in row_pieces(locs.shape[0], locs.chunks[0] if locs.chunks else 1):
        frames = locs.fields("frame")[start:stop]
        n_broken += int((np.isfinite(frames) & (frames != np.floor(frames))).sum())
    return bool(n_broken * 2 > locs.shape[0])


def _table_blocks(path: Path, table: str, resolved: Resolved) -> Iterator[RawBlock]:
    names = [name for use in resolved.uses for name in use.columns]
    with opened_hdf5(path) as file:
        locs = file[table]
        for start, stop in row_pieces(locs.shape[0], locs.chunks[0] if locs.chunks else 1):
            records = locs[start:stop]
            yield RawBlock(n_records=stop - start, columns={name: records[name] for name in names})


# ---- a table of one's own in HDF5


def hdf5_tables(path: Path, file: h5py.File) -> dict[str, list[str]]:
    """Tables of records (compound, one dimension; also what PyTables and pandas write): name → columns that are numbers."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if _is_table(item) else None)
    tables = {name: stored(path, file, name) for name in found}
    return {name: [c for c in table.dtype.names if table.dtype[c].kind in "fiub"] for name, table in tables.items()}


def _is_table(item: object) -> bool:
    return isinstance(item, h5py.Dataset) and item.dtype.names is not None and item.ndim == 1 and is_sound(item.dtype)


def open_own_hdf5(path: Path, overrides: Overrides) -> Source:
    """The one table of records of an HDF5 file, by a map or by our own column names.

    Raises
    ------
    InputError
        no table, or several: nothing says which one is meant
    """
    with opened_hdf5(path) as file:
        tables = hdf5_tables(path, file)
    if len(tables) != 1:
        found = ", ".join(f"/{name}" for name in list(tables)[:10]) or "none"
        raise InputError(path, f"tables in the HDF5 file: {found}", "one table of records", "save the localisations as a file of their own")
    (name, names), *_ = tables.items()
    resolved = resolve_own(path, names, overrides=overrides)
    return Source(path=path, format="table", resolved=resolved, blocks=lambda: _table_blocks(path, name, resolved))


# ---- SMAP


def open_smap(path: Path, overrides: Overrides) -> Source:
    """A `_sml.mat` file of MATLAB 7.3 (HDF5), columns 1 x N under `/saveloc/loc`; frames from 1."""
    del overrides  # SMAP gives nanometres
    with opened_hdf5(path) as file:
        loc = stored(path, file, "saveloc/loc")
        if not isinstance(loc, h5py.Group):
            found = ", ".join(sorted(file)) or "nothing"
            raise InputError(
                path, f"no group /saveloc/loc; found {found}", "a SMAP file of localisations", "save it again in SMAP (_sml.mat)"
            )
        sizes = {name: _smap_size(stored(path, file, f"saveloc/loc/{name}")) for name in loc}
        names = [name for name, size in sizes.items() if size is not None]
        resolved = resolve_fixed(path, SMAP, names, pixel_size_nm=0.0, frame_base=1)
        n = sizes[resolved.uses[0].columns[0]]
        for column in (column for use in resolved.uses for column in use.columns):
            if sizes[column] != n:
                finding = f"{column} has {sizes[column]} entries, {resolved.uses[0].columns[0]} has {n}"
                raise InputError(path, finding, "columns of one length", "save it again in SMAP")
    return Source(path=path, format="smap", resolved=resolved, blocks=lambda: _smap_blocks(path, resolved))


def _smap_size(item: object) -> int | None:
    """Entries of a MATLAB vector; None for what is none. An empty array is stored as its size, marked MATLAB_empty."""
    if not isinstance(item, h5py.Dataset) or item.shape is None or item.dtype.kind not in "fiub" or attribute(item, "MATLAB_empty"):
        return None
    return max(item.shape) if item.ndim == 2 and 1 in item.shape else None


def _smap_blocks(path: Path, resolved: Resolved) -> Iterator[RawBlock]:
    names = [name for use in resolved.uses for name in use.columns]
    with opened_hdf5(path) as file:
        vectors = {name: file["saveloc/loc"][name] for name in names}
        shortest = next(iter(vectors.values()))
        for start, stop in row_pieces(max(shortest.shape), max(shortest.chunks) if shortest.chunks else 1):
            yield RawBlock(n_records=stop - start, columns={name: _vector(v, start, stop) for name, v in vectors.items()})


def _vector(dataset: h5py.Dataset, start: int, stop: int) -> NDArray[np.generic]:
    piece = dataset[0, start:stop] if dataset.shape[0] == 1 else dataset[start:stop, 0]
    return np.asarray(piece)


# ---- Parquet


def open_parquet(path: Path, format_name: str, overrides: Overrides) -> Source:
    """A Parquet table: a program's columns, or one's own by a map or our own column names."""
    names = parquet_names(path)
    filters: tuple[Filter, ...] = ()
    if format_name == "table":
        resolved = resolve_own(path, names, overrides=overrides)
    else:
        form = form_of(format_name, names)
        resolved, filters = resolve_text(path, form, names, says=HeadSays(), overrides=overrides), filters_of(form, names)
    return Source(
        path=path,
        format=format_name,
        resolved=resolved,
        blocks=lambda: _parquet_blocks(path, resolved, filters),
        filters=filters,
    )


def parquet_names(path: Path) -> list[str]:
    """The table's column names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged_parquet(path, error) from error


def _damaged_parquet(path: Path, error: Exception) -> InputError:
    finding = f"the Parquet file can't be read ({str(error)[:200]})"
    return InputError(path, finding, "a whole Parquet file", "copy or export it again, it was probably cut off")


def _parquet_blocks(path: Path, resolved: Resolved, filters: tuple[Filter, ...]) -> Iterator[RawBlock]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [name for use in resolved.uses for name in use.columns] + [rule.column for rule in filters]
    texts = [name for use in resolved.uses if use.quantity == "channel" for name in use.columns]
    texts += [rule.column for rule in filters if rule.drops]
    try:
        # unbuffered reading would hold whole row groups: some writers put everything into one
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            for batch in file.iter_batches(PIECE_ROWS, columns=list(dict.fromkeys(names)), use_threads=False):
                batch.validate(full=True)  # codes beyond a damaged dictionary, words that are no UTF-8
                columns = {name: arrow_values(path, name, batch.column(name), words=name in texts) for name in names}
                yield RawBlock(n_records=batch.num_rows, columns=columns)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged_parquet(path, error) from error


def arrow_values(path: Path, name: str, array: Any, *, words: bool) -> NDArray[np.generic] | TextColumn:
    """An Arrow column as NumPy has it, numbers in float64 (missing ones NaN); `words`: text is allowed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if words and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        codes = pc.fill_null(pc.cast(encoded.indices, pa.int32()), -1)
        return TextColumn(codes.to_numpy(zero_copy_only=False), _words(encoded.dictionary.to_pylist()))
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)):
        raise InputError(path, f"column {name} holds {array.type}, no numbers", "a column of numbers", "name another column in the map")
    return np.asarray(pc.cast(array, pa.float64()).to_numpy(zero_copy_only=False))


def _words(words: Sequence[str | None]) -> tuple[str, ...]:
    return tuple((word or "").strip() for word in words)
