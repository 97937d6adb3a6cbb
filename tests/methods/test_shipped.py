"""The model that comes with the package is the one that its recipe and its card tell of."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from smlmbatch.methods.contrastive.judge import judge
from smlmbatch.methods.contrastive.recipe import ContrastiveConfig
from smlmbatch.methods.folders import model_sha256, shipped
from smlmbatch.methods.model import load_model, untrained

FOLDER = shipped("contrastive")
ALL_MODELS_BYTES = 5 << 20


def test_shipped_model_is_of_the_default_recipe():
    assert load_model(FOLDER).config == ContrastiveConfig()


def test_card_names_the_weights_it_tells_of():
    assert model_sha256(FOLDER) in (FOLDER / "card.md").read_text()


def test_shipped_models_are_small():
    assert sum(path.stat().st_size for path in FOLDER.parent.rglob("*") if path.is_file()) < ALL_MODELS_BYTES


@pytest.mark.slow
def test_recipe_makes_the_shipped_model_again(tmp_path):
    """Its first epoch has the figures that stand beside the weights: the very ones on one kind of processor, elsewhere nearly."""
    metrics = tmp_path / "model" / "metrics.jsonl"
    with subprocess.Popen([sys.executable, "-m", "smlmbatch", "train", "contrastive", "--out", metrics.parent]) as training:
        while training.poll() is None and not (metrics.exists() and metrics.read_text().endswith("\n")):
            time.sleep(0.2)
        training.terminate()
    assert training.returncode == 75
    made, told = (json.loads(path.read_text().splitlines()[0]) for path in (metrics, FOLDER / "metrics.jsonl"))
    assert made == pytest.approx(told, rel=0.1)
    assert made["train_loss"] == pytest.approx(told["train_loss"], rel=5e-3)


@pytest.mark.slow
def test_shipped_model_tells_architectures_apart_at_equal_numbers_of_locs():
    """On ROIs of a draw that neither recipe nor card has seen; an untrained network is worse at kinds of structure."""
    model = load_model(FOLDER)
    found, plain = (judge(network, model.config, seeds=(7,)) for network in (model.network, untrained(model, seed=0)))
    assert found["clusters_equal_n"]["ARI"] > 0.95
    assert found["sigma_900"]["ARI"] > 0.75
    assert found["kinds_900"]["ARI"] > max(0.9, plain["kinds_900"]["ARI"])
    assert all(np.abs(figures["ARI of log N"]) < 0.05 for name, figures in found.items() if name.endswith(("_900", "_equal_n")))
