"""Real binary files, where they are present, against the manifest and independent readings."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io

from smlmbatch.errors import InputError
from tests.ingest.conftest import ingest_file

FILES = {
    "minflux_npc_2d_npy/2D_ValidOnly.npy.zip": ("minflux", {}),
    "npc_veatch_mat/sampledata_npc.mat": ("table", {"unit": "nm"}),
    "origami_tud_particles_mat/tud_dol50_filtered.mat": ("particles", {"pixel_size_nm": 130}),
}


@pytest.mark.parametrize("name", FILES)
def test_against_the_manifest(data_folder, tmp_path, name):
    known = json.loads((data_folder / "real/manifest.json").read_text())[name]
    format_name, row = FILES[name]
    attrs = ingest_file(data_folder / "real" / name, tmp_path, **row).attrs
    assert (attrs["format"], attrs["n"], attrs["n_read"], attrs["dropped"]) == (format_name, known["n"], known["n"], {})
    for axis, column in enumerate(("x_nm", "y_nm")):
        assert [corner[axis] for corner in attrs["extent_nm"]] == pytest.approx(known[column], abs=0.06)
    if "precision_nm" in known:
        assert attrs["precision_median_nm"] == pytest.approx(known["precision_nm"]["median"], abs=0.006)
    assert attrs["frame_base"] is None


def test_minflux(data_folder, tmp_path):
    path = data_folder / "real/minflux_npc_2d_npy/2D_ValidOnly.npy.zip"
    with zipfile.ZipFile(path) as file:
        records = np.load(io.BytesIO(file.read("2D_ValidOnly.npy")))
    found = ingest_file(path, tmp_path)
    got = found.by_row()
    for k, name in enumerate(("x_nm", "y_nm")):
        np.testing.assert_allclose(got[name], records["itr"]["loc"][:, -1, k] * 1e9, atol=1e-3)
    np.testing.assert_array_equal(got["group"], records["tid"])
    assert len(np.unique(got["group"])) == 1250
    assert (found.attrs["dims"], found.attrs["members"]) == (2, [["2D_ValidOnly.npy", 0]])


def test_nuclear_pores_in_matlab(data_folder, tmp_path):
    path = data_folder / "real/npc_veatch_mat/sampledata_npc.mat"
    with pytest.raises(InputError, match="doesn't say in which unit"):
        ingest_file(path, tmp_path)
    theirs = scipy.io.loadmat(path)["data"][0, 0]
    for row in ({"unit": "nm"}, {"map": "x=data.x,y=y,unit=nm"}):
        got = ingest_file(path, tmp_path, **row).by_row()
        np.testing.assert_allclose(got["x_nm"], theirs["x"].ravel(), atol=1e-3)
        np.testing.assert_allclose(got["y_nm"], theirs["y"].ravel(), atol=1e-3)


def test_particles_in_matlab(data_folder, tmp_path):
    path = data_folder / "real/origami_tud_particles_mat/tud_dol50_filtered.mat"
    cells = scipy.io.loadmat(path, squeeze_me=True)["particles"]
    found = ingest_file(path, tmp_path, pixel_size_nm=130)
    got = found.by_row()
    points = np.concatenate([cell["points"].item() for cell in cells])
    np.testing.assert_allclose(got["x_nm"], points[:, 0] * 130, atol=1e-4)
    np.testing.assert_allclose(got["precision_nm"], np.concatenate([cell["sigma"].item() for cell in cells]) * 130, rtol=1e-6)
    sizes = [len(cell["points"].item()) for cell in cells]
    np.testing.assert_array_equal(got["group"], np.repeat(np.arange(441), sizes))
    assert [row for _, row in found.attrs["members"]] == np.cumsum([0, *sizes[:-1]]).tolist()


def test_smlm_against_its_own_manifest(data_folder, tmp_path):
    path = data_folder / "real/format_samples_locan/SMLM_dstorm_data.smlm"
    with zipfile.ZipFile(path) as file:
        (table,) = json.loads(file.read("manifest.json"))["files"]
    attrs = ingest_file(path, tmp_path).attrs
    assert (attrs["format"], attrs["n"], attrs["frame_base"]) == ("smlm", int(table["rows"]), 0)
    for axis, name in enumerate(("position_x", "position_y")):
        assert [corner[axis] for corner in attrs["extent_nm"]] == pytest.approx([table["min"][name], table["max"][name]])


def test_decode(data_folder, tmp_path):
    folder = data_folder / "real/format_samples_locan"
    with h5py.File(folder / "decode_dstorm_data.h5") as file:
        xyz, sigma, frame = (file[f"data/{name}"][:] for name in ("xyz", "xyz_sig", "frame_ix"))
    found = ingest_file(folder / "decode_dstorm_data.h5", tmp_path)
    got = found.by_row()
    np.testing.assert_allclose(got["x_nm"], (xyz[:, 0] + 0.5) * 127, atol=2e-3)
    np.testing.assert_allclose(got["y_nm"], (xyz[:, 1] + 0.5) * 117, atol=2e-3)
    np.testing.assert_allclose(got["precision_nm"], (sigma[:, 0] * 127 + sigma[:, 1] * 117) / 2, rtol=1e-5)
    np.testing.assert_array_equal(got["frame"], frame)
    assert (found.attrs["n"], found.attrs["dims"]) == (96, 3)
    with pytest.raises(InputError, match="no localisations"):
        ingest_file(folder / "decode_dstorm_data_empty.h5", tmp_path)


def test_an_asdf_file_is_told_by_its_name(data_folder, tmp_path):
    with pytest.raises(InputError, match="this is an ASDF file"):
        ingest_file(data_folder / "real/format_samples_locan/npc_gp210.asdf", tmp_path)
