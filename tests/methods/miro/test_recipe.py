"""Settings, and MIRO through the training loop: a model folder, going on after a stop, two ranks, the figures."""

import dataclasses

import numpy as np
import pytest
import torch

from smlmbatch.errors import ConfigError, Interrupted
from smlmbatch.hpc.place import Place
from smlmbatch.methods.method import Alone
from smlmbatch.methods.miro.judge import FIELDS, TASKS, judge_task
from smlmbatch.methods.miro.recipe import PAPER, Miro, MiroConfig
from smlmbatch.methods.model import config_of, known_methods, load_model
from smlmbatch.simulate.clusters import ClusterFields
from smlmbatch.train.loop import LoopOptions, train
from smlmbatch.train.session import train_model
from tests.conftest import smlmbatch
from tests.methods.miro.fields import batch_of, fresh, tiny


def quiet(said):
    """What training says."""


def options(folder, **changes):
    return LoopOptions(folder=folder, device=torch.device("cpu"), **changes)


def test_family_has_every_setting_of_the_simulator():
    """A range that a recipe holds and the fields ignore would be a lie."""
    config = tiny(locs=(100, 200), blinking_share=0.25, graded_share=0.5, nested_share=0.125, empty_share=0.0625, rms_nm=(11.0, 12.0))
    family = config.family
    assert (family.locs, family.blinking, family.graded, family.nested, family.empty) == ((100, 200), 0.25, 0.5, 0.125, 0.0625)
    kept = {"least_contrast", "least_sigma_errors", "error_spread", "close"}
    own = {f.name.removesuffix("_share") for f in dataclasses.fields(config)} | {"background_share"}
    assert {f.name for f in dataclasses.fields(ClusterFields)} - own == kept


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"steps": 1}, "steps"),
        ({"steps": 65}, "steps"),
        ({"classes": 3}, "classes"),
        ({"samples": 64}, "two shards"),
        ({"rms_nm": [50.0, 20.0]}, "rms_nm"),
        ({"hint_share": 1.5}, "hint_share"),
        ({"network": "other"}, "'generalist', 'paper'"),
        ({"hidden": 0}, "hidden"),
    ],
)
def test_impossible_settings_are_refused(change, finding):
    with pytest.raises(ConfigError, match=finding):
        config_of(Miro(), change)


def test_the_default_is_as_small_as_the_documentation_says():
    assert sum(p.numel() for p in fresh(MiroConfig()).parameters()) == 22_603


def test_paper_states_what_was_published():
    stated = {"hidden": 256, "steps": 12, "batch": 4, "epochs": 30, "learning_rate": 1e-4, "paper_reach": 0.2, "network": "paper"}
    assert {name: getattr(PAPER, name) for name in stated} == stated
    assert PAPER.steps_seen == PAPER.steps


@pytest.mark.parametrize("network", ["generalist", "paper"])
def test_trained_into_a_folder_and_read_back(tmp_path, network, monkeypatch):
    monkeypatch.setattr("smlmbatch.methods.miro.judge.FIELDS", 1)
    config = tiny(network=network)
    assert "miro" in known_methods()
    assert train_model(Miro(), config, tmp_path / "m", place=Place(), device="cpu", judge_seeds=1, talk=quiet)
    assert "| with blinking |" in (tmp_path / "m" / "card.md").read_text()
    model = load_model(tmp_path / "m")
    assert (model.method.name, model.config) == ("miro", config)
    outputs = model.method.infer(model.network, batch_of(config, [0, 1]))["outputs"]
    assert outputs.shape[1] == (4 if network == "generalist" else 2)
    assert np.isfinite(outputs).all()
    assert not (tmp_path / "m" / "material").exists()


@pytest.mark.slow
def test_the_command(tmp_path):
    sizes = ("samples=8", "shard_samples=4", "validation_share=0.5", "epochs=1", "hidden=8", "edge_hidden=8", "steps=3")
    changes = [word for size in sizes for word in ("--set", size)]
    said = smlmbatch("train", "miro", "--out", tmp_path / "m", *changes, "--judge-seeds", "1").stdout
    assert said.strip() == str(tmp_path / "m")
    assert load_model(tmp_path / "m").config.steps == 3


def test_goes_on_to_the_bit_after_a_stop(tmp_path):
    config = tiny(epochs=3)
    whole = train(Miro(), config, options(tmp_path / "whole"), Alone(), quiet)
    with pytest.raises(Interrupted):
        train(Miro(), config, options(tmp_path / "cut", stop_after_steps=3), Alone(), quiet)
    cut = train(Miro(), config, options(tmp_path / "cut"), Alone(), quiet)
    assert len(whole.history) == 3
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, cut.model.state_dict()[name]), name


@pytest.mark.parametrize("network", ["generalist", "paper"])
def test_two_ranks_have_the_gradients_of_one(network):
    """Each with a field of its own, gradients averaged as DistributedDataParallel does; float64."""
    config = tiny(network=network)
    whole = fresh(config).double()
    Miro().loss(whole, batch_of(config, [0, 3], double=True), config, Alone())[0].backward()
    batches = [batch_of(config, [k], double=True) for k in (0, 3)]

    class One(Alone):
        """A rank of two, that knows what the other would add."""

        world = 2

        def __init__(self, rank):
            self.rank, self.calls = rank, 0

        def sum(self, values):
            counts = [[len(b["xy_nm"]), len(b["source"])][self.calls] for b in batches]
            self.calls += 1
            assert float(values) == counts[self.rank]
            return values + counts[1 - self.rank]

    gradients = []
    for rank in (0, 1):
        network_of_rank = fresh(config).double()
        Miro().loss(network_of_rank, batches[rank], config, One(rank))[0].backward()
        gradients.append([p.grad for p in network_of_rank.parameters()])
    for a, b, both in zip(*gradients, (p.grad for p in whole.parameters()), strict=True):
        torch.testing.assert_close((a + b) / 2, both, rtol=1e-10, atol=1e-12)


def test_learning_lowers_the_loss():
    config, method = tiny(hidden=16, edge_hidden=16, learning_rate=1e-2), Miro()
    network, batch = fresh(config), batch_of(config, [0, 1])
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    losses = []
    for _ in range(40):
        loss, _ = method.loss(network, batch, config, Alone())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.75 * losses[0]


def test_figures_are_1_for_who_knows_the_truth(monkeypatch):
    """And each task's fields are what it says."""
    monkeypatch.setattr("smlmbatch.methods.miro.judge.labels_of", lambda network, config, field, columns: field.cluster - 1)
    figures = {task: judge_task(None, tiny(), family, seeds=(1,)) for task, family in TASKS.items()}
    for found in figures.values():
        assert set(found) == {"JI_c", "ARI_c", "AMI", "ARI", "IoU", "ARI†"}
        np.testing.assert_allclose(list(found.values()), 1.0, atol=1e-6)
    assert FIELDS == 12
