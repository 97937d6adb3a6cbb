"""Several ranks train the same network as one: gradients of the first step, and twenty losses."""

import pytest
import torch

from tests.methods.launching import Launch


def trial(folder, world, *, steps):
    folder.mkdir()
    with Launch(world, folder) as launch:
        launch.start("-m", "tests.train.trial", folder, steps)
        assert launch.codes() == [0] * world, launch.said()
    return torch.load(folder / "trial.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_agree_with_one(tmp_path, world):
    one, many = trial(tmp_path / "one", 1, steps=20), trial(tmp_path / "many", world, steps=20)
    for name, gradient in one["gradients"].items():
        scale = gradient.abs().max().clamp(min=1e-6)
        assert float((many["gradients"][name] - gradient).abs().max() / scale) < 1e-10, name
    assert float((many["losses"] / one["losses"] - 1).abs().max()) < 1e-5
    assert float(one["losses"][-1]) < 0.8 * float(one["losses"][0]), "it should have learned something"
