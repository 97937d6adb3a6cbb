"""Choosing what a run does: fields, stages, again, only the report, until the first error. End to end, as a user runs it."""

import csv
import shutil
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.campaign import load_plan
from smlmbatch.hpc.numerics import instructions, pin_numerics
from smlmbatch.run import ALL_STAGES
from smlmbatch.store.arrays import UnitReader, UnitWriter
from smlmbatch.upkeep import standing
from tests.in_process import call, digest, fresh, unit_of, units_made

N = len(ALL_STAGES)


@pytest.fixture(scope="module")
def whole(small_campaign, tmp_path_factory):
    """A finished campaign, not to be changed."""
    output = tmp_path_factory.mktemp("whole") / "out"
    call("run", small_campaign, output)
    return output


@pytest.fixture
def output(whole, tmp_path):
    """A finished campaign that a test may change."""
    return shutil.copytree(whole, tmp_path / "out")


def rewrite(path, name):
    """Put a whole, sealed unit with other values in the place of another: what an irreproducible stage would leave behind."""
    other = path.with_name("other")
    with UnitReader(path) as unit:
        writer = UnitWriter(other, unit.attrs["stage"])
        writer.made_of, writer.made_by = unit.made_of, unit.made_by
        writer.attrs.update({key: value for key, value in unit.attrs.items() if key != "stage"})
        for array in unit.names():
            writer.write(array, unit.read(array) + (1 if array == name else 0))
    writer.close()
    other.replace(path)


# ---- fields


def test_two_selections_are_one_whole_run(small_campaign, whole, tmp_path):
    output = tmp_path / "out"
    _, told = call("run", small_campaign, output, "--where", "condition == 'control'")
    assert units_made(told) == 2 * N
    assert told.splitlines()[-1] == "left out by the selection: 2 of 4 fields"
    assert pq.read_table(output / "tables" / "fields.parquet").column("status").to_pylist() == ["ok", "ok", "unfinished", "unfinished"]
    assert (output / "samples.csv").read_bytes() == (whole / "samples.csv").read_bytes()
    _, told = call("run", small_campaign, output, "--field", "treated/*")
    assert units_made(told) == 2 * N
    assert digest(output) == digest(whole)


def test_a_selection_is_made_after_the_cut(small_campaign, tmp_path):
    output = tmp_path / "out"
    listed, told = call("plan", small_campaign, output, "--where", "condition == 'control'")
    assert [line.split()[1] for line in listed.splitlines()] == ["control", "control"]
    assert told.splitlines()[-1] == "left out by the selection: 2 of 4 fields"
    fields = load_plan(output).fields
    assert len(fields) == 4
    middle = [word for field in fields[1:3] for word in ("--field", field.key)]
    call("run", small_campaign, output, "--part", "1/2", *middle, "--only", "ingest")
    assert fresh(output) == {
        field.path: {"ingest"} if field == fields[2] else set() for field in fields
    }  # the first of the two is of part 2
    call("run", small_campaign, output, "--part", "2/2", *middle, "--only", "ingest")
    assert fresh(output) == {field.path: {"ingest"} if field in fields[1:3] else set() for field in fields}
    call("tile", output, "--field", fields[0].key)
    assert fresh(output)[fields[0].path] >= {"ingest", "tile"}


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize("asked", [("--where", "condition in ('control')"), ("--where", "condition > 5"), ("--field", "nobody")])
def test_a_selection_that_makes_no_sense_is_refused_before_anything_is_written(small_campaign, tmp_path, verb, asked):
    call(verb, small_campaign, tmp_path / "out", *asked, expect=2)
    assert not (tmp_path / "out").exists()


def test_conditions_taken_from_folders_are_told(small_copy, tmp_path):
    sheet = small_copy / "samples.csv"
    assert "no condition" not in call("plan", small_copy, tmp_path / "out")[1]
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["condition"] = rows[1]["condition"] = ""
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    told = call("plan", small_copy, tmp_path / "out")[1]
    assert "2 fields have no condition in the sheet; their folder's name is taken: control\n" in told


