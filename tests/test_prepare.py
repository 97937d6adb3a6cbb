"""Filters and merging from the command line to tables and report."""

import pyarrow.parquet as pq

from smlmbatch.config import load_config
from tests.conftest import smlmbatch


def fields(output):
    return {row["path"]: row for row in pq.read_table(output / "tables" / "fields.parquet").to_pylist()}


def test_options_become_settings(small_campaign, tmp_path):
    smlmbatch("plan", small_campaign, tmp_path / "out", "--max-precision-nm", "20", "--merge-nm", "15", "--merge-dark-frames", "2")
    found = load_config(tmp_path / "out" / "config.toml").prepare
    assert (found.max_precision_nm, found.merge_nm, found.merge_dark_frames) == (20.0, 15.0, 2)
    assert (found.min_photons, found.merge_nena, found.last_frame) == (0.0, 0.0, -1)


def test_a_campaign_of_merged_blinks(small_output, tmp_path):
    """Molecules blink: merged locs are fewer, and everything that was read is accounted for."""
    smlmbatch("simulate", tmp_path, "--replicates", "1", "--cell-um", "7", "--density", "60", "--blinking")
    output = tmp_path / "out"
    smlmbatch("run", tmp_path / "input", output, "--max-precision-nm", "5", "--merge-nm", "60", "--merge-dark-frames", "50")
    smlmbatch("verify", output)
    for row in fields(output).values():
        assert row["status"] == "ok"
        assert row["n_read"] == row["n"] + row["n_dropped"] + row["n_merged_away"]
        assert row["n_merged_away"] > 0.1 * row["n_read"]
        assert row["n_dropped"] == dict(row["dropped"])["precision above 5 nm"] > 0
    for row in fields(small_output).values():
        assert row["n_merged_away"] == row["n_dropped"] == 0
    page = (output / "report" / "index.html").read_text()
    assert "Blinks were merged: locs of one channel in successive frames" in page
    assert "were not merged" not in page
    assert "Repeated blinks of one molecule were not merged." in (small_output / "report" / "index.html").read_text()
