"""The campaign on disk: files, truth, sameness of bytes, and what is refused."""

import csv
import json
from collections import Counter

import h5py
import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.samples import read_sheet
from smlmbatch.simulate.campaign import planned_fields, simulate_campaign, write_field
from smlmbatch.simulate.cell import SimulateConfig

CONFIG = SimulateConfig(seed=11, replicates=2, fields_per_replicate=2, cell_length_um=3.0, cell_width_um=3.0)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a campaign") / "demo"
    assert simulate_campaign(folder, CONFIG)
    return folder


def _files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_sheet_names_every_field_and_no_truth_is_among_the_input(campaign):
    rows = read_sheet(campaign / "input" / "samples.csv")
    assert Counter((row["condition"], row["replicate"]) for row in rows) == {
        ("control", "control-1"): 2,
        ("control", "control-2"): 2,
        ("treated", "treated-1"): 2,
        ("treated", "treated-2"): 2,
    }
    tables = {path for path in _files(campaign / "input") if path.endswith((".csv", ".hdf5"))} - {"samples.csv"}
    assert {row["path"] for row in rows} == tables
    assert {f"{row['field']}.parquet" for row in rows} | {"parameters.json"} == set(_files(campaign / "truth"))


def test_formats_are_balanced_over_conditions_and_replicates():
    planned = planned_fields(SimulateConfig())
    assert len(planned) == 12
    assert Counter((one.condition, one.format) for one in planned) == dict.fromkeys(
        [(condition, name) for condition in ("control", "treated") for name in ("thunderstorm", "picasso")], 3
    )
    within = Counter((one.condition, one.replicate, one.format) for one in planned_fields(CONFIG))
    assert set(within.values()) == {1}


def _positions(path):
    if path.suffix == ".csv":
        table = pyarrow.csv.read_csv(path)
        return np.column_stack([table["x [nm]"].to_numpy(), table["y [nm]"].to_numpy(), table["uncertainty_xy [nm]"].to_numpy()])
    with h5py.File(path) as file:
        locs = file["locs"][()]
    return np.column_stack([locs["x"] + 0.5, locs["y"] + 0.5, locs["lpx"]]).astype(float) * 100.0


def test_truth_stands_in_the_order_of_the_file(campaign):
    for row in read_sheet(campaign / "input" / "samples.csv"):
        x_nm, y_nm, error_nm = _positions(campaign / "input" / row["path"]).T
        truth = pyarrow.parquet.read_table(campaign / "truth" / f"{row['field']}.parquet")
        assert np.array_equal(truth["row"].to_numpy(), np.arange(len(x_nm)))
        far = np.hypot(x_nm - truth["true_x_nm"].to_numpy(), y_nm - truth["true_y_nm"].to_numpy()) / error_nm
        assert far.max() < 7
        assert np.mean(far**2) == pytest.approx(2.0, rel=4.5 / np.sqrt(len(far)))  # two axes, each of variance 1


def test_parameters_tell_what_was_drawn(campaign):
    parameters = json.loads((campaign / "truth" / "parameters.json").read_text())
    assert parameters["config"]["seed"] == 11
    assert parameters["conditions"]["treated"]["cluster_sigma_nm"] == 60.0
    for name, field in parameters["fields"].items():
        assert field["n_locs"] == pyarrow.parquet.read_metadata(campaign / "truth" / f"{name}.parquet").num_rows


def test_same_seed_same_bytes_another_seed_other_bytes(campaign, tmp_path):
    simulate_campaign(tmp_path / "again", CONFIG)
    assert _files(tmp_path / "again") == _files(campaign)
    simulate_campaign(tmp_path / "other", SimulateConfig(seed=12, replicates=2, fields_per_replicate=2, cell_length_um=3, cell_width_um=3))
    assert _files(tmp_path / "other")["input/control/control_r01_f01.csv"] != _files(campaign)["input/control/control_r01_f01.csv"]


def test_one_field_alone_is_the_campaigns(campaign, tmp_path):
    whole = _files(campaign)
    for one in (planned_fields(CONFIG)[3], planned_fields(CONFIG)[6]):
        write_field(tmp_path, CONFIG, one)
    alone = _files(tmp_path)
    assert len(alone) >= 4
    assert alone == {name: whole[name] for name in alone}


def test_more_replicates_leave_the_first_ones_as_they_are(campaign, tmp_path):
    simulate_campaign(tmp_path, SimulateConfig(seed=11, replicates=3, fields_per_replicate=2, cell_length_um=3.0, cell_width_um=3.0))
    more, whole = _files(tmp_path), _files(campaign)
    common = {name for name in whole if name.endswith((".csv", ".hdf5", ".parquet"))} - {"input/samples.csv"}
    assert {name: more[name] for name in common} == {name: whole[name] for name in common}


def test_a_second_run_has_nothing_to_do(campaign):
    before = {path: path.stat().st_mtime_ns for path in campaign.rglob("*")}
    assert simulate_campaign(campaign, CONFIG) is False
    assert {path: path.stat().st_mtime_ns for path in campaign.rglob("*")} == before


@pytest.mark.parametrize("lost", ["truth/parameters.json", "input/treated/treated_r02_f01_locs.yaml"])
def test_what_is_missing_is_made_again(campaign, tmp_path, lost):
    simulate_campaign(tmp_path, CONFIG)
    (tmp_path / lost).unlink()
    assert simulate_campaign(tmp_path, CONFIG) is True
    assert _files(tmp_path) == _files(campaign)


def test_other_settings_are_refused_and_nothing_is_touched(campaign):
    before = _files(campaign)
    with pytest.raises(ConfigError, match="other settings; delete it or name another folder"):
        simulate_campaign(campaign, SimulateConfig(seed=12))
    assert _files(campaign) == before


def test_a_folder_with_data_of_someones_own_is_refused(tmp_path):
    own = tmp_path / "input" / "control" / "precious.csv"
    own.parent.mkdir(parents=True)
    own.write_text("x\n")
    with pytest.raises(ConfigError, match=r"precious\.csv, which is no part"):
        simulate_campaign(tmp_path, CONFIG)
    assert list(_files(tmp_path)) == ["input/control/precious.csv"]


def test_torn_parameters_are_no_guess(tmp_path):
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "parameters.json").write_text('{"simulator": 1, ')
    with pytest.raises(ConfigError, match="can't be read"):
        simulate_campaign(tmp_path, CONFIG)


def test_the_sheet_is_plain_csv(campaign):
    with (campaign / "input" / "samples.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "field", "condition", "replicate"]
    assert rows[1] == ["control/control_r01_f01.csv", "control_r01_f01", "control", "control-1"]
