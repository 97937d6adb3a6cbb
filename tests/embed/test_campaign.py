"""Embedding in a campaign: in parts, after kills, with a model of one's own, after an upgrade of the shipped one."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from smlmbatch.campaign import load_plan
from smlmbatch.embed import stage
from smlmbatch.methods import folders
from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.model import save_model
from smlmbatch.store.arrays import UnitReader
from smlmbatch.upkeep import find_rubbish
from tests.in_process import call, fresh, unit_of, units_made

NETWORK = ContrastiveConfig(features=16, channels=(4, 4))
STAGES = ("--only", "ingest,tile,embed")
FIELDS = 4


def untrained(folder: Path, *, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    save_model(folder, Contrastive(), NETWORK, Contrastive().build(NETWORK))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return untrained(tmp_path_factory.mktemp("models") / "mine")


@pytest.fixture(scope="module")
def tiled(small_campaign, tmp_path_factory) -> Path:
    """OUTPUT with regions, and no model: two conditions, four fields, some ten regions."""
    output = tmp_path_factory.mktemp("tiled") / "out"
    call("run", small_campaign, output, "--min-coverage", "0.4", "--model", "none", *STAGES)
    return output


@pytest.fixture
def output(tiled, tmp_path) -> Path:
    """The same, that a test may change."""
    return Path(shutil.copytree(tiled, tmp_path / "out"))


@pytest.fixture(scope="module")
def embedded(small_campaign, tiled, model, tmp_path_factory) -> Path:
    """The same, embedded in one go."""
    output = Path(shutil.copytree(tiled, tmp_path_factory.mktemp("embedded") / "out"))
    call("run", small_campaign, output, "--model", model, "--update", *STAGES)
    return output


def embeddings(output: Path) -> list[str]:
    """The digest of every field's vectors; all fields are there, with at least one row in all."""
    digests, rows = [], 0
    for number in range(FIELDS):
        with UnitReader(unit_of(output, "embed", number=number)) as unit:
            assert unit.recompute_digest() == unit.digest
            digests.append(unit.digest)
            rows += unit.length("roi")
    assert rows >= FIELDS
    return digests


def made(stderr: str) -> set[str]:
    """Stages of which units were made."""
    return {line.split()[1] for line in stderr.splitlines() if " rows " in line}


# ---- the protocol


def test_parts_in_any_order(small_campaign, output, embedded, model) -> None:
    call("plan", small_campaign, output, "--model", model, "--update")
    for part in ("3/3", "1/3", "2/3"):
        call("run", small_campaign, output, "--part", part, *STAGES)
    assert embeddings(output) == embeddings(embedded)


def test_killed_and_resumed(small_campaign, output, embedded, model, tmp_path, monkeypatch) -> None:
    """The process of the first field is killed within its first batch; the unit is made again."""
    whole = stage.embed_counts

    def killed_once(*arguments, **options):
        if not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments, **options)

    monkeypatch.setattr(stage, "embed_counts", killed_once)
    _, stderr = call("run", small_campaign, output, "--model", model, "--update", *STAGES)
    assert (tmp_path / "killed").exists()
    assert "to try once more" in stderr
    assert embeddings(output) == embeddings(embedded)


# ---- a model of one's own


def test_the_original_is_needed_no_more(small_campaign, output, embedded, model, tmp_path) -> None:
    """Planned with a model that goes away before anything is embedded; another folder of the same model is no other setting."""
    original = Path(shutil.copytree(model, tmp_path / "elsewhere"))
    call("plan", small_campaign, output, "--model", original, "--update")
    assert [path.name for path in (output / "models").iterdir()] == [f"elsewhere-{folders.model_sha256(model)[:12]}"]
    shutil.rmtree(original)
    call("embed", output, "--part", "1/2")
    call("run", small_campaign, output, *STAGES)
    assert embeddings_but_names(output) == embeddings_but_names(embedded)
    _, stderr = call("run", small_campaign, output, "--model", model, *STAGES)
    assert units_made(stderr) == 0
    assert all("embed" in stages for stages in fresh(output).values())


def embeddings_but_names(output: Path) -> list[list[list[float]]]:
    found = []
    for number in range(FIELDS):
        with UnitReader(unit_of(output, "embed", number=number)) as unit:
            found.append(unit.read("embedding").tolist())
    return found


