"""An evaluation set on disk: the ROIs of the judge, each in a square of the pipeline's grid, with their truth."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.evaluation import EvaluationConfig, draw_mosaic, simulate_set
from smlmbatch.simulate.rois import SETS, SIDE_NM, draw_set
from tests.conftest import smlmbatch

CONFIG = EvaluationConfig(name="kinds_900", rois_per_condition=5, replicates=2, seed=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("known")
    assert simulate_set(made, CONFIG)
    return made


def sheet(folder):
    with (folder / "input" / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_mosaic_holds_the_rois_of_the_judge():
    drawn = draw_set("kinds_900", rois_per_condition=5, seed=4)
    for condition in range(4):
        for replicate in (0, 1):
            made = draw_mosaic(CONFIG, condition=condition, replicate=replicate)
            assert sorted(made.rois) == [roi for roi in range(5) if roi % 2 == replicate]
            for roi, at in made.rois.items():
                xy_nm = np.column_stack([made.locs.x_nm, made.locs.y_nm])[made.roi == roi] - SIDE_NM * np.array(at)
                wanted = drawn[5 * condition + roi][1]
                order = [np.lexsort(p.T.round(6)) for p in (xy_nm, wanted)]
                assert np.abs(xy_nm[order[0]] - wanted[order[1]]).max() <= 0.02


def test_files_sheet_and_truth_agree(folder):
    rows = sheet(folder)
    assert len(rows) == 4 * 2
    assert {row["condition"] for row in rows} == set(SETS["kinds_900"])
    assert {row["path"].rpartition(".")[2] for row in rows} == {"csv", "hdf5"}
    known = json.loads((folder / "truth" / "parameters.json").read_text())
    assert known["conditions"]["random"]["background"] == "nothing else"
    for row in rows:
        truth = pq.read_table(folder / "truth" / f"{row['field']}.parquet")
        field = known["fields"][row["field"]]
        assert truth.num_rows == field["n_locs"] == 900 * len(field["rois"])
        assert (folder / "input" / row["cell_outline"]).is_file()
    clusters = pq.read_table(folder / "truth" / "clusters_r01.parquet")
    assert set(clusters["cluster"].to_pylist()) == set(range(11))
    assert set(clusters["fibre"].to_pylist()) == {0}


def test_written_once_and_never_mixed(folder):
    assert not simulate_set(folder, CONFIG)
    with pytest.raises(ConfigError, match="other settings"):
        simulate_set(folder, EvaluationConfig(name="kinds_900", rois_per_condition=5, replicates=2, seed=5))


@pytest.mark.parametrize(
    ("settings", "finding"), [({"name": "nosuch"}, "wanted one of clusters_fixed"), ({"replicates": 9}, "9 replicates")]
)
def test_wrong_settings_are_named(settings, finding):
    with pytest.raises(ConfigError, match=finding):
        EvaluationConfig(**{"name": "clusters_900", "rois_per_condition": 5, **settings})


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        (("--set", "clusters_900", "--cell-um", "3"), "--cell-um"),
        (("--pairs", "4", "--rois", "3"), "--rois"),
        (("--set", "no"), "wanted one of"),
    ],
)
def test_options_that_say_nothing_are_refused(tmp_path, options, finding):
    assert finding in smlmbatch("simulate", tmp_path / "x", *options, expect=2).stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_pipeline_finds_each_roi_whole(tmp_path):
    """Nine hundred locs drawn for a ROI are nine hundred locs of one kept ROI, through both vendors' formats."""
    smlmbatch("simulate", tmp_path, "--set", "kinds_900", "--rois", "5", "--replicates", "2")
    smlmbatch("run", tmp_path / "input", tmp_path / "out", "--skip", "embed")
    rois = pq.ParquetFile(tmp_path / "out" / "tables" / "rois.parquet").read().to_pylist()
    assert sorted(roi["n_locs"] for roi in rois if roi["n_locs"]) == [900] * 20
    assert {roi["coverage"] for roi in rois} == {1.0}


def test_files_of_others_are_not_written_among(tmp_path):
    """And a set that lost a file is made again."""
    config = EvaluationConfig(name="kinds_900", rois_per_condition=2, replicates=2)
    assert simulate_set(tmp_path / "known", config)
    assert not simulate_set(tmp_path / "known", config)
    next((tmp_path / "known" / "input").rglob("*.yaml")).unlink()
    assert simulate_set(tmp_path / "known", config)
    (tmp_path / "mine" / "input").mkdir(parents=True)
    (tmp_path / "mine" / "input" / "cell.csv").write_text("x,y\n")
    with pytest.raises(ConfigError, match=r"cell\.csv"):
        simulate_set(tmp_path / "mine", config)
