"""Zip archives: one table is read through, several are listed, nothing is ever written, and bombs are refused."""

import io
import zipfile

import numpy as np
import pytest

from smlmbatch.errors import InputError
from smlmbatch.ingest.archive import checked_size, data_members, open_member, opened_zip, refuse_bomb, unpacked
from smlmbatch.ingest.columns import Overrides
from smlmbatch.ingest.recognise import recognise
from tests.ingest.reading import damage_is_told, read

N = 400
CSV = "x_nm,y_nm,frame\n" + "".join(f"{k}.5,{2 * k},{k // 3}\n" for k in range(N))
TS = '"id","frame","x [um]","y [um]"\n' + "".join(f"{k},{k + 1},{k}.5,2\n" for k in range(N))


def pack(members, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_one_table_is_read_through(write, ingest, compression):
    found = ingest(write("field.zip", pack({"a/field.csv": CSV}, compression)))
    got = found.by_row()
    np.testing.assert_allclose(got["x_nm"], np.arange(N) + 0.5)
    np.testing.assert_array_equal(got["frame"], np.arange(N) // 3)
    assert (found.attrs["format"], found.attrs["members"]) == ("table", [["a/field.csv", 0]])


def test_a_programs_table_and_its_broken_record(write):
    found = read(write("field.csv.zip", pack({"field.csv": TS.replace("200.5", "oops")})))
    assert found.source.format == "thunderstorm"
    assert found.row.tolist() == [row for row in range(N) if row != 200]
    np.testing.assert_allclose(found.x_nm, found.row * 1e3 + 500)
    assert found.source.malformed.first.startswith("record 200 ")


SEVERAL = {"a.csv": CSV, "b.csv": CSV}
CASES = {
    "two tables": (SEVERAL, "unreadable", "a.csv, b.csv"),
    "a table and a note": ({"a.csv": CSV, "README": "hello"}, "unreadable", "a.csv"),
    "no table": ({"a.tif": "II*", "b.tif": "II*"}, "ignored", "archive"),
    "an Office document": ({"[Content_Types].xml": "<a/>", "xl/sheet.xml": "<b/>"}, "ignored", "archive"),
    "a folder only": ({"a/": ""}, "ignored", "archive"),
    "ImageJ outlines": ({"a.roi": "Iout", "b.roi": "Iout"}, "ignored", "archive"),
    "HDF5": ({"a.hdf5": b"\x89HDF\r\n\x1a\n" + bytes(9)}, "unreadable", "a.hdf5"),
    "a text": ({"a.txt": "hello\n"}, "ignored", "text"),
    "nothing in it": ({"a.csv": ""}, "unreadable", "a.csv"),
    "a pickle of PyTorch": ({"archive/data.pkl": b"\x80\x02"}, "ignored", "archive"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_an_archive_is(write, name):
    members, kind, words = CASES[name]
    seen = recognise(write("some.zip", pack(members)), overrides=Overrides())
    assert seen.kind == kind
    assert words in seen.reason


def test_pickles_are_told(write):
    assert "pickle" in recognise(write("emitters.pt", pack({"archive/data.pkl": b"\x80\x02"})), overrides=Overrides()).reason


@pytest.mark.parametrize("name", ["../../escape.csv", "/escape.csv", "C:\\escape.csv"])
def test_hostile_names_write_nothing(write, tmp_path, name):
    path = write("in/field.zip".partition("/")[2], pack({name: CSV}))
    before = sorted(tmp_path.rglob("*"))
    assert read(path).tally.n == N
    assert sorted(tmp_path.rglob("*")) == before
    assert not list(tmp_path.parent.glob("*escape*"))


def test_a_bomb_is_refused(write):
    path = write("bomb.zip", _changed(pack({"field.csv": CSV}), 24, (300 << 20).to_bytes(4, "little")))  # the declared size
    seen = recognise(path, overrides=Overrides())
    assert seen.kind == "unreadable"
    assert "would unpack from" in seen.reason
    with pytest.raises(InputError, match="would unpack from"):
        read(path, format="table")


def test_the_bound_on_bombs(tmp_path):
    refuse_bomb(tmp_path, "x", packed_bytes=10 << 20, unpacked_bytes=1000 << 20)
    refuse_bomb(tmp_path, "x", packed_bytes=0, unpacked_bytes=256 << 20)
    with pytest.raises(InputError, match="x would unpack from 10,485,760 to 1,048,576,001 bytes"):
        refuse_bomb(tmp_path, "x", packed_bytes=10 << 20, unpacked_bytes=(1000 << 20) + 1)


def _changed(raw, at, value, entry=b"PK\x01\x02"):
    raw = bytearray(raw)
    start = raw.index(entry) + at
    raw[start : start + len(value)] = value
    return bytes(raw)


def test_a_member_larger_than_it_says(write):
    """The directory declares 100 bytes: no more are read, and the checksum shows it."""
    raw = _changed(pack({"field.csv": CSV}), 24, (100).to_bytes(4, "little"))
    with pytest.raises(InputError, match=r"can't be read|header and no"):
        read(write("f.zip", raw))


@pytest.mark.parametrize(("at", "value"), [(8, b"\x01\x00"), (10, b"\x63\x00")])
def test_encrypted_or_exotic(write, at, value):
    raw = pack({"field.csv": CSV})
    path = write("f.zip", _changed(_changed(raw, at, value), at - 2, value, entry=b"PK\x03\x04"))
    assert recognise(path, overrides=Overrides()).kind == "unreadable"
    with pytest.raises(InputError, match="zip archive can't be read"):
        read(path, format="table")


def test_the_same_name_twice(write):
    raw = pack({"a.csv": CSV, "b.csv": CSV}).replace(b"b.csv", b"a.csv")
    with opened_zip(write("f.zip", raw)) as file, pytest.raises(InputError, match="two members are called"):
        data_members(file.filename, file)


def test_a_member_without_a_name(write):
    raw = pack({"a.csv": CSV}).replace(b"a.csv", b"\0.csv")
    assert recognise(write("f.zip", raw), overrides=Overrides()).kind in ("ignored", "unreadable")


def test_streams_start_anew(write):
    path = write("f.zip", pack({"a.csv": CSV}))
    for _ in range(2):
        with open_member(path, "a.csv") as stream:
            assert stream.read(7) == b"x_nm,y_"
            buffer = bytearray(5)
            assert stream.readinto(buffer) == 5
            assert buffer == b"nm,fr"
    with unpacked(path) as (stream, size, name):
        assert (stream.read(), size, name) == (CSV.encode(), len(CSV), "a.csv")
    with opened_zip(path) as file:
        assert checked_size(path, file.getinfo("a.csv")) == len(CSV)


def test_random_damage(write):
    rng = np.random.default_rng(8)
    damage_is_told(write("f.zip", pack({"a.csv": CSV})), rng)
    damage_is_told(write("f.zip", pack({"a.csv": TS}, zipfile.ZIP_BZIP2)), rng)
    damage_is_told(write("f.zip", pack({"a.csv": CSV}, zipfile.ZIP_LZMA)), rng)
    damage_is_told(write("f.zip", pack({"a.csv": CSV}, zipfile.ZIP_STORED)), rng)
