"""The campaign's own units, from files to tables: how they are cut, resumed, made anew, refused, and what is said of them."""

import csv
import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from smlmbatch.campaign import load_plan
from smlmbatch.ordering import CAMPAIGN, order_state
from smlmbatch.store.arrays import UnitReader
from smlmbatch.submission import loads_of
from smlmbatch.upkeep import standing, verify_campaign
from tests.conftest import smlmbatch
from tests.in_process import call, units_made

FIELDS, BINS = 2, 4
PER_FIELD = 30


@pytest.fixture
def copy(ordered_output, tmp_path) -> Path:
    return Path(shutil.copytree(ordered_output, tmp_path / "out"))


def learn(*arguments, expect=0) -> str:
    """What a command says in a process of its own: torch can't train in a fork of one that used it, and numbers are pinned there."""
    return smlmbatch(*arguments, expect=expect).stderr


def units(output: Path) -> Counter:
    """Stage → units of the whole campaign in the store, whoever needs them."""
    return Counter(path.name.partition("-")[0] for path in (output / "store" / "fields" / CAMPAIGN).glob("*.zarr.zip"))


def state(output: Path):
    plan = load_plan(output)
    return order_state(plan, standing(plan, trust_cache=True))


def test_every_particle_has_its_place(ordered_output):
    with UnitReader(load_plan(ordered_output).store.unit_path(state(ordered_output).order)) as unit:
        assert unit.attrs["n_particles"] == FIELDS * PER_FIELD
        assert unit.read("field").tolist() == [0] * PER_FIELD + [1] * PER_FIELD
        assert unit.read("number").tolist() == [*range(PER_FIELD)] * 2
        assert unit.read("place").shape == (FIELDS * PER_FIELD, 16)
        assert unit.read("loss").shape == (1, 2)
        assert [unit.attrs["fields"][i].partition("-")[0] for i in (0, 1)] == ["field0", "field1"]
    assert units(ordered_output) == {"order": 1, "register": BINS}


def test_pieces_give_the_digest_of_one_run(ordered_output, pores, tmp_path):
    """Fields by parts, particles in order, bins by parts, then the report: what a chain of array jobs does."""
    output = tmp_path / "out"
    call("plan", pores, output, "--config", pores.parent / "settings.toml")
    for part in ("1/2", "2/2"):
        call("run", pores, output, "--part", part, "--only", "ingest,pick")
        assert ("waits: fields that are not picked yet: 1" in learn("register", output, "--part", part)) == (part == "1/2")
    shutil.rmtree(output / "store" / "fields" / CAMPAIGN)
    learn("order", output)
    assert units(output) == {"order": 1}
    assert units_made(learn("register", output, "--part", "2/3")) == 1
    assert units_made(learn("register", output, "--part", "1/3", "--workers", "2")) == 2
    assert units_made(learn("run", pores, output)) == 1
    assert digest_of_order(output) == digest_of_order(ordered_output)


def digest_of_order(output: Path) -> dict[str, str]:
    """Digests of the campaign's own units and tables of them."""
    members = verify_campaign(load_plan(output)).members
    return {name: value for name, value in members.items() if name.startswith((CAMPAIGN, "tables/order"))}


def test_run_again_makes_nothing(copy, pores):
    assert units_made(call("run", pores, copy)[1]) == 0


def test_lost_bins_alone_are_made_again(copy, pores, ordered_output):
    paths = sorted((copy / "store" / "fields" / CAMPAIGN).glob("register-*"))
    before = {path: path.read_bytes() for path in paths}
    for path in paths[:2]:
        path.unlink()
    assert [stage["to_do"] for stage in json.loads(call("status", copy, "--json")[0])["stages"][-2:]] == [0, 2]
    assert "campaign/register pc1" in call("verify", copy, expect=3)[1]
    assert units_made(learn("run", pores, copy)) == 2
    assert {path: path.read_bytes() for path in paths} == before


