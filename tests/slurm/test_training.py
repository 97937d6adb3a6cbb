"""Training by several ranks on two nodes of a real SLURM: the same numbers as by one rank; warned, and robbed of a rank on the way.

Nothing tells gloo which interface to use: the nodes of the test cluster are one machine, and it is found out that they are.
"""

import json
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from smlmbatch.methods.model import load_model
from tests.conftest import ROOT, smlmbatch
from tests.slurm.campaigns import processes_of, send, write_profile
from tests.slurm.cluster import free_ports, wait_until

pytestmark = pytest.mark.slow

N_STEPS = 20

# One allocation for all launches. `trial` writes gradients of a rank's first step and losses of the next. Two steps of two ranks each stand
# beside each other: they must not meet. torchrun comes once a node, and twice the memory with it.
SCRIPT = """#!/bin/bash
#SBATCH --nodelist=node[1-2] --ntasks-per-node=2 --mem-per-cpu=1000 --time=20
export OMP_NUM_THREADS=1 PYTHONWARNINGS=error
cd "{root}" && mkdir "$1"/{{one,two,four,torchrun}} || exit 10
trial() {{ local out=$1; shift; srun --output="$out.log" "$@" -m tests.train.trial "$out" {steps}; }}
doctor=("{python}" -m smlmbatch doctor --distributed --device cpu --json)
srun --exact --nodes=2 --ntasks=2 --output="$1/doctor.json" --error="$1/doctor.log" "${{doctor[@]}}" &
trial "$1/two" --exact --nodes=2 --ntasks=2 "{python}" || exit 11
wait $! || exit 12
trial "$1/one" --exact --nodes=1 --ntasks=1 "{python}" &
trial "$1/four" "{python}" || exit 13
wait $! || exit 14
at=(--nnodes=2 --nproc-per-node=2 --rdzv-backend=c10d --rdzv-endpoint="node1:{port}" --rdzv-id="$SLURM_JOB_ID")
trial "$1/torchrun" --ntasks=2 --ntasks-per-node=1 --cpus-per-task=2 "{python}" -m torch.distributed.run "${{at[@]}}" || exit 15
"""


def test_ranks_on_two_nodes_agree_with_one(healed_slurm, tmp_path):
    """Gradients of the first step and twenty losses, as among ranks of one machine (tests/methods/test_ranks.py); what the doctor saw."""
    slurm = healed_slurm
    script = tmp_path / "all.sh"
    script.write_text(SCRIPT.format(root=ROOT, python=sys.executable, steps=N_STEPS, port=free_ports(1)[0]))
    number = slurm.sbatch(f"--output={tmp_path}/job.log", script, tmp_path)
    (job,) = slurm.wait_end(number, timeout_s=500)
    logs = {path.name: path.read_text() for path in sorted(tmp_path.glob("*.log"))}
    assert (job.state, job.exit_code) == ("COMPLETED", 0), logs

    one = torch.load(tmp_path / "one" / "trial.pt", weights_only=True)
    for name in ("two", "four", "torchrun"):
        many = torch.load(tmp_path / name / "trial.pt", weights_only=True)
        for key, gradient in one["gradients"].items():
            scale = gradient.abs().max().clamp(min=1e-6)
            assert float((many["gradients"][key] - gradient).abs().max() / scale) < 1e-10, (name, key)
        assert float((many["losses"] / one["losses"] - 1).abs().max()) < 1e-5, name
    assert float(one["losses"][-1]) < 0.8 * float(one["losses"][0]), "it should have learned something"

    seen = json.loads((tmp_path / "doctor.json").read_text())
    assert [(row["rank"], row["host"]) for row in seen["ranks"]] == list(enumerate(("node1", "node2")))
    assert {row["network"] for row in seen["ranks"]} == {"lo 127.0.0.1 (all ranks are on one machine)"}
    assert seen["warnings"] == []
    assert seen["all_reduce"]["round_trip_ms"] > 0


SETTINGS = ("samples=512", "shard_samples=64", "batch=8", "epochs=12")
STEPS = 672  # of the whole training, 56 an epoch


