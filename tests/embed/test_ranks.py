"""Embedding by several ranks: the digest of one process, whatever they share, and whatever goes wrong on one of them."""

import json
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from smlmbatch.campaign import load_plan
from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.model import save_model
from smlmbatch.store.arrays import UnitReader
from smlmbatch.upkeep import standing
from tests.conftest import smlmbatch
from tests.methods.launching import Launch

pytestmark = pytest.mark.slow

NETWORK = ContrastiveConfig(features=16, channels=(4, 4), side_nm=1000.0)
# Side in um → regions of 1 um: 23 x 23 = 529 are 9 blocks of 64, 20 x 20 are 7 (neither divides by 64), 4 x 4 are less than one.
SIDES_UM = {"big.csv": 23, "odd.csv": 20, "small.csv": 4, "tiny.csv": 4}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Five fields: two that three ranks share, a small one, one whose regions have too few locs, one that can't be read."""
    folder = tmp_path_factory.mktemp("source") / "ctrl"
    folder.mkdir()
    rng = np.random.default_rng(4)
    for name, side_um in SIDES_UM.items():
        xy_nm = rng.uniform(0, 1000 * side_um, ((120 if name != "tiny.csv" else 60) * side_um**2, 2))
        np.savetxt(folder / name, xy_nm, fmt="%.2f", delimiter=",", header="x_nm,y_nm", comments="")
    (folder / "broken.csv").write_text("x_nm,y_nm\n1,two\n")
    return folder.parent


@pytest.fixture(scope="module")
def measured(source, tmp_path_factory) -> Path:
    """OUTPUT in which only embedding is left to do."""
    folder = tmp_path_factory.mktemp("measured")
    torch.manual_seed(0)
    save_model(folder / "mine", Contrastive(), NETWORK, Contrastive().build(NETWORK))
    (folder / "config.toml").write_text('[tile]\noutline = "field"\nroi_nm = 1000.0\n[embed]\nmin_locs = 80\n')
    smlmbatch("plan", source, folder / "out", "--config", folder / "config.toml", "--model", folder / "mine")
    smlmbatch("measure", folder / "out")
    return folder / "out"


@pytest.fixture
def output(measured, tmp_path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "out"))


@pytest.fixture(scope="module")
def one(measured, tmp_path_factory) -> list[tuple[str, str]]:
    """What a process alone gives."""
    output = Path(shutil.copytree(measured, tmp_path_factory.mktemp("one") / "out"))
    smlmbatch("embed", output)
    return finished(output)


def finished(output: Path) -> list[tuple[str, str]]:
    """Name and digest of the vectors of every field that can be read."""
    plan, found = load_plan(output), []
    for outcome in standing(plan, trust_cache=True):
        if "embed" in outcome.fresh:
            with UnitReader(plan.store.unit_path(outcome.keys["embed"])) as unit:
                assert unit.recompute_digest() == unit.digest
                found.append((outcome.field.name, unit.digest))
    assert [name for name, _ in found] == sorted(SIDES_UM)
    return found


