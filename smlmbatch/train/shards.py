"""Shards on disk: written once, read by rows that follow one another.

A shard is one .npy file for each array. A ragged array (samples with different numbers of rows) lies in NAME with all its rows one below
the other, and NAME.ends says where each sample's end. Rows are read by one large request each, not through a memory map: page faults ask a
cluster's file system for 128 KiB at a time.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError
from smlmbatch.store.units import appears_whole

ENDS = "ends"  # NAME.ends


def shard_path(folder: Path, number: int, name: str) -> Path:
    return folder / f"{number:06d}.{name}.npy"


def has_shard(folder: Path, number: int, names: Iterable[str], *, ragged: Iterable[str]) -> bool:
    """Whether all its files are there."""
    files = (*names, *(f"{name}.{ENDS}" for name in ragged))
    return all(shard_path(folder, number, name).exists() for name in files)


def write_shard(folder: Path, number: int, arrays: Mapping[str, Any], *, ragged: Iterable[str]) -> None:
    """Each file appears whole; of a ragged array (a list of arrays, one for each sample) first the rows, then their ends."""
    ragged = frozenset(ragged)
    for name, values in arrays.items():
        _write(shard_path(folder, number, name), np.concatenate(values) if name in ragged else values)
        if name in ragged:
            ends = np.cumsum([len(sample) for sample in values], dtype=np.int64)
            _write(shard_path(folder, number, f"{name}.{ENDS}"), ends)


def _write(path: Path, values: NDArray[Any]) -> None:
    with appears_whole(path) as partial, partial.open("wb") as file:
        np.save(file, np.ascontiguousarray(_smallest(values)), allow_pickle=False)  # row by row, as `read_rows` expects


def _smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Counts in the smallest type that holds them: 15,000 pairs of 128 px are half a gigabyte instead of one."""
    return values.astype(np.min_scalar_type(values.max())) if values.dtype.kind == "u" and values.size else values


def read_rows(path: Path, first: int, last: int) -> NDArray[Any]:
    """Rows first ... last - 1 of an array, and nothing else of it.

    Raises
    ------
    InputError
        the file has fewer rows than that
    """
    with path.open("rb", buffering=0) as file:
        shape, dtype = _header(file)
        found = np.empty((max(0, last - first), *shape[1:]), dtype)
        file.seek(first * dtype.itemsize * math.prod(shape[1:]), 1)
        view, done = found.reshape(-1).view(np.uint8).data, 0
        while done < len(view) and (got := file.readinto(view[done:])):
            done += got
    if last > shape[0] or done < len(view):
        raise InputError(path, f"ends before row {last}", "a whole shard of training material", "delete the folder it lies in")
    return found


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type; the file then stands at the first row."""
    np.lib.format.read_magic(file)  # 1.0 for all that has no names of fields
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype


def sample_ends(folder: Path, number: int, name: str, first: int, last: int) -> NDArray[np.int64]:
    """Where the rows of samples first ... last - 1 of a ragged array begin, and where the last one's end: (last - first + 1,) i8."""
    ends = read_rows(shard_path(folder, number, f"{name}.{ENDS}"), max(0, first - 1), last)
    return ends if first else np.concatenate([np.zeros(1, np.int64), ends])
