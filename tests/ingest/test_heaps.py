"""Heaps of HDF5 on which the library would run for ever."""

import struct

import h5py
import pytest

from smlmbatch.errors import InputError
from smlmbatch.ingest import heaps
from smlmbatch.ingest.heaps import refuse_endless_heaps


@pytest.fixture
def with_words(tmp_path):
    """An HDF5 file with words of any length in attributes."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        for k in range(300):
            file.create_group(f"g{k}").attrs["word"] = "a word of some length " * (k % 40)
    return tmp_path / "f.h5"


def free_space(raw):
    """Byte of the free space's size in the first heap."""
    start = raw.index(b"GCOL")
    at = start + 16
    while True:
        index, _, _, size = struct.unpack_from("<HHIQ", raw, at)
        if index == 0:
            return start, at + 8
        at += 16 + -(-size // 8) * 8


def test_what_the_library_writes_is_sound(with_words):
    assert with_words.read_bytes().count(b"GCOL\x01") > 3
    refuse_endless_heaps(with_words)


def test_a_free_space_without_size(with_words):
    raw = bytearray(with_words.read_bytes())
    start, at = free_space(raw)
    raw[at : at + 8] = bytes(8)
    with_words.write_bytes(raw)
    with pytest.raises(InputError, match=f"the heap at byte {start} has a free space of no size"):
        refuse_endless_heaps(with_words)


@pytest.mark.parametrize("before", [50, 56, 57, 60, 63, 64])
def test_a_heap_across_two_pieces(tmp_path, monkeypatch, before):
    monkeypatch.setattr(heaps, "_PIECE_BYTES", 64)
    bad = b"GCOL\x01\0\0\0" + (48).to_bytes(8, "little") + bytes(32)
    (tmp_path / "f").write_bytes(bytes(before) + bad + bytes(100))
    with pytest.raises(InputError, match=f"at byte {before} "):
        refuse_endless_heaps(tmp_path / "f")


@pytest.mark.parametrize("size", [2**64 - 1, 2**63, 0, 3])
def test_sizes_that_lie_end(tmp_path, size):
    raw = b"GCOL\x01\0\0\0" + size.to_bytes(8, "little") + struct.pack("<HHIQ", 1, 1, 0, size) + bytes(5)
    (tmp_path / "f").write_bytes(raw)
    refuse_endless_heaps(tmp_path / "f")
