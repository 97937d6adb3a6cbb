"""Schedules and the end of training, on validation losses that are made up; what the loop writes."""

import dataclasses
import json
import math
from types import SimpleNamespace

import pytest
import torch

from smlmbatch.errors import ConfigError
from smlmbatch.methods.contrastive.recipe import PAPER, Contrastive, ContrastiveConfig
from smlmbatch.methods.devices import HalfPrecision
from smlmbatch.methods.method import Alone
from smlmbatch.train import loop
from smlmbatch.train.loop import LoopOptions, Run
from smlmbatch.train.material import make_material
from smlmbatch.train.metrics import MetricsLog

TINY = ContrastiveConfig(samples=64, shard_samples=32, batch=8, validation_share=0.5)


class Scripted(Run):
    """A run whose epochs are one step and whose validation losses are given."""

    def play(self, losses):
        self.losses = losses
        return self.to_the_end()

    def batches(self):
        return [batch for batch, _ in zip(super().batches(), range(1), strict=False)]

    def _validate(self):
        return {"loss": self.losses[self.progress.epoch], "top_1": 0.0}


def scripted(folder, config):
    torch.set_num_threads(1)
    material = make_material(Contrastive(), config, folder / "material", Alone())
    return Scripted(Contrastive(), config, LoopOptions(folder=folder, device=torch.device("cpu")), Alone(), lambda said: None, material)


def rates(trained):
    return [line["learning_rate"] for line in trained.history]


def test_plateau_halves_the_rate_before_training_stops(tmp_path):
    """No better after the second epoch: halved after 3 and 6 epochs more, stopped after 7; the weights are those of the second."""
    config = dataclasses.replace(TINY, schedule="plateau", epochs=50, learning_rate=1e-3, plateau_patience=3, stop_patience=7)
    run = scripted(tmp_path, config)
    trained = run.play([1.0, 0.5] + [0.6] * 48)
    run.close()
    assert len(trained.history) == 2 + 7
    assert rates(trained) == [1e-3] * 5 + [5e-4] * 3 + [2.5e-4]
    assert trained.progress.best_epoch == 1
    assert all(torch.equal(value, trained.model.state_dict()[name]) for name, value in run.best.items())


def test_a_better_epoch_starts_the_count_again(tmp_path):
    config = dataclasses.replace(TINY, schedule="plateau", epochs=12, plateau_patience=3, stop_patience=7)
    run = scripted(tmp_path, config)
    trained = run.play([1.0, 1.1, 1.1, 0.9, 1.0, 1.0, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9])
    run.close()
    assert rates(trained) == [1e-3] * 10 + [5e-4] * 2


def test_rate_has_a_floor(tmp_path):
    config = dataclasses.replace(TINY, schedule="plateau", epochs=30, learning_rate=4e-6, plateau_patience=1, stop_patience=20)
    run = scripted(tmp_path, config)
    trained = run.play([1.0] * 30)
    run.close()
    assert min(rates(trained)) == 1e-6
    assert len(trained.history) == 21


def test_cosine_falls_from_the_rate_to_nothing_and_does_not_stop(tmp_path):
    config = dataclasses.replace(TINY, epochs=10, learning_rate=1e-3)
    run = scripted(tmp_path, config)
    assert run.steps_an_epoch == 4
    trained = run.play([1.0] * 10)
    run.close()
    assert len(trained.history) == 10
    assert rates(trained) == pytest.approx([5e-4 * (1 + math.cos(math.pi * step / 40)) for step in range(1, 11)])


def test_paper_recipe_is_what_the_paper_states():
    """Shirgill et al., Methods; what they leave open is not held here."""
    stated = {"samples": 15_000, "validation_share": 0.2, "batch": 32, "epochs": 100, "learning_rate": 3e-5, "weight_decay": 1e-6}
    stated |= {"features": 128, "channels": (8, 16), "dropout": 0.2, "head": "sigmoid", "schedule": "plateau", "plateau_patience": 3}
    stated |= {"least_learning_rate": 1e-6, "weighting": "outside", "density_jitter": 0.0, "encoder": "paper"}
    assert {name: getattr(PAPER, name) for name in stated} == stated
    n_shards = PAPER.samples // PAPER.shard_samples
    assert n_shards * PAPER.shard_samples == 15_000
    assert round(n_shards * PAPER.validation_share) * PAPER.shard_samples == 3_000
    assert PAPER.stop_patience > 2 * PAPER.plateau_patience, "else the rate could never fall twice"


