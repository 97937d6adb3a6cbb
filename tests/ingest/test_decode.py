"""DECODE's HDF5 files, made here after `decode.utils.emitter_io.save_h5`."""

import h5py
import numpy as np
import pytest

from smlmbatch.errors import InputError
from tests.ingest.reading import damage_is_told, read

N = 40
XYZ = np.stack([np.arange(N) * 1.5 - 0.5, np.arange(N) * 0.25, np.linspace(-300, 200, N)], axis=1).astype("f4")


@pytest.fixture
def decode(tmp_path):
    def put(*, unit="px", px_size=(127.0, 117.0), without=(), **changed):
        data = {
            "xyz": XYZ,
            "xyz_sig": np.tile(np.array([0.1, 0.2, 30], "f4"), (N, 1)),
            "xyz_cr": np.tile(np.array([0.04, 0.09, 100], "f4"), (N, 1)),
            "phot": np.arange(N, dtype="f4") + 500,
            "bg": np.full(N, 3, "f4"),
            "frame_ix": np.arange(N, dtype="i8") // 2,
            "id": np.full(N, -1, "i8"),
        }
        path = tmp_path / "emitter.h5"
        with h5py.File(path, "w") as file:
            for name, values in (data | changed).items():
                if name not in without:
                    file[f"data/{name}"] = values
            meta = file.create_group("meta")
            meta.attrs.update({k: v for k, v in {"xy_unit": unit, "px_size": px_size}.items() if v is not None})
            file.create_group("decode").attrs["version"] = "0.10.0"
        return path

    return put


def test_pixels_of_two_sizes(decode, ingest):
    found = ingest(decode())
    got = found.by_row()
    np.testing.assert_allclose(got["x_nm"], (XYZ[:, 0] + 0.5) * 127, atol=1e-3)
    np.testing.assert_allclose(got["y_nm"], (XYZ[:, 1] + 0.5) * 117, atol=1e-3)
    np.testing.assert_array_equal(got["z_nm"], XYZ[:, 2])
    np.testing.assert_allclose(got["precision_nm"], (0.1 * 127 + 0.2 * 117) / 2, rtol=1e-6)
    assert set(got["precision_z_nm"]) == {30}
    np.testing.assert_array_equal(got["frame"], np.arange(N) // 2)
    np.testing.assert_array_equal(got["photons"], np.arange(N) + 500)
    attrs = found.attrs
    assert (attrs["format"], attrs["unit"], attrs["pixel_size_nm"], attrs["pixel_offset_px"]) == ("decode", "px", 122, 0.5)
    assert attrs["columns"]["x_nm"] == "xyz[0]"


def test_nanometres_keep_the_half_pixel(decode):
    """DECODE multiplies pixels by their size: 0 nm is the first pixel's centre."""
    found = read(decode(unit="nm"))
    np.testing.assert_allclose(found.x_nm, XYZ[:, 0] + 63.5, rtol=1e-6)
    np.testing.assert_allclose(found.precision_nm, 0.15, rtol=1e-6)


def test_empty_columns(decode):
    empty = h5py.Empty("f4")
    found = read(decode(xyz_sig=empty, bg=empty, phot=empty))
    np.testing.assert_allclose(found.precision_nm, (0.2 * 127 + 0.3 * 117) / 2, rtol=1e-6)  # the bound is a variance
    np.testing.assert_allclose(found.precision_z_nm, 10)
    assert not {"background", "photons"} & found.columns.keys()
    assert "precision_nm" not in read(decode(xyz_sig=empty, xyz_cr=empty)).columns


def test_a_pixel_size_for_all_files_is_for_those_that_say_none(decode, ingest):
    assert ingest(decode(), config={"pixel_size_nm": 100.0}).attrs["pixel_size_nm"] == 122
    assert ingest(decode(px_size=None), config={"pixel_size_nm": 100.0}).attrs["pixel_size_nm"] == 100


def test_the_users_pixel_size_wins(decode):
    np.testing.assert_allclose(read(decode(), pixel_size_nm=100).y_nm, (XYZ[:, 1] + 0.5) * 100, rtol=1e-6)
    assert read(decode(px_size=None), pixel_size_nm=100).source.resolved.pixel_size_nm == 100


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"px_size": None}, "no pixel size"),
        ({"px_size": (0.0, 117.0)}, "no pixel size"),
        ({"unit": None}, "unit None"),
        ({"unit": "furlong"}, "unit 'furlong'"),
        ({"unit": np.arange(3)}, "gives the unit"),
        ({"frame_ix": np.arange(5)}, r"/data/frame_ix has shape \(5,\)"),
        ({"xyz": np.zeros((N, 2))}, "no table /data/xyz of three columns"),
        ({"xyz": np.zeros((0, 3)), "without": ("xyz_sig", "xyz_cr", "phot", "bg", "frame_ix")}, "no localisations"),
        ({"xyz": h5py.Empty("f4")}, "no table /data/xyz"),
    ],
)
def test_what_is_missing(decode, changed, words):
    with pytest.raises(InputError, match=words):
        read(decode(**changed))


def test_a_broken_record_in_the_middle(decode):
    xyz = XYZ.copy()
    xyz[7, 1] = np.inf
    found = read(decode(xyz=xyz))
    assert found.row.tolist() == [row for row in range(N) if row != 7]
    np.testing.assert_allclose(found.x_nm[7], (XYZ[8, 0] + 0.5) * 127, rtol=1e-6)
    assert found.tally.dropped["coordinate not finite"] == 1


def test_a_word_that_became_a_list(decode):
    """A damaged type makes the library take a word for a list of any length, and read anywhere in memory."""
    path = decode()
    raw = bytearray(path.read_bytes())
    at = raw.index(b"\x19\x01\x01\x00", raw.index(b"xy_unit\x00"))  # class and kind of the attribute's type
    raw[at + 1] = 5
    path.write_bytes(raw)
    with pytest.raises(InputError, match="unit None"):
        read(path)


def test_random_damage(decode):
    assert damage_is_told(decode(), np.random.default_rng(1)) > 5
