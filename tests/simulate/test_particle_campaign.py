"""A campaign of particles on disk: files, groups, truth, what conditions differ in, sameness of bytes."""

import csv
import json
from collections import Counter

import h5py
import numpy as np
import pyarrow.csv
import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.samples import read_sheet
from smlmbatch.simulate.particle_campaign import (
    KINDS,
    NO_GROUP,
    ParticleCampaignConfig,
    draw_field,
    planned_fields,
    simulate_particles,
    varied_range,
    write_field,
)
from tests.conftest import smlmbatch
from tests.in_process import call

CONFIG = ParticleCampaignConfig(kind="pores3d", count=9, replicates=2, seed=11)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a campaign") / "pores"
    assert simulate_particles(folder, CONFIG)
    return folder


def _files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _truth(folder):
    with (folder / "truth" / "particles.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _columns(path):
    """x, y, z, frame, precision in the plane and along z, all in nm; group. Frames from 0."""
    if path.suffix == ".csv":
        table = pyarrow.csv.read_csv(path)
        names = ("x_nm", "y_nm", "z_nm", "frame", "precision_nm", "precision_z_nm", "group")
        return [table[name].to_numpy() for name in names]
    with h5py.File(path) as file:
        locs = file["locs"][()]
    wide = {name: locs[name].astype(float) for name in ("x", "y", "lpx")}
    return [(wide["x"] + 0.5) * 100, (wide["y"] + 0.5) * 100, locs["z"], locs["frame"], wide["lpx"] * 100, locs["lpz"], locs["group"]]


def test_files_are_of_two_kinds_in_each_condition_and_the_truth_lies_beside(campaign):
    rows = read_sheet(campaign / "input" / "samples.csv")
    assert Counter((row["condition"], row["path"].rpartition(".")[2]) for row in rows) == {
        ("narrow", "hdf5"): 1,
        ("narrow", "csv"): 1,
        ("wide", "hdf5"): 1,
        ("wide", "csv"): 1,
    }
    assert {row["replicate"] for row in rows} == {"narrow-1", "narrow-2", "wide-1", "wide-2"}
    assert {path.name for path in (campaign / "truth").iterdir()} == {"particles.csv", "parameters.json"}
    assert Counter(row["field"] for row in _truth(campaign)) == {row["field"]: 9 for row in rows}


def test_each_file_holds_the_field_as_drawn(campaign):
    for planned in planned_fields(CONFIG):
        made = draw_field(planned)
        x_nm, y_nm, z_nm, frame, precision_nm, precision_z_nm, group = _columns(campaign / "input" / planned.paths[0])
        np.testing.assert_allclose(np.column_stack([x_nm, y_nm]), np.column_stack([made.locs.x_nm, made.locs.y_nm]), rtol=0, atol=1e-3)
        np.testing.assert_allclose(z_nm, made.z_nm, rtol=0, atol=1e-3)
        np.testing.assert_allclose(precision_nm, made.locs.precision_nm, rtol=0, atol=1e-3)
        np.testing.assert_allclose(precision_z_nm, 2 * made.locs.precision_nm, rtol=0, atol=2e-3)
        assert np.array_equal(group, made.group)
        assert np.array_equal(frame, np.sort(made.locs.frame))


@pytest.mark.parametrize("kind", KINDS)
def test_groups_are_the_particles_and_apart_from_each_other(kind):
    config = ParticleCampaignConfig(kind=kind, count=12, replicates=1, seed=3)
    for planned in planned_fields(config):
        made = draw_field(planned)
        xy_nm = np.column_stack([made.locs.x_nm, made.locs.y_nm])
        assert np.array_equal(np.bincount(made.group[made.group >= 0], minlength=12), np.diff(made.particles.start))
        middle = np.array([xy_nm[made.group == number].mean(axis=0) for number in range(12)])
        far = np.linalg.norm(middle[:, None] - middle, axis=2) + np.where(np.eye(12), np.inf, 0)
        assert far.min() > 250
        own = np.linalg.norm(xy_nm - middle[made.group], axis=1)[made.group >= 0]
        assert own.max() < 120
        assert (made.z_nm is None) == (kind == "pores")


def test_strays_are_sparse_and_everywhere():
    made = draw_field(planned_fields(ParticleCampaignConfig(count=400, replicates=1))[0])
    stray = made.group == NO_GROUP
    assert made.side_nm == 8600.0
    assert stray.sum() == pytest.approx(20 * 8.6**2, rel=4.5 / np.sqrt(20 * 8.6**2))
    for place in (made.locs.x_nm, made.locs.y_nm):
        assert np.histogram(place[stray], bins=4, range=(0, made.side_nm))[0].min() > 280


@pytest.mark.parametrize(("kind", "column"), [("pores", "radius_nm"), ("pores3d", "radius_nm"), ("tetrahedra", "height_nm")])
def test_conditions_are_the_lower_and_the_upper_part_with_overlap(tmp_path, kind, column):
    config = ParticleCampaignConfig(kind=kind, count=40, replicates=2, seed=5)
    assert simulate_particles(tmp_path, config)
    known = json.loads((tmp_path / "truth" / "parameters.json").read_text())["fields"]
    ranges = {}
    for planned in planned_fields(config):
        low, high = ranges[planned.place] = varied_range(planned)
        assert known[planned.name][column] == [low, high]
        true = [float(row[column]) for row in _truth(tmp_path) if row["field"] == planned.name]
        assert low - 1e-3 <= min(true) < max(true) <= high + 1e-3
    first, last = KINDS[kind].population.radius_nm if column == "radius_nm" else KINDS[kind].population.height_nm
    for replicate in range(2):
        (low, high), (low2, high2) = (ranges[condition, replicate, 0] for condition in range(2))
        assert high - low == pytest.approx(high2 - low2) == pytest.approx((last - first) * 2 / 3)
        assert low < low2 < high < high2
    assert len({low for low, _ in ranges.values()}) == 4  # replicates are not alike


def test_truth_is_what_the_locs_show(campaign):
    """Radius of the two rings of locs, found without the truth, against it."""
    for planned in planned_fields(CONFIG):
        made = draw_field(planned)
        true = [float(row["radius_nm"]) for row in _truth(campaign) if row["field"] == planned.name]
        for number, radius_nm in enumerate(true):
            xy_nm = np.column_stack([made.locs.x_nm, made.locs.y_nm])[made.group == number]
            equations = np.column_stack([2 * xy_nm, np.ones(len(xy_nm))])
            x_nm, y_nm, rest = np.linalg.lstsq(equations, (xy_nm**2).sum(axis=1), rcond=None)[0]
            assert np.sqrt(rest + x_nm**2 + y_nm**2) == pytest.approx(radius_nm, abs=5)


def test_same_seed_same_bytes_another_seed_other_bytes(campaign, tmp_path):
    simulate_particles(tmp_path / "again", CONFIG)
    assert _files(tmp_path / "again") == _files(campaign)
    simulate_particles(tmp_path / "other", ParticleCampaignConfig(kind="pores3d", count=9, replicates=2, seed=12))
    name = "input/wide/wide_r02_f01.csv"
    assert _files(tmp_path / "other")[name] != _files(campaign)[name]


def test_fields_are_what_they_are_in_any_order_and_alone(campaign, tmp_path):
    whole = _files(campaign)
    for planned in reversed(planned_fields(CONFIG)):
        write_field(tmp_path, planned, draw_field(planned))
    made = _files(tmp_path)
    assert len(made) == 6
    assert made == {name: whole[name] for name in made}


def test_more_replicates_leave_the_first_ones_as_they_are(campaign, tmp_path):
    simulate_particles(tmp_path, ParticleCampaignConfig(kind="pores3d", count=9, replicates=3, seed=11))
    more, whole = _files(tmp_path), _files(campaign)
    common = {name for name in whole if name.startswith(("input/narrow", "input/wide"))}
    assert len(common) == 6
    assert {name: more[name] for name in common} == {name: whole[name] for name in common}
    assert [row for row in _truth(tmp_path) if "_r03_" not in row["field"]] == _truth(campaign)


def test_written_once_mended_and_never_mixed(tmp_path):
    assert simulate_particles(tmp_path, CONFIG)
    before = _files(tmp_path)
    assert not simulate_particles(tmp_path, CONFIG)
    next((tmp_path / "input").rglob("*.yaml")).unlink()
    assert simulate_particles(tmp_path, CONFIG)
    assert _files(tmp_path) == before
    with pytest.raises(ConfigError, match="other settings"):
        simulate_particles(tmp_path, ParticleCampaignConfig(kind="pores3d", count=9, replicates=2))


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        (("--particles", "cubes"), "wanted one of pores, pores3d, tetrahedra"),
        (("--particles", "pores", "--count", "0"), "at least 1 particle"),
        (("--particles", "pores", "--cell-um", "3"), "--cell-um: says nothing beside --particles"),
        (("--count", "3"), "--count: says nothing beside a simulation of cells"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, finding):
    assert finding in smlmbatch("simulate", tmp_path / "x", *options, expect=2).stderr
    assert not (tmp_path / "x").exists()


def test_the_pipeline_picks_every_group_of_both_kinds_of_files(tmp_path):
    import pyarrow.parquet

    smlmbatch("simulate", tmp_path, "--particles", "pores", "--count", "4", "--replicates", "2")
    call("run", tmp_path / "input", tmp_path / "out", "--pick", "group", "--only", "ingest,pick,report")
    found = pyarrow.parquet.ParquetFile(tmp_path / "out" / "tables" / "particles.parquet").read().to_pylist()
    true = {(row["field"], int(row["group"])): float(row["radius_nm"]) for row in _truth(tmp_path)}
    assert {(row["field"], row["group"]) for row in found} == true.keys()
