"""Several ranks train the same network as one: gradients of the first step, and twenty losses."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def trial(folder, world, *, steps):
    folder.mkdir()
    port = str(free_port())
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.trial", folder, str(steps)], cwd=ROOT, env=common | {"RANK": str(r), "LOCAL_RANK": str(r)}
        )
        for r in range(world)
    ]
    assert [rank.wait(timeout=300) for rank in ranks] == [0] * world
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
