"""One unit = one file: a Zarr v3 group in a stored (uncompressed) zip, sealed by its digest.

Cluster file systems count inodes, so a unit is one file however many arrays it holds. Columns are cut into
chunks of 64 Ki rows inside shards of 1 Mi rows; one writer writes whole shards, once, in order. Zarr reads a
missing chunk back silently as the fill value, so a file counts only if its root carries the attribute
`digest`, which is written last. Entry dates are fixed, so equal units are equal bytes.

The digest is taken of decoded values (name, dtype, shape, bytes of each array; attributes), never of files.
Beside it, and outside it, stands what the unit was made of (`made_of`: what its fingerprint hashes) and by which software
(`made_by`): so that of two units that differ one can tell why, years later.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ZipStore

from smlmbatch.errors import SmlmbatchError
from smlmbatch.store.schema import SCHEMA, ArraySpec

CHUNK_ROWS = 1 << 16
SHARD_ROWS = 1 << 20
_DIGEST = "digest"
_STAGE = "stage"
_MADE_OF, _MADE_BY = "made_of", "made_by"
_ROOT = "zarr.json"


class _SealedZip(ZipStore):
    """Zarr's zip store with fixed entry dates and direct reads.

    Python's zip reader skips forward by reading, so a slice of a big shard would read all before it;
    a stored member's bytes lie in the file as they are and can be read at their offset.
    """

    def _set(self, key: str, value: Buffer) -> None:
        if key != _ROOT:  # Zarr writes an empty root with the first array; ours comes last, with the digest
            self.add(key, value.to_bytes())

    def add(self, key: str, content: bytes) -> None:
        """Append a member, dated 1980 like every other."""
        info = zipfile.ZipInfo(filename=key, date_time=(1980, 1, 1, 0, 0, 0))
        info.external_attr = 0o644 << 16
        self._zf.writestr(info, content)

    def _get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        if self._zmode != "r":
            return super()._get(key, prototype, byte_range)
        try:
            start, size = self._member(key)
        except KeyError:
            return None
        first, last = _resolve(byte_range, size)
        return prototype.buffer.from_bytes(os.pread(self._descriptor(), last - first, start + first))

    def _descriptor(self) -> int:
        if not self._is_open:
            self._sync_open()
        assert self._zf.fp is not None
        return self._zf.fp.fileno()

    def _member(self, key: str) -> tuple[int, int]:
        """Offset and size of a member's bytes; the local header repeats name and extra field."""
        descriptor = self._descriptor()
        info = self._zf.getinfo(key)
        header = os.pread(descriptor, 30, info.header_offset)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        return info.header_offset + 30 + lengths, info.file_size


def _resolve(byte_range: ByteRequest | None, size: int) -> tuple[int, int]:
    if byte_range is None:
        return 0, size
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start, min(byte_range.end, size)
    if isinstance(byte_range, OffsetByteRequest):
        return byte_range.offset, size
    assert isinstance(byte_range, SuffixByteRequest)
    return max(0, size - byte_range.suffix), size


def _array_hash(spec_name: str, dtype: np.dtype[Any], shape: Sequence[int]) -> "hashlib._Hash":
    return hashlib.sha256(f"{spec_name}|{dtype.str}|{tuple(shape)}|".encode())


