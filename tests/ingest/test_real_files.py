"""Real files of the four formats, where they are present, against the manifest and independent readings."""

import json

import h5py
import numpy as np
import pytest

from tests.ingest.conftest import ingest_file

EGFR_MAP = "x=x,y=y,frame=frame,channel=channel,unit=nm"
FILES = {
    "ecoli_lacy_thunderstorm/*.csv": ("thunderstorm", {}),
    "thunderstorm_3d_csv/*.csv": ("thunderstorm", {}),
    "origami_cuboctahedron_picasso/*.hdf5": ("picasso", {}),
    "smap_sml_mat/*.mat": ("smap", {}),
    "egfr_ereg_cells/*.parquet": ("table", {"map": EGFR_MAP}),
}


@pytest.mark.parametrize("pattern", FILES)
def test_against_the_manifest(data_folder, tmp_path, pattern):
    manifest = json.loads((data_folder / "real/manifest.json").read_text())
    format_name, row = FILES[pattern]
    paths = sorted((data_folder / "real").glob(pattern))
    assert paths
    for path in paths:
        known = manifest[f"{path.parent.name}/{path.name}"]
        attrs = ingest_file(path, tmp_path, **row).attrs
        assert (attrs["format"], attrs["n"], attrs["dropped"]) == (format_name, known["n"], {})
        shift = attrs["pixel_offset_px"] * (attrs["pixel_size_nm"] or 0.0)  # the manifest has Picasso's pixels as they are
        for axis, name in enumerate(("x_nm", "y_nm")):
            assert [corner[axis] - shift for corner in attrs["extent_nm"]] == pytest.approx(known[name], abs=0.06)
        if "precision_nm" in known and format_name != "picasso":
            assert attrs["precision_median_nm"] == pytest.approx(known["precision_nm"]["median"], abs=0.0051)
        if "channels" in known:
            assert dict(zip(map(str, attrs["channels"]), attrs["n_per_channel"], strict=True)) == known["channels"]
        if "frame" in known:
            assert [frame + attrs["frame_base"] for frame in attrs["frame_extent"]] == known["frame"]


def test_picasso_precision_is_the_mean_of_both_axes(data_folder, tmp_path):
    for path in sorted((data_folder / "real/origami_cuboctahedron_picasso").glob("*.hdf5")):
        with h5py.File(path) as file:
            records = file["locs"][:]
        mean = (records["lpx"].astype("f8") + records["lpy"]) / 2 * 117
        found = ingest_file(path, tmp_path)
        assert found.attrs["precision_median_nm"] == pytest.approx(np.median(mean), rel=1e-6)
        np.testing.assert_allclose(found.by_row()["x_nm"], (records["x"].astype("f8") + 0.5) * 117, atol=2e-3)
        np.testing.assert_array_equal(found.by_row()["group"], records["group"])


def test_header_in_one_quoted_cell(data_folder, tmp_path):
    path = data_folder / "real/format_samples_locan/Thunderstorm_dstorm_data.csv"
    found = ingest_file(path, tmp_path)
    rows = np.genfromtxt(path, delimiter=",", skip_header=1)
    assert (found.attrs["n"], found.attrs["frame_base"], found.attrs["columns"]["precision_nm"]) == (len(rows), 1, "uncertainty [nm]")
    got = found.by_row()
    np.testing.assert_allclose(got["x_nm"], rows[:, 2], atol=1e-3)
    np.testing.assert_allclose(got["precision_nm"], rows[:, 9], rtol=1e-6)
    np.testing.assert_array_equal(got["frame"], rows[:, 1] - 1)
