"""Two campaigns held against each other: what differs is named with the right reason, what doesn't is not."""

import csv
import json
import shutil

import numpy as np
import pytest

from smlmbatch import stages
from smlmbatch.against.difference import compare
from smlmbatch.campaign import load_plan
from smlmbatch.run import ALL_STAGES
from smlmbatch.store.arrays import UnitReader, UnitWriter
from smlmbatch.upkeep import standing, verify_campaign
from tests.in_process import call, digest

N = len(ALL_STAGES)


@pytest.fixture(scope="module")
def whole(small_campaign, tmp_path_factory):
    """A finished campaign, not to be changed."""
    output = tmp_path_factory.mktemp("whole") / "out"
    call("run", small_campaign, output)
    return output


@pytest.fixture
def output(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "out")


@pytest.fixture
def other_version():
    """Raises the result version of `tile`, as a release does whose tiling gives other results; in this process and its forks."""
    tile = next(stage for stage in stages.FIELD_STAGES if stage.name == "tile")
    before = tile.result_version
    object.__setattr__(tile, "result_version", before + 1)
    yield before
    object.__setattr__(tile, "result_version", before)


def against(output, other, *arguments, expect=3):
    return json.loads(call("verify", output, "--against", other, "--json", *arguments, expect=expect)[0])


def kinds(found, *, stage=None):
    """(kind, text) of all reasons."""
    members = [member for member in found["members"] if stage in (None, member["stage"])]
    return {(reason["kind"], reason["text"]) for member in members for reason in member["reasons"]}


def of_stage(found, stage):
    return found["counts"][stage]


def test_equal(whole, output):
    found = against(output, whole, expect=0)
    assert found["equal"]
    assert found["members"] == []
    assert found["digest"] == found["digest_there"] == digest(whole)
    assert all(of_stage(found, stage) == {"same": 4} for stage in ALL_STAGES)
    text = call("verify", output, "--against", whole)[0].splitlines()
    assert text[-1] == "equal"
    assert "--against" in call("verify", output, "--effects", "x.csv", expect=2)[1]


def test_a_changed_setting(small_campaign, whole, output, tmp_path):
    settings = tmp_path / "s.toml"
    settings.write_text(call("config", output)[0].replace("dbscan_min_locs = 5 ", "dbscan_min_locs = 3 "))
    call("run", small_campaign, output, "--config", settings, "--update")
    effects = tmp_path / "effects.csv"
    found = against(output, whole, "--effects", effects)
    assert of_stage(found, "ingest") == of_stage(found, "tile") == {"same": 4}
    assert kinds(found, stage="measure") == {("settings", "measure.dbscan_min_locs: 5 → 3")}
    assert found["counts"]["tables/rois.parquet"] == {"differs": 1}
    assert not found["equal"]
    with effects.open(newline="") as file:
        rows = list(csv.DictReader(file))
    changed = {row["descriptor"] for row in rows if float(row["change"] or 0)}
    assert "n_clusters" in changed
    assert not changed & {"n_locs", "density_per_um2", "nn_mean_nm", "ripley_max_nm"}  # what DBSCAN doesn't touch
    assert found["effects"][0]["descriptor"] == rows[0]["descriptor"]
    text = call("verify", output, "--against", whole, "--effects", effects, expect=3)[0]
    assert "settings: measure.dbscan_min_locs: 5 → 3 (4 units of 4 fields)" in text
    assert text.splitlines()[-1] == "different"


def test_a_setting_without_effect_is_equal(small_campaign, whole, output):
    call("run", small_campaign, output, "--min-locs", "49", "--update")
    found = against(output, whole, expect=0)
    assert of_stage(found, "tile") == {"same result": 4}
    assert kinds(found, stage="tile") == {("settings", "tile.min_locs: 50 → 49")}
    assert kinds(found, stage="measure") == {("upstream", "tile is another")}
    assert found["digest"] == found["digest_there"]


