"""Particles without clusters, from files to tables: what is made again when, whose copy of the centres counts, what is said of mistakes."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.campaign import load_plan
from smlmbatch.store.arrays import UnitReader
from tests.in_process import call, digest, fresh, unit_of, units_made
from tests.pick.structures import pore

AT_NM = np.array([[400.0, 400], [1100, 500], [600, 1300]]) + 30_000
ONLY = ("--only", "ingest,pick")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Two fields of three pores: the file's groups 5, 6 and 7, and a background in group 0."""
    folder = tmp_path_factory.mktemp("grouped") / "input"
    for number in range(2):
        rng = np.random.default_rng(101 + number)
        pores = [pore(rng, labelling=0.9) + at for at in AT_NM]
        background = rng.uniform(0, 2000, (60, 2)) + 30_000
        group = np.repeat([5, 6, 7, 0], [len(points) for points in (*pores, background)])
        path = folder / "ab"[number] / f"field{number}.csv"
        path.parent.mkdir(parents=True)
        rows = [f"{x:.3f},{y:.3f},{g}" for (x, y), g in zip(np.concatenate([*pores, background]), group, strict=True)]
        path.write_text("\n".join(["x_nm,y_nm,group", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Path:
    """No network is needed."""
    path = tmp_path_factory.mktemp("settings") / "settings.toml"
    path.write_text('[cluster]\nmethod = "none"\n[embed]\nmodel = "none"\n[pick]\nno_group = 0\nradius_nm = 90.0\n')
    return path


@pytest.fixture
def centres(tmp_path) -> Path:
    return write_centres(tmp_path / "my centres.csv")


def write_centres(path: Path, *, shift_nm: float = 8.0, field: str = "field0") -> Path:
    rows = [f"{name},{x + shift_nm},{y}" for name in (field, "field1.csv") for x, y in AT_NM]
    path.write_text("\n".join(["field,x,y", *rows]) + "\n")
    return path


def particles(output: Path) -> list[dict]:
    return pq.ParquetFile(output / "tables" / "particles.parquet").read().to_pylist()


def test_groups_need_no_clusters(source, settings, tmp_path) -> None:
    output = tmp_path / "out"
    call("run", source, output, "--config", settings, "--pick", "group", "--only", "ingest,pick,report")
    assert set(map(frozenset, fresh(output).values())) == {frozenset({"ingest", "pick"})}
    rows = particles(output)
    assert [(row["field"], row["group"]) for row in rows] == [(f"field{i}.csv", g) for i in range(2) for g in (5, 6, 7)]
    found_nm = np.array([[row["x_nm"], row["y_nm"]] for row in rows])
    assert np.linalg.norm(found_nm - np.tile(AT_NM, (2, 1)), axis=1).max() < 5
    assert {(row["cluster"], row["pick"]) for row in rows} == {(None, None)}
    _, told = call("run", source, output, "--config", settings, "--pick", "group", "--cluster-method", "dbscan", "--update", *ONLY)
    assert units_made(told) == 0


def test_a_changed_file_of_centres_makes_particles_again_and_an_unchanged_one_does_not(source, centres, settings, tmp_path) -> None:
    output = tmp_path / "out"
    call("plan", source, output, "--config", settings)
    _, told = call("pick", output, "--from", "file", "--picks", centres, "--radius-nm", "80", "--field", "field0.csv")
    said = load_plan(output).config.pick
    assert (said.picks, len(said.picks_sha256), said.radius_nm) == ("my centres.csv", 64, 80.0)
    first = digest_of_pick(output)
    _, told = call("run", source, output, *ONLY)
    assert units_made(told) == 2  # of the field that was left out
    copy = centres.rename(tmp_path / "elsewhere.csv")
    _, told = call("pick", output, "--field", "field0.csv")
    assert units_made(told) == 0
    call("run", source, output, "--pick", "file", "--picks", copy, *ONLY, expect=2)  # another name is another setting
    write_centres(centres)
    _, told = call("pick", output, "--from", "file", "--picks", centres, "--field", "field0.csv")
    assert units_made(told) == 0
    write_centres(centres, shift_nm=9.0)
    _, told = call("pick", output, "--picks", centres, "--field", "field0.csv")
    assert units_made(told) == 1
    assert digest_of_pick(output) != first
    told, _ = call("clean", output, "--dry-run")
    assert "centres of other settings" in told
    assert len(list((output / "picks").iterdir())) == 2
    call("clean", output)
    (left,) = (output / "picks").iterdir()
    assert left.read_bytes() == centres.read_bytes()


def digest_of_pick(output: Path) -> str:
    with UnitReader(unit_of(output, "pick")) as unit:
        return unit.digest


def test_parts_give_the_same_without_the_file_itself(source, centres, settings, tmp_path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    said = ("--config", settings, "--pick", "file", "--picks", centres)
    call("run", source, whole, *said, "--only", "ingest,pick,report")
    call("plan", source, parts, *said)
    centres.unlink()
    for part in ("2/2", "1/2"):
        call("run", source, parts, "--part", part, *ONLY)
    call("run", source, parts, "--only", "report", expect=3)
    rows = particles(parts)
    assert rows == particles(whole)
    assert [row["pick"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert {row["centre_by"] for row in rows} == {"circle"}


def test_centres_within_input_are_no_field(source, tmp_path) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    (folder / "field0.csv").write_bytes((source / "a" / "field0.csv").read_bytes())
    centres = folder / "centres.csv"
    centres.write_text("x_nm,y_nm,radius_nm\n30400,30400,90\n")
    output = tmp_path / "out"
    call("plan", folder, output, "--pick", "file", "--picks", centres)
    plan = load_plan(output)
    assert [field.path for field in plan.fields] == ["field0.csv"]
    assert ("centres.csv", "centres of particles") in plan.ignored
    call("plan", folder, output)
    assert len(load_plan(output).fields) == 1


def test_a_field_that_is_not_here_is_told(source, tmp_path) -> None:
    centres = write_centres(tmp_path / "c.csv", field="field7")
    _, told = call("plan", source, tmp_path / "out", "--pick", "file", "--picks", centres, expect=2)
    assert "says no radius of pick 1" in told
    centres.write_text(centres.read_text().replace("field,x,y", "field,x,y,radius_nm").replace(".0\n", ".0,90\n"))
    _, told = call("plan", source, tmp_path / "out", "--pick", "file", "--picks", centres)
    assert "c.csv has centres of fields that are not here: field7" in told


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--from", "file"), "pick.picks = '': wanted a file of centres (--picks FILE)"),
        (("--from", "file", "--picks", "nowhere.csv"), "nowhere.csv: is not there"),
        (("--from", "file", "--picks", "locs.hdf5"), "has the suffix '.hdf5'"),
        (("--from", "group", "--picks", "nowhere.csv"), 'pick.picks is for particles of file, and pick.source = "group"'),
        (("--from", "group", "--shape", "ring"), "pick.shape is for particles of cluster"),
        (("--from", "group", "--centre", "given"), 'pick.source = "group" gives no centres'),
        (("--picks", "nowhere.csv"), 'pick.picks is for particles of file, and pick.source = "none"'),
    ],
)
def test_refusals_change_nothing(planned, arguments, reason) -> None:
    before = (planned / "config.toml").read_text()
    _, told = call("pick", planned, *arguments, expect=2)
    assert reason in told
    assert (planned / "config.toml").read_text() == before


@pytest.fixture(scope="module")
def planned(source, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("planned") / "out"
    call("plan", source, output)
    return output


def test_a_field_whose_centres_can_not_be_right_costs_only_itself(source, tmp_path) -> None:
    centres = tmp_path / "c.csv"
    centres.write_text("field,x,y,radius_nm\nfield0,304,304,90\nfield0,311,305,90\nfield1,30400,30400,90\n")
    output = tmp_path / "out"
    call("run", source, output, "--pick", "file", "--picks", centres, "--only", "ingest,pick,report", expect=3)
    assert [row["field"] for row in particles(output)] == ["field1.csv"]
    failed = (output / "failed.csv").read_text()
    assert "c.csv: its 2 centres look like pixels" in failed
    assert "name the columns x_px and y_px" in failed


def test_digests_hold(source, centres, settings, tmp_path) -> None:
    """Whatever the file is called, and in several processes."""
    one, two = tmp_path / "one", tmp_path / "two"
    call("run", source, one, "--config", settings, "--pick", "file", "--picks", centres)
    renamed = centres.rename(tmp_path / "other name.csv")
    call("run", source, two, "--config", settings, "--pick", "file", "--picks", renamed, "--workers", "2")
    assert digest(one) == digest(two)