def test_failures_of_fields_left_out_do_not_count(small_copy, tmp_path):
    with (small_copy / "samples.csv").open("a") as sheet:
        sheet.write("bad.csv,bad,control,control-9\n")
    (small_copy / "bad.csv").write_text("a,b\n" + "1,2\n" * 20)
    output = tmp_path / "out"
    call("run", small_copy, output, expect=3)
    _, told = call("run", small_copy, output, "--where", "field != 'bad'")
    assert "fields failed" not in told
    assert "bad.csv" in (output / "failed.csv").read_text()
    call("run", small_copy, output, "--field", "bad", expect=2)  # nothing of what was asked for can be read
    assert "fits none of 5 fields" in call("run", small_copy, output, "--field", "nobody", expect=2)[1]


# ---- stages


def test_a_stage_whose_upstream_is_left_out_waits(small_campaign, whole, tmp_path):
    output = tmp_path / "out"
    _, told = call("run", small_campaign, output, "--skip", "tile,report", expect=3)
    assert "waits    control/control_r01_f01.csv: measure needs tile, left out and not there" in told
    assert all(stages == {"ingest"} for stages in fresh(output).values())
    assert not (output / "report").exists()
    _, told = call("run", small_campaign, output, "--only", "tile,measure")
    assert units_made(told) == 8
    assert not (output / "tables").exists()
    call("run", small_campaign, output, "--skip", "ingest")
    assert digest(output) == digest(whole)
    call("run", small_campaign, output, "--only", "measure")  # nothing to do is well
    assert "no stage measures" in call("run", small_campaign, output, "--only", "measures", expect=2)[1]


def test_a_failure_in_a_skipped_stage_stops_nothing(small_campaign, output):
    """A stage beside the way (nothing rests on it) may fail for a field: left out, the field is done."""
    aside = [name for name in ALL_STAGES if name not in ("ingest", "tile", "measure")]
    if not aside:
        pytest.skip("every stage is needed by a later one")
    plan = load_plan(output)
    outcome = standing(plan)[0]
    key = outcome.keys[aside[0]]
    plan.store.unit_path(key).unlink()
    from smlmbatch.errors import InputError
    from smlmbatch.store.units import failure_of_error

    plan.store.record_failure(failure_of_error(key, InputError("x", "bad", "good", "mend"), path=outcome.field.path, attempt=""))
    call("run", small_campaign, output, expect=3)
    unit_of(output, "measure").unlink()
    _, told = call("run", small_campaign, output, "--skip", aside[0])
    assert units_made(told) == 1
    assert "fields failed" not in told


# ---- again


def test_made_again_it_is_the_same(small_campaign, output):
    before = {path: path.stat().st_mtime_ns for path in (output / "store").rglob("*.zarr.zip")}
    _, told = call("run", small_campaign, output, "--force", "--field", "control/*")
    assert told.count("made again: same digest") == 2 * N
    assert {path: path.stat().st_mtime_ns for path in (output / "store").rglob("*.zarr.zip")} == before


def test_a_unit_that_comes_out_otherwise_is_named_and_kept(small_campaign, output):
    path = unit_of(output, "tile")
    rewrite(path, "roi_n_locs")
    held = path.read_bytes()
    _, told = call("run", small_campaign, output, "--force", "--only", "tile,report", expect=3)
    assert told.count("NOT REPRODUCIBLE") == 1
    assert told.count("made again: same digest") == 3
    assert f"not reproducible: tile of {path.parent.name}" in told
    assert path.read_bytes() == held
    assert not list(path.parent.glob("*.failed.json"))
    assert "NOT REPRODUCIBLE" in call("tile", output, "--force", "--field", path.parent.name, expect=3)[1]


