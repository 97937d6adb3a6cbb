"""Training as a user does it: to the end, killed and gone on, refused; a model folder read back."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from smlmbatch.errors import ConfigError, InputError, Interrupted
from smlmbatch.hpc.place import Place
from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.method import Alone
from smlmbatch.methods.model import config_of, load_model, read_settings, save_model, settings_text
from smlmbatch.train.checkpoint import load_checkpoint, recipe_sha256
from smlmbatch.train.loop import LoopOptions, train
from smlmbatch.train.material import make_material, material_folder
from smlmbatch.train.session import train_model

TINY = ContrastiveConfig(samples=96, shard_samples=32, batch=8, epochs=2, validation_share=0.34)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


class Quick(Contrastive):
    """The method without the minutes of measuring what the model is good for."""

    def judge(self, model, config, *, seeds):
        return {"trial": {"ARI": 0.5, "seeds": float(seeds)}}


class Unjudged(Contrastive):
    """The method, interrupted in its measuring."""

    def judge(self, model, config, *, seeds):
        raise KeyboardInterrupt


def options(folder, **more):
    return LoopOptions(folder=folder, device=torch.device("cpu"), **more)


def weights(trained):
    return {name: value.clone() for name, value in trained.model.state_dict().items()}


def test_model_folder_is_whole_and_reads_back(tmp_path):
    said = []
    assert train_model(Quick(), TINY, tmp_path / "m", place=Place(), device="cpu", talk=said.append)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "card.md",
        "config.toml",
        "metrics.jsonl",
        "model.safetensors",
        "tensorboard",
    ]
    lines = [json.loads(line) for line in (tmp_path / "m" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    model = load_model(tmp_path / "m")
    assert model.config == TINY
    assert not train_model(Quick(), TINY, tmp_path / "m", place=Place(), device="cpu", talk=said.append), "it is there already"


def test_card_says_what_a_user_must_know(tmp_path):
    train_model(Quick(), TINY, tmp_path / "m", place=Place(), device="cpu", judge_seeds=3, talk=lambda said: None)
    model, card = load_model(tmp_path / "m"), (tmp_path / "m" / "card.md").read_text()
    assert model.sha256 in card
    in_the_file = sum(value.numel() for value in load_file(tmp_path / "m" / "model.safetensors").values())
    buffers = sum(value.numel() for value in model.network.encoder.buffers())
    assert f"- {in_the_file - buffers:,} parameters (and 428,032 in training alone); 2 epochs" in card
    assert "| trial | 0.500 | 3.000 |" in card
    assert "Here 3 seeds." in card
    assert "no measured data" in card
    assert "licence" in card
    recipe = card.partition("```toml\n")[2].partition("```")[0]
    assert recipe.strip() == (tmp_path / "m" / "config.toml").read_text().strip()
    assert str(tmp_path) not in card, "nothing of the machine stands in it"


def test_figures_can_be_left_out(tmp_path):
    said = []
    train_model(Unjudged(), TINY, tmp_path / "m", place=Place(), device="cpu", judge_seeds=0, talk=said.append)
    assert "Not measured" in (tmp_path / "m" / "card.md").read_text()
    assert "measures the model" not in said


def test_killed_while_it_is_measured_it_goes_on_there(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_model(Unjudged(), TINY, tmp_path / "m", place=Place(), device="cpu", talk=lambda said: None)
    weights_then = (tmp_path / "m" / "model.safetensors").read_bytes()
    said = []
    assert train_model(Quick(), TINY, tmp_path / "m", place=Place(), device="cpu", talk=said.append)
    assert said[1].startswith("goes on at step")
    assert not any("epoch 1 of" in line for line in said)
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == weights_then


def test_going_on_equals_never_having_stopped(tmp_path):
    """Stopped at every step of the first epoch and a few of the second; weights and figures are the same to the bit."""
    whole = train(Contrastive(), TINY, options(tmp_path / "whole"), Alone(), lambda said: None)
    stops = 0
    for stop in (1, 3, 2, 5, 1, 100):
        try:
            gone_on = train(Contrastive(), TINY, options(tmp_path / "parts", stop_after_steps=stop), Alone(), lambda said: None)
        except Interrupted:
            stops += 1
    assert stops == 5
    assert all(torch.equal(value, weights(gone_on)[name]) for name, value in weights(whole).items())
    assert gone_on.history == whole.history
    metrics = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "parts")]
    assert metrics[0] == metrics[1]


def test_asked_to_stop_while_samples_are_drawn(tmp_path):
    """That may take many minutes; what is drawn stays."""
    asked = []

    def should_stop():
        asked.append(None)
        return len(asked) > 1

    with pytest.raises(Interrupted, match="before a step was done"):
        train(Contrastive(), TINY, options(tmp_path, should_stop=should_stop), Alone(), lambda said: None)
    assert {path.name[:6] for path in (tmp_path / "material").rglob("*.npy")} == {"000000"}


def command(folder):
    settings = {"samples": 512, "shard_samples": 64, "batch": 8, "epochs": 2}
    changes = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    fixed = ("--device", "cpu", "--judge-seeds", "0")
    return [sys.executable, "-m", "smlmbatch", "train", "contrastive", "--out", str(folder), *fixed, *changes]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1, signal.SIGTERM])
def test_killed_in_mid_epoch_and_run_again(tmp_path, number):
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    first = [*command(tmp_path / "killed"), "--checkpoint-s", "1"]
    process = subprocess.Popen(first, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    checkpoints = tmp_path / "killed" / "checkpoints"
    end = time.monotonic() + 120
    while not list(checkpoints.glob("step_*.pt")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert process.poll() is None, "it should have been in the middle of training"
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == (-9 if number == signal.SIGKILL else 75), said
    for folder in ("killed", "whole"):
        done = subprocess.run(command(tmp_path / folder), env=environ, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert ("goes on at step" in done.stderr) == (folder == "killed")
    files = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("killed", "whole")]
    assert files[0] == files[1]


def test_other_settings_or_ranks_are_refused(tmp_path):
    with pytest.raises(Interrupted):
        train(Contrastive(), TINY, options(tmp_path, stop_after_steps=1), Alone(), lambda said: None)
    with pytest.raises(ConfigError, match="other settings"):
        train(Contrastive(), dataclasses.replace(TINY, temperature=0.1), options(tmp_path), Alone(), lambda said: None)
    recipe = recipe_sha256("contrastive", TINY)
    assert load_checkpoint(tmp_path / "checkpoints", recipe=recipe, world=1)["step"] == 1
    with pytest.raises(ConfigError, match="made by 1 ranks, this is 2"):
        load_checkpoint(tmp_path / "checkpoints", recipe=recipe, world=2)


def test_folder_of_another_model_is_refused(tmp_path):
    save_model(tmp_path, Quick(), TINY, Quick().build(TINY))
    with pytest.raises(ConfigError, match="other settings"):
        train_model(Quick(), ContrastiveConfig(), tmp_path, place=Place(), device="cpu", talk=print)


# ---- settings and model folders


def test_settings_survive_the_file(tmp_path):
    (tmp_path / "config.toml").write_text(settings_text("contrastive", TINY))
    method, config = read_settings(tmp_path / "config.toml")
    assert (method.name, config) == ("contrastive", TINY)


@pytest.mark.parametrize(
    ("values", "finding"),
    [
        ({"nosuch": 1}, "unknown key nosuch"),
        ({"batch": "8"}, "batch = '8'"),
        ({"channels": [8]}, "channels"),
        ({"weighting": "inside"}, "'outside', 'logit', 'none'"),
        ({"temperature": 0.0}, "temperature"),
        ({"epochs": True}, "epochs"),
        ({"seed": -1}, "seed = -1"),
        ({"features": 0}, "features = 0"),
        ({"channels": [0, 16]}, r"channels = \[0, 16\]"),
        ({"side_px": 2048}, "1024 or fewer"),
        ({"side_nm": math.inf}, "side_nm: wanted a number between"),
        ({"temperature": math.nan}, "temperature: wanted a number between"),
        ({"learning_rate": 10**400}, "learning_rate: wanted a number between"),
        ({"density_per_um2": [5, math.inf]}, "density_per_um2"),
    ],
)
def test_wrong_settings_are_named(values, finding):
    with pytest.raises(ConfigError, match=finding):
        config_of(Contrastive(), values)


def test_whole_numbers_serve_as_floats_in_pairs_too():
    assert config_of(Contrastive(), {"density_per_um2": [5, 500], "side_nm": 2000}).density_per_um2 == (5.0, 500.0)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ('method = "contrastive"\nepochs = 4\n[contrastive]\n', "epochs stands outside the section"),
        ('method = "contrastive"\n[contrastive]\nseed = ' + "9" * 5000, "is not TOML"),
        ("a = " + "[" * 5000 + "]" * 5000, "is not TOML"),
        ("method = 3\n", "method = 3"),
    ],
)
def test_recipe_that_would_be_misread_is_refused(tmp_path, text, finding):
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(InputError, match=finding):
        read_settings(tmp_path / "recipe.toml")


def test_model_that_leaves_settings_to_defaults_is_refused(tmp_path):
    """A default that changed since would make other vectors of the same weights, without a word."""
    save_model(tmp_path, Contrastive(), TINY, Contrastive().build(TINY))
    lines = (tmp_path / "config.toml").read_text().splitlines(keepends=True)
    (tmp_path / "config.toml").write_text("".join(line for line in lines if not line.startswith("as_if_prior")))
    assert read_settings(tmp_path / "config.toml")[1] == TINY, "as a recipe it serves"
    with pytest.raises(InputError, match="says nothing of as_if_prior"):
        load_model(tmp_path)
    with pytest.raises(InputError, match="says nothing of as_if_prior"):
        train_model(Quick(), TINY, tmp_path, place=Place(), device="cpu", talk=print)


def test_settings_that_ask_for_more_than_the_weights_take_no_memory(tmp_path, monkeypatch):
    save_model(tmp_path, Contrastive(), TINY, Contrastive().build(TINY))
    (tmp_path / "config.toml").write_text(settings_text("contrastive", dataclasses.replace(TINY, features=2**24)))
    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", lambda layer: layer.weight.is_meta or pytest.fail("memory was taken"))
    with pytest.raises(InputError, match="doesn't fit the settings"):
        load_model(tmp_path)


# ---- folders that hold other things


def test_pairs_of_other_settings_are_not_learned_from(tmp_path):
    """Stopped while pairs were drawn, then run with another seed in the same folder: the weights are those of the seed."""
    other = dataclasses.replace(TINY, density_jitter=0.0)
    method, drawn = Contrastive(), material_folder(tmp_path / "m", recipe_sha256("contrastive", other))
    make_material(method, other, drawn, Alone())
    for left in drawn.iterdir():  # as releases before wrote them
        (tmp_path / "m" / "material" / left.name).write_bytes(left.read_bytes())
    found = train(method, TINY, options(tmp_path / "m"), Alone(), lambda said: None)
    clean = train(method, TINY, options(tmp_path / "clean"), Alone(), lambda said: None)
    assert all(torch.equal(value, weights(found)[name]) for name, value in weights(clean).items())


def test_only_what_training_made_is_removed(tmp_path):
    for name in ("material/notes.txt", "checkpoints/mine.pt"):
        (tmp_path / "m" / name).parent.mkdir(parents=True)
        (tmp_path / "m" / name).write_text("mine")
    train_model(Quick(), TINY, tmp_path / "m", place=Place(), device="cpu", talk=lambda said: None)
    left = {str(path.relative_to(tmp_path / "m")) for name in ("material", "checkpoints") for path in (tmp_path / "m" / name).rglob("*")}
    assert left == {"material/notes.txt", "checkpoints/mine.pt"}


def test_damaged_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config\.toml is missing"):
        load_model(tmp_path)
    save_model(tmp_path, Contrastive(), TINY, Contrastive().build(TINY))
    good = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(good[:-100])
    with pytest.raises(InputError, match="can't be read"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(good)
    (tmp_path / "config.toml").write_text(settings_text("contrastive", ContrastiveConfig(channels=(4, 16))))
    with pytest.raises(InputError, match="doesn't fit the settings"):
        load_model(tmp_path)