class Training:
    """A training handed to SLURM as its user does it, by two ranks on two nodes."""

    def __init__(self, slurm, folder, profile):
        self.slurm, self.folder = slurm, folder
        changes = [word for setting in SETTINGS for word in ("--set", setting)]
        fixed = ("--device", "cpu", "--judge-seeds", "0", "--checkpoint-s", "1")
        script = Path(smlmbatch("train", "contrastive", "--out", folder, *fixed, *changes, "--profile", profile).stdout.strip())
        self.log_file = script.with_name("train.log")
        self.number = int(slurm.run("bash", script, "--nodes=2", "--ntasks=2", "--time=10"))

    def log(self):
        return self.log_file.read_text() if self.log_file.exists() else self.slurm.describe()

    def newest_step(self):
        return max((int(path.stem.removeprefix("step_")) for path in (self.folder / "checkpoints").glob("step_*.pt")), default=0)

    def wait_for_step(self, step):
        wait_until(lambda: self.newest_step() >= step, timeout_s=300, what=self.log)

    def job(self):
        (job,) = self.slurm.tasks(self.number)
        return job

    def wait_end(self, *, restarts):
        (job,) = self.slurm.wait_end(self.number, timeout_s=400)
        assert (job.state, job.exit_code, job.restarts) == ("COMPLETED", 0, restarts), self.log()
        return (self.folder / "model.safetensors").read_bytes()

    def kill_rank(self, rank):
        """SIGKILL, as the kernel does when memory is out."""
        mark = b"SLURM_PROCID=%d" % rank
        ranks = [pid for pid in processes_of(self.job()) if runs_training(pid) and mark in environ_of(pid)]
        assert len(ranks) == 1, (ranks, self.log())
        send(ranks, signal.SIGKILL)


def environ_of(pid):
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def runs_training(pid):
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return any(word.endswith(b"/smlmbatch") for word in words[:2]) and b"train" in words


def test_warned_and_then_robbed_of_a_rank(healed_slurm, tmp_path):
    """USR1 at one step and SIGKILL at a later one: requeued each time, and the same weights as without, to the bit. The rank that is killed
    is the one that the others met at, and that writes the checkpoints."""
    profile = write_profile(tmp_path / "site.toml", signal_s=20)
    seed = int(time.time())
    rng = np.random.default_rng(seed)
    warned_at, shot_at = sorted(int(step) for step in rng.integers(1, STEPS // 2, 2))  # seconds before the end: a step takes 20 ms
    told = f"seed {seed}: warned at step {warned_at}, a rank killed at step {shot_at}"

    hit = Training(healed_slurm, tmp_path / "hit", profile)
    hit.wait_for_step(warned_at)
    healed_slurm.run("scancel", "--signal=USR1", str(hit.number))
    wait_until(lambda: "requeueing, 1 of at most" in hit.log(), timeout_s=120, what=hit.log)
    assert "training stopped in order" in hit.log(), told

    # the next start has taken over when it has saved further steps
    wait_until(lambda: "goes on at step" in hit.log(), timeout_s=300, what=hit.log)
    hit.wait_for_step(max(shot_at, hit.newest_step() + 1))
    hit.kill_rank(0)
    killed = time.monotonic()
    wait_until(lambda: "requeueing, 2 of at most" in hit.log(), timeout_s=120, what=hit.log)
    # Ranks wait 600 s for an answer. Noticed at once; the bound is for a machine that is five times slower.
    assert time.monotonic() - killed < 60, (told, hit.log())
    lost = (
        r"rank 1 of 2 on node\d: lost rank 0 at node\d:\d+, where the ranks met \(.*\); run it again.* newest checkpoint is of step [1-9]"
    )
    assert re.search(lost, hit.log()), (told, hit.log())

    weights = hit.wait_end(restarts=2)
    assert hit.log().count("goes on at step") == 2, (told, hit.log())
    whole = Training(healed_slurm, tmp_path / "whole", profile)
    assert whole.wait_end(restarts=0) == weights, told
    assert load_model(tmp_path / "whole").config.epochs == 12
    assert ", 2 ranks" in (tmp_path / "whole" / "card.md").read_text()


def test_what_would_come_again_is_not_requeued(healed_slurm, tmp_path):
    """Rank 0 can't write its checkpoint. It ends with 2, and so do the others, though srun tells them to go."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "checkpoints").write_text("a file, where a folder should be")
    failing = Training(healed_slurm, tmp_path / "m", write_profile(tmp_path / "site.toml", signal_s=20))
    (job,) = healed_slurm.wait_end(failing.number, timeout_s=300)
    assert (job.state, job.exit_code, job.restarts) == ("FAILED", 2, 0), failing.log()
    assert re.search(r"rank 1 of 2 on node\d: rank 0 \(node\d .*\) gave up: .*checkpoints", failing.log()), failing.log()
