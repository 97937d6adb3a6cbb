"""Real files of real microscopes, where they are present: read right, measured, reported. See the manifest there."""

import json

import pyarrow.parquet as pq
import pytest

from tests.conftest import smlmbatch

# What the first version reads, by folder of the data set.
READ = ("ecoli_lacy_thunderstorm/", "thunderstorm_3d_csv/", "origami_cuboctahedron_picasso/", "smap_sml_mat/", "egfr_ereg_cells/")
MAP = "x=x,y=y,frame=frame,channel=channel,unit=nm"


@pytest.fixture(scope="module")
def real(data_folder, tmp_path_factory):
    """(manifest, table of fields by path, OUTPUT) of one run over all real files."""
    folder = data_folder / "real"
    output = tmp_path_factory.mktemp("real") / "out"
    smlmbatch("run", folder, output, "--map", MAP, "--workers", "2", expect=3)
    table = {row["path"]: row for row in pq.read_table(output / "tables" / "fields.parquet").to_pylist()}
    return json.loads((folder / "manifest.json").read_text()), table, output


def test_every_file_of_the_four_formats(real):
    manifest, table, _ = real
    checked = 0
    for path, known in manifest.items():
        if not path.startswith(READ):
            continue
        row = table[path]
        assert row["status"] == "ok", path
        assert row["n"] == known["n"], path
        assert row["extent_um_x"] == pytest.approx(known["extent_um"][0], abs=0.006), path
        assert row["extent_um_y"] == pytest.approx(known["extent_um"][1], abs=0.006), path
        if "precision_nm" in known:
            assert row["precision_median_nm"] == pytest.approx(known["precision_nm"]["median"], abs=0.0051), path
        checked += 1
    assert checked == 15


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
            channels = {roi["channel"] for roi in rois if roi["field_key"] == row["key"] and roi["kept"]}
            assert channels == {0, 1}