def test_another_model_needs_a_word_and_recomputes_vectors_alone(small_campaign, output, model, tmp_path) -> None:
    call("run", small_campaign, output, "--model", model, "--update", *STAGES)
    other = untrained(tmp_path / "mine", seed=1)
    _, stderr = call("run", small_campaign, output, "--model", other, *STAGES, expect=2)
    assert "holds a campaign with other settings" in stderr
    before = embeddings(output)
    _, stderr = call("run", small_campaign, output, "--model", other, "--update", *STAGES)
    assert made(stderr) == {"embed"}
    assert all(new != old for new, old in zip(embeddings(output), before, strict=True) if old)
    rubbish = {item.path.name: item.reason for item in find_rubbish(load_plan(output))}
    assert rubbish[f"mine-{folders.model_sha256(model)[:12]}"] == "model of other settings"
    assert f"mine-{folders.model_sha256(other)[:12]}" not in rubbish


def test_a_damaged_copy_fails_field_by_field_and_is_mended(small_campaign, output, embedded, model) -> None:
    call("plan", small_campaign, output, "--model", model, "--update")
    (copy,) = (output / "models").iterdir()
    (copy / "model.safetensors").write_bytes(b"")
    _, stderr = call("run", small_campaign, output, "--skip", "quality,measure", expect=3)
    assert stderr.count("the campaign's copy of its model is damaged") == FIELDS
    assert "models/mine-" in (output / "failed.csv").read_text()
    _, stderr = call("run", small_campaign, output, *STAGES, expect=3)
    assert units_made(stderr) == 0, "an input failure stands"
    call("plan", small_campaign, output, "--model", model)
    call("run", small_campaign, output, "--retry-failed", *STAGES)
    assert embeddings(output) == embeddings(embedded)


def test_a_bad_model_freezes_nothing(small_campaign, output, tmp_path) -> None:
    before = (output / "config.toml").read_text()
    call("plan", small_campaign, output, "--model", tmp_path, "--update", expect=2)
    call("run", small_campaign, output, "--model", tmp_path, "--update", expect=2)
    call("validate", small_campaign, "--model", tmp_path, expect=2)
    assert (output / "config.toml").read_text() == before
    assert not (output / "models").exists()


# ---- the shipped model


def test_an_upgrade_recomputes_vectors_alone(small_campaign, output, tmp_path, monkeypatch) -> None:
    shutil.copytree(folders.shipped("miro"), tmp_path / "models" / "miro")
    monkeypatch.setattr(folders, "_PACKAGE", tmp_path)
    untrained(tmp_path / "models" / "contrastive")
    call("run", small_campaign, output, "--model", "auto", "--update", *STAGES)
    before = embeddings(output)
    untrained(tmp_path / "models" / "contrastive", seed=1)
    _, stderr = call("run", small_campaign, output, *STAGES)
    assert made(stderr) == {"embed"}
    assert units_made(stderr) == FIELDS
    assert embeddings(output) != before


def test_regions_of_another_side(small_campaign, tmp_path) -> None:
    """By themselves they are not embedded, and that is said; explicitly it is refused."""
    output = tmp_path / "out"
    _, stderr = call("run", small_campaign, output, "--roi-nm", "1000", *STAGES)
    why = "The shipped model embeds regions of 3000 nm, and these have 1000 nm."
    assert f"no embedding: {why}" in stderr
    with UnitReader(unit_of(output, "embed")) as unit:
        assert (unit.attrs["why_none"], unit.length("roi")) == (why, 0)
    _, stderr = call("plan", small_campaign, tmp_path / "other", "--roi-nm", "1000", "--model", "contrastive", expect=2)
    assert "tile.roi_nm = 1000" in stderr
    _, stderr = call("plan", small_campaign, tmp_path / "third", "--roi-nm", "1000", "--model", "none")
    assert "no embedding" not in stderr, "it was asked for"


def test_options_reach_the_settings(small_campaign, tmp_path) -> None:
    call("plan", small_campaign, tmp_path / "out", "--embed-locs", "300", "--device", "cuda")
    embed = load_plan(tmp_path / "out").config.embed
    assert (embed.model, embed.n_locs, embed.device) == ("auto", 300, "cuda")