def test_a_damaged_unit_is_replaced(small_campaign, output):
    before = digest(output)
    path = unit_of(output, "ingest")
    whole = path.read_bytes()
    path.write_bytes(whole[:-2000])
    call("verify", output, expect=3)
    _, told = call("run", small_campaign, output, "--force", "--only", "ingest")
    assert told.count("is replaced") == 1
    assert digest(output) == before
    assert path.read_bytes() == whole


def test_made_again_in_vain_what_was_there_stays(small_campaign, output, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    before = digest(output)
    monkeypatch.setattr("smlmbatch.store.units.Store.publish_again", fail)
    _, told = call("run", small_campaign, output, "--force", "--only", "measure", expect=3)
    assert told.count("FAILED") == 4
    assert not list((output / "store").rglob("*.failed.json"))
    assert digest(output) == before


# ---- only the report, and the first error


def test_reports_only(small_campaign, output):
    before = digest(output)
    shutil.rmtree(output / "tables")
    (output / "report" / "index.html").unlink()
    unit_of(output, "measure").unlink()
    _, told = call("run", small_campaign, output, "--reports-only", expect=3)
    assert units_made(told) == 0
    assert "1 of 4 fields are not finished" in told
    assert (output / "report" / "index.html").is_file()
    call("run", small_campaign, output)
    assert digest(output) == before
    assert "computes nothing" in call("run", small_campaign, output, "--reports-only", "--force", expect=2)[1]
    call("run", small_campaign, output, "--reports-only", "--part", "1/2", expect=2)


def test_it_stops_at_the_first_error(small_copy, tmp_path):
    names = [f"bad{number}.csv" for number in range(3)]
    with (small_copy / "samples.csv").open("a") as sheet:
        sheet.writelines(f"{name},{name},control,control-9\n" for name in names)
    for name in names:
        (small_copy / name).write_text(f"a,b,{name}\n" + "1,2,3\n" * 20)
    output = tmp_path / "out"
    _, told = call("run", small_copy, output, "--stop-on-first-error", expect=3)
    assert told.count("FAILED") == 1
    n_worked = sum(line.startswith("[") and ("measure" in line or "FAILED" in line) for line in told.splitlines())
    assert f"stopped at the first failed field; fields not worked on: {7 - n_worked}" in told
    assert len((output / "failed.csv").read_text().splitlines()) == 2
    assert list((output / "store" / "attempts").glob("*")) == []
    _, told = call("run", small_copy, output, "--part", "1/1", "--stop-on-first-error", expect=3)
    assert told.count("FAILED") == 1  # the next bad one: what failed before is passed over
    call("run", small_copy, output, "--part", "1/1")
    call("run", small_copy, output, "--stop-on-first-error", expect=3)
    assert sum("measure" in stages for stages in fresh(output).values()) == 4


def test_stopping_drops_what_others_are_at_in_order():
    """Two children: one fails, the other is told to stop; the generator's end waits for it."""
    from contextlib import closing

    from smlmbatch.hpc.pool import map_units

    def work(item):
        time.sleep(item)
        return item

    started = time.monotonic()
    with closing(map_units(work, [0.0, 60.0], workers=2, scheduler="", scratch=None)) as results:
        item, result = next(results)
    assert (item, result) == (0.0, 0.0)
    assert time.monotonic() - started < 30


# ---- what a unit keeps


def test_a_unit_keeps_what_its_fingerprint_hashes(whole):
    from smlmbatch.provenance import fingerprint

    plan = load_plan(whole)
    for outcome in standing(plan):
        for key in outcome.keys.values():
            with UnitReader(plan.store.unit_path(key)) as unit:
                assert fingerprint(**unit.made_of) == key.fingerprint
                assert unit.made_by["numpy"] == np.__version__
                assert unit.recompute_digest() == unit.digest
                assert "made_of" not in unit.attrs
                assert unit.made_by["instructions"] == instructions()


def test_pinned_instructions_are_named():
    environ = {}
    pinned = pin_numerics(environ)
    assert (instructions(environ) == "AVX2") is pinned
    assert instructions({}).endswith("not pinned")
