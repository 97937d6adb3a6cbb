"""Real files, where they are present, against the manifest and independent readings."""

import json

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.errors import InputError
from tests.ingest.conftest import ingest_file

EGFR_MAP = "x=x,y=y,frame=frame,channel=channel,unit=nm"
FILES = {
    "ecoli_lacy_thunderstorm/*.csv": ("thunderstorm", {}),
    "thunderstorm_3d_csv/*.csv": ("thunderstorm", {}),
    "origami_cuboctahedron_picasso/*.hdf5": ("picasso", {}),
    "smap_sml_mat/*.mat": ("smap", {}),
    "egfr_ereg_cells/*FOV2.parquet": ("table", {"map": EGFR_MAP}),
    "egfr_ereg_cells/*FOV3.parquet": ("xyz", {"unit": "nm"}),
    "egfr_ereg_oni_codi/*.parquet": ("codi", {}),
    "nikon_nstorm_txt/*.txt": ("nstorm", {}),
    "caulobacter_xyz_csv/*.csv": ("xyz", {"unit": "nm"}),
    "format_samples_locan/rapidSTORM_dstorm_data.txt": ("rapidstorm", {}),
    "format_samples_locan/rapidSTORM_from_images.txt": ("rapidstorm", {}),
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
        if "z_nm" in known:
            assert (attrs["z_extent_nm"] or [0.0, 0.0]) == pytest.approx(known["z_nm"], abs=0.06)
        if "precision_nm" in known and format_name not in ("picasso", "codi"):  # the manifest has those of x alone
            assert attrs["precision_median_nm"] == pytest.approx(known["precision_nm"]["median"], abs=0.0051)
        if isinstance(known.get("channels"), dict):
            names = attrs["channel_names"] if format_name == "nstorm" else map(str, attrs["channels"])
            assert dict(zip(names, attrs["n_per_channel"], strict=True)) == known["channels"]
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


def test_codi_precision_is_the_root_of_the_variances(data_folder, tmp_path):
    path = next((data_folder / "real/egfr_ereg_oni_codi").glob("*.parquet"))
    table = pq.read_table(path)
    known = json.loads((data_folder / "real/manifest.json").read_text())[f"{path.parent.name}/{path.name}"]
    root_x, root_y = (np.sqrt(table[f"variance_{axis}[nm^2]"].to_numpy()) for axis in "xy")
    assert np.median(root_x) == pytest.approx(known["precision_nm"]["median"], abs=0.0051)
    found = ingest_file(path, tmp_path)
    np.testing.assert_allclose(found.by_row()["precision_nm"], (root_x + root_y) / 2, rtol=1e-6)
    assert found.attrs["channels"] == known["channels"]


def test_samples_of_text_formats(data_folder, tmp_path):
    """Against NumPy's own reading of the same files."""
    folder = data_folder / "real/format_samples_locan"
    elyra = ingest_file(folder / "Elyra_dstorm_data.txt", tmp_path)
    rows = np.genfromtxt(folder / "Elyra_dstorm_data.txt", skip_header=1, max_rows=15, encoding="latin-1")
    got = elyra.by_row()
    assert (elyra.attrs["n_read"], elyra.attrs["dropped"], elyra.attrs["warnings"]) == (15, {}, {})
    for name, column in (("x_nm", 4), ("y_nm", 5), ("precision_nm", 6), ("photons", 7)):
        np.testing.assert_allclose(got[name], rows[:, column], atol=2e-3)
    nimos = ingest_file(folder / "Nanoimager_dstorm_data.csv", tmp_path)
    rows = np.genfromtxt(folder / "Nanoimager_dstorm_data.csv", delimiter=",", skip_header=1)
    got = nimos.by_row()
    for name, column in (("channel", 0), ("frame", 1), ("x_nm", 2), ("y_nm", 3), ("photons", 5), ("background", 6)):
        np.testing.assert_allclose(got[name], rows[:, column], atol=4e-3)
    assert (nimos.attrs["dims"], nimos.attrs["frame_base"]) == (2, 0)
    with pytest.raises(InputError, match="track file"):
        ingest_file(folder / "rapidSTORM_dstorm_track_data.txt", tmp_path)


def test_header_in_one_quoted_cell(data_folder, tmp_path):
    path = data_folder / "real/format_samples_locan/Thunderstorm_dstorm_data.csv"
    found = ingest_file(path, tmp_path)
    rows = np.genfromtxt(path, delimiter=",", skip_header=1)
    assert (found.attrs["n"], found.attrs["frame_base"], found.attrs["columns"]["precision_nm"]) == (len(rows), 1, "uncertainty [nm]")
    got = found.by_row()
    np.testing.assert_allclose(got["x_nm"], rows[:, 2], atol=1e-3)
    np.testing.assert_allclose(got["precision_nm"], rows[:, 9], rtol=1e-6)
    np.testing.assert_array_equal(got["frame"], rows[:, 1] - 1)