def test_another_direction_needs_no_new_order(copy, pores):
    call("order", copy, "--axes", "pc1,unit2")
    assert units(copy) == {"order": 1, "register": BINS}
    call("register", copy)
    assert units(copy) == {"order": 1, "register": 2 * BINS}
    learn("order", copy, "--bins", "3", "--axes", "none")
    assert units(copy) == {"order": 2, "register": 2 * BINS}
    rubbish = call("clean", copy, "--dry-run")[0]
    assert rubbish.count("made of other input, settings or version") == 1 + 2 * BINS
    call("clean", copy)
    assert units(copy) == {"order": 1}


def test_a_new_field_makes_a_new_order(copy, pores, tmp_path):
    more = Path(shutil.copytree(pores, tmp_path / "input"))
    text = (more / "a" / "field0.csv").read_text().splitlines()
    (more / "a" / "field9.csv").write_text("\n".join(text[: 1 + len(text) // 2]) + "\n")
    before = state(copy).order
    learn("run", more, copy, "--update")
    after = state(copy)
    assert after.order != before
    assert not after.undone
    with UnitReader(load_plan(copy).store.unit_path(after.order)) as unit:
        assert unit.attrs["n_particles"] > FIELDS * PER_FIELD


def test_too_few_particles_are_left_unordered(copy, pores):
    config = (pores.parent / "settings.toml").read_text() + "least_particles = 61\n"
    (copy.parent / "few.toml").write_text(config)
    call("run", pores, copy, "--update", "--config", copy.parent / "few.toml")
    found = state(copy)
    assert found.bins == ()
    with UnitReader(load_plan(copy).store.unit_path(found.order)) as unit:
        assert unit.attrs["why_none"] == "60 particles: fewer than 61"
        assert unit.names() == []
    call("verify", copy)


def test_a_value_nobody_has_is_refused_and_mended(copy, pores):
    told = call("order", copy, "--value", "diameter")[1]
    assert "order.value = 'diameter': wanted a column of the sample sheet (it has none of its own) or one of mean_radius_nm" in told
    assert call("report", copy, expect=3)[1].count("failed: order of the campaign") == 1
    with (copy / "failed.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["field"], row["stage"], row["kind"]) == (CAMPAIGN, "order", "input")
    assert "correct [order]" in row["mend"]
    assert json.loads(call("status", copy, "--json")[0])["stages"][-2]["failed"] == 1
    learn("order", copy, "--value", "circle_radius_nm")
    call("register", copy)
    found = state(copy)
    assert not found.failures
    with UnitReader(load_plan(copy).store.unit_path(found.order)) as unit:
        assert unit.attrs["directions"][-1] == "value"
        assert (unit.read("value") == unit.read("circle_radius_nm")).all()


def test_directions_that_are_not_there_are_refused(copy):
    told = call("order", copy, "--axes", "pc1,unit99", expect=2)[1]
    assert "order.axes = 'pc1,unit99'" in told
    assert told.rstrip().endswith("unit99 is none of them")


def test_a_bin_that_fails_stops_no_other(copy, pores, monkeypatch):
    for path in (copy / "store" / "fields" / CAMPAIGN).glob("register-*"):
        path.unlink()
    from smlmbatch.order import bins

    whole = bins.register_bin

    def spoilt(order, out, *, number, **options):
        if number == 2:
            raise ValueError("no hill to climb")
        return whole(order, out, number=number, **options)

    monkeypatch.setattr(bins, "register_bin", spoilt)
    told = call("run", pores, copy, expect=3)[1]
    assert "FAILED   register pc1 bin 2: ValueError: no hill to climb" in told
    assert units(copy) == {"order": 1, "register": BINS - 1}
    monkeypatch.undo()
    call("run", pores, copy)
    assert not state(copy).undone


def test_a_killed_process_costs_its_bin_alone(copy, pores, monkeypatch):
    for path in (copy / "store" / "fields" / CAMPAIGN).glob("register-*"):
        path.unlink()
    from smlmbatch.order import bins

    whole = bins.register_bin

    def killed(order, out, *, number, **options):
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(order, out, number=number, **options)

    monkeypatch.setattr(bins, "register_bin", killed)
    assert "was killed by SIGKILL" in call("run", pores, copy, expect=3)[1]
    assert units(copy) == {"order": 1, "register": BINS - 1}
    assert list((copy / "store" / "attempts").iterdir()) == []
    monkeypatch.undo()
    call("run", pores, copy)
    assert not state(copy).undone


def test_a_bin_that_comes_out_otherwise_is_named(copy, pores):
    first, second = sorted((copy / "store" / "fields" / CAMPAIGN).glob("register-*"))[:2]
    shutil.copyfile(first, second)
    told = learn("run", pores, copy, "--force", "--only", "register", expect=3)
    assert told.count("NOT REPRODUCIBLE") == 1
    assert told.count("made again: same digest") == BINS - 1


def test_what_a_submission_reckons_with(copy, pores):
    loads = loads_of({".": load_plan(copy)})
    assert [sum(load.seconds) for stage in ("order", "register") for load in loads[stage]] == [0.0, 0.0]
    next((copy / "store" / "fields" / CAMPAIGN).glob("register-*")).unlink()
    (load,) = loads_of({".": load_plan(copy)})["register"]
    assert sum(s > 0 for s in load.seconds) == 1
    assert len(load.fields) == BINS
    shutil.rmtree(copy / "store")
    loads = loads_of({".": load_plan(copy)})
    assert all(s > 0 for stage in ("order", "register") for load in loads[stage] for s in load.seconds)
    assert len(loads["register"][0].fields) == BINS


def test_nothing_is_ordered_where_nothing_is_picked(pores, tmp_path):
    output = tmp_path / "out"
    settings = (pores.parent / "settings.toml").read_text().replace('"group"', '"none"')
    (tmp_path / "none.toml").write_text(settings)
    call("run", pores, output, "--config", tmp_path / "none.toml")
    assert not (output / "store" / "fields" / CAMPAIGN).exists()
    assert "nothing is to be put in order" in call("order", output)[1]
    assert [stage["stage"] for stage in json.loads(call("status", output, "--json")[0])["stages"]][-1] == "pick"


def test_differences_name_the_bins(copy, ordered_output, pores):
    learn("order", copy, "--bins", "3")
    call("register", copy)
    call("report", copy)
    found = json.loads(call("verify", copy, "--against", ordered_output, "--json", expect=3)[0])
    stages = Counter(member["stage"] for member in found["members"] if member["field"].startswith(CAMPAIGN))
    assert stages == {"order": 1, "register": BINS}
    reasons = {reason["text"] for member in found["members"] for reason in member["reasons"]}
    assert "order.bins: 4 → 3" in reasons


def model_of(output: Path, folder: Path) -> Path:
    """The campaign's own network as the folder of a model."""
    folder.mkdir()
    with UnitReader(load_plan(output).store.unit_path(state(output).order)) as unit:
        (folder / "model.safetensors").write_bytes(unit.read("weights").tobytes())
        (folder / "config.toml").write_text(unit.attrs["settings"])
    return folder


def test_a_model_of_ones_own_puts_particles_in_order(copy, tmp_path):
    """By the very network that the campaign learned: nothing is learned, all places are the same, and its copy lies in OUTPUT."""
    own = model_of(copy, tmp_path / "pores")
    with UnitReader(load_plan(copy).store.unit_path(state(copy).order)) as unit:
        before = {name: unit.read(name) for name in ("latent", "place", "bin")}
    learn("order", copy, "--model", own, "--axes", "pc1")
    with UnitReader(load_plan(copy).store.unit_path(state(copy).order)) as unit:
        assert (unit.attrs["model"], unit.read("loss").shape) == ("pores", (0, 2))
        for name, values in before.items():
            assert (unit.read(name) == values).all(), name
    assert units(copy)["order"] == 2
    assert [path.name.rpartition("-")[0] for path in (copy / "models").iterdir()] == ["pores"]
    shutil.rmtree(own)
    learn("register", copy)
    learn("report", copy)
    assert "The model pores (PC-VAE), which learned from other particles" in (copy / "report" / "index.html").read_text()
    assert "order.turns" in learn("order", copy, "--turns", "none", expect=2)
    learn("order", copy, "--model", "auto")
    assert state(copy).order.fingerprint in state(copy).fresh