def test_changed_input_added_field_and_labels(small_copy, whole, tmp_path):
    changed = small_copy / "control" / "control_r01_f01.csv"
    lines = changed.read_text().splitlines(keepends=True)
    changed.write_text("".join(lines[:-1]))
    shutil.copy(small_copy / "treated" / "treated_r01_f01.csv", small_copy / "twin.csv")
    sheet = small_copy / "samples.csv"
    sheet.write_text(sheet.read_text().replace(",treated,treated-2", ",treated,treated-7") + "twin.csv,twin,treated,treated-3\n")
    output = tmp_path / "out"
    call("run", small_copy, output)
    found = against(output, whole)
    (ingest,) = [member for member in found["members"] if member["stage"] == "ingest" and member["state"] == "differs"]
    assert ingest["field"] == "control/control_r01_f01.csv"
    assert [(reason["kind"], reason["text"]) for reason in ingest["reasons"]] == [("input", "content of the file")]
    added = [member for member in found["members"] if member["state"] == "only here" and member["field"]]
    assert {member["field"] for member in added} == {"twin.csv"}
    assert added[0]["reasons"] == [
        {"kind": "field", "text": "not in samples.csv there", "detail": "the same content as treated/treated_r01_f01.csv"}
    ]
    assert ("labels", "replicate: 'treated-2' → 'treated-7'") in kinds(found, stage="tables/fields.parquet")
    assert of_stage(found, "ingest") == {"same": 3, "differs": 1, "only here": 1}
    back = against(whole, output)
    assert of_stage(back, "ingest") == {"same": 3, "differs": 1, "only there": 1}


def test_a_tampered_unit(whole, output):
    """Changed and sealed anew it is not reproducible; changed and not sealed it is damaged."""
    plan = load_plan(output)
    paths = [plan.store.unit_path(outcome.keys["tile"]) for outcome in standing(plan)]
    paths[0].write_bytes(paths[0].read_bytes()[:-3000])
    with UnitReader(paths[1]) as unit:
        writer = UnitWriter(output / "other.zip", "tile")
        writer.made_of, writer.made_by = unit.made_of, unit.made_by | {"numpy": "1.0"}
        writer.attrs.update({key: value for key, value in unit.attrs.items() if key != "stage"} | {"note": "tampered"})
        for name in unit.names():
            writer.write(name, unit.read(name))
    writer.close()
    (output / "other.zip").replace(paths[1])
    found = against(output, whole)
    assert of_stage(found, "tile") == {"same": 2, "damaged": 1, "not reproducible": 1}
    states = {member["state"]: member for member in found["members"]}
    assert states["damaged"]["reasons"][0]["text"].startswith("here: ")
    assert kinds({"members": [states["not reproducible"]]}) == {("software", f"numpy: {np.__version__} → 1.0")}
    assert of_stage(found, "measure") == {"same": 4}


def test_an_upgrade(small_campaign, whole, output, other_version):
    """OUTPUT made anew by a version that tiles otherwise, held against one that the version before made."""
    assert verify_campaign(load_plan(output)).damaged  # this version misses its units there
    call("run", small_campaign, output)
    found = compare(load_plan(output), load_plan(whole))
    counts = found.counts()
    assert counts["ingest"] == {"same": 4}
    assert counts["tile"] == {"same result": 4}
    reasons = {(reason.kind, reason.text.partition(" (")[0]) for reason in found.by_reason()}
    assert ("version", f"results of tile: {other_version} → {other_version + 1}") in reasons
    assert ("upstream", "tile is another") in reasons
    assert found.equal  # that version was raised for nothing
    assert found.outdated == 0
    assert found.digest == found.digest_there


def test_an_upgrade_not_run_yet(whole, output, other_version):
    found = compare(load_plan(output), load_plan(whole))
    assert found.equal
    resting = {"tile"}
    for stage in stages.FIELD_STAGES:
        resting |= {stage.name} if resting & set(stage.upstream) else set()
    assert found.outdated == 4 * len(resting)


def test_units_of_former_settings_count_for_nothing(small_campaign, whole, output, other_version):
    """Of several units of one stage the one counts that fits OUTPUT's settings."""
    plan = load_plan(output)
    for path in {plan.store.unit_path(outcome.keys["measure"]).parent for outcome in standing(plan, trust_cache=True)}:
        (tile,) = path.glob("tile-*")
        with UnitReader(tile) as unit:
            writer = UnitWriter(output / "other.zip", "tile")
            writer.made_of = {**unit.made_of, "config": {"tile": {**unit.made_of["config"]["tile"], "roi_nm": 1.0}}}
            for name in unit.names():
                writer.write(name, unit.read(name))
        writer.close()
        (output / "other.zip").replace(path / f"tile-{'0' * 16}.zarr.zip")
    assert compare(load_plan(output), load_plan(whole)).equal


def test_many_fields_are_cut_short():
    from smlmbatch.against.difference import Difference, Member
    from smlmbatch.against.reasons import Reason
    from smlmbatch.against.wording import difference_text

    reason = Reason("input", "content of the file", "a → b")
    members = tuple(Member(field=f"f{number}", stage="ingest", state="differs", reasons=(reason,)) for number in range(30))
    lines = list(difference_text(Difference(members=members, digest="x", digest_there="y", outdated=0)))
    assert "input: content of the file (30 units of 30 fields)" in lines
    assert sum(line.startswith("  f") for line in lines) == 20
    assert "  and 10 more" in lines
