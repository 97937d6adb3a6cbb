"""A model trained by two ranks on two nodes of a real SLURM: to the end, and told to stop on the way."""

import pytest

from smlmbatch.methods.model import load_model
from tests.conftest import smlmbatch
from tests.slurm.campaigns import write_profile
from tests.slurm.cluster import wait_until

pytestmark = pytest.mark.slow

SETTINGS = ("samples=512", "shard_samples=64", "batch=8", "epochs=3")
# Two slurmds of one machine: gloo must not choose the address of another network by the host's name.
SETUP = 'setup = ["export GLOO_SOCKET_IFNAME=lo"]\n'


def submit(slurm, folder, profile):
    """Write the job, hand it in; its id."""
    changes = [word for setting in SETTINGS for word in ("--set", setting)]
    fixed = ("--device", "cpu", "--judge-seeds", "0", "--checkpoint-s", "1")
    script = smlmbatch("train", "contrastive", "--out", folder, *fixed, *changes, "--profile", profile).stdout.strip()
    return int(slurm.run("bash", script, "--nodes=2", "--ntasks=2", "--time=10"))


def test_two_nodes_and_a_warning(healed_slurm, tmp_path):
    slurm = healed_slurm
    profile = write_profile(tmp_path / "site.toml", signal_s=20)
    profile.write_text(profile.read_text().replace("[software]\n", "[software]\n" + SETUP))
    warned = submit(slurm, tmp_path / "warned", profile)
    log = tmp_path / "warned" / "jobs" / "0001" / "train.log"
    checkpoints = tmp_path / "warned" / "checkpoints"
    wait_until(
        lambda: any(checkpoints.glob("step_*.pt")), timeout_s=240, what=lambda: log.read_text() if log.exists() else slurm.describe()
    )
    slurm.run("scancel", "--signal=USR1", str(warned))
    (job,) = slurm.wait_end(warned, timeout_s=400)
    assert (job.state, job.exit_code, job.restarts) == ("COMPLETED", 0, 1), log.read_text()
    assert "training stopped in order" in log.read_text()
    assert "goes on at step" in log.read_text()

    whole = submit(slurm, tmp_path / "whole", profile)
    (job,) = slurm.wait_end(whole, timeout_s=400)
    assert (job.state, job.restarts) == ("COMPLETED", 0), (tmp_path / "whole" / "jobs" / "0001" / "train.log").read_text()
    assert load_model(tmp_path / "whole").config.epochs == 3
    assert ", 2 ranks" in (tmp_path / "whole" / "card.md").read_text()
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("warned", "whole")]
    assert weights[0] == weights[1]
