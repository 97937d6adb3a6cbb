"""The container of MATLAB 5: against scipy's reader, and against damage."""

import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from smlmbatch.errors import InputError
from smlmbatch.ingest.matfile import Variable, read_mat5

KINDS = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


def same(ours: Variable, theirs) -> bool:
    """Whether scipy found the same."""
    if theirs.dtype.names:
        flat = theirs.ravel(order="F")
        fields = theirs.dtype.names
        parts = [record[name] for record in flat for name in fields]
        return ours.fields == fields and len(parts) == len(ours.parts) and all(same(a, b) for a, b in zip(ours.parts, parts, strict=True))
    if theirs.dtype == object:
        cells = theirs.ravel(order="F")
        return ours.shape == theirs.shape and all(same(a, b) for a, b in zip(ours.parts, cells, strict=True))
    if theirs.dtype.kind == "U":
        return ours.numbers is None
    return ours.shape == theirs.shape and np.array_equal(ours.numbers, theirs.ravel(order="F"), equal_nan=theirs.dtype.kind == "f")


def compare(path):
    theirs = scipy.io.loadmat(path)
    ours = {variable.name: variable for variable in read_mat5(path)}
    assert set(ours) == {name for name in theirs if not name.startswith("__")}
    for name, variable in ours.items():
        assert same(variable, theirs[name]), name


@pytest.mark.parametrize("compressed", [False, True])
def test_everything_scipy_writes(tmp_path, compressed):
    cells = np.empty((2, 3), dtype=object)
    for k, index in enumerate(np.ndindex(2, 3)):
        cells[index] = np.arange(k * 2.0).reshape(k, 2)
    structs = np.zeros((1, 4), dtype=[("x", object), ("name", object)])
    for k in range(4):
        structs[0, k]["x"], structs[0, k]["name"] = np.float32(k), "abc"[:k]
    variables = {
        "matrix": np.arange(12.0).reshape(3, 4),
        "text": "hello",
        "empty": np.zeros((0, 0)),
        "nested": {"loc": {"xnm": np.arange(5.0), "n": 3}, "words": "a b"},
        "cells": cells,
        "structs": structs,
        "logical": np.array([[True, False]]),
        "cube": np.arange(24, dtype="i2").reshape(2, 3, 4),
    }
    scipy.io.savemat(tmp_path / "f.mat", variables, do_compression=compressed)
    compare(tmp_path / "f.mat")


@settings(max_examples=60, deadline=None)
@given(
    array=st.sampled_from(KINDS).flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=6))),
    compressed=st.booleans(),
)
def test_any_numbers(tmp_path_factory, array, compressed):
    path = tmp_path_factory.mktemp("numbers") / "f.mat"
    scipy.io.savemat(path, {"a": array, "inner": {"b": array}}, do_compression=compressed)
    compare(path)


def test_complex_and_sparse_are_no_columns(tmp_path):
    scipy.io.savemat(tmp_path / "f.mat", {"c": np.array([[1 + 2j, 3]]), "s": scipy.sparse.eye(3).tocsc(), "x": np.arange(3.0)})
    assert [variable.numbers is None for variable in read_mat5(tmp_path / "f.mat")] == [True, True, False]


def element(kind, content, order="<"):
    return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(group, shape, *rest, order="<", name=b"a"):
    parts = [element(6, struct.pack(f"{order}II", group, 0), order), element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)]
    return element(14, b"".join([*parts, element(1, name, order), *rest]), order)


def mat(*elements, order="<"):
    return b"MATLAB 5.0 MAT-file".ljust(124) + (b"\x00\x01IM" if order == "<" else b"\x01\x00MI") + b"".join(elements)


def test_big_endian(write):
    values = np.arange(4.0)
    raw = mat(matrix(6, (4, 1), element(9, values.astype(">f8").tobytes(), ">"), order=">"), order=">")
    (found,) = read_mat5(write("f.mat", raw))
    assert (found.name, found.shape, found.numbers.tolist()) == ("a", (4, 1), values.tolist())


def test_doubles_stored_as_bytes(write):
    """MATLAB packs whole numbers into the smallest type that holds them, and up to four bytes into the tag."""
    small = struct.pack("<HH4s", 2, 3, bytes([7, 8, 9, 0]))
    (found,) = read_mat5(write("f.mat", mat(matrix(6, (1, 3), small))))
    assert found.numbers.tolist() == [7, 8, 9]


DEEP = matrix(6, (1, 1), element(9, bytes(8)))
for _ in range(40):
    DEEP = matrix(1, (1, 1), DEEP)
LIES = {
    "a billion cells": matrix(1, (1, 10**9)),
    "cells without end": matrix(1, (2**31 - 1, 2**31 - 1)),
    "negative cells": matrix(1, (-1, 5)),
    "structs without end": matrix(2, (1, 10**9), element(5, struct.pack("<i", 8)), element(1, b"x".ljust(8, b"\0"))),
    "field names of no width": matrix(2, (1, 1), element(5, struct.pack("<i", 0)), element(1, b"x".ljust(8, b"\0"))),
    "numbers beyond the file": matrix(6, (10**6, 10**3), element(9, bytes(8))),
    "an element beyond the file": struct.pack("<II", 14, 2**32 - 8),
    "within each other without end": DEEP,
    "numbers of no type": matrix(6, (1, 1), element(99, bytes(8))),
    "a cell that is no matrix": matrix(1, (1, 1), element(9, bytes(8))),
    "compressed rubbish": element(15, b"rubbish!"),
    "compressed and cut": element(15, zlib.compress(matrix(6, (1, 100), element(9, np.random.default_rng(0).bytes(800))))[:200]),
    "no dimensions": matrix(6, (), element(9, bytes(8))),
    "a short tag of five bytes": struct.pack("<HH4s", 2, 5, bytes(4)),
}


@pytest.mark.parametrize("name", LIES)
def test_files_that_lie(write, name):
    with pytest.raises(InputError, match="the MATLAB file is damaged"):
        read_mat5(write("f.mat", mat(LIES[name])))


def test_a_bomb_is_refused(write):
    packer = zlib.compressobj(1)
    packed = b"".join([*(packer.compress(bytes(16 << 20)) for _ in range(17)), packer.flush()])
    with pytest.raises(InputError, match="a variable would unpack from"):
        read_mat5(write("f.mat", mat(element(15, packed))))


def test_no_version_5(write):
    with pytest.raises(InputError, match="no header of version 5"):
        read_mat5(write("f.mat", b"MATLAB 5.0 MAT-file".ljust(128)))


@pytest.mark.parametrize("compressed", [False, True])
def test_random_damage(tmp_path, compressed):
    path = tmp_path / "f.mat"
    cells = np.empty((1, 3), dtype=object)
    cells[0, :] = [{"points": np.ones((3, 2)), "sigma": np.ones((3, 1))} for _ in range(3)]
    scipy.io.savemat(path, {"a": {"x": np.arange(9.0), "y": np.arange(9.0)}, "c": cells}, do_compression=compressed)
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    for k in range(400):
        raw = bytearray(whole)
        if k % 4 == 0:
            del raw[rng.integers(len(raw)) :]
        for at in rng.integers(len(raw), size=3) if raw else ():
            raw[at] = rng.integers(256)
        path.write_bytes(raw)
        with suppress(InputError):
            read_mat5(path)
