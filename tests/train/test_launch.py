"""Several ranks as users start them: a model folder from torchrun, and after a rank was killed."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from smlmbatch.hpc.place import Place
from smlmbatch.methods.devices import choose_device, describe_devices
from smlmbatch.methods.model import load_model

ROOT = Path(__file__).parents[2]
TINY = ("samples=128", "shard_samples=32", "batch=8", "epochs=1")


def arguments(folder):
    return ["contrastive", "--out", str(folder), "--device", "cpu", "--judge-seeds", "0", *(word for t in TINY for word in ("--set", t))]


def ranks_of(folder):
    """How many ranks made a model, by its card; the model must read back."""
    assert load_model(folder).config.epochs == 1
    assert not (folder / "checkpoints").exists()
    card = (folder / "card.md").read_text()
    return next(int(line.split()[-2]) for line in card.splitlines() if line.startswith("- made by"))


@pytest.mark.slow
def test_torchrun(tmp_path):
    torchrun = [sys.executable, "-W", "error", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "smlmbatch"]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*torchrun, "train", *arguments(tmp_path / "m")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ranks_of(tmp_path / "m") == 2
    assert "Warning" not in done.stderr
    assert done.stdout.split() == [str(tmp_path / "m")], "only one rank answers"


def test_device_that_is_not_there(monkeypatch):
    import torch

    from smlmbatch.errors import ConfigError

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", Place()) == torch.device("cpu")
    with pytest.raises(ConfigError, match="no GPU is visible"):
        choose_device("cuda", Place())


@pytest.mark.parametrize(("cuda", "said"), [(None, "built without CUDA"), ("12.8", "no GPU visible")])
def test_doctor_tells_a_missing_driver_from_a_missing_build(monkeypatch, cuda, said):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    assert describe_devices().startswith(f"cpu; torch {torch.__version__}")
    assert said in describe_devices()


def test_doctor_names_the_cards(monkeypatch):
    import torch

    card = SimpleNamespace(name="A card", total_memory=80 << 30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    assert describe_devices().endswith("driver sees 2: A card (80 GiB), A card (80 GiB)")