def ranks(world: int, *arguments: object, expect: tuple[int, ...] = (0,), fault: str = "none", mark: Path | None = None) -> list[str]:
    """The command on so many ranks, as torchrun starts them; what each said."""
    with TemporaryDirectory() as logs, Launch(world, Path(logs), PYTHONWARNINGS="error", MARK=str(mark)) as launch:
        launch.start("-m", "tests.embed.rank", fault, *arguments)
        codes = tuple(launch.codes(timeout_s=400))
        assert codes == expect * (world // len(expect)), launch.said()
        return [launch.text(rank) for rank in range(world)]


def helped(said: str) -> list[tuple[int, int]]:
    """(blocks made here, blocks of the unit) of each unit that a rank helped with."""
    return [(int(made), int(count)) for made, count in re.findall(r"helped +embed .* (\d+) of (\d+) blocks", said)]


def failures(output: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in (output / "store" / "fields").glob("*/embed-*.failed.json")]


def without_unit(output: Path) -> list[str]:
    """Names of readable fields that are not embedded."""
    return [o.field.name for o in standing(load_plan(output), trust_cache=True) if o.keys and "embed" not in o.fresh and o.fresh]


def test_two_and_three_ranks_give_what_one_gives(output, one, measured, tmp_path):
    said = ranks(3, "embed", output)
    assert "fields to share among 3 ranks: 2" in said[0]
    shares = [{count: made for made, count in helped(words)} for words in said[1:]]
    assert [set(share) for share in shares] == [{9, 7}, {9, 7}]
    assert all(sum(share[count] for share in shares) >= 1 for count in (9, 7)), "all blocks were made by rank 0"
    assert finished(output) == one
    assert list((output / "store" / "attempts").glob("*")) == []

    two = Path(shutil.copytree(measured, tmp_path / "two"))
    parts = [ranks(2, "embed", two, "--part", part) for part in ("2/2", "1/2")]
    assert sum(len(helped(words[1])) for words in parts) == 2
    assert finished(two) == one
    assert not [line for words in ranks(2, "embed", two) for line in words.splitlines() if " rows " in line or "helped" in line]


def test_shared_units_are_made_again_when_asked(source, output, one):
    """--force: they are there already, and must not be passed over for that."""
    smlmbatch("embed", output)
    said = ranks(2, "run", source, output, "--part", "1/1", "--only", "embed", "--force")
    again = re.findall(r"embed +(\w+)-\w+ .* made again: same digest", "\n".join(said))
    assert sorted(again) == [name.removesuffix(".csv") for name in sorted(SIDES_UM)], said
    assert sum(len(helped(words)) for words in said) == 2
    assert finished(output) == one


def test_what_a_helper_meets_is_the_units_failure(output, one, tmp_path):
    said = ranks(2, "embed", output, fault="refuse", mark=tmp_path / "mark")
    (failure,) = failures(output)
    assert (failure["kind"], failure["finding"], failure["want"], failure["mend"], failure["tries"]) == (
        "input",
        "models/mine: is bad",
        "a good one",
        "mend it",
        1,
    )
    assert said[0].count("FAILED") == 1, "the other field went on"
    assert len(without_unit(output)) == 1
    ranks(2, "embed", output, "--retry-failed")
    assert finished(output) == one


def test_a_helpers_process_that_dies_costs_another_try(output, one, tmp_path):
    said = ranks(2, "embed", output, fault="die", mark=tmp_path / "mark")
    assert "its process of rank 1 of 2" in said[0]
    assert "was killed by SIGKILL" in said[0]
    assert "fields to try once more, with smaller blocks: 1" in said[0]
    assert without_unit(output) == []
    assert finished(output) == one


def test_a_warning_to_one_rank_ends_all_in_order(output, one, tmp_path):
    said = ranks(2, "embed", output, fault="stop", mark=tmp_path / "mark", expect=(75,))
    assert "stopped by SIGUSR1" in said[1]
    assert "stopped with the other ranks (rank 1 of 2" in said[0]
    assert len(without_unit(output)) == 2
    assert failures(output) == []
    assert list((output / "store" / "attempts").glob("*")) == []
    ranks(2, "embed", output)
    assert finished(output) == one


def test_without_a_model_fields_are_dealt_out(source, measured, tmp_path):
    alone, two = tmp_path / "alone", tmp_path / "two"
    for output in (alone, two):
        smlmbatch("plan", source, output, "--config", measured.parent / "config.toml", "--model", "none")
    smlmbatch("embed", alone)
    said = ranks(2, "embed", two)
    assert not any("share" in words or "helped" in words for words in said)
    made = [{line.split()[4] for line in words.splitlines() if " rows " in line} for words in said]
    assert [len(fields) for fields in made] == [3, 1], "of every two fields one; one can't be read"
    assert not made[0] & made[1]
    assert finished(two) == finished(alone)


def test_what_one_process_does_is_refused(source, measured):
    for arguments in (("run", source, measured), ("report", measured), ("plan", source, measured)):
        said = ranks(2, *arguments, expect=(2,))
        assert all("torchrun started 2 ranks" in words and "start one" in words for words in said)
    said = ranks(2, "measure", measured, "--scheduler", "tcp://nowhere:1", expect=(2,))
    assert "not both" in said[0]