def test_paper_network_is_as_stated():
    network = Contrastive().build(PAPER)
    convolutions = [m for m in network.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in convolutions] == [
        (1, 8, (3, 3)),
        (8, 8, (2, 2)),
        (8, 16, (3, 3)),
        (16, 16, (2, 2)),
    ]
    assert sum(isinstance(m, torch.nn.Linear) for m in network.encoder.modules()) == 1
    linear = [m for m in network.head.modules() if isinstance(m, torch.nn.Linear)]
    assert [linear[0].in_features, linear[-1].out_features, len(linear)] == [128, 512, 3]
    out = network.eval()(torch.ones(2, 128, 128))
    assert ((out > 0) & (out < 1)).all()


def test_half_precision_is_for_the_network_alone():
    """Inside, products are bfloat16; what the loss gets is float32 again."""
    torch.set_num_threads(1)
    seen = []
    network = torch.nn.Linear(4, 3)
    network.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    values = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    found = HalfPrecision(network)(values)
    assert (seen, found.dtype) == ([torch.bfloat16], torch.float32)
    assert torch.allclose(found, network(values), atol=0.05)
    found.sum().backward()
    assert network.weight.grad.dtype == torch.float32


def test_metrics_of_a_lost_life_go(tmp_path):
    log = MetricsLog(tmp_path, [])
    history = [{"epoch": step / 10, "step": step, "loss": 1.0 / step} for step in (10, 20, 30)]
    for figures in history:
        log.write(figures, per_s=5.0)
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "st')  # a kill in the middle of a line
    log = MetricsLog(tmp_path, history[:2])
    log.write({"epoch": 3, "step": 30, "loss": 0.5}, per_s=5.0)
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert lines[-1]["loss"] == 0.5
    assert "samples_per_s" not in lines[0], "the lines are the same on any machine"
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_line_of_an_epoch_whose_end_was_lost_stands_once(tmp_path):
    """The newest checkpoint is of the epoch's last step, made before its line was written."""
    log = MetricsLog(tmp_path, [])
    log.write({"epoch": 1, "step": 10, "loss": 0.5}, per_s=5.0)
    log.close()
    log = MetricsLog(tmp_path, [])
    log.write({"epoch": 1, "step": 10, "loss": 0.5}, per_s=5.0)
    log.close()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_loss_that_is_no_number_ends_training(tmp_path, loss):
    run = scripted(tmp_path, TINY)
    with pytest.raises(ConfigError, match="epoch 2: the validation loss is"):
        run.play([1.0, loss, 0.5])
    run.close()
    assert [line["epoch"] for line in run.history] == [1]


def test_rank_without_a_validation_batch_takes_part_in_the_sums(tmp_path):
    """One batch and two ranks: had the second nothing to sum, the first would wait for it until the time-out."""

    class Second(Alone):
        rank, world = 1, 2
        summed = 0

        def sum(self, values):
            self.summed += 1
            return values

    config = dataclasses.replace(TINY, shard_samples=8, samples=16)
    material = make_material(Contrastive(), config, tmp_path / "material", Alone())
    run = Run(Contrastive(), config, LoopOptions(folder=tmp_path, device=torch.device("cpu")), Alone(), lambda said: None, material)
    run.step(next(run.batches()))
    run.ranks = Second()
    assert set(run._validate()) == {"loss", "top_1"}
    assert run.ranks.summed == 2
    run.close()


def test_a_step_waits_for_no_figure(tmp_path, monkeypatch):
    """To fetch a number from a GPU is to wait for all that was asked of it; sums are fetched for a checkpoint."""
    run = scripted(tmp_path, TINY)
    fetched = []
    for name in ("item", "tolist", "numpy", "__float__", "__bool__"):
        as_it_is = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda value, get=as_it_is: fetched.append(value) or get(value))
    losses = [run.step(batch) for _ in range(3) for batch in run.batches()]
    assert fetched == []
    run._save()
    assert len(fetched) == 1
    assert run.progress.sums["loss"] == pytest.approx([sum(float(loss) for loss in losses)], rel=1e-12)
    run.close()


def test_ranks_look_at_flags_once_in_four_steps(tmp_path, monkeypatch):
    """It takes a message; one rank alone looks each time."""
    run = scripted(tmp_path, TINY)
    looked = []
    monkeypatch.setattr(loop, "any_raised", lambda ranks, *flags, device: looked.append(run.progress.step) or flags)
    for world in (1, 2):
        run.ranks = SimpleNamespace(rank=0, world=world)
        for run.progress.step in range(1, 10):
            run.save_if_due()
    run.close()
    assert looked == [*range(1, 10), 4, 8]


@pytest.mark.parametrize("change", [{"batch": 64}, {"validation_share": 0.9}])
def test_settings_that_leave_nothing_to_learn_from_are_refused(tmp_path, change):
    with pytest.raises(ConfigError, match="samples to learn from"):
        make_material(Contrastive(), dataclasses.replace(TINY, **change), tmp_path / "material", Alone())
    assert not (tmp_path / "material").exists()
