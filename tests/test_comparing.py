"""Comparisons through the command line, on a simulated campaign and on real cells."""

import csv
import shutil

import pytest

from smlmbatch.analyse.comparisons import read_comparisons
from smlmbatch.errors import EXIT_USAGE
from tests.conftest import smlmbatch, units_made


def verdicts(output):
    return {(c.reference, c.condition) for c in read_comparisons(output)}


def test_other_comparisons_recompute_no_unit(small_campaign, small_output, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(small_output, output)
    assert verdicts(output) == {("control", "treated")}
    before = (output / "tables" / "rois.parquet").stat().st_mtime_ns
    assert smlmbatch("run", small_campaign, output, "--reference", "treated", expect=EXIT_USAGE).stdout == ""
    done = smlmbatch("run", small_campaign, output, "--reference", "treated", "--update")
    assert units_made(done) == 0
    assert verdicts(output) == {("treated", "control")}
    assert (output / "tables" / "rois.parquet").stat().st_mtime_ns > before
    smlmbatch("run", small_campaign, output, "--reference", "", "--conditions", "condition,channel", "--update")
    assert verdicts(output) == {("control \u00d7 channel 0", "treated \u00d7 channel 0")}


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--conditions", "condition,dye", "no column 'dye'; there are condition, region, replicate, batch, channel"),
        ("--conditions", "region", "no field has an outline file with regions"),
        ("--reference", "kontrol", "no such condition; there are control; treated"),
        ("--paired", "day", "no column 'day'"),
    ],
)
def test_what_can_not_be_compared_is_refused_before_anything_runs(small_campaign, tmp_path, option, value, says):
    done = smlmbatch("run", small_campaign, tmp_path / "out", option, value, expect=EXIT_USAGE)
    assert says in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_dye_swap_tells_the_dye_from_the_protein(data_folder, tmp_path):
    """EGFR and EREG in the same cells, dyes swapped: clusters follow the dye; ROIs taken for independent blame the protein."""
    rows = []
    for path in sorted((data_folder / "real" / "egfr_ereg_cells").glob("*.parquet")):
        _, first, second, cell = path.stem.split("_")
        by_dye = {name[4:]: name[:4] for name in (first, second)}  # channel 0 holds 568, channel 1 holds 647 in all files
        proteins = {f"protein_{c}": by_dye[dye] for c, dye in enumerate(("568", "647"))}
        rows.append({"path": path.name, "replicate": f"{first}_{second}_{cell}", "dye_0": "568", "dye_1": "647", **proteins})
    source, output = tmp_path / "cells", tmp_path / "out"
    shutil.copytree(data_folder / "real" / "egfr_ereg_cells", source)
    sheet = source / "samples.csv"
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    smlmbatch("run", sheet, output, "--unit", "nm", "--conditions", "dye", "--paired", "replicate")
    by_dye = {c.descriptor: c for c in read_comparisons(output)}
    smlmbatch("run", sheet, output, "--unit", "nm", "--conditions", "protein", "--paired", "replicate", "--update")
    by_protein = {c.descriptor: c for c in read_comparisons(output)}
    assert {c.n_pairs for c in (*by_dye.values(), *by_protein.values())} == {6}
    name = "locs_per_cluster"
    assert by_dye[name].verdict == "differs"
    assert by_dye[name].ratio_low > 2
    assert {c.verdict for c in by_protein.values()} == {"no difference shown"}
    assert by_protein[name].p_roi_family < 1e-10
