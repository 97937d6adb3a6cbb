"""Vendor files, parsed back with other means than the readers'."""

import csv
import time

import h5py
import numpy as np
import pyarrow.csv
import pytest
import yaml

from smlmbatch.simulate.blinking import BLINKING, Camera, blink
from smlmbatch.simulate.writers import write_picasso, write_thunderstorm

CAMERA = Camera(pixel_nm=117.0, psf_nm=140.0, background_sd=6.0, n_frames=2000)
SIZE_NM = (16_000.0, 12_000.0)
HEADER = (
    b'"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","offset [photon]","bkgstd [photon]","chi2","uncertainty_xy [nm]"\n'
)


@pytest.fixture(scope="module")
def locs():
    rng = np.random.default_rng(3)
    return blink(rng, rng.uniform(200, 11_800, (3000, 2)), fluorophore=BLINKING, camera=CAMERA)


def test_thunderstorm_table_reads_back_within_its_printing(tmp_path, locs):
    path = tmp_path / "a b" / "field.csv"
    write_thunderstorm(path, locs, CAMERA, SIZE_NM)
    assert path.read_bytes().startswith(HEADER)
    assert b"\r" not in path.read_bytes()
    table = pyarrow.csv.read_csv(path)
    for name, values in (
        ("x [nm]", locs.x_nm),
        ("y [nm]", locs.y_nm),
        ("sigma [nm]", locs.psf_nm),
        ("intensity [photon]", locs.photons),
        ("bkgstd [photon]", np.full(len(locs), 6.0)),
        ("offset [photon]", np.full(len(locs), 36.0)),
        ("uncertainty_xy [nm]", locs.precision_nm),
        ("chi2", locs.chi2),
    ):
        np.testing.assert_allclose(table[name].to_numpy(), values, rtol=0, atol=0.5e-3 + 1e-9, err_msg=name)
    assert np.array_equal(table["frame"].to_numpy(), locs.frame + 1)
    assert np.array_equal(table["id"].to_numpy(), np.arange(1, len(locs) + 1))


def test_thunderstorm_prints_plain_decimals(tmp_path, locs):
    path = tmp_path / "field.csv"
    write_thunderstorm(path, locs, CAMERA, SIZE_NM)
    with path.open(newline="") as file:
        cells = [cell for row in list(csv.reader(file))[1:] for cell in row]
    assert all(set(cell) <= set("0123456789.-") and len(cell.partition(".")[2]) <= 3 for cell in cells)


def test_picasso_file_is_in_pixels_with_integer_centres(tmp_path, locs):
    path = tmp_path / "field_locs.hdf5"
    write_picasso(path, locs, CAMERA, SIZE_NM)
    with h5py.File(path) as file:
        assert list(file) == ["locs"]
        records = file["locs"][()]
    assert records.dtype["frame"] == np.uint32
    assert np.array_equal(records["frame"], locs.frame)
    # a float32 pixel coordinate below 256 has steps of 2^-16 px
    half_step_nm = 117 * 2.0**-17
    np.testing.assert_allclose((records["x"].astype(float) + 0.5) * 117, locs.x_nm, rtol=0, atol=1.01 * half_step_nm)
    np.testing.assert_allclose((records["y"].astype(float) + 0.5) * 117, locs.y_nm, rtol=0, atol=1.01 * half_step_nm)
    np.testing.assert_allclose(records["lpx"] * 117.0, locs.precision_nm, rtol=1e-6)
    np.testing.assert_allclose(records["sy"] * 117.0, locs.psf_nm, rtol=1e-6)
    np.testing.assert_allclose(records["photons"], locs.photons, rtol=1e-6)
    assert set(records["bg"]) == {np.float32(36.0)}


def test_both_formats_say_the_same_about_a_spot_in_a_pixels_middle(tmp_path, locs):
    """A spot in the middle of the pixel (3, 5): ThunderSTORM says 3.5 and 5.5 pixels in nm, Picasso says 3 and 5."""
    one = locs.take(np.array([0]))
    one.x_nm[:], one.y_nm[:] = 3.5 * 117, 5.5 * 117
    write_thunderstorm(tmp_path / "t.csv", one, CAMERA, SIZE_NM)
    write_picasso(tmp_path / "p.hdf5", one, CAMERA, SIZE_NM)
    table = pyarrow.csv.read_csv(tmp_path / "t.csv")
    with h5py.File(tmp_path / "p.hdf5") as file:
        assert (file["locs"]["x"][0], file["locs"]["y"][0]) == (3.0, 5.0)
    assert (table["x [nm]"][0].as_py(), table["y [nm]"][0].as_py()) == (409.5, 643.5)


def test_picasso_metadata_is_a_yaml_of_several_documents(tmp_path, locs):
    write_picasso(tmp_path / "field_locs.hdf5", locs, CAMERA, SIZE_NM)
    documents = list(yaml.safe_load_all((tmp_path / "field_locs.yaml").read_text()))
    assert len(documents) == 2
    assert documents[0]["Frames"] == 2000
    assert (documents[0]["Width"], documents[0]["Height"]) == (137, 103)  # 16000 / 117 = 136.8, 12000 / 117 = 102.6
    assert documents[1]["Pixelsize"] == 117.0


def test_equal_locs_give_equal_bytes_at_another_time(tmp_path, locs):
    for name in ("a", "b"):
        write_picasso(tmp_path / name / "f.hdf5", locs, CAMERA, SIZE_NM)
        write_thunderstorm(tmp_path / name / "f.csv", locs, CAMERA, SIZE_NM)
        time.sleep(1.1)  # HDF5's times count seconds
    for file in ("f.hdf5", "f.yaml", "f.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_columns_are_those_of_a_real_picasso_file(tmp_path, locs, real_data):
    write_picasso(tmp_path / "f.hdf5", locs, CAMERA, SIZE_NM)
    real = sorted((real_data / "real" / "origami_cuboctahedron_picasso").glob("*.hdf5"))
    if not real:
        pytest.skip("no real Picasso file")
    with h5py.File(real[0]) as theirs, h5py.File(tmp_path / "f.hdf5") as ours:
        known = theirs["locs"].dtype
        names = ours["locs"].dtype.names
        assert [name for name in known.names if name in names] == list(names)
        assert all(ours["locs"].dtype[name] == known[name] for name in names)


def test_nothing_is_left_where_writing_fails(tmp_path, locs, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pyarrow.csv, "write_csv", full)
    with pytest.raises(OSError, match="No space"):
        write_thunderstorm(tmp_path / "f.csv", locs, CAMERA, SIZE_NM)
    assert list(tmp_path.iterdir()) == []
