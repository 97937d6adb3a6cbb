"""NumPy files of one's own, and headers that lie."""

import io
import zipfile

import numpy as np
import pytest

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides
from smlmbatch.ingest.npy import PIECE_BYTES, open_own_npy, read_npy_head
from smlmbatch.ingest.recognise import recognise
from tests.ingest.reading import damage_is_told, read


def table(n=100):
    records = np.zeros(n, dtype=[("x_nm", "f8"), ("y_nm", ">f4"), ("frame", "u2"), ("patch", "f4", (3, 3))])
    records["x_nm"], records["y_nm"], records["frame"] = np.arange(n) * 10.5, np.arange(n), np.arange(n) // 2
    return records


@pytest.fixture
def npy(tmp_path):
    def put(array, name="field.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return put


def npy_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_header(text, data=b"", version=b"\x01\x00"):
    head = text.encode("latin-1").ljust(117) + b"\n"
    size = len(head).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + head + data


def test_records_under_our_names(npy, ingest):
    found = ingest(npy(table()))
    got = found.by_row()
    np.testing.assert_allclose(got["x_nm"], np.arange(100) * 10.5)
    np.testing.assert_array_equal(got["frame"], np.arange(100) // 2)
    assert found.attrs["format"] == "table"
    assert "members" not in found.attrs


def test_records_by_a_map(npy):
    found = read(npy(table().astype([("a", "f4"), ("b", "f4"), ("t", "i4"), ("p", "f4", (3, 3))])), map="x=a,y=b,unit=um")
    np.testing.assert_allclose(found.y_nm, np.arange(100) * 1e3)


def test_more_than_one_piece(npy):
    n = PIECE_BYTES // table(1).dtype.itemsize * 2 + 5
    found = read(npy(table(n)))
    np.testing.assert_array_equal(found.row, np.arange(n))
    np.testing.assert_allclose(found.x_nm, np.arange(n) * 10.5)


def test_zipped_by_a_mac(write, ingest):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("field.npy", npy_bytes(table()))
        file.writestr("__MACOSX/._field.npy", b"junk")
    found = ingest(write("field.zip", content.getvalue()))
    assert found.attrs["members"] == [["field.npy", 0]]
    assert found.attrs["n"] == 100


@pytest.mark.parametrize("array", [np.zeros((5, 3)), np.zeros(7), np.float64(1.0), np.zeros((2, 2), dtype=table().dtype)])
def test_plain_arrays_are_refused(npy, array):
    path = npy(array)
    seen = recognise(path, overrides=Overrides())
    assert seen.kind == "unreadable"
    assert "names" in seen.reason
    assert "CSV" in seen.mend
    with pytest.raises(InputError, match="no column names"):
        open_own_npy(path, Overrides())


def test_npz_is_refused(tmp_path):
    np.savez(tmp_path / "f.npz", a=np.zeros((4, 2)), b=np.zeros(3))
    seen = recognise(tmp_path / "f.npz", overrides=Overrides())
    assert seen.kind == "unreadable"
    assert "a.npy, b.npy" in seen.reason


def test_a_pickle_is_never_run(npy, tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    path = npy(np.array([Trap()], dtype=object))
    with pytest.raises(InputError, match="a pickle and can run code"):
        read(path)
    assert not (tmp_path / "ran").exists()


DESCR = "[('x_nm', '<f8'), ('y_nm', '<f8')]"
LIES = {
    "more records than bytes": (f"{{'descr': {DESCR}, 'fortran_order': False, 'shape': (3,)}}", "ends early: "),
    "absurd": (f"{{'descr': {DESCR}, 'fortran_order': False, 'shape': ({10**30},)}}", "ends early: "),
    "negative": (f"{{'descr': {DESCR}, 'fortran_order': False, 'shape': (-1,)}}", "can't be understood"),
    "empty records": ("{'descr': [], 'fortran_order': False, 'shape': (10000000000000,)}", "can't be understood"),
    "huge records": ("{'descr': [('x', 'f8', (100000000, 100000000))], 'fortran_order': False, 'shape': (1,)}", "can't be understood"),
    "code": ("__import__('os').system('true')", "can't be understood"),
    "deep": ("(" * 5000, "can't be understood"),
    "no dict": ("[1, 2]", "can't be understood"),
    "no type": ("{'descr': 'zzz', 'fortran_order': False, 'shape': (1,)}", "can't be understood"),
}


@pytest.mark.parametrize("name", LIES)
def test_headers_that_lie(write, name):
    text, words = LIES[name]
    with pytest.raises(InputError, match=words):
        read(write("f.npy", with_header(text, bytes(32))))


@pytest.mark.parametrize("raw", [b"\x93NUMPY", b"\x93NUMPY\x07\x00" + bytes(50), b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(50)])
def test_headers_that_are_none(write, raw):
    with pytest.raises(InputError, match="can't be understood"):
        read_npy_head(write("f.npy", raw))


def test_second_version_of_the_header(write):
    data = np.arange(6.0).tobytes()
    path = write("f.npy", with_header(f"{{'descr': {DESCR}, 'fortran_order': False, 'shape': (3,)}}", data, version=b"\x02\x00"))
    assert read(path).y_nm.tolist() == [1, 3, 5]


def test_random_damage(npy):
    assert damage_is_told(npy(table()), np.random.default_rng(3)) > 5