def _unit_digest(array_digests: dict[str, str], attrs: dict[str, Any]) -> str:
    text = json.dumps([sorted(array_digests.items()), attrs], sort_keys=True, allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class ColumnWriter:
    """Appends pieces of any length to one 1-D array; whole shards go to disk, once."""

    def __init__(self, array: "zarr.Array[Any]", digest: "hashlib._Hash") -> None:
        self._array, self._digest = array, digest
        self._buffer = np.empty(min(SHARD_ROWS, array.shape[0]), dtype=array.dtype)
        self._filled = self._written = 0

    def append(self, values: NDArray[Any]) -> None:
        """Add rows; the dtype is converted to the array's own."""
        if self._written + self._filled + len(values) > self._array.shape[0]:
            raise SmlmbatchError(f"array {self._array.name}: more rows than the {self._array.shape[0]} announced")
        start = 0
        while start < len(values):
            n = min(len(values) - start, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + n] = values[start : start + n]
            self._filled += n
            start += n
            if self._filled == len(self._buffer):
                self._flush()

    def _flush(self) -> None:
        if self._filled:
            piece = self._buffer[: self._filled]
            self._array[self._written : self._written + self._filled] = piece
            self._digest.update(piece.data)
            self._written += self._filled
            self._filled = 0

    def close(self) -> None:
        """Write the last, partial shard and check that all announced rows have come."""
        self._flush()
        if self._written != self._array.shape[0]:
            raise SmlmbatchError(f"array {self._array.name}: {self._written} rows written, {self._array.shape[0]} announced")


class UnitWriter:
    """Writes one unit's file. Only arrays of the schema, with their dtype; sealed by `close`.

    Parameters
    ----------
    path : a file that doesn't exist yet, in the attempt's own folder
    stage : which part of the schema applies
    """

    def __init__(self, path: Path, stage: str) -> None:
        self.path, self.stage = path, stage
        self.attrs: dict[str, Any] = {}
        self.made_of: Mapping[str, Any] = {}
        self.made_by: Mapping[str, str] = {}
        self._specs = SCHEMA[stage]
        self._store = _SealedZip(path, mode="w", compression=zipfile.ZIP_STORED)
        self._store._sync_open()
        self._hashes: dict[str, hashlib._Hash] = {}
        self._lengths: dict[str, int] = {}
        self._columns: list[ColumnWriter] = []

    def write(self, name: str, values: NDArray[Any]) -> None:
        """Write a whole array. Its dtype is converted to the schema's; its axes must fit the other arrays'."""
        spec = self._spec(name, values.shape)
        data = np.ascontiguousarray(values, dtype=spec.dtype)
        array = self._create(name, spec, data.shape)
        if data.size:
            array[...] = data
        self._hashes[name].update(data.data)

    def column(self, name: str, length: int) -> ColumnWriter:
        """A writer for a 1-D array of known length that arrives in pieces."""
        writer = ColumnWriter(self._create(name, self._spec(name, (length,)), (length,)), self._hashes[name])
        self._columns.append(writer)
        return writer

    def _spec(self, name: str, shape: Sequence[int]) -> ArraySpec:
        if name not in self._specs:
            raise SmlmbatchError(f"array {name!r} is not in the schema of stage {self.stage}")
        spec = self._specs[name]
        if len(spec.dims) != len(shape):
            raise SmlmbatchError(f"array {name!r} has {len(shape)} axes, the schema says {spec.dims}")
        for dim, length in zip(spec.dims, shape, strict=True):
            if self._lengths.setdefault(dim, length) != length:
                raise SmlmbatchError(f"array {name!r}: axis {dim} has {length} entries, other arrays {self._lengths[dim]}")
        return spec

    def _create(self, name: str, spec: ArraySpec, shape: tuple[int, ...]) -> "zarr.Array[Any]":
        chunks = (max(1, min(CHUNK_ROWS, shape[0])), *(max(1, n) for n in shape[1:]))
        sharded = len(shape) == 1 and shape[0] > CHUNK_ROWS
        self._hashes[name] = _array_hash(name, np.dtype(spec.dtype), shape)
        return zarr.create_array(
            self._store,
            name=name,
            shape=shape,
            dtype=spec.dtype,
            chunks=chunks,
            shards=(SHARD_ROWS,) if sharded else None,
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
            fill_value=0,
            dimension_names=spec.dims,
            attributes={"unit": spec.unit, "description": spec.text},
            # a chunk left out reads back as zeros, -0.0 or not, and hides a loss
            config={"write_empty_chunks": True},
        )

    def close(self) -> str:
        """Seal the unit: check that nothing required is missing, write attributes and digest; returns the digest."""
        for column in self._columns:
            column.close()
        missing = [name for name, spec in self._specs.items() if not spec.optional and name not in self._hashes]
        if missing:
            raise SmlmbatchError(f"stage {self.stage} wrote no {', '.join(missing)}")
        attrs = json.loads(json.dumps(self.attrs, allow_nan=False)) | {_STAGE: self.stage}
        digest = _unit_digest({name: h.hexdigest() for name, h in self._hashes.items()}, attrs)
        origin = {_MADE_OF: dict(self.made_of), _MADE_BY: dict(self.made_by)} if self.made_of else {}
        root = {"attributes": attrs | origin | {_DIGEST: digest}, "zarr_format": 3, "node_type": "group"}
        self._store.add(_ROOT, json.dumps(root, sort_keys=True).encode())
        self._store.close()
        return digest

    @property
    def rows(self) -> int:
        """Length of the stage's main axis (locs, ROIs, rows): the first of its schema. For logs."""
        return self._lengths.get(next(iter(self._specs.values())).dims[0], 0)

    def abandon(self) -> None:
        """Close without sealing: what was written so far counts for nothing."""
        self._store.close()


class UnitReader:
    """Reads one published unit. `attrs` are its attributes, `digest` its sealed digest.

    `made_of` is what its fingerprint hashes and `made_by` the software's versions; empty in units of versions that didn't keep them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        attrs = _root_attrs(path)
        self.digest: str = attrs.pop(_DIGEST)
        self.made_of: dict[str, Any] = attrs.pop(_MADE_OF, {})
        self.made_by: dict[str, str] = attrs.pop(_MADE_BY, {})
        self.attrs = MappingProxyType(attrs)
        self._store = _SealedZip(path, mode="r")
        with _damage_named(path):
            self._group = zarr.open_group(self._store, mode="r")
        self._arrays: dict[str, zarr.Array[Any]] = {}

    def __enter__(self) -> "UnitReader":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._store.close()

    def names(self) -> list[str]:
        """Names of the arrays, in the schema's order."""
        return [name for name in SCHEMA[self.attrs[_STAGE]] if self.has(name)]

    def has(self, name: str) -> bool:
        return f"{name}/zarr.json" in self._store._zf.NameToInfo

    def array(self, name: str) -> "zarr.Array[Any]":
        """The Zarr array itself, for slicing."""
        if name not in self._arrays:
            with _damage_named(self.path):
                found = self._group[name]
            assert isinstance(found, zarr.Array)
            self._arrays[name] = found
        return self._arrays[name]

    def length(self, name: str) -> int:
        return int(self.array(name).shape[0])

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows start..stop of an array (all by default), decoded."""
        array = self.array(name)
        with _damage_named(self.path):
            return np.asarray(array[start:stop])

    def recompute_digest(self) -> str:
        """The digest of what is really there, shard by shard; differs from `digest` if the file is damaged."""
        hashes = {}
        for name in self.names():
            array = self.array(name)
            hashes[name] = _array_hash(name, array.dtype, array.shape)
            for start in range(0, array.shape[0], SHARD_ROWS):
                piece = np.ascontiguousarray(self.read(name, start, start + SHARD_ROWS))
                hashes[name].update(piece.data)
        return _unit_digest({name: h.hexdigest() for name, h in hashes.items()}, dict(self.attrs))


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Whatever zarr, a codec or the JSON reader makes of a damaged file becomes one error that says what to do."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise SmlmbatchError(f"{path}: is damaged ({type(error).__name__}: {error}); `smlmbatch clean --damaged` removes it") from error


def _root_attrs(path: Path) -> dict[str, Any]:
    """Attributes of a sealed unit, read without Zarr (fast, and fails on what is not sealed)."""
    try:
        with zipfile.ZipFile(path) as file:
            attrs = json.loads(file.read(_ROOT))["attributes"]
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise SmlmbatchError(f"{path}: is not a whole unit ({error}); `smlmbatch clean --damaged` removes it") from error
    if _DIGEST not in attrs:
        raise SmlmbatchError(f"{path}: is not sealed; `smlmbatch clean --damaged` removes it")
    return dict(attrs)


def sealed_digest(path: Path) -> str:
    """The digest a unit was sealed with, without reading its arrays."""
    return str(_root_attrs(path)[_DIGEST])


def whole_digest(path: Path) -> str | None:
    """The digest of a unit that really holds what it was sealed with; None if it is damaged. Reads everything."""
    try:
        with UnitReader(path) as unit:
            return unit.digest if unit.recompute_digest() == unit.digest else None
    except SmlmbatchError:
        return None


def origin_of(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """(made_of, made_by) of a unit, without reading its arrays."""
    attrs = _root_attrs(path)
    return attrs.get(_MADE_OF, {}), attrs.get(_MADE_BY, {})


@contextmanager
def unit_writer(path: Path, stage: str) -> Iterator[UnitWriter]:
    """A writer that is sealed when the block ends well and abandoned when it doesn't."""
    writer = UnitWriter(path, stage)
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise
    writer.close()
