"""Several ranks train the same network as one: gradients of the first step, twenty losses, figures, stopped and gone on or not."""

import json

import pytest
import torch

from tests.methods.launching import Launch

LEARNED = {"contrastive": 0.8, "pcvae": 0.9}  # of the first loss, what is left after twenty steps


def trial(folder, world, *, steps, method="contrastive"):
    folder.mkdir()
    with Launch(world, folder) as launch:
        launch.start("-m", "tests.train.trial", folder, steps, method)
        assert launch.codes() == [0] * world, launch.said()
    return torch.load(folder / "trial.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "world"), [("contrastive", 2), ("contrastive", 4), ("pcvae", 2)])
def test_ranks_agree_with_one(tmp_path, method, world):
    one, many = (trial(tmp_path / name, n, steps=20, method=method) for name, n in (("one", 1), ("many", world)))
    for name, gradient in one["gradients"].items():
        scale = gradient.abs().max().clamp(min=1e-6)
        assert float((many["gradients"][name] - gradient).abs().max() / scale) < 1e-10, name
    assert float((many["losses"] / one["losses"] - 1).abs().max()) < 1e-5
    assert float(one["losses"][-1]) < LEARNED[method] * float(one["losses"][0]), "it should have learned something"


@pytest.mark.slow
def test_figures_are_those_of_all_ranks_and_all_go_on_where_the_first_does(tmp_path):
    """Stopped in the middle of an epoch. Had each rank looked for checkpoints itself, the second would have begun anew."""
    history = {}
    for world, stops in ((1, "whole"), (2, "whole"), (2, "parts")):
        folder = tmp_path / f"{world}_{stops}"
        folder.mkdir()
        with Launch(world, folder) as launch:
            launch.start("-m", "tests.train.parts", folder, stops)
            assert launch.codes() == [0] * world, launch.said()
        history[world, stops] = json.loads((folder / "history.json").read_text())
    assert history[2, "parts"] == history[2, "whole"]
    for one, two in zip(history[1, "whole"], history[2, "whole"], strict=True):
        assert two["train_own"] == pytest.approx(one["train_own"], rel=1e-5)
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-3)
