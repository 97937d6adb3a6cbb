"""A large field embedded by four ranks on two nodes of a real SLURM: one rank dies, and still the digest is that of one process."""

import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.model import save_model
from tests.conftest import digest, smlmbatch
from tests.slurm.campaigns import Campaign, processes_of, send
from tests.slurm.cluster import wait_until

pytestmark = pytest.mark.slow

NETWORK = ContrastiveConfig(features=16, side_nm=1000.0)
SETTINGS = '[tile]\noutline = "field"\nroi_nm = 1000.0\n[embed]\nmin_locs = 60\n'
SIDES_UM = {"big.csv": 30, "small.csv": 4}  # 900 regions in 15 blocks, 16 in one
RANKS = {"ranks": 4, "memory": "1500MiB", "options": ["--ntasks-per-node=2"]}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "ctrl"
    folder.mkdir()
    rng = np.random.default_rng(6)
    for name, side_um in SIDES_UM.items():
        xy_nm = rng.uniform(0, 1000 * side_um, (90 * side_um**2, 2))
        np.savetxt(folder / name, xy_nm, fmt="%.2f", delimiter=",", header="x_nm,y_nm", comments="")
    return folder.parent


@pytest.fixture(scope="module")
def measured(source, tmp_path_factory):
    """OUTPUT in which only embedding is left to do."""
    folder = tmp_path_factory.mktemp("measured")
    torch.manual_seed(0)
    save_model(folder / "mine", Contrastive(), NETWORK, Contrastive().build(NETWORK))
    (folder / "config.toml").write_text(SETTINGS)
    settings = ("--config", folder / "config.toml", "--model", folder / "mine", "--cluster-method", "none")
    smlmbatch("run", source, folder / "out", *settings, "--skip", "embed,report")
    return folder / "out"


def processes_of_rank(job, rank):
    """Of the ranks themselves; their children hold the same environment, and go with them."""
    mark = f"SLURM_PROCID={rank}".encode()
    return [pid for pid in processes_of(job) if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")]


def test_four_ranks_on_two_nodes_of_which_one_dies(slurm, source, measured, tmp_path):
    shutil.copytree(measured, tmp_path / "out")
    campaign = Campaign(slurm, source, tmp_path / "out", stage={"embed": RANKS}, max_requeues=2)
    campaign.submit()
    assert set(campaign.arrays) == {"embed", "report"}
    wait_until(lambda: "rank 2: " in campaign.log("embed"), timeout_s=240, what=slurm.describe)
    (job,) = campaign.tasks()["embed"]
    send(processes_of_rank(job, 2), signal.SIGKILL)

    tasks, log = campaign.wait_end(timeout_s=400), campaign.log("embed")
    (job,) = tasks["embed"]
    assert (job.state, job.exit_code, job.restarts) == ("COMPLETED", 0, 1), log
    assert job.node == "node[1-2]", job.node
    assert "requeueing, 1 of at most 2 times" in log
    after = log[log.index("requeueing, 1") :]
    assert "rank 0: fields to share among 4 ranks: 1" in after
    helped = re.findall(r"rank (\d): helped +embed +big-\w+ +(\d+) of 15 blocks", after)
    assert {int(rank) for rank, _ in helped} == {1, 2, 3}, log
    assert sum(int(blocks) for _, blocks in helped) > 0
    assert campaign.remains() == []

    alone = tmp_path / "alone"
    shutil.copytree(measured, alone)
    smlmbatch("embed", alone)
    smlmbatch("report", alone)
    assert digest(campaign.output) == digest(alone)
