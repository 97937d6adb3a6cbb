"""Real files of real microscopes, where they are present: read right, measured, reported. See the manifest there."""

import json

import h5py
import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.conftest import smlmbatch

# What is read without being told more, by folder of the data set.
READ = (
    *("ecoli_lacy_thunderstorm/", "thunderstorm_3d_csv/", "origami_cuboctahedron_picasso/", "smap_sml_mat/", "egfr_ereg_cells/"),
    "minflux_npc_2d_npy/",
    *("nikon_nstorm_txt/", "egfr_ereg_oni_codi/", "format_samples_locan/rapidSTORM_dstorm_data", "format_samples_locan/rapidSTORM_from"),
)
MAP = "x=x,y=y,frame=frame,channel=channel,unit=nm"


@pytest.fixture(scope="module")
def real(data_folder, tmp_path_factory):
    """(manifest, table of fields by path, OUTPUT) of one run over all real files, without filters: the manifest counts all locs."""
    folder = data_folder / "real"
    output = tmp_path_factory.mktemp("real") / "out"
    smlmbatch("run", folder, output, "--map", MAP, "--max-precision-nm", "0", "--workers", "2", expect=3)
    table = {row["path"]: row for row in pq.read_table(output / "tables" / "fields.parquet").to_pylist()}
    return json.loads((folder / "manifest.json").read_text()), table, output


def _precision_nm(path, known):
    """The manifest's median; for Picasso it has that of lpx alone, and we store the mean of lpx and lpy."""
    if path.suffix != ".hdf5":
        return known["precision_nm"]["median"]
    with h5py.File(path) as file:
        locs = file["locs"][:]
    pixel_nm = known["pixelsize_nm_in_yaml"][0]
    assert np.median(locs["lpx"]) * pixel_nm == pytest.approx(known["precision_nm"]["median"], abs=0.0051)
    return float(np.median((locs["lpx"].astype(float) + locs["lpy"]) / 2) * pixel_nm)


def test_every_file_that_is_read(real, data_folder):
    manifest, table, _ = real
    folder = data_folder / "real"
    checked = 0
    for path, known in manifest.items():
        if not path.startswith(READ):
            continue
        row = table[path]
        assert row["status"] == "ok", path
        assert row["n"] == known["n"], path
        assert row["extent_x_um"] == pytest.approx(known["extent_um"][0], abs=0.006), path
        assert row["extent_y_um"] == pytest.approx(known["extent_um"][1], abs=0.006), path
        if "precision_nm" in known and not path.startswith("egfr_ereg_oni_codi/"):  # the manifest has its x alone
            assert row["precision_median_nm"] == pytest.approx(_precision_nm(folder / path, known), abs=0.0051), path
        checked += 1
    assert checked == 20


@pytest.mark.parametrize(("name", "share"), [("ecoli_lacy_thunderstorm", 0.01), ("smap_sml_mat", 0.9)])
def test_the_precision_filter_drops_what_lies_above_30_nm(real, data_folder, tmp_path, name, share):
    """It is on by default: hardly a loc of five E. coli fields, most of a SMAP file of weak fits, of which a warning tells."""
    manifest, unfiltered, _ = real
    smlmbatch("run", data_folder / "real" / name, tmp_path / "out")
    for row in pq.read_table(tmp_path / "out" / "tables" / "fields.parquet").to_pylist():
        path = f"{name}/{row['path']}"
        n, n_above = _precisions_above(data_folder / "real" / path, 30.0)
        assert (n, row["n_read"]) == (manifest[path]["n"], n)
        assert (row["dropped"], row["n"]) == ([("precision above 30 nm", n_above)], n - n_above)
        assert 0 < n_above < share * n
        assert row["precision_median_nm"] < unfiltered[path]["precision_median_nm"]
        assert bool([said for said, _ in row["warnings"] if "more than half" in said]) == (n_above > n / 2)


def _precisions_above(path, limit_nm):
    """(records, those with a precision above the limit) as read without us."""
    if path.suffix == ".csv":
        table = pyarrow.csv.read_csv(path)
        values = table[next(column for column in table.column_names if column.startswith("uncertainty"))].to_numpy()
    else:
        with h5py.File(path) as file:
            values = file["saveloc/loc/locprecnm"][:].ravel()
    return len(values), int((values.astype("f4") > limit_nm).sum())


def test_the_rest_fails_with_a_reason_or_is_ignored(real):
    _, table, output = real
    failed = {path for path, row in table.items() if row["status"] == "failed"}
    assert failed
    assert not any(path.startswith(READ) for path in failed)
    assert "manifest.json" not in table
    assert "PROVENANCE.md" not in table
    text = (output / "failed.csv").read_text()
    for path in failed:
        assert path in text


def test_cells_are_tiled_and_measured(real):
    _, table, output = real
    rois = pq.read_table(output / "tables" / "rois.parquet").to_pylist()
    for path, row in table.items():
        if path.startswith("egfr_ereg_cells/"):
            assert row["n_rois_kept"] >= 20, path
            channels = {roi["channel"] for roi in rois if roi["key"] == row["key"] and roi["kept"]}
            assert channels == {0, 1}
